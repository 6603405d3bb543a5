package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// Options say what to simulate.
type Options struct {
	// Lease and Margin are the deployment's own; zero means 20 s and 2.5 s.
	Lease, Margin time.Duration
	// Faults bounds how many faults a run injects; zero means up to 6.
	Faults int
	// Mutation switches a rule off; empty means the protocol as it is.
	Mutation Mutation
}

// Result is what one run showed.
type Result struct {
	Seed uint64
	// Violation is empty, or names the invariant and what broke it.
	Violation string
	// Terms counts the terms that passed a commit check, Acknowledged the payments acknowledged, Lost those of them that
	// only an old volume has.
	Terms, Acknowledged, Lost int
	// RTO is the longest time without an acknowledged payment after a region was lost; RPO the largest age, at the loss,
	// of a payment that did not survive. Both are zero if no region was lost.
	RTO, RPO time.Duration
	// Waiting is what the wardens wait for if nobody serves at the end.
	Waiting string
}

// phases of a run: faults are injected in the first, healed at its end, and the second must end with a serving site.
const (
	faultPhase = 8 * time.Minute
	quietPhase = 12 * time.Minute
)

type world struct {
	now       instant
	events    queue
	scheduled int
	rng       *rand.Rand
	mutation  Mutation
	violation string

	store   store
	control control
	sites   [2]*site
	// linkUp is the replication link between the sites.
	linkUp bool

	lease, margin time.Duration
	// passed[t] is the site where term t passed its first commit check; latest is the highest such term.
	passed       map[term.Number]*site
	latest       term.Number
	nextPayment  int
	acknowledged map[int]instant
	// tails are the volumes that a rejoin has set aside.
	tails   []*volume
	nonces  int
	lostAt  []instant
	lastAck instant
	rto     time.Duration
	slow    float64
}

// site is one region: its database, its wardens, its application.
type site struct {
	w            *world
	name         string
	peer         *site
	up           bool
	storeReach   bool
	controlReach bool
	db           *database
	wardens      []*warden
	app          *application
}

// Run simulates one seed.
func Run(seed uint64, opt Options) Result {
	w := newWorld(seed, opt)
	w.scheduleFaults(opt.Faults)
	w.runUntil(faultPhase)
	w.heal()
	w.runUntil(faultPhase + quietPhase)
	w.checkEnd()
	return w.result(seed)
}

func newWorld(seed uint64, opt Options) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 0x486f6c6466617374)), mutation: opt.Mutation, linkUp: true,
		lease: opt.Lease, margin: opt.Margin, passed: map[term.Number]*site{}, acknowledged: map[int]instant{},
	}
	if w.lease == 0 {
		w.lease, w.margin = 20*time.Second, 2500*time.Millisecond
	}
	// Some runs have a slow network, most do not.
	w.slow = 0.002
	if w.chance(0.3) {
		w.slow = 0.03
	}
	first := &volume{}
	for i, name := range []string{"primary", "dr"} {
		s := &site{w: w, name: name, up: true, storeReach: true, controlReach: true}
		s.db = &database{w: w, site: s, volume: first.fork(), clock: w.newClock(), server: w.rng.Uint64()}
		w.sites[i] = s
	}
	w.sites[0].peer, w.sites[1].peer = w.sites[1], w.sites[0]
	w.sites[0].db.writer = true
	w.control = control{w: w, writer: w.sites[0]}
	w.store = newStore(w)
	for _, s := range w.sites {
		s.app = newApplication(s)
		for i := range 2 {
			s.wardens = append(s.wardens, newWarden(s, fmt.Sprintf("%s/%d", s.name, i+1)))
		}
	}
	return w
}

func (w *world) newClock() clock {
	return clock{rate: 0.995 + 0.01*w.rng.Float64(), offset: time.Duration(w.rng.Int64N(int64(time.Hour)))}
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rng.Int64N(int64(high-low)+1))
}

// latency is one way of a request: milliseconds, now and then longer than a whole lease.
func (w *world) latency() time.Duration {
	if w.chance(w.slow) {
		return w.between(0, 2*w.lease)
	}
	return w.between(time.Millisecond, 80*time.Millisecond)
}

