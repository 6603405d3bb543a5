package warden

import (
	"context"
	"errors"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// renewalTries is how often one renewal starts again after it lost to another write; the site's wardens write the same
// record, so losing once is common and losing three times is not.
const renewalTries = 3

// runRenewer renews the lease as long as the own site holds the term (P4), and watches the record as long as the other
// one does (P5). It shares nothing with the other activities but the memory, so that none of them can delay it.
func (w *Warden) runRenewer(ctx context.Context) {
	for {
		began := w.boot()
		pause := w.renewEvery()
		if r, known := w.record(); !known || r.Holder == w.cfg.Site {
			w.renew(ctx)
		} else {
			_, _ = w.read(ctx) // the memory keeps the outcome
			o := w.observation()
			pause = failover.NextLook(&o.Store, o.Watch)
		}
		if !rest(ctx, pause-w.boot().Sub(began), w.renewNow) {
			return
		}
	}
}

// renew tries to renew once, against a fresh record.
func (w *Warden) renew(ctx context.Context) {
	for range renewalTries {
		if _, err := w.read(ctx); err != nil {
			w.metrics.renewals.WithLabelValues("unreadable").Inc()
			return
		}
		next, ok := failover.Renew(w.observation())
		if !ok {
			return
		}
		err := w.write(ctx, next, true)
		switch {
		case err == nil:
			w.metrics.renewals.WithLabelValues("renewed").Inc()
			return
		case !errors.Is(err, term.ErrConflict):
			w.metrics.renewals.WithLabelValues("unknown").Inc()
			w.journal.event("renewal failed", "error", err.Error())
			return
		}
		w.metrics.renewals.WithLabelValues("conflict").Inc()
	}
}

// sleep waits, at least until other goroutines had their turn, and returns false when ctx ended.
func sleep(ctx context.Context, d time.Duration) bool { return rest(ctx, d, nil) }

// rest is a sleep that a signal ends.
func rest(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}
