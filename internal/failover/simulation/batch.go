package simulation

import (
	"context"
	"runtime"
	"sync"
)

// GCPercent is the garbage collector's setting at which many runs are quickest: a run makes little garbage, but so little
// of it lives that the collector would otherwise come too often.
const GCPercent = 2400

// RunMany simulates count seeds from first on, on all processors, and hands every result to visit, in the order of the
// seeds, so that what comes of it does not depend on how many processors there are. It ends early when visit returns
// false or ctx ends, whose error it returns.
func RunMany(ctx context.Context, first uint64, count int, opt Options, visit func(Result) (more bool)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	workers := min(runtime.GOMAXPROCS(0), count)
	// One channel per worker, read in turn: seed i is worker i modulo workers.
	results := make([]chan Result, workers)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for n := range workers {
		results[n] = make(chan Result, 64)
		wg.Go(func() {
			for i := n; i < count; i += workers {
				select {
				case results[n] <- Run(first+uint64(i), opt):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for i := range count {
		select {
		case r := <-results[i%workers]:
			if !visit(r) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
