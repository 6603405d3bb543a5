package warden

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/term"
)

// Limits of single calls.
const (
	// attemptUnknown bounds an attempt at the store until the first record tells the lease.
	attemptUnknown = 5 * time.Second
	// minimumLimit is the shortest limit of a call that does not concern the lease; with a short lease a quarter of it
	// would call a busy machine's database unreachable.
	minimumLimit = time.Second
)

// attemptLimit bounds one attempt at one replica: a quarter of the trust, so that a renewal that finds one replica
// dead still reads and writes at the other in time.
func attemptLimit(r term.Record, known bool) time.Duration {
	if !known {
		return attemptUnknown
	}
	return (r.Lease() - r.Margin()) / 4
}

func (w *Warden) attemptLimit() time.Duration { return attemptLimit(w.timing()) }

// timing is a record whose lease and margin may be gone by: the newest known, or, for a warden that was started while
// the store is gone, what its database's pin says.
func (w *Warden) timing() (term.Record, bool) {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.Database.Pin; m.Store.Record.Version == 0 && p.ID != 0 {
		return term.Record{LeaseMS: p.Lease.Milliseconds(), MarginMS: p.Margin.Milliseconds()}, true
	}
	return m.Store.Record, m.Store.Record.Version > 0
}

// callLimit bounds a call to anything but the store.
func (w *Warden) callLimit() time.Duration { return max(w.attemptLimit(), minimumLimit) }

// renewEvery is the period of the renewer and the loop.
func (w *Warden) renewEvery() time.Duration {
	if r, known := w.timing(); known {
		return r.RenewEvery()
	}
	return time.Second
}

// read asks the replicas in turn and takes the answer into account.
func (w *Warden) read(ctx context.Context) (term.Record, error) {
	limit := w.attemptLimit()
	var errs []error
	for _, store := range w.stores {
		asked := w.boot()
		attempt, cancel := context.WithTimeout(ctx, limit)
		r, err := store.Read(attempt)
		cancel()
		answered := w.boot()
		switch {
		case err == nil:
			if w.learn(r, asked, answered) {
				signal(w.extendNow)
			}
			return r, nil
		case errors.Is(err, term.ErrNoRecord):
			w.missing(err, answered)
			return term.Record{}, err
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	err := errors.Join(errs...)
	w.unlearned(err, w.boot())
	return term.Record{}, err
}

// write sends a record, stamped with a nonce of its own, to the replicas in turn, and returns nil only if the nonce
// was seen in the record or a replica confirmed it. renews says that the write moves (term, renewal), so that its
// confirmation gives trust from the moment before the first attempt (P4).
func (w *Warden) write(ctx context.Context, next term.Record, renews bool) error {
	next.Nonce = rand.Text()
	before := w.boot()
	if renews {
		w.noteSent(next, before)
	}
	limit := attemptLimit(next, true)
	var errs []error
	for _, store := range w.stores {
		asked := w.boot()
		attempt, cancel := context.WithTimeout(ctx, limit)
		err := store.Write(attempt, next)
		cancel()
		if err == nil {
			if w.learn(next, asked, w.boot()) {
				signal(w.extendNow)
			}
			return nil
		}
		errs = append(errs, err)
		// A conflict at the second replica may be the own write, landed at the first, whose answer was lost.
		if errors.Is(err, term.ErrConflict) || ctx.Err() != nil {
			break
		}
	}
	r, err := w.read(ctx)
	if err != nil {
		return fmt.Errorf("write version %d, outcome unknown: %w", next.Version, errors.Join(append(errs, err)...))
	}
	if r.Nonce == next.Nonce {
		return nil
	}
	return fmt.Errorf("write version %d, which is not in the record: %w", next.Version, errors.Join(errs...))
}

// beacons asks the replicas in turn.
func (w *Warden) beacons(ctx context.Context) (map[string]term.Beacon, term.Instant, error) {
	limit := w.attemptLimit()
	var errs []error
	for _, store := range w.stores {
		attempt, cancel := context.WithTimeout(ctx, limit)
		found, err := store.Beacons(attempt)
		cancel()
		if err == nil {
			return found, w.boot(), nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, 0, errors.Join(errs...)
}