func (w *world) fail(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf("at %v: ", w.now) + fmt.Sprintf(format, args...)
	}
}

func (w *world) is(m Mutation) bool { return w.mutation == m }

// checkPassed is called at every commit check that passes (I1).
func (w *world) checkPassed(s *site, t term.Number) {
	if first, ok := w.passed[t]; ok && first != s {
		w.fail("I1: term %d passed a commit check at %s and at %s", t, first.name, s.name)
	}
	if t < w.latest {
		w.fail("I1: a commit check passed at %s under term %d after term %d had begun", s.name, t, w.latest)
	}
	w.passed[t] = s
	w.latest = max(w.latest, t)
}

// acknowledge is called when the application answers its client (I1, I2).
func (w *world) acknowledge(s *site, payment int, t term.Number) {
	if t < w.latest {
		w.fail("I1: payment %d was acknowledged at %s under term %d after term %d had begun", payment, s.name, t, w.latest)
	}
	w.acknowledged[payment] = w.now
	for _, lost := range w.lostAt {
		if w.lastAck < lost {
			w.rto = max(w.rto, w.now-lost)
		}
	}
	w.lastAck = w.now
}

// checkGranted is called when a site takes a granted term: whatever was acknowledged must be on its volume (I2).
func (w *world) checkGranted(target *site) {
	for payment := range w.acknowledged {
		if !target.db.volume.has(payment) && !w.onTail(payment) {
			w.fail("I2: the granted hand-over to %s lost payment %d", target.name, payment)
		}
	}
}

func (w *world) onTail(payment int) bool {
	for _, v := range w.tails {
		if v.has(payment) {
			return true
		}
	}
	return false
}

// checkEnd runs when faults have been healed for a long time (I2, I5).
func (w *world) checkEnd() {
	if w.violation != "" {
		return
	}
	for payment := range w.acknowledged {
		if !w.control.writer.db.volume.has(payment) && !w.onTail(payment) && !w.control.writer.peer.db.volume.has(payment) {
			w.fail("I2: acknowledged payment %d is on no volume", payment)
		}
	}
	if w.now-w.lastAck > time.Minute && w.waiting() == "" {
		w.fail("I5: nobody has acknowledged a payment for %v and no warden names a decision it waits for: %s", w.now-w.lastAck, w.describe())
	}
}

// waiting returns a gate that only an operator opens, if a warden stands before one.
func (w *world) waiting() string {
	if !w.store.exists {
		return "the term record is gone: only an operator may create one (P1)"
	}
	for _, s := range w.sites {
		for _, d := range s.wardens {
			for _, r := range d.decision.Refusals {
				return s.name + ": " + r.Gate + ": " + r.Current + ", want " + r.Wanted
			}
			if d.staleWriter() {
				return s.name + ": a stale copy was promoted by hand"
			}
		}
	}
	return ""
}

func (w *world) describe() string {
	text := fmt.Sprintf("record %+v, writer %s", w.store.record, w.control.writer.name)
	for _, s := range w.sites {
		text += fmt.Sprintf("; %s: database writer %v, terms %v, row %+v", s.name, s.db.writer, s.db.terms(), s.db.volume.row)
		for _, d := range s.wardens {
			text += fmt.Sprintf("; %s: %s (%s)", d.name, d.decision.Step, d.decision.Reason)
		}
	}
	return text
}

func (w *world) result(seed uint64) Result {
	r := Result{Seed: seed, Violation: w.violation, Terms: len(w.passed), Acknowledged: len(w.acknowledged), RTO: w.rto}
	survivor := w.control.writer.db.volume
	for payment, at := range w.acknowledged {
		if survivor.has(payment) {
			continue
		}
		r.Lost++
		for _, lost := range w.lostAt {
			if at < lost {
				r.RPO = max(r.RPO, lost-at)
			}
		}
	}
	if w.now-w.lastAck > time.Minute {
		r.Waiting = w.waiting()
	}
	return r
}

func (w *world) settings() failover.Settings {
	return failover.Settings{
		Mode: failover.Automatic, MaxLag: 5 * time.Minute, DatabaseThreshold: time.Minute,
		AppThreshold: time.Minute, HandoffTimeout: 2 * time.Minute, BeaconMaxAge: 30 * time.Second,
	}
}
