package simulation

import (
	"strconv"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// warden goes through the motions of package warden: a renewer, an extender, a loop with one step at a time and a
// publisher share one memory, each a chain of requests that may be slow, lost or answered late. What is decided and
// what is trusted is package failover's and package term's own code.
type warden struct {
	process
	index    int
	memory   failover.Memory
	decision failover.Decision
	look     look
	answers  answers
	// stale is what a cache says that stands before the control plane until staleUntil.
	stale      failover.ClusterView
	staleUntil instant
	// The loop: whether an observation is under way, whether a step is, and the step that was begun last. A step that ends
	// during an observation is done, and effective, until the next pause takes note of it; loopNow is a signal that a pause
	// has not taken yet; recalls says that nothing but the record has changed, by an own write, so that what was seen is
	// recalled.
	observing, busy, done, effective, recalls, loopNow bool
	last                                               failover.Attempt
	// reuse is how long an answer of a control plane may be used again.
	reuse time.Duration
	// round tells the pauses of the loop apart; pausing: one is under way that a signal ends.
	round   int
	pausing bool
	// The renewer, the extender and the publisher hold one signal at most; renewRound tells the renewer's pauses apart,
	// renewBegan is when the turn began from which the next one is counted.
	renewing, renewAgain     bool
	renewRound               int
	renewBegan               term.Instant
	extending, extendAgain   bool
	publishing, publishAgain bool
	sequence                 int64
	published                term.Beacon
	publishedAt              term.Instant
	// recorded is the newest term that the warden has put into the lineage.
	recorded term.Number
	// localLease is how much longer a lease the warden's own settings say, which only LocalSettings lets it trust.
	localLease time.Duration
	observedAt term.Instant
	pinTicking bool
}

func newWarden(s *site, index int) *warden {
	return &warden{
		process: process{w: s.w, site: s, name: s.name + "/" + strconv.Itoa(index+1), clock: s.w.newClock(s.index)}, index: index,
	}
}

// start begins a life with an empty memory.
func (d *warden) start() {
	*d = warden{process: d.process, index: d.index, localLease: d.localLease}
	d.after(d.w.between(0, time.Second), func() {
		if !d.renewing { // as it is if the loop was first, and found that a sibling has acquired the term
			d.renewTick(false)
		}
	})
	d.after(d.w.between(0, time.Second), func() {
		if !d.observing { // as it is after a crash in the middle of an observation, which goes on to its end
			d.observe()
		}
	})
}

// now is the clock that leases are measured with.
func (d *warden) now() term.Instant {
	switch d.w.mutation {
	case WallClock:
		return d.boot().Add(d.site.wallStep)
	case ClockThatStandsStill:
		return d.boot().Add(-d.slept)
	}
	return d.boot()
}

// The limits and periods are package warden's.

func (d *warden) known() bool { return d.memory.Store.Record.Version > 0 }

func (d *warden) attemptLimit() time.Duration {
	if !d.known() {
		if d.memory.Database.Pin.ID != 0 {
			return (d.w.lease - d.w.margin) / 4
		}
		return 5 * time.Second
	}
	r := &d.memory.Store.Record
	return (r.Lease() - r.Margin()) / 4
}

func (d *warden) callLimit() time.Duration { return max(d.attemptLimit(), time.Second) }

func (d *warden) renewEvery() time.Duration {
	if !d.known() {
		if d.memory.Database.Pin.ID != 0 {
			return d.w.lease / 8
		}
		return time.Second
	}
	return d.memory.Store.Record.RenewEvery()
}

func (d *warden) observation() (o failover.Observation) {
	o.Now, o.WallClock, o.Settings = d.now(), d.w.wallClock(), d.w.settings
	o.Site, o.Peer, o.Warden = d.site.name, d.site.peer.name, d.name
	d.memory.Fill(&o)
	if d.w.mutation == PinWithoutAbstention && o.Database.Pin.Site != d.site.name {
		o.Database.Pin = failover.PinView{}
	}
	return o
}

// recordRead asks a replica for the record.
type recordRead struct {
	call
	warden  *warden
	replica int
	// began is when the first replica was asked, asked when this one was.
	began, asked term.Instant
	record       *term.Record
	then         func(r *recordRead, ok bool)
}

// read asks the replicas in turn for the record and takes the answer into account.
func (d *warden) read(then func(r *recordRead, ok bool)) { d.readAt(0, d.now(), then) }

func (d *warden) readAt(replica int, began term.Instant, then func(*recordRead, bool)) {
	r := d.w.pools.record.get()
	r.warden, r.replica, r.began, r.asked, r.then = d, replica, began, d.now(), then
	d.ask(d.attemptLimit(), d.site.replicas()[replica], r)
}

func (r *recordRead) recycle() { r.warden.w.pools.record.put(r) }

func (r *recordRead) serve() { r.record = r.warden.w.store.current }

func (r *recordRead) done(answered bool) {
	d := r.warden
	switch {
	case !answered && r.replica == 0:
		d.readAt(1, r.began, r.then)
	case !answered:
		d.memory.Unlearned("no replica answers", d.now())
		r.then(r, false)
	case r.record == nil:
		d.memory.Missing(term.ErrNoRecord.Error(), d.now())
		r.then(r, false)
	default:
		d.learn(r.record, r.asked, r.began)
		r.then(r, true)
	}
}

// learn takes a record into account that was asked for, by a read or a write that began at began. It wakes the extender if
// that gave trust, and the loop if there is something to decide.
func (d *warden) learn(r *term.Record, asked, began term.Instant) {
	now := d.now()
	if d.w.mutation == HolderNameGivesTrust && r.Holder == d.site.name {
		d.memory.Sent(*r, asked)
	}
	before, expired := d.memory.Store.Record, d.memory.Watch.Expired(d.memory.Store.Record)
	trusted := d.memory.Learn(d.site.name, *r, asked, now)
	if d.w.mutation == WatchFromRequest && d.memory.Watch.Stood() == 0 {
		d.memory.Watch = term.Watch{}.Observe(*r, began).Observe(*r, now)
	}
	if after := &d.memory.Store.Record; failover.ChangedHands(before, *after) || !expired && d.memory.Watch.Expired(*after) {
		d.loopSoon()
	}
	if !trusted && failover.Joins(d.site.name, before, d.memory.Store.Record) {
		d.renewSoon()
	}
	if trusted {
		if d.w.mutation == LocalSettings {
			d.memory.Trust.Until = d.memory.Trust.Until.Add(d.localLease)
		}
		d.extendSoon()
	}
}

// written is what became of a write.
type written uint8

const (
	confirmed written = iota
	conflict
	uncertain
)

// write sends a record with a nonce of its own to the replicas in turn (P4).
func (d *warden) write(next term.Record, renews bool, done func(written)) {
	d.w.nonces++
	next.Nonce = d.name + "#" + strconv.Itoa(d.w.nonces)
	before := d.now()
	if renews {
		d.memory.Sent(next, before)
	}
	d.writeAt(0, &next, before, func(outcome written) {
		if outcome == confirmed && renews && d.w.mutation == TrustFromAnswer {
			d.memory.Sent(next, d.now())
			d.learn(&next, d.now(), before)
		}
		done(outcome)
	})
}

func (d *warden) writeAt(replica int, next *term.Record, before term.Instant, done func(written)) {
	asked := d.now()
	landed, refused := false, false
	d.effect((next.Lease()-next.Margin())/4, d.site.replicas()[replica], func() {
		if refused = d.w.store.readOnly[d.site.index] > 0; !refused {
			landed = d.w.store.write(d.w, next)
		}
	}, func(answered bool) {
		outcome := uncertain
		switch {
		case answered && landed:
			d.learn(next, asked, before)
			done(confirmed)
			return
		case answered && !refused:
			outcome = conflict
		case replica == 0:
			d.writeAt(1, next, before, done)
			return
		}
		// A conflict at the second replica may be the own write, landed at the first, whose answer was lost.
		d.read(func(_ *recordRead, ok bool) {
			if ok && d.memory.Store.Record.Nonce == next.Nonce {
				outcome = confirmed
			}
			done(outcome)
		})
	})
}

// renewTick renews as long as the own site holds the term, and reads the record as long as the other one does.
func (d *warden) renewTick(urgent bool) {
	d.renewing = true
	began := d.now()
	if d.known() && d.memory.Store.Record.Holder != d.site.name {
		d.read(func(r *recordRead, _ bool) {
			d := r.warden
			d.renewBegan = r.began
			d.renewed(failover.NextLook(&d.memory.Store, d.memory.Watch), true)
		})
		return
	}
	tried := func(tried bool) {
		if tried {
			d.renewBegan = began
		}
		d.renewed(d.renewEvery(), false)
	}
	if urgent {
		d.renew(3, true, tried)
		return
	}
	d.read(func(_ *recordRead, ok bool) {
		if !ok {
			tried(true)
			return
		}
		d.renew(3, false, tried)
	})
}

// renewed ends a turn of the renewer: the next one comes a pause after the one began that is counted from, or at once at a
// signal.
func (d *warden) renewed(pause time.Duration, watched bool) {
	d.renewing = false
	d.renewRound++
	if d.renewAgain {
		d.renewAgain = false
		d.renewTick(true)
		return
	}
	round := d.renewRound
	d.after(pause-d.now().Sub(d.renewBegan), func() {
		if round == d.renewRound && !d.renewing {
			d.renewTick(watched)
		}
	})
}

// renew renews against the record that was read last. done hears false if what was urgent comes to nothing.
func (d *warden) renew(tries int, urgent bool, done func(tried bool)) {
	o := d.observation()
	next, ok := failover.Renew(o)
	if !ok || urgent && !failover.Urgent(o) {
		done(!urgent)
		return
	}
	if v := d.memory.Database; d.w.mutation == ReportWhatWas && v.Reachable && v.LeaseTerm == next.Term {
		next.CoveredUntil = v.ValidUntil
	}
	d.write(next, true, func(outcome written) {
		if outcome == conflict && tries > 1 {
			d.renew(tries-1, urgent, done)
			return
		}
		done(true)
	})
}

// renewSoon cuts the renewer's pause short.
func (d *warden) renewSoon() {
	if d.renewing {
		d.renewAgain = true
		return
	}
	d.renewRound++
	d.renewTick(true)
}

func (d *warden) extendSoon() {
	if d.extending {
		d.extendAgain = true
		return
	}
	if v := &d.memory.Database; v.Reachable && max(v.HighestTerm(), d.recorded) < d.memory.Store.Record.Term {
		return // the step that records the term gives the first lease
	}
	d.extending = true
	d.extend(func() {
		d.extending = false
		if d.extendAgain {
			d.extendAgain = false
			d.extendSoon()
		}
	})
}

// sample is fence.State.
type sample struct {
	view   failover.DatabaseView
	at     time.Duration
	server uint32
	pin    pin
}

func (d *database) sample() sample {
	d.w.replicate()
	r := d.volume.row
	p, _ := d.w.pinOf(d.volume)
	return sample{
		view: failover.DatabaseView{
			Reachable: true, Writer: d.writer, Terms: d.volume.terms, LeaseTerm: r.term, SealedTerm: r.sealed, DrainedTerm: r.drained,
			Renewal: r.renewal, ValidUntil: time.Unix(0, int64(r.validUntil)), LeaseValid: d.writer && d.valid(d.publish(r)), LeaseHere: r.server == d.server,
			Time: time.Unix(0, int64(d.now())),
		},
		at: d.now(), server: d.server, pin: p,
	}
}

func (d *warden) database() place { return place{toDatabase, d.site} }

// extend carries trust into the database's lease row (P8).
func (d *warden) extend(done func()) {
	o := d.observation()
	if failover.Pinned(o) {
		d.extendPinned(o.Database.Pin.Term, done)
		return
	}
	r := o.Store.Record
	if r.Holder != d.site.name || r.State != term.Held || !o.Trust.Holds(r.Term, o.Now) {
		done()
		return
	}
	d.extendUntil(&r, o.Trust, done)
}

func (d *warden) extendUntil(r *term.Record, trust term.Trust, done func()) {
	db, t := d.site.db, r.Term
	limit := min(d.callLimit(), trust.Left(d.now()))
	began := d.now()
	var s sample
	d.ask(limit, d.database(), &errand{do: func() { s = db.sample() }, then: func(answered bool) {
		after := d.now()
		sealed := s.view.SealedTerm >= t && d.w.mutation != ShortenInsteadOfSeal
		if !answered || !s.view.Writer || sealed || !s.view.HasTerm(t) {
			done()
			return
		}
		end, ok := failover.LeaseUntil(d.reported(r), trust, time.Unix(0, int64(s.at)), after)
		if !ok {
			done()
			return
		}
		until := time.Duration(end.UnixNano())
		d.effect(limit-after.Sub(began), d.database(), func() {
			if d.w.mutation == IntervalInSQL {
				until = db.now() + trust.Until.Sub(after)
			}
			db.extend(t, until, r.Renewal, s.server)
		}, func(answered bool) {
			if now := &d.memory.Store.Record; answered && now.ServedTerm < now.Term {
				d.loopSoon() // it waits for the lease
			}
			done()
		})
	}})
}

// publishSoon lets the publisher write the site's beacon, about once per renewal period, and at once if it is news.
func (d *warden) publishSoon(o *failover.Observation) {
	if d.publishing {
		d.publishAgain = true
		return
	}
	now, b := d.now(), d.beacon(o)
	if d.publishedAt != 0 && now.Sub(d.publishedAt) < d.renewEvery() && !failover.News(d.published, b) {
		return
	}
	d.publishing, d.published, d.publishedAt, d.sequence = true, b, now, b.Sequence
	sent := b // most are not sent, and stay off the heap
	d.putBeacon(0, &sent, func() {
		d.publishing = false
		if d.publishAgain {
			d.publishAgain = false
			o := d.observation()
			d.publishSoon(&o)
		}
	})
}

func (d *warden) beacon(o *failover.Observation) term.Beacon {
	ready, because := failover.Readiness(*o)
	if ready {
		because = ""
	}
	b := term.Beacon{
		Deployment: "simulated", Site: d.site.name, Sequence: max(d.sequence, o.OwnBeacon.Sequence) + 1, Warden: d.name, Ready: ready, NotReadyBecause: because, Request: failover.Request(*o),
		LineageTerm: o.Database.HighestTerm(), DrainedTerm: o.Database.DrainedTerm, CoveredUntil: o.Database.ValidUntil,
		ObservedWriter: o.Cluster.Writer, RunningTasks: o.App.RunningTasks, HealthyTargets: o.App.HealthyTargets,
		Approval: o.OwnBeacon.Approval, At: o.WallClock,
	}
	if a := b.Approval; a != nil && (a.Term < o.Store.Record.Term || !o.WallClock.Before(a.Expires)) {
		b.Approval = nil
	}
	return b
}

func (d *warden) putBeacon(replica int, b *term.Beacon, done func()) {
	store := &d.w.store
	refused := false
	d.effect(d.attemptLimit(), d.site.replicas()[replica], func() {
		if refused = store.readOnly[d.site.index] > 0; !refused {
			store.beacons[d.site.index] = b
		}
	}, func(answered bool) {
		if (!answered || refused) && replica == 0 {
			d.putBeacon(1, b, done)
			return
		}
		done()
	})
}
