package failover

import (
	"cmp"
	"slices"
	"time"

	"holdfast/internal/term"
)

// Memory is what one warden keeps between two observations: the newest answers, what they are worth as trust and as a
// watch, and since when conditions have held. Like [Decide] it reads no clock and calls nobody, so the simulation runs
// the very code that counts a warden's trust. It is not safe for concurrent use; the zero value remembers nothing.
type Memory struct {
	// Store is the newest answer of the term store, Trust what own renewals give, Watch what was seen of the record.
	Store StoreView
	Trust term.Trust
	Watch term.Watch
	// Database, Cluster, App and TailExported are the newest observation's; see [Memory.Observed].
	Database     DatabaseView
	Cluster      ClusterView
	App          AppView
	TailExported bool
	TailSaved    term.Number
	// SwitchoverRefused is noted by whoever asked for the switchover. It is about one term: in the next one the other
	// region is asked again.
	SwitchoverRefused term.Number
	// Own is the own site's beacon as the store has it.
	Own term.Beacon

	// learned is when Store was last replaced by an answer.
	learned term.Instant
	// sent are the own writes that move the watched pair (term, renewal), oldest first: their confirmation gives trust from
	// the time before the first attempt on, whenever and however it is seen (P4).
	sent []ownWrite
	peer peerBeacon
	held conditions
	// peerTasks is how many tasks the other site wanted when it was last seen to serve, 0 if it never was. Once the term
	// has left it, it scales in with the load that it has lost.
	peerTasks int
}

// ownWrite is a write of this warden, by its nonce, and the time before its first attempt.
type ownWrite struct {
	nonce  string
	before term.Instant
}

// Sent remembers an own renewal before it is sent, and forgets those that can't give any trust any more.
func (m *Memory) Sent(next term.Record, before term.Instant) {
	m.sent = slices.DeleteFunc(m.sent, func(s ownWrite) bool { return before.Sub(s.before) > next.Lease() })
	m.sent = append(m.sent, ownWrite{next.Nonce, before})
}

// sentBefore is the time before the own write with the nonce was sent, if it is remembered. The newest is looked at first.
func (m *Memory) sentBefore(nonce string) (before term.Instant, ok bool) {
	for _, s := range slices.Backward(m.sent) {
		if s.nonce == nonce {
			return s.before, true
		}
	}
	return 0, false
}

// Learn takes an answer of the store into account: a record that was read by the site between asked and answered, or
// one that it wrote with success. It returns whether the record gave trust.
func (m *Memory) Learn(site string, r term.Record, asked, answered term.Instant) (trusted bool) {
	if before, ok := m.sentBefore(r.Nonce); ok && r.Holder == site {
		trust := term.Trusted(r, before)
		if trust.Term > m.Trust.Term || trust.Term == m.Trust.Term && trust.Until > m.Trust.Until {
			m.Trust, trusted = trust, true
		}
	}
	// Calls overlap: an answer asked for before the newest one came may be older than it.
	if asked < m.learned && r.Version < m.Store.Record.Version {
		return trusted
	}
	m.Store = StoreView{Readable: true, Record: r}
	m.Watch = m.Watch.Observe(r, answered)
	m.learned = answered
	return trusted
}

// Unlearned takes into account that nobody answered; what was known stays.
func (m *Memory) Unlearned(cause string, now term.Instant) {
	m.Store.Readable, m.Store.Missing, m.Store.Err = false, false, cause
	m.Watch = m.Watch.Unreadable(now)
}

// Missing takes into account that the store says there is no record.
func (m *Memory) Missing(cause string, now term.Instant) {
	m.Store = StoreView{Missing: true, Err: cause, Record: m.Store.Record}
	m.Watch = m.Watch.Unreadable(now)
	m.learned = now
}

// Beacons takes both sites' beacons into account. A missing one is nil.
func (m *Memory) Beacons(own, peer *term.Beacon, answered term.Instant) {
	m.peer.observe(peer, answered)
	m.Own = term.Beacon{}
	if own != nil {
		m.Own = *own
	}
}

// Observed takes into account since when conditions hold, once an observation made from this memory is complete, and says
// so in it.
func (m *Memory) Observed(o *Observation) {
	m.held.observe(o)
	o.For = m.held.at(o.Now)
	if r := &o.Store.Record; r.Holder == o.Peer && r.State == term.Held && r.ServedTerm == r.Term {
		m.peerTasks = cmp.Or(m.peer.beacon.DesiredTasks, m.peerTasks)
	}
	o.PeerTasks = m.wantedThere()
}

func (m *Memory) wantedThere() int { return cmp.Or(m.peerTasks, m.peer.beacon.DesiredTasks) }

// Fill completes an observation, whose Now and identity the caller has set, with everything that is remembered.
func (m *Memory) Fill(o *Observation) {
	o.Store, o.Trust, o.Watch = m.Store, m.Trust, m.Watch
	o.Database, o.Cluster, o.App, o.TailExported, o.TailSaved = m.Database, m.Cluster, m.App, m.TailExported, m.TailSaved
	o.SwitchoverRefused = m.SwitchoverRefused
	o.PeerBeacon, o.PeerBeaconSeen, o.OwnBeacon = m.peer.beacon, m.peer.seen, m.Own
	o.PeerTasks = m.wantedThere()
	if m.peer.seen {
		o.PeerBeaconAge = o.Now.Sub(m.peer.moved)
	}
	o.For = m.held.at(o.Now)
}

