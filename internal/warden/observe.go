package warden

import (
	"context"
	"sync"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// observe asks everybody, each within its own limit, and returns the new observation.
//
// The parts are not one snapshot, and a sibling acts between them, so their order matters: first the database, then
// its control plane, then the record. A term that shows in the lineage was recorded after the control plane had made
// this site the writer, so a control plane that is asked later and names the other site tells of a later move (P16).
// A record that is read last contains the term of everything in the lineage (P1) and every hand-over that the
// database's state belongs to (P14). Asked at once, they gave the term away for a takeover that was just succeeding.
func (w *Warden) observe(ctx context.Context) failover.Observation { return w.look(ctx, 0) }

// look is observe, but control planes that were asked less than reuse ago are not asked again. That keeps the order above
// only as long as the database shows what it showed when they were asked; otherwise they are asked again.
func (w *Warden) look(ctx context.Context, reuse time.Duration) failover.Observation {
	var (
		wg       sync.WaitGroup
		database failover.DatabaseView
		cluster  failover.ClusterView
		app      failover.AppView
	)
	wg.Go(func() {
		database = w.databaseView(ctx)
		cluster = w.clusterSince(ctx, database, reuse)
		if database.Writer && cluster.Writer == w.cfg.PeerSite {
			database = w.sealedSince(ctx, database)
		}
		_, _ = w.read(ctx) // the memory keeps the outcome
	})
	wg.Go(func() { _ = w.readBeacons(ctx) }) // the memory keeps the outcome
	wg.Go(func() { app = w.appSince(ctx, reuse) })
	wg.Wait()
	exported, saved := w.tailMarks(ctx, database)
	now := w.boot()
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Database, m.Cluster, m.App, m.TailExported, m.observed = database, cluster, app, exported, now
	m.TailSaved = saved
	o := w.observationLocked(now)
	m.Observed(&o)
	return o
}

// recall is the observation that the memory holds. After an own write it is in the order above: the record is newer than what
// was seen of database and control plane. How old that may be is for the caller to say.
func (w *Warden) recall() failover.Observation {
	now := w.boot()
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	o := w.observationLocked(now)
	m.Observed(&o)
	return o
}

// answers are what the control planes said last, when they were asked, and over which state of the database.
type answers struct {
	cluster             failover.ClusterView
	database            failover.DatabaseView
	app                 failover.AppView
	clusterAt, appAsked term.Instant
}

func (w *Warden) clusterSince(ctx context.Context, database failover.DatabaseView, reuse time.Duration) failover.ClusterView {
	a, now := &w.answers, w.boot()
	same := a.database.Reachable == database.Reachable && a.database.Writer == database.Writer &&
		a.database.HighestTerm() == database.HighestTerm() && a.database.SealedTerm == database.SealedTerm &&
		a.database.DrainedTerm == database.DrainedTerm
	if a.clusterAt == 0 || !same || now.Sub(a.clusterAt) >= reuse {
		a.database, a.clusterAt = database, now
		a.cluster = w.clusterView(ctx)
	}
	return a.cluster
}

func (w *Warden) appSince(ctx context.Context, reuse time.Duration) failover.AppView {
	a, now := &w.answers, w.boot()
	if a.appAsked == 0 || now.Sub(a.appAsked) >= reuse {
		a.appAsked = now
		a.app = w.appView(ctx)
	}
	return a.app
}

// sealedSince looks again at a database that was the writer when the control plane, asked afterwards, named the other
// site: a sibling may have sealed and drained it and moved the writer in between. The lineage stays the older one, so
// that it still was read before the control plane.
func (w *Warden) sealedSince(ctx context.Context, before failover.DatabaseView) failover.DatabaseView {
	again := w.databaseView(ctx)
	if !again.Reachable {
		return again // unknown: the next observation will tell
	}
	before.SealedTerm, before.DrainedTerm, before.LeaseValid = again.SealedTerm, again.DrainedTerm, again.LeaseValid
	return before
}

// readBeacons takes both sites' beacons into account; without an answer what was known grows older.
func (w *Warden) readBeacons(ctx context.Context) error {
	found, answered, err := w.beacons(ctx)
	if err != nil {
		return err
	}
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	w.memory.Beacons(beaconOf(found, w.cfg.Site), beaconOf(found, w.cfg.PeerSite), answered)
	return nil
}

// beaconOf returns a site's beacon, or nil.
func beaconOf(found map[string]term.Beacon, site string) *term.Beacon {
	if b, there := found[site]; there {
		return &b
	}
	return nil
}

func (w *Warden) databaseView(ctx context.Context) failover.DatabaseView {
	ctx, cancel := context.WithTimeout(ctx, w.callLimit())
	defer cancel()
	asked := w.boot()
	r, _ := w.record()
	s, err := w.db.Sample(ctx)
	if err != nil {
		return failover.DatabaseView{Err: err.Error()}
	}
	v := databaseView(s, asked)
	v.AskedIn = r.Term
	return v
}

// databaseView is what decisions need of a sample that was asked for at asked: what is counted from before the database's
// clock was read is made safer by a slow answer.
func databaseView(s fence.State, asked term.Instant) failover.DatabaseView {
	return failover.DatabaseView{
		Reachable: true, Writer: !s.InRecovery, Terms: s.Terms, LeaseTerm: s.Lease.Term, SealedTerm: s.Lease.SealedTerm,
		DrainedTerm: s.Lease.DrainedTerm, Renewal: s.Lease.Renewal, ValidUntil: s.Lease.ValidUntil, LeaseValid: s.LeaseValid(), LeaseHere: s.LeaseHere(), Position: s.Position,
		Time: s.DatabaseTime, Asked: asked, Pin: pinView(s, asked),
	}
}

func pinView(s fence.State, asked term.Instant) failover.PinView {
	p := s.Pin
	v := failover.PinView{
		ID: p.ID, Term: p.Term, Site: p.Site, Confirmed: p.Confirmed, Ended: !p.EndedAt.IsZero(),
		For: p.For, Lease: p.Lease, Margin: p.Margin, PinnedAt: p.PinnedAt, EndedAt: p.EndedAt,
	}
	if p.ID != 0 && p.ServerStarted.Equal(s.ServerStarted) {
		v.Until = asked.Add(p.End().Sub(s.DatabaseTime))
	}
	return v
}

func (w *Warden) clusterView(ctx context.Context) failover.ClusterView {
	ctx, cancel := context.WithTimeout(ctx, w.callLimit())
	defer cancel()
	v, err := w.cluster.View(ctx)
	if err != nil {
		return failover.ClusterView{Err: err.Error()}
	}
	return v
}

func (w *Warden) appView(ctx context.Context) failover.AppView {
	ctx, cancel := context.WithTimeout(ctx, w.callLimit())
	defer cancel()
	v, err := w.app.View(ctx)
	if err != nil {
		return failover.AppView{Err: err.Error()}
	}
	return v
}
