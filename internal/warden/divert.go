package warden

import (
	"context"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// Balancer is the listener through which the site's application is reached.
type Balancer interface {
	// Diverted says whether the application's requests are given to the wardens.
	Diverted(ctx context.Context) (bool, error)
	// Divert gives them to the wardens, or back to the application.
	Divert(ctx context.Context, on bool) error
}

// divertLook is how often the balancer is asked whether it still is as it was set, in renewal periods: a sibling with an
// older view, or a person, may have changed it.
const divertLook = 8

// runDiverter holds the balancer at what [failover.Forward] says.
func (w *Warden) runDiverter(ctx context.Context) {
	var d diverter
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.divertNow:
		}
		if w.balancer != nil {
			w.divert(ctx, &d)
		}
	}
}

// diverter remembers what the balancer said last; looked is zero if it has not said anything.
type diverter struct {
	on     bool
	looked term.Instant
}

func (w *Warden) divert(ctx context.Context, d *diverter) {
	o := w.fresh()
	want, known := failover.Forward(o)
	if !known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.callLimit())
	defer cancel()
	if d.looked == 0 || o.Now.Sub(d.looked) >= divertLook*w.renewEvery() {
		on, err := w.balancer.Diverted(ctx)
		if err != nil {
			w.diverted("look", err)
			return
		}
		d.on, d.looked = on, o.Now
	}
	if d.on == want.Divert {
		return
	}
	if err := w.balancer.Divert(ctx, want.Divert); err != nil {
		d.looked = 0 // it may have happened
		w.diverted("set", err)
		return
	}
	d.on, d.looked = want.Divert, w.boot()
	w.metrics.diversions.WithLabelValues("set").Inc()
	w.journal.event("requests", "diverted", want.Divert, "term", o.Store.Record.Term, "holder", o.Store.Record.Holder)
}

func (w *Warden) diverted(what string, err error) {
	w.metrics.diversions.WithLabelValues("failed").Inc()
	if w.journal.repeats(failover.Step("divert"), err) {
		return
	}
	w.journal.event("requests", "failed", what, "error", err.Error())
}
