package warden

import (
	"maps"
	"sync"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// memory is what the warden's activities share. Every field is guarded by mu; nothing is called while it is held.
type memory struct {
	mu sync.Mutex

	store failover.StoreView
	// learned is when the store's view was last replaced by an answer.
	learned term.Instant
	trust   term.Trust
	watch   term.Watch
	// sent are the own writes that move the watched pair (term, renewal), by nonce: their confirmation gives trust,
	// from the time noted here, whenever and however it is seen (P4).
	sent map[string]sentRenewal

	database failover.DatabaseView
	cluster  failover.ClusterView
	app      failover.AppView
	own      term.Beacon
	peer     peerBeacon
	held     durations
	exported bool
	// observed is when the loop last completed an observation; zero before the first.
	observed term.Instant

	decision failover.Decision
	step     failover.Step
	stepFrom term.Instant
	// extended is the outcome of the last attempt to extend the database's lease.
	extended string
}

type sentRenewal struct{ before term.Instant }

// peerBeacon judges the other site's beacon by the own clock: only a change of its sequence is a sign of life.
type peerBeacon struct {
	beacon term.Beacon
	// asked is true after the first answered read; a beacon that was there already then is of unknown age.
	asked, present, seen bool
	moved                term.Instant
}

func (p *peerBeacon) observe(b term.Beacon, present bool, answered term.Instant) {
	appeared := p.asked && present && !p.present
	moved := p.present && present && b.Sequence != p.beacon.Sequence
	if appeared || moved {
		p.seen, p.moved = true, answered
	}
	p.asked, p.present = true, present
	if present {
		p.beacon = b
	}
}

// learn takes an answer of the store into account: a record that was read between asked and answered, or one that
// was written with success. It returns whether the record gave trust.
func (w *Warden) learn(r term.Record, asked, answered term.Instant) (trusted bool) {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if sent, ok := m.sent[r.Nonce]; ok && r.Holder == w.cfg.Site {
		trust := term.Trusted(r, sent.before)
		if trust.Term > m.trust.Term || trust.Term == m.trust.Term && trust.Until > m.trust.Until {
			m.trust, trusted = trust, true
		}
	}
	// Calls overlap: an answer asked for before the newest one came may be older than it.
	if asked < m.learned && r.Version < m.store.Record.Version {
		return trusted
	}
	m.store = failover.StoreView{Readable: true, Record: r}
	m.watch = m.watch.Observe(r, answered)
	m.learned = answered
	return trusted
}

// unlearned takes into account that nobody answered; what was known stays.
func (w *Warden) unlearned(err error, now term.Instant) {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store.Readable, m.store.Missing, m.store.Err = false, false, err.Error()
	m.watch = m.watch.Unreadable(now)
}

// missing takes into account that the store says there is no record.
func (w *Warden) missing(err error, now term.Instant) {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store = failover.StoreView{Missing: true, Err: err.Error(), Record: m.store.Record}
	m.watch = m.watch.Unreadable(now)
	m.learned = now
}

// noteSent remembers an own renewal before it is sent, and forgets those that can't give any trust any more.
func (w *Warden) noteSent(next term.Record, before term.Instant) {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.sent, func(_ string, s sentRenewal) bool {
		return before.Sub(s.before) > next.Lease()
	})
	m.sent[next.Nonce] = sentRenewal{before: before}
}

// record returns the newest record known and whether there ever was one.
func (w *Warden) record() (term.Record, bool) {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store.Record, m.store.Record.Version > 0
}

// observation is everything known, at the present clock.
func (w *Warden) observation() failover.Observation {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return w.observationLocked(w.boot())
}

func (w *Warden) observationLocked(now term.Instant) failover.Observation {
	m := &w.memory
	o := failover.Observation{
		Now: now, WallClock: time.Now().UTC(),
		Site: w.cfg.Site, Peer: w.cfg.PeerSite, Warden: w.cfg.Warden, Settings: w.cfg.Settings,
		Store: m.store, Trust: m.trust, Watch: m.watch, Database: m.database, Cluster: m.cluster, App: m.app,
		PeerBeacon: m.peer.beacon, PeerBeaconSeen: m.peer.seen, OwnBeacon: m.own,
		For: m.held.at(now), TailExported: m.exported,
	}
	if m.peer.seen {
		o.PeerBeaconAge = now.Sub(m.peer.moved)
	}
	return o
}

// fresh is observation for those who answer others: what the loop has not confirmed for a whole lease is unknown.
func (w *Warden) fresh() failover.Observation {
	o := w.observation()
	w.memory.mu.Lock()
	observed := w.memory.observed
	w.memory.mu.Unlock()
	if limit := o.Store.Record.Lease(); observed == 0 || o.Now.Sub(observed) > max(limit, minimumLimit) {
		const stale = "not observed for longer than the lease"
		o.Database = failover.DatabaseView{Err: stale}
		o.App = failover.AppView{Err: stale}
		o.Cluster = failover.ClusterView{Err: stale}
	}
	return o
}

// signal wakes an activity; a signal that it has not taken yet is enough.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