// peerBeacon judges the other site's beacon by the own clock: only a change of its sequence is a sign of life.
type peerBeacon struct {
	beacon term.Beacon
	// asked is true after the first answered read; a beacon that was there already then is of unknown age.
	asked, present, seen bool
	moved                term.Instant
}

func (p *peerBeacon) observe(b *term.Beacon, answered term.Instant) {
	present := b != nil
	appeared := p.asked && present && !p.present
	moved := p.present && present && b.Sequence != p.beacon.Sequence
	if appeared || moved {
		p.seen, p.moved = true, answered
	}
	p.asked, p.present = true, present
	if present {
		p.beacon = *b
	}
}

// conditions notes since when conditions have held, on the boot clock. They belong to one term in one phase: a change
// of term, holder or served term starts them anew, so that the health gate begins after the first serving of a term
// (P19) and a promotion that took long does not count as an outage.
type conditions struct {
	phase phase
	// Each is the instant since which the condition holds, zero if it does not.
	databaseDown, appDown, balancerDown, wanted, handoff, unserved, moved term.Instant
	wantedAs                                                              term.Wanted
	// The instants since which an outage that was noted seems to be over.
	databaseWell, appWell, balancerWell term.Instant
	// pin is the pin that pinSeen and pinEnded are about; all three outlive the phase.
	pin               int64
	pinSeen, pinEnded term.Instant
}

type phase struct {
	term, served term.Number
	holder       string
}

// observe takes one observation into account.
func (c *conditions) observe(o *Observation) {
	r := &o.Store.Record
	if p := (phase{r.Term, r.ServedTerm, r.Holder}); p != c.phase {
		*c = conditions{phase: p, wanted: c.wanted, wantedAs: c.wantedAs, pin: c.pin, pinSeen: c.pinSeen, pinEnded: c.pinEnded}
	}
	holding := r.Holder == o.Site
	served := holding && r.ServedTerm == r.Term
	// Before the term is served "not the writer" means nothing (P16); afterwards a database that can't be written to
	// is as good as none.
	down := holding && !o.Database.Reachable || served && databaseAilment(o) != ""
	c.outage(&c.databaseDown, &c.databaseWell, down, o.Now, o.Settings.DatabaseThreshold)
	// A control plane that does not answer says nothing about the application: it neither starts nor ends an outage.
	if !served || o.App.Known {
		noTarget := served && o.App.HealthyTargets == 0
		c.outage(&c.appDown, &c.appWell, noTarget && noTasks(o), o.Now, o.Settings.AppThreshold)
		c.outage(&c.balancerDown, &c.balancerWell, noTarget, o.Now, o.Settings.BalancerThreshold)
	}
	var wanted term.Wanted
	if r.Wanted != nil {
		wanted = *r.Wanted
	}
	if wanted != c.wantedAs {
		c.wanted, c.wantedAs = 0, wanted
	}
	since(&c.wanted, r.Wanted != nil, o.Now)
	since(&c.unserved, holding && !served, o.Now)
	since(&c.moved, movedAway(o), o.Now)
	sealed := holding && r.State == term.Held && o.Database.Reachable && o.Database.SealedTerm >= r.Term
	// An unreachable database does not end a hand-over that was seen.
	unsure := holding && r.State == term.Held && !o.Database.Reachable && c.handoff != 0
	since(&c.handoff, sealed || unsure || r.State == term.Granted, o.Now)
	c.observePin(o)
}

// observePin remembers when a pin was first seen, whatever has become of the database since: it can only be older (P18).
func (c *conditions) observePin(o *Observation) {
	p := &o.Database.Pin
	if !o.Database.Reachable || p.ID == 0 {
		return
	}
	if p.ID != c.pin {
		c.pin, c.pinSeen, c.pinEnded = p.ID, o.Now, 0
	}
	if p.Ended && c.pinEnded == 0 {
		c.pinEnded = o.Now
	}
}

// outage notes since when something is down. One that comes and goes counts as one: it is over when it has been over for
// a quarter of its threshold. While a term is not served yet there is nothing to come and go.
func (c *conditions) outage(from, well *term.Instant, down bool, now term.Instant, threshold time.Duration) {
	switch {
	case down || *from == 0:
		*well = 0
		since(from, down, now)
	case c.phase.served != c.phase.term || threshold == 0:
		*from = 0
	case *well == 0:
		*well = now
	case now.Sub(*well) >= threshold/4:
		*from, *well = 0, 0
	}
}

func since(from *term.Instant, holds bool, now term.Instant) {
	switch {
	case !holds:
		*from = 0
	case *from == 0:
		*from = now
	}
}

// at says how long each condition has held by now.
func (c *conditions) at(now term.Instant) Durations {
	return Durations{
		DatabaseDown: elapsed(c.databaseDown, now), AppDown: elapsed(c.appDown, now), BalancerDown: elapsed(c.balancerDown, now), Wanted: elapsed(c.wanted, now),
		Handoff: elapsed(c.handoff, now), Unserved: elapsed(c.unserved, now), WriterMoved: elapsed(c.moved, now),
		PinSeen: elapsed(c.pinSeen, now), PinEnded: elapsed(c.pinEnded, now),
	}
}

func elapsed(from, now term.Instant) time.Duration {
	if from == 0 {
		return 0
	}
	return now.Sub(from)
}
