package warden

import (
	"cmp"
	"context"
	"errors"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// runPublisher writes the site's beacon about once per renewal period, and at once when it says something new that the
// other site may be waiting for. It is apart from the loop so that a store that does not answer slows nothing down.
func (w *Warden) runPublisher(ctx context.Context) {
	var (
		sequence int64
		last     term.Beacon
		began    term.Instant
	)
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.publishNow:
		}
		b := w.beacon(sequence)
		if now := w.boot(); !failover.News(last, b) && began != 0 && now.Sub(began) < w.renewEvery() {
			continue
		}
		began, last, sequence = w.boot(), b, b.Sequence
		if err := w.putBeacon(ctx, b); err != nil {
			w.metrics.beacons.WithLabelValues("failed").Inc()
		} else {
			w.metrics.beacons.WithLabelValues("written").Inc()
		}
	}
}

// beacon is the site's report about itself. The approval in the beacon seen last is carried on: an operator put it
// there.
func (w *Warden) beacon(sequence int64) term.Beacon {
	o := w.observation()
	ready, because := failover.Readiness(o)
	b := term.Beacon{
		Deployment: w.cfg.Deployment, Site: w.cfg.Site, Sequence: max(sequence, o.OwnBeacon.Sequence) + 1, Warden: w.cfg.Warden,
		Ready: ready, NotReadyBecause: because, Request: failover.Request(o),
		LineageTerm: o.Database.HighestTerm(), DrainedTerm: o.Database.DrainedTerm,
		CoveredUntil: o.Database.ValidUntil, ReplayedPosition: o.Database.Position, Pin: o.Database.Pin.Report(),
		ObservedWriter: o.Cluster.Writer,
		DesiredTasks:   cmp.Or(o.App.DesiredTasks, o.OwnBeacon.DesiredTasks), RunningTasks: o.App.RunningTasks, HealthyTargets: o.App.HealthyTargets,
		TrustLeftMS: trustLeft(o).Milliseconds(), Journal: w.journal.head(), Mode: string(o.Settings.Mode), MaxLagMS: o.Settings.MaxLag.Milliseconds(), Approval: o.OwnBeacon.Approval, At: o.WallClock,
	}
	if ready {
		b.NotReadyBecause = ""
	}
	for _, refusal := range w.refusals() {
		b.WaitsFor = append(b.WaitsFor, refusal.String())
	}
	if a := b.Approval; a != nil && (a.Term < o.Store.Record.Term || !o.WallClock.Before(a.Expires)) {
		b.Approval = nil // used up or expired: it names a term that is over
	}
	return b
}

func (w *Warden) putBeacon(ctx context.Context, b term.Beacon) error {
	var errs []error
	for _, store := range w.stores {
		attempt, cancel := context.WithTimeout(ctx, w.attemptLimit())
		err := store.PutBeacon(attempt, b)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}
