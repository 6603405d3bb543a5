package termtable

import (
	"context"
	"fmt"
	"sync"
)

// quorum carries a request from its region to the other two and back. effect runs at most once, under the table's
// lock, at the instant when the first of them has received it; it is told the number of writes that had been made
// when the request set out. quorum returns nil when a confirmation has come back.
func (t *Table) quorum(ctx context.Context, region string, effect func(since int64)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	t.mu.Lock()
	since := t.commits
	t.mu.Unlock()
	var once sync.Once
	attempt := func(other string) error {
		if err := t.options.Network.OneWay(ctx, region, other); err != nil {
			return err
		}
		if !t.options.Network.Up(region) {
			return fmt.Errorf("region %s was lost", region)
		}
		once.Do(func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			effect(since)
		})
		return t.options.Network.OneWay(ctx, other, region)
	}

	others := t.others(region)
	outcomes := make(chan error, len(others))
	for _, other := range others {
		go func() { outcomes <- attempt(other) }()
	}
	var firstErr error
	confirmed := false
	for range others { // waits for both, so that no attempt outlives the call
		err := <-outcomes
		switch {
		case err == nil:
			confirmed = true
			cancel()
		case firstErr == nil:
			firstErr = err
		}
	}
	if !confirmed {
		return fmt.Errorf("%w: request in %s: %w", ErrNoAnswer, region, firstErr)
	}
	return nil
}

// others are the table's regions, the witness too, without one.
func (t *Table) others(region string) []string {
	var out []string
	for _, r := range append([]string{t.options.Table.WitnessRegion}, t.options.Table.ReplicaRegions...) {
		if r != region {
			out = append(out, r)
		}
	}
	return out
}
