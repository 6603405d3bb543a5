package warden

import (
	"context"
	"sync"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// observe asks everybody at once, each within its own limit, and returns the new observation.
func (w *Warden) observe(ctx context.Context) failover.Observation {
	var (
		wg       sync.WaitGroup
		database failover.DatabaseView
		cluster  failover.ClusterView
		app      failover.AppView
	)
	wg.Go(func() { _, _ = w.read(ctx) }) // the memory keeps the outcome
	wg.Go(func() { w.readBeacons(ctx) })
	wg.Go(func() { database = w.databaseView(ctx) })
	wg.Go(func() { cluster = w.clusterView(ctx) })
	wg.Go(func() { app = w.appView(ctx) })
	wg.Wait()
	exported := w.tailExported(database)
	now := w.boot()
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.database, m.cluster, m.app, m.exported, m.observed = database, cluster, app, exported, now
	m.held.observe(w.observationLocked(now))
	return w.observationLocked(now)
}

// readBeacons takes both sites' beacons into account; without an answer what was known grows older.
func (w *Warden) readBeacons(ctx context.Context) {
	found, answered, err := w.beacons(ctx)
	if err != nil {
		return
	}
	own, ownPresent := found[w.cfg.Site]
	peer, peerPresent := found[w.cfg.PeerSite]
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peer.observe(peer, peerPresent, answered)
	if ownPresent {
		m.own = own
	} else {
		m.own = term.Beacon{}
	}
}

func (w *Warden) databaseView(ctx context.Context) failover.DatabaseView {
	ctx, cancel := context.WithTimeout(ctx, w.callLimit())
	defer cancel()
	s, err := w.db.Sample(ctx)
	if err != nil {
		return failover.DatabaseView{Err: err.Error()}
	}
	return databaseView(s)
}

func databaseView(s fence.State) failover.DatabaseView {
	return failover.DatabaseView{
		Reachable: true, Writer: !s.InRecovery, Terms: s.Terms, LeaseTerm: s.Lease.Term, SealedTerm: s.Lease.SealedTerm,
		DrainedTerm: s.Lease.DrainedTerm, Renewal: s.Lease.Renewal, LeaseValid: s.LeaseValid(), Position: s.Position,
	}
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
