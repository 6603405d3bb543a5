package warden

import (
	"sync"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// memory is what the warden's activities share. Every field is guarded by mu; nothing is called while it is held.
type memory struct {
	mu sync.Mutex

	failover.Memory
	// observed is when the loop last completed an observation; zero before the first.
	observed term.Instant

	// recorded is the newest term that this warden has put into the database's lineage.
	recorded term.Number

	// newer is closed after the next observation, and when the record has changed hands; nil if nobody waits for it.
	newer chan struct{}

	decision failover.Decision
	step     failover.Step
	stepFrom term.Instant
	// extended is the outcome of the last attempt to extend the database's lease.
	extended string
}

// learn takes an answer of the store into account: a record that was read between asked and answered, or one that
// was written with success. It returns whether the record gave trust.
func (w *Warden) learn(r term.Record, asked, answered term.Instant) (trusted bool) {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	before, expired := m.Store.Record, m.Watch.Expired(m.Store.Record)
	trusted = m.Learn(w.cfg.Site, r, asked, answered)
	if failover.ChangedHands(before, m.Store.Record) || !expired && m.Watch.Expired(m.Store.Record) {
		signal(w.loopNow)
		signal(w.divertNow) // the loop may be busy
		m.tellNews()
	}
	if !trusted && failover.Joins(w.cfg.Site, before, m.Store.Record) {
		signal(w.renewNow)
	}
	return trusted
}

// unlearned takes into account that nobody answered; what was known stays.
func (w *Warden) unlearned(err error, now term.Instant) {
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	w.memory.Unlearned(err.Error(), now)
}

// missing takes into account that the store says there is no record.
func (w *Warden) missing(err error, now term.Instant) {
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	w.memory.Missing(err.Error(), now)
}

// noteSent remembers an own renewal before it is sent.
func (w *Warden) noteSent(next term.Record, before term.Instant) {
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	w.memory.Sent(next, before)
}

// noteRefused remembers that the other region refuses a switchover in term n.
func (w *Warden) noteRefused(n term.Number) {
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	w.memory.SwitchoverRefused = n
}

// noteRecorded remembers that term n is in the database's lineage, before an observation shows it.
func (w *Warden) noteRecorded(n term.Number) {
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	w.memory.recorded = max(w.memory.recorded, n)
}

// record returns the newest record known and whether there ever was one.
func (w *Warden) record() (term.Record, bool) {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Store.Record, m.Store.Record.Version > 0
}

// refusals are the newest decision's.
func (w *Warden) refusals() []failover.Refusal {
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	return w.memory.decision.Refusals
}

// observation is everything known, at the present clock.
func (w *Warden) observation() failover.Observation {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return w.observationLocked(w.boot())
}

func (w *Warden) observationLocked(now term.Instant) failover.Observation {
	o := failover.Observation{
		Now: now, WallClock: time.Now().UTC(),
		Site: w.cfg.Site, Peer: w.cfg.PeerSite, Warden: w.cfg.Warden, Settings: w.cfg.Settings,
	}
	w.memory.Fill(&o)
	return o
}

// observed is when the loop last completed an observation; zero before the first.
func (w *Warden) observed() term.Instant {
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	return w.memory.observed
}

// fresh is observation for those who answer others: what the loop has not confirmed for a whole lease is unknown.
func (w *Warden) fresh() failover.Observation {
	o := w.observation()
	observed := w.observed()
	r, _ := w.timing()
	if limit := r.Lease(); observed == 0 || o.Now.Sub(observed) > max(limit, minimumLimit) {
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

// news is closed after the next observation, and when the record has changed hands.
func (w *Warden) news() <-chan struct{} {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newer == nil {
		m.newer = make(chan struct{})
	}
	return m.newer
}

// tellNews wakes those who wait for news.
func (w *Warden) tellNews() {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tellNews()
}

// tellNews is for who holds mu.
func (m *memory) tellNews() {
	if m.newer != nil {
		close(m.newer)
		m.newer = nil
	}
}
