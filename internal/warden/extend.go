package warden

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// runExtender carries trust into the database's lease row whenever a renewal gave some. It is apart from the renewer
// because a database that hangs must not cost the site its term. Under a pin nothing renews, so it goes by its own clock.
func (w *Warden) runExtender(ctx context.Context) {
	for {
		timer := time.NewTimer(w.renewEvery())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.extendNow:
			if !w.unrecorded() {
				w.extend(ctx)
			}
		case <-timer.C:
			if failover.Pinned(w.observation()) {
				w.extend(ctx)
			}
		}
		timer.Stop()
	}
}

// unrecorded says that the database was seen not to know the term yet, and that this warden has not recorded it since. It gets
// its first lease by the step that records it (P13); to ask it now would only take a connection from that step.
func (w *Warden) unrecorded() bool {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Database.Reachable && max(m.Database.HighestTerm(), m.recorded) < m.Store.Record.Term
}

// extend extends the database's lease to the end of the trust, if there is any and the record still says "held". Only
// the failures that are news are journaled.
func (w *Warden) extend(ctx context.Context) {
	err := w.extendLease(ctx)
	outcome := "extended"
	if err != nil {
		outcome = err.Error()
	}
	label := "extended"
	if err != nil {
		label = "failed"
		if errors.Is(err, errNothingToExtend) {
			label = "skipped"
		}
	}
	w.metrics.extensions.WithLabelValues(label).Inc()
	w.memory.mu.Lock()
	news := digitless(w.memory.extended) != digitless(outcome)
	w.memory.extended = outcome
	unserved := w.memory.Store.Record.ServedTerm < w.memory.Store.Record.Term
	w.memory.mu.Unlock()
	if err == nil && unserved {
		signal(w.loopNow) // it waits for the lease
	}
	if news {
		w.journal.event("write lease", "outcome", outcome)
	}
}

// errNothingToExtend: the state of record, trust or database is one in which the lease must run out.
var errNothingToExtend = errors.New("no extension")

func (w *Warden) extendLease(ctx context.Context) error {
	o := w.observation()
	r := o.Store.Record
	if failover.Pinned(o) {
		return w.extendPinned(ctx, o.Database.Pin.Term)
	}
	if r.Holder != w.cfg.Site || r.State != term.Held || !o.Trust.Holds(r.Term, o.Now) {
		return fmt.Errorf("%w: the term is not held in trust", errNothingToExtend)
	}
	ctx, cancel := context.WithTimeout(ctx, min(w.callLimit(), o.Trust.Left(o.Now)))
	defer cancel()
	return w.db.Extend(ctx, r.Term, r.Renewal, func(s fence.State) (time.Time, error) {
		// The own clock is read after the database's, so that the way back only shortens the lease (P8).
		after := w.boot()
		if err := extendable(s, r.Term); err != nil {
			return time.Time{}, err
		}
		until, ok := failover.LeaseUntil(r, o.Trust, s.DatabaseTime, after)
		switch {
		case ok:
			return until, nil
		case !o.Trust.Holds(r.Term, after):
			return time.Time{}, fmt.Errorf("%w: the trust ran out while the database was asked", errNothingToExtend)
		}
		return time.Time{}, fmt.Errorf("%w: the record does not cover the database's present yet", errNothingToExtend)
	})
}

// extendPinned extends the database's lease by its pin alone (P18). Everything is judged by the sample of the very server
// that is extended: the pin, its end, and the time are on that server's clock.
func (w *Warden) extendPinned(ctx context.Context, n term.Number) error {
	ctx, cancel := context.WithTimeout(ctx, w.callLimit())
	defer cancel()
	var renewal int64 // the row keeps its own, which is at least this
	return w.db.Extend(ctx, n, renewal, func(s fence.State) (time.Time, error) {
		if err := extendable(s, n); err != nil {
			return time.Time{}, err
		}
		until, err := s.PinnedUntil(w.cfg.Site)
		if err != nil {
			return time.Time{}, fmt.Errorf("%w: %w", errNothingToExtend, err)
		}
		return until, nil
	})
}

// extendable says why the database must not get a lease for the term.
func extendable(s fence.State, n term.Number) error {
	switch {
	case s.InRecovery:
		return fmt.Errorf("%w: the database is a standby", errNothingToExtend)
	case !s.Installed:
		return fmt.Errorf("%w: the fence is not installed yet", errNothingToExtend)
	case s.Lease.SealedTerm >= n:
		return fmt.Errorf("%w: the term is sealed", errNothingToExtend)
	}
	for _, served := range s.Terms {
		if served == n {
			return nil
		}
	}
	return fmt.Errorf("%w: the term is not in the database's lineage yet", errNothingToExtend)
}
