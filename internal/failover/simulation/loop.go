package simulation

import (
	"slices"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// afterEffect is package warden's pause between a step that took effect and the next observation.
const afterEffect = 10 * time.Millisecond

// observe asks everybody: first the database, then its control plane, then the record, and beside them the beacons and
// the application, in the order that package warden explains.
func (d *warden) observe() {
	d.observing, d.pausing = true, false
	d.look = look{began: d.now(), waiting: 3} // the only one under way
	d.databaseView((*warden).sawDatabase)
	d.beacons(0, func(d *warden, _ bool) { d.join() })
	d.appSince()
}

// look is an observation under way: three chains of requests, which end in [warden.join].
type look struct {
	began    term.Instant
	database failover.DatabaseView
	cluster  failover.ClusterView
	app      failover.AppView
	waiting  int
}

func (d *warden) sawDatabase(v *failover.DatabaseView) {
	d.look.database = *v
	d.clusterSince()
}

func (d *warden) sawCluster(v failover.ClusterView) {
	d.look.cluster = v
	if d.look.database.Writer && v.Writer == d.site.peer.name {
		d.databaseView((*warden).sawSeal)
		return
	}
	d.readToo()
}

func (d *warden) sawSeal(again *failover.DatabaseView) {
	v := &d.look.database
	if !again.Reachable {
		*v = *again
	} else {
		v.SealedTerm, v.DrainedTerm, v.LeaseValid = again.SealedTerm, again.DrainedTerm, again.LeaseValid
	}
	d.readToo()
}

func (d *warden) readToo() { d.read(func(r *recordRead, _ bool) { r.warden.join() }) }

func (d *warden) sawApp(v failover.AppView) {
	d.look.app = v
	d.join()
}

func (d *warden) join() {
	if d.look.waiting--; d.look.waiting == 0 {
		d.observed(&d.look)
	}
}

// databaseRead asks the database for its state.
type databaseRead struct {
	call
	warden  *warden
	asked   term.Instant
	askedIn term.Number
	sample  sample
	then    func(*warden, *failover.DatabaseView)
}

func (d *warden) databaseView(then func(*warden, *failover.DatabaseView)) {
	r := d.w.pools.database.get()
	r.warden, r.asked, r.askedIn, r.then = d, d.now(), d.memory.Store.Record.Term, then
	d.ask(d.callLimit(), d.database(), r)
}

func (r *databaseRead) recycle() { r.warden.w.pools.database.put(r) }

func (r *databaseRead) serve() { r.sample = r.warden.site.db.sample() }

func (r *databaseRead) done(answered bool) {
	if !answered {
		r.then(r.warden, &failover.DatabaseView{Err: "no answer"})
		return
	}
	v := &r.sample.view
	v.Pin, v.Asked, v.AskedIn = r.sample.pinView(r.warden.w, r.asked), r.asked, r.askedIn
	r.then(r.warden, v)
}

// answers are what the control planes said last, when they were asked, and over which state of the database.
type answers struct {
	cluster             failover.ClusterView
	database            failover.DatabaseView
	app                 failover.AppView
	clusterAt, appAsked term.Instant
}

func (d *warden) clusterSince() {
	a, database, now := &d.answers, &d.look.database, d.now()
	same := a.database.Reachable == database.Reachable && a.database.Writer == database.Writer &&
		a.database.HighestTerm() == database.HighestTerm() && a.database.SealedTerm == database.SealedTerm &&
		a.database.DrainedTerm == database.DrainedTerm
	if a.clusterAt != 0 && same && now.Sub(a.clusterAt) < d.reuse {
		d.sawCluster(a.cluster)
		return
	}
	a.database, a.clusterAt = *database, now
	r := d.w.pools.cluster.get()
	r.warden = d
	d.ask(d.callLimit(), place{toControl, d.site}, r)
}

func (r *clusterRead) recycle() { r.warden.w.pools.cluster.put(r) }

func (d *warden) appSince() {
	a, now := &d.answers, d.now()
	if a.appAsked != 0 && now.Sub(a.appAsked) < d.reuse {
		d.sawApp(a.app)
		return
	}
	a.appAsked = now
	r := d.w.pools.app.get()
	r.warden = d
	d.ask(d.callLimit(), place{toControl, d.site}, r)
}

func (r *appRead) recycle() { r.warden.w.pools.app.put(r) }

// clusterRead asks the global database's control plane.
type clusterRead struct {
	call
	warden *warden
	view   failover.ClusterView
}

func (r *clusterRead) serve() {
	d := r.warden
	c := &d.w.control
	r.view = failover.ClusterView{Known: true, Writer: c.writer.name, Moving: c.moving, Member: true, Lossless: c.moving && c.switchingTo == d.site}
	if d.w.now < d.staleUntil {
		r.view = d.stale
	}
}

func (r *clusterRead) done(answered bool) {
	if !answered {
		r.view = failover.ClusterView{Err: "no answer"}
	}
	r.warden.answers.cluster = r.view
	r.warden.sawCluster(r.view)
}

// answeredFromCache lets the control plane say to this warden for a while what it says now.
func (d *warden) answeredFromCache(lasts time.Duration) {
	c := &d.w.control
	d.stale = failover.ClusterView{Known: true, Writer: c.writer.name, Moving: c.moving, Member: true}
	d.staleUntil = d.w.now + lasts
}

// appRead asks the balancer's control plane.
type appRead struct {
	call
	warden *warden
	view   failover.AppView
}

func (r *appRead) serve() {
	a := r.warden.site.app
	r.view = failover.AppView{Known: true, HealthyTargets: 2, RunningTasks: 2}
	if a.sick+a.gone > 0 || a.frozen() {
		r.view.HealthyTargets = 0
	}
	if a.gone > 0 {
		r.view.RunningTasks = 0
	}
}

func (r *appRead) done(answered bool) {
	if !answered {
		r.view = failover.AppView{Err: "no answer"}
	}
	r.warden.answers.app = r.view
	r.warden.sawApp(r.view)
}

// beaconsRead asks a replica for both sites' beacons.
type beaconsRead struct {
	call
	warden    *warden
	replica   int
	own, peer *term.Beacon
	then      func(d *warden, ok bool)
}

func (d *warden) beacons(replica int, then func(d *warden, ok bool)) {
	r := d.w.pools.beacons.get()
	r.warden, r.replica, r.then = d, replica, then
	d.ask(d.attemptLimit(), d.site.replicas()[replica], r)
}

func (r *beaconsRead) recycle() { r.warden.w.pools.beacons.put(r) }

func (r *beaconsRead) serve() {
	s, beacons := r.warden.site, &r.warden.w.store.beacons
	r.own, r.peer = beacons[s.index], beacons[s.peer.index]
}

func (r *beaconsRead) done(answered bool) {
	d := r.warden
	switch {
	case answered:
		d.memory.Beacons(r.own, r.peer, d.now())
	case r.replica == 0:
		d.beacons(1, r.then)
		return
	}
	r.then(d, answered)
}

// observed takes a look that is complete into account.
func (d *warden) observed(l *look) {
	m, database := &d.memory, &l.database
	m.Database, m.Cluster, m.App = l.database, l.cluster, l.app
	m.TailExported, m.TailSaved = slices.Contains(d.site.exported, database.HighestTerm()), 0
	for _, t := range m.Store.Record.TailOf {
		if m.Store.Record.Holder != d.site.name && slices.Contains(d.site.exported, t) && d.w.servedBy[t] == d.site {
			m.TailSaved = t
		}
	}
	d.observedAt = d.now()
	d.consider(l.began)
}

// recall decides on what the memory holds, as package warden does after it has acquired a term.
func (d *warden) recall() {
	d.observing, d.pausing = true, false
	d.consider(d.now())
}

// consider decides, and begins the step if none is under way.
func (d *warden) consider(began term.Instant) {
	m := &d.memory
	o := d.observation()
	m.Observed(&o)
	if failover.Uncovered(o) && d.w.mutation != ReportWhatWas {
		d.renewSoon()
	}
	d.publishSoon(&o)
	if m.Database.Pin.ID != 0 && !d.pinTicking {
		d.pinTicking = true
		d.after(d.renewEvery(), d.pinTick)
	}
	if !d.busy {
		decision := d.decide(&o)
		if decision.Step != d.decision.Step || decision.Reason != d.decision.Reason {
			d.w.trace("%s: %s: %s %v", d.name, decision.Step, decision.Reason, decision.Refusals)
		}
		d.decision = decision
		if decision.Step != failover.Wait && d.last.MayFollow(o, decision, d.now(), d.renewEvery()) {
			d.busy, d.last = true, failover.Attempt{Step: decision.Step, Lossy: decision.Lossy, Began: d.now()}
			d.execute(o, decision, d.finished)
		}
	}
	var every time.Duration
	every, d.reuse = failover.Pace(o, d.busy, d.renewEvery())
	d.observing = false
	d.pause(every - d.now().Sub(began))
}

// pause lets the loop wait until the next observation is due: after wait, at a signal, or soon after a step took effect.
func (d *warden) pause(wait time.Duration) {
	if d.done {
		effective := d.effective
		d.busy, d.done, d.effective = false, false, false
		if effective {
			d.nextAfter(afterEffect)
			return
		}
	}
	if d.loopNow && !d.busy {
		d.loopNow, wait = false, 0
	}
	d.pausing = true
	d.nextAfter(wait)
}

// nextAfter lets the next observation begin after wait, unless something else makes it due.
func (d *warden) nextAfter(wait time.Duration) {
	d.round++
	round := d.round
	d.after(wait, func() {
		switch {
		case d.round != round || d.observing:
		case d.recalls && d.now().Sub(d.look.began) < d.renewEvery():
			d.recalls = false
			d.recall()
		default:
			d.recalls = false
			d.observe()
		}
	})
}

// loopSoon is a signal that the record has changed hands, a watch has ended, or a term has its first lease. While a step is
// under way it is left for later.
func (d *warden) loopSoon() {
	if !d.pausing || d.busy {
		d.loopNow = true
		return
	}
	d.pausing = false
	d.nextAfter(0)
}

// finished is called when a step has ended; one that took effect makes the next observation due soon.
func (d *warden) finished(effective bool) {
	if !d.pausing {
		d.done, d.effective = true, effective
		return
	}
	d.busy = false
	switch {
	case effective:
		d.pausing = false
		d.nextAfter(afterEffect)
	case d.loopNow:
		d.loopNow, d.pausing = false, false
		d.nextAfter(0)
	}
}

// execute does one step, once.
func (d *warden) execute(o failover.Observation, decision failover.Decision, done func(effective bool)) {
	t, db := o.Store.Record.Term, d.site.db
	if d.w.mutation == PromoteWithoutTerm && o.Store.Record.Holder != d.site.name && decision.Step != failover.Acquire {
		d.promoteFirst(decision.Step, t+1, done)
		return
	}
	inDatabase := func(limit time.Duration, do func()) {
		d.effect(limit, d.database(), do, done)
	}
	if decision.Record != nil && (decision.Step == failover.Promote || decision.Step == failover.RecordTerm) {
		d.writeFirst(o, decision, stepTries, done)
		return
	}
	if decision.Record != nil {
		renews := decision.Step == failover.Acquire || decision.Step == failover.TakeBack
		if decision.Step == failover.TakeBack && d.w.mutation == ClearInsteadOfTakeBack {
			d.effect(d.callLimit(), d.database(), func() { db.unseal(t) }, func(bool) {})
		}
		if !failover.RestsOnApproval(o, decision) {
			d.writeStep(&o, decision, renews, stepTries, done)
			return
		}
		d.stillApproved(decision, done)
		return
	}
	switch decision.Step {
	case failover.Promote:
		d.promote(t, decision.Lossy, done)
	case failover.MoveWriter:
		d.moveWriter(t, done)
	case failover.RecordTerm:
		d.recordTerm(t, done)
	case failover.Seal:
		inDatabase(d.callLimit(), func() { db.seal(t) })
	case failover.Drain:
		d.drain(t, done)
	case failover.ExportTail:
		d.exportTail(done)
	case failover.EndPin:
		inDatabase(d.callLimit(), db.endPin)
	default:
		done(false)
	}
}

// stepTries is how often a step's record is written, decided anew each time, if a renewal comes first.
const stepTries = 3

// decideAgain decides on what the store says after a write has lost to another one, as package warden's does.
func (d *warden) decideAgain(seen *failover.Observation, decision *failover.Decision) (failover.Observation, failover.Decision, bool) {
	o := d.observation()
	again := d.decide(&o)
	return o, again, failover.OnlyRenewed(seen.Store.Record, o.Store.Record) && again.Step == decision.Step && again.Record != nil &&
		!failover.RestsOnApproval(o, again)
}

// writeFirst writes the record of a step that goes on in the database or the control plane.
func (d *warden) writeFirst(o failover.Observation, decision failover.Decision, tries int, done func(bool)) {
	d.write(*decision.Record, false, func(outcome written) {
		if outcome == conflict && tries > 1 {
			if now, again, same := d.decideAgain(&o, &decision); same {
				d.writeFirst(now, again, tries-1, done)
				return
			}
		}
		if outcome != confirmed {
			done(outcome == conflict)
			return
		}
		decision.Record = nil
		d.execute(o, decision, done)
	})
}

func (d *warden) writeStep(o *failover.Observation, decision failover.Decision, renews bool, tries int, done func(bool)) {
	next := *decision.Record
	next.Journal = ""
	if a := o.OwnBeacon.Approval; a != nil && a.AllowDataLoss && a.Term == o.Store.Record.Term && d.w.mutation != IgnoreLineage {
		next.Journal = forces
	}
	d.write(next, renews, func(outcome written) {
		if outcome == confirmed {
			d.recalls = decision.Step == failover.Acquire
			d.w.checkWritten(o, &next)
		}
		if outcome == conflict && tries > 1 {
			if now, again, same := d.decideAgain(o, &decision); same {
				d.writeStep(&now, again, renews, tries-1, done)
				return
			}
		}
		done(outcome != uncertain) // a lost race is decided again at once
	})
}

// stillApproved writes what was decided because of an approval, if that is decided again with what the store says of it now
// (P17).
func (d *warden) stillApproved(decision failover.Decision, done func(bool)) {
	d.beacons(0, func(_ *warden, ok bool) {
		o := d.observation()
		if !ok || d.decide(&o).Step != failover.Acquire {
			done(false)
			return
		}
		d.writeStep(&o, decision, true, stepTries, done)
	})
}

// underTrust goes on only after a fresh strong read that shows the term held by the own site, within the trust (P12).
func (d *warden) underTrust(t term.Number, refused func(bool), then func(left time.Duration)) {
	d.read(func(_ *recordRead, ok bool) {
		r := &d.memory.Store.Record
		if !ok || r.Term != t || r.Holder != d.site.name || r.State != term.Held || !d.memory.Trust.Holds(t, d.now()) {
			refused(false)
			return
		}
		then(d.memory.Trust.Left(d.now()))
	})
}

func (d *warden) promote(t term.Number, lossy bool, done func(bool)) {
	d.underTrust(t, done, func(left time.Duration) {
		c := &d.w.control
		if !lossy {
			d.effect(min(left, d.callLimit()), place{toControl, d.site.peer}, func() {
				if !d.w.refuses {
					c.switchover(d.site)
				}
			}, func(answered bool) {
				refused := answered && d.w.refuses
				if refused {
					d.memory.SwitchoverRefused = t
				}
				if refused || !answered {
					done(refused) // what is left is due at once
					return
				}
				d.awaitWriter(min(left, d.callLimit()), done)
			})
			return
		}
		stray := func() { d.w.strayed = d.w.strayed || d.w.store.record.Term != t }
		d.effect(left, place{toControl, d.site}, func() { c.failover(d.site, stray) }, func(answered bool) {
			if !answered {
				done(false)
				return
			}
			d.awaitWriter(left, done)
		})
	})
}

// awaitWriter waits a moment for a promotion that was accepted, asking nobody but the database.
func (d *warden) awaitWriter(left time.Duration, done func(bool)) {
	until, writer := d.now().Add(min(left, d.renewEvery())), false
	var look func()
	look = func() {
		d.ask(until.Sub(d.now()), d.database(), &errand{do: func() { writer = d.site.db.writer }, then: func(bool) {
			if writer || d.now().Add(failover.AwaitEvery) >= until {
				done(true)
				return
			}
			d.after(failover.AwaitEvery, look)
		}})
	}
	look()
}

func (d *warden) moveWriter(t term.Number, done func(bool)) {
	d.underTrust(t, done, func(left time.Duration) {
		if r := &d.memory.Store.Record; r.Wanted == nil || r.Wanted.Site != d.site.peer.name {
			done(false)
			return
		}
		d.effect(left, place{toControl, d.site}, func() { d.w.control.switchover(d.site.peer) }, done)
	})
}

func (d *warden) recordTerm(t term.Number, done func(bool)) {
	d.underTrust(t, done, func(left time.Duration) {
		recorded := false
		d.effect(left, d.database(), func() { recorded = d.site.db.record(t) }, func(answered bool) {
			if !answered || !recorded {
				done(false)
				return
			}
			d.recorded = max(d.recorded, t)
			d.extend(func() { done(true) })
		})
	})
}

// drain is two round trips: who is older than the seal, and, once they have had their time, that they are gone.
func (d *warden) drain(t term.Number, done func(bool)) {
	db := d.site.db
	var old int
	var boundary int64
	ok := false
	d.ask(d.callLimit(), d.database(), &errand{do: func() { old, boundary, ok = db.drainable(t) }, then: func(answered bool) {
		if !answered || !ok {
			done(false)
			return
		}
		wait := time.Duration(0)
		if old > 0 {
			wait = 500 * time.Millisecond
		}
		server := db.server
		d.after(wait, func() {
			d.effect(d.callLimit(), d.database(), func() {
				if db.server == server { // the drain is one session
					db.drained(t, boundary)
				}
			}, done)
		})
	}})
}

// exportTail compares the old volume with the survivor's, which is in the other region.
func (d *warden) exportTail(done func(bool)) {
	w, s := d.w, d.site
	var from *volume
	d.ask(d.callLimit(), d.database(), &errand{do: func() { from = s.db.volume }, then: func(answered bool) {
		if !answered {
			done(false)
			return
		}
		d.after(w.between(50*time.Millisecond, 3*time.Second), func() {
			if from != s.db.volume || !s.db.writer || !s.db.serving() || !s.peer.db.serving() || w.cut[linkSites] > 0 || len(from.terms) == 0 {
				done(false)
				return
			}
			w.export(from)
			newest := from.terms[len(from.terms)-1]
			s.exported = append(s.exported, newest)
			w.trace("%s: the tail of term %d is exported", d.name, newest)
			done(true)
		})
	}})
}
