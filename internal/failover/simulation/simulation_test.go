package simulation_test

import (
	"flag"
	"runtime"
	"sync"
	"testing"

	"holdfast/internal/failover/simulation"
)

var (
	runs = flag.Int("runs", 300, "how many seeds TestInvariants simulates")
	seed = flag.Uint64("seed", 1, "the first seed")
)

// search simulates seeds until stop says that a result ends it.
func search(first uint64, count int, opt simulation.Options, visit func(simulation.Result) (stop bool)) {
	var (
		mu   sync.Mutex
		next = first
		done bool
		wg   sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				mu.Lock()
				s := next
				next++
				over := done || s >= first+uint64(count)
				mu.Unlock()
				if over {
					return
				}
				r := simulation.Run(s, opt)
				mu.Lock()
				done = visit(r) || done
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestInvariants(t *testing.T) {
	terms, acknowledged, failures := 0, 0, 0
	search(*seed, *runs, simulation.Options{}, func(r simulation.Result) bool {
		terms += r.Terms
		acknowledged += r.Acknowledged
		if r.Violation != "" {
			failures++
			t.Errorf("seed %d: %s", r.Seed, r.Violation)
		}
		return failures >= 5
	})
	t.Logf("%d runs: %d terms served, %d payments acknowledged", *runs, terms, acknowledged)
	if terms < *runs*11/10 {
		t.Errorf("only %d terms in %d runs: the faults move nothing", terms, *runs)
	}
}

func TestReplay(t *testing.T) {
	for s := range uint64(20) {
		if a, b := simulation.Run(s, simulation.Options{}), simulation.Run(s, simulation.Options{}); a != b {
			t.Fatalf("seed %d gave %+v and then %+v", s, a, b)
		}
	}
}
