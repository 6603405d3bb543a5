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
	for began, urgent := w.boot(), false; ctx.Err() == nil; {
		turn := w.boot()
		if r, known := w.record(); known && r.Holder != w.cfg.Site {
			_, _ = w.read(ctx) // the memory keeps the outcome
			o := w.observation()
			rest(ctx, failover.NextLook(&o.Store, o.Watch)-w.boot().Sub(turn), w.renewNow)
			began, urgent = turn, true // should the site have acquired the term by now, that has renewed it
			continue
		}
		if w.renew(ctx, urgent) {
			began = turn
		}
		urgent = rest(ctx, w.renewEvery()-w.boot().Sub(began), w.renewNow)
	}
}

// renew tries to renew once, against a fresh record. An urgent renewal is asked for by who has just read it; if that is out of
// date all the same, the write is refused (P2). It returns false if one that was urgent comes to nothing, so that the next
// regular one must not wait for it.
func (w *Warden) renew(ctx context.Context, urgent bool) (tried bool) {
	if !urgent {
		if _, err := w.read(ctx); err != nil {
			w.metrics.renewals.WithLabelValues("unreadable").Inc()
			return true
		}
	}
	for range renewalTries {
		o := w.observation()
		next, ok := failover.Renew(o)
		if !ok || urgent && !failover.Urgent(o) {
			return !urgent
		}
		err := w.write(ctx, next, true)
		switch {
		case err == nil:
			w.metrics.renewals.WithLabelValues("renewed").Inc()
			return true
		case !errors.Is(err, term.ErrConflict):
			w.metrics.renewals.WithLabelValues("unknown").Inc()
			w.journal.event("renewal failed", "error", err.Error())
			return true
		}
		w.metrics.renewals.WithLabelValues("conflict").Inc() // and the record has been read again
	}
	return true
}

// sleep waits, at least until other goroutines had their turn, and returns false when ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	rest(ctx, d, nil)
	return ctx.Err() == nil
}

// rest is a sleep that a signal ends too, or the end of ctx; it returns whether it was the signal.
func rest(ctx context.Context, d time.Duration, wake <-chan struct{}) (woken bool) {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
		return true
	case <-timer.C:
	}
	return false
}
