package simulation

import (
	"time"

	"holdfast/internal/term"
)

// Profile is how a run's faults are spread. Which one a run has depends on its seed alone.
type Profile uint8

// The profiles.
const (
	// RegionLoss takes the active region away, and nothing else: the run that RTO and RPO are measured with.
	RegionLoss Profile = iota
	// Storm spreads faults of every kind over the run, at any site.
	Storm
	// Burst lets several faults happen within seconds of each other, most of them at the active site.
	Burst
	// Expiry cuts the active site off for about as long as a lease lasts, while people and machines do the worst.
	Expiry
	// Handover asks for a switchover, and lets faults happen while it is under way.
	Handover
	// Stale lets one site's copy fall behind, for long, before the other is cut off.
	Stale
	// StoreGone takes the term store away from everybody, and an operator pins the active site.
	StoreGone
	// Long is a storm over a longer time, so that whatever needs several changes of hands can happen.
	Long
)

var profileNames = [...]string{"region loss", "storm", "burst", "expiry", "handover", "stale", "store gone", "long"}

func (p Profile) String() string { return profileNames[p] }

func (w *world) drawProfile() Profile {
	switch n := w.rng.IntN(100); {
	case n < 5:
		return RegionLoss
	case n < 25:
		return Storm
	case n < 47:
		return Burst
	case n < 72:
		return Expiry
	case n < 89:
		return Handover
	case n < 93:
		return Stale
	case n < 97:
		return StoreGone
	}
	return Long
}

// fault begins at an instant and, if it has an end, ends later. Both may happen any number of times at once.
type fault struct {
	name       string
	begin, end func(w *world, s *site)
}

// faults are drawn with equal chance.
var faults = []fault{
	{"region loss", loseRegion, returnRegion},
	{"region loss", loseRegion, returnRegion},
	{"region freeze", freezeSite, thawSite},
	{"database freeze", func(_ *world, s *site) { s.db.freeze() }, func(_ *world, s *site) { s.db.thaw() }},
	{"database down", func(_ *world, s *site) { s.db.down++; s.db.stop() }, databaseUp},
	{"database instance failover", func(_ *world, s *site) { s.db.down++; s.db.failOver() }, databaseUp},
	{"warden crash", func(w *world, s *site) { s.restart(&s.anyWarden().process) }, nil},
	{"warden freeze", func(_ *world, s *site) { s.wardens[0].freeze() }, func(_ *world, s *site) { s.wardens[0].thaw() }},
	{"wardens freeze", freezeWardens, thawWardens},
	{"trap", setTrap, nil},
	{"trap", setTrap, nil},
	{"application freeze", func(_ *world, s *site) { s.app.freeze() }, func(_ *world, s *site) { s.app.thaw() }},
	counted("application down", func(_ *world, s *site) *int { return &s.app.gone }),
	counted("application unhealthy", func(_ *world, s *site) *int { return &s.app.sick }),
	{"application crash", func(_ *world, s *site) { s.restart(&s.app.process) }, nil},
	counted("store unreachable", func(_ *world, s *site) *int { return &s.storeCut }),
	counted("a warden cut from the store", func(_ *world, s *site) *int { return &s.wardens[1].storeCut }),
	counted("wardens cut from their database", func(_ *world, s *site) *int { return &s.databaseCut }),
	counted("store slow", func(_ *world, s *site) *int { return &s.storeSlow }),
	counted("store takes no writes", func(w *world, s *site) *int { return &w.store.readOnly[s.index] }),
	counted("a warden's writes to the store come late", func(_ *world, s *site) *int { return &s.wardens[0].lateWrites }),
	counted("store gone", func(w *world, _ *site) *int { return &w.store.gone }),
	counted("replica down", func(w *world, s *site) *int { return &w.store.replicaDown[s.index] }),
	counted("witness lost", func(w *world, _ *site) *int { return &w.store.witnessDown }),
	counted("witness unreachable", func(w *world, s *site) *int { return &w.cut[linkPrimaryWitness+s.index] }),
	counted("sites partitioned", func(w *world, _ *site) *int { return &w.cut[linkSites] }),
	counted("replication stalled", func(w *world, _ *site) *int { return &w.replicationStalled }),
	counted("control plane down", func(_ *world, s *site) *int { return &s.controlDown }),
	{"a warden's control plane is stale", func(w *world, s *site) { s.anyWarden().answeredFromCache(w.between(0, 4*time.Second)) }, nil},
	counted("clients cut off", func(_ *world, s *site) *int { return &s.clientsCut }),
	{"wall clocks stepped", stepClocks, nil},
	{"operator wants the site", want, nil},
	{"operator wants the site and withdraws", want, withdraw},
	{"operator switches over by hand", func(w *world, s *site) { w.control.switchover(s) }, nil},
	{"operator fails over by hand", failOverByHand, nil},
	{"operator approves", approve, nil},
	{"operator publishes a longer lease", lengthenLease, nil},
	{"operator pins", operatorPins, nil},
	{"operator lifts a pin", liftPin, nil},
	{"operator saves a tail", saveTail, nil},
	{"record lost", loseRecord, nil},
}

// counted is a fault that a counter stands for.
func counted(name string, of func(*world, *site) *int) fault {
	return fault{name, func(w *world, s *site) { *of(w, s)++ }, func(w *world, s *site) { *of(w, s)-- }}
}

// inject schedules one fault.
func (w *world) inject(f *fault, s *site, at instant, lasts time.Duration, end instant) {
	if at >= end {
		return
	}
	w.after(at-w.now, func() {
		w.trace("fault at %s: %s, for %v", s.name, f.name, lasts)
		w.replicate()
		f.begin(w, s)
	})
	if f.end == nil {
		return
	}
	w.after(min(at+lasts, end)-w.now, func() {
		if w.healedAt > 0 {
			return
		}
		w.trace("over at %s: %s", s.name, f.name)
		w.replicate()
		f.end(w, s)
	})
}

func byName(name string) *fault {
	for i := range faults {
		if faults[i].name == name {
			return &faults[i]
		}
	}
	panic("simulation: no fault is called " + name)
}

func (w *world) anyFault() *fault { return &faults[w.rng.IntN(len(faults))] }

func (w *world) anySite() *site { return w.sites[w.rng.IntN(2)] }

func (s *site) anyWarden() *warden { return s.wardens[s.w.rng.IntN(2)] }

// lasting is how long a fault lasts: moments, about a lease, or long.
func (w *world) lasting() time.Duration {
	switch w.rng.IntN(4) {
	case 0:
		return w.between(10*time.Millisecond, 2*time.Second)
	case 1, 2:
		return w.between(w.lease/4, 2*w.lease)
	}
	longest := 6 * w.lease
	if w.profile == Long {
		longest *= 2 // four minutes with the default lease: longer than any threshold
	}
	return w.between(w.lease, longest)
}

// scheduleFaults draws the run's faults and returns when the last is over.
func (w *world) scheduleFaults() instant {
	end := quietBefore + faultPhase
	switch w.profile {
	case RegionLoss:
		at := w.between(quietBefore+5*time.Second, quietBefore+15*time.Second)
		end = at + w.longestRecovery()
		w.inject(byName("region loss"), w.sites[0], at, 2*end, 2*end)
	case Storm:
		w.storm(end, 2+w.rng.IntN(8))
	case Burst:
		for range 1 + w.rng.IntN(3) {
			w.burst(w.between(quietBefore, end-20*time.Second), end)
		}
	case Expiry:
		for at := quietBefore + w.between(0, 10*time.Second); at < end-w.lease; at += w.between(w.lease*3/2, 3*w.lease) {
			w.scheduleExpiry(at, end)
		}
	case Handover:
		for at := quietBefore + w.between(0, 8*time.Second); at < end-10*time.Second; at += w.between(10*time.Second, 40*time.Second) {
			w.scheduleHandover(at, end)
			if w.chance(0.3) {
				w.scheduleUndone(at, end)
			}
		}
	case Stale:
		end = 2 * faultPhase
		w.scheduleStale(end)
	case StoreGone:
		end = 2 * faultPhase
		w.schedulePin(end)
	case Long:
		end = longPhase
		w.storm(end, 6+w.rng.IntN(16))
	}
	return end
}

// longestRecovery is how long a client may have to wait after the loss of a region that nobody has to decide about: the
// watch, which begins anew with a renewal that is on its way, what has to be asked with the limits of its calls, the move of
// the writer, the health check and the resolvers. It is meant to be too long: what is not back by then counts as not back.
func (w *world) longestRecovery() time.Duration {
	watch, check := w.lease+w.margin, w.options.CheckEvery*time.Duration(w.options.CheckThreshold+1)
	return 2*watch + 2*longestMove + check + timeToLive + 30*time.Second
}

func (w *world) storm(end instant, count int) {
	for range count {
		w.inject(w.anyFault(), w.anySite(), w.between(quietBefore, end-time.Second), w.lasting(), end)
	}
}

// atActive schedules something for the site that is active then.
func (w *world) atActive(at instant, do func(active *site)) {
	w.after(at-w.now, func() {
		s := w.sites[0]
		if w.store.record.Holder == w.sites[1].name {
			s = w.sites[1]
		}
		do(s)
	})
}

func (w *world) burst(at, end instant) {
	w.atActive(at, func(active *site) {
		for range 2 + w.rng.IntN(4) {
			s := active
			if w.chance(0.3) {
				s = active.peer
			}
			w.inject(w.anyFault(), s, w.now+w.between(0, 12*time.Second), w.lasting(), end)
		}
	})
}

// isolations keep the active site from renewing, one way or another.
var isolations = []string{
	"store unreachable", "wardens freeze", "region freeze", "store takes no writes", "store gone", "region loss", "witness unreachable",
}

// scheduleExpiry keeps the active site from renewing until about the instant at which its lease is over and somebody
// else's watch ends.
func (w *world) scheduleExpiry(at, end instant) {
	w.atActive(at, func(active *site) {
		lasts := w.lease - 2*w.margin + w.between(0, 5*w.margin)
		if w.chance(0.3) {
			lasts = w.between(w.lease, 3*w.lease)
		}
		isolated := w.now
		if w.chance(0.3) { // then the read that shows the last renewal goes to the farther replica, and takes long
			slow := w.between(w.lease/5, w.lease/2)
			w.inject(byName("replica down"), active.peer, w.now, slow, end)
			w.inject(byName("store slow"), active.peer, w.now, slow, end)
			isolated += w.between(slow/2, slow)
		}
		isolation := byName(isolations[w.rng.IntN(len(isolations))])
		w.inject(isolation, active, isolated, lasts, end)
		if isolation.name == "witness unreachable" || w.chance(0.2) {
			w.inject(byName("sites partitioned"), active, isolated, lasts, end)
		}
		if w.chance(0.3) { // a person who does not wait for the lease
			w.inject(byName("operator fails over by hand"), active.peer, w.between(isolated, isolated+w.lease/2), 0, end)
		}
		worst := isolated + lasts
		for range w.rng.IntN(4) {
			f, s, when := w.anyFault(), active, w.between(w.now, worst+2*time.Second)
			switch w.rng.IntN(4) {
			case 0:
				f, s = byName("wall clocks stepped"), w.anySite()
			case 1:
				when = max(w.now, worst-w.between(0, 2*w.margin))
			case 2:
				s = active.peer
			}
			w.inject(f, s, when, w.lasting(), end)
		}
	})
}

// scheduleStale lets the standby's copy fall behind, or leaves an old active site alone with its old volume, and then
// cuts the active site off.
func (w *world) scheduleStale(end instant) {
	start := quietBefore + w.between(0, 10*time.Second)
	late := start + w.between(2*w.lease+w.lease/2, 5*w.lease)
	switch w.rng.IntN(4) {
	case 0:
		w.inject(byName("replication stalled"), w.sites[0], start, end, end)
	case 1:
		w.inject(byName("sites partitioned"), w.sites[0], start, end, end)
	case 2:
		w.inject(byName(isolations[w.rng.IntN(len(isolations))]), w.sites[0], start, 2*w.lease, end)
		w.inject(byName("sites partitioned"), w.sites[0], start+w.lease+w.between(0, w.lease), end, end)
	case 3: // the lease runs out for want of the store, and comes back for hardly a renewal
		gone, lasts := start+w.between(0, w.lease/4), w.lease+w.between(0, 2*w.lease)
		w.inject(byName("replication stalled"), w.sites[0], start, end, end)
		w.inject(byName("store gone"), w.sites[0], gone, lasts, end)
		late = gone + lasts + w.between(0, w.lease/4)
	}
	w.atActive(late, func(active *site) {
		w.inject(byName(isolations[w.rng.IntN(len(isolations))]), active, w.now, end, end)
	})
	w.storm(end, w.rng.IntN(3))
}

// scheduleHandover asks for a hand-over and lets something happen in its few seconds.
func (w *world) scheduleHandover(at, end instant) {
	w.atActive(at, func(active *site) {
		w.inject(byName("operator wants the site"), active.peer, w.now, 0, end)
		for range w.rng.IntN(4) {
			s := active
			if w.chance(0.4) {
				s = active.peer
			}
			w.inject(w.anyFault(), s, w.now+w.between(0, 6*time.Second), w.lasting(), end)
		}
	})
}

// scheduleUndone lets a hand-over that was asked for be undone when the writer has just moved, while what the holder's
// wardens write is on its way for long: the request is withdrawn, the writer moved back by hand, and the other site cut off
// before its copy shows what came of that.
func (w *world) scheduleUndone(at, end instant) {
	w.atActive(at, func(active *site) {
		term := w.store.record.Term
		moved := func(to *site) bool {
			return w.control.writer == to && !w.control.moving && w.store.record.Term == term
		}
		w.when(end, func() bool { return moved(active.peer) }, func() {
			w.inject(byName("operator wants the site and withdraws"), active.peer, w.now, 0, end)
			w.inject(byName("operator switches over by hand"), active, w.now+time.Millisecond, 0, end)
			w.when(w.now+10*time.Second, func() bool { return moved(active) }, func() {
				w.inject(byName("sites partitioned"), active, w.now, w.lasting(), end)
			})
		})
		w.when(end, func() bool { return active.db.volume.row.drained >= term }, func() {
			for _, d := range active.wardens {
				d.lateWrites++
				w.after(w.between(time.Second, 10*time.Second), func() { d.lateWrites = max(0, d.lateWrites-1) })
			}
		})
	})
}

// when does something once it is time for it, if that comes before the limit.
func (w *world) when(limit instant, due func() bool, do func()) {
	var look thunk
	look = func() {
		switch {
		case w.now > limit || w.healedAt > 0:
		case due():
			do()
		default:
			w.schedule(20*time.Millisecond, nil, look)
		}
	}
	look()
}

// heal ends every fault that is still on.
func (w *world) heal() {
	w.replicate()
	w.healedAt = w.now
	w.store.gone, w.store.witnessDown, w.store.replicaDown, w.store.readOnly = 0, 0, [2]int{}, [2]int{}
	w.cut, w.replicationStalled = [links]int{}, 0
	w.slow = 0 // an answer that comes two leases late is a fault as well
	for _, s := range w.sites {
		s.databaseCut, s.storeCut, s.storeSlow, s.controlDown, s.clientsCut = 0, 0, 0, 0, 0
		s.app.sick, s.app.gone, s.db.down = 0, 0, 0
		for s.lost > 0 {
			returnRegion(w, s)
		}
		for s.stopped > 0 {
			thawSite(w, s)
		}
		for _, p := range s.processes() {
			p.trap, p.lateWrites, p.storeCut = trap{}, 0, 0
			for p.stopped > 0 {
				p.thaw()
			}
		}
	}
	w.trace("all faults are over")
}

func (s *site) processes() [4]*process {
	return [4]*process{&s.db.process, &s.app.process, &s.wardens[0].process, &s.wardens[1].process}
}

func loseRegion(w *world, s *site) {
	s.lost++
	if s.lost > 1 {
		return
	}
	if w.profile == RegionLoss {
		w.lostAt, w.lostSite = w.now, s
	}
	s.up = false
	s.db.stop()
	for _, p := range s.processes() {
		p.end()
	}
}

func returnRegion(w *world, s *site) {
	if s.lost--; s.lost > 0 {
		return
	}
	s.up = true
	s.db.stop()
	for _, p := range []*process{&s.app.process, &s.wardens[0].process, &s.wardens[1].process} {
		s.restart(p)
	}
}

func freezeSite(w *world, s *site) {
	for _, p := range s.processes() {
		if !p.frozen() {
			p.sleepsAt = w.now
		}
	}
	s.stopped++
}

func thawSite(_ *world, s *site) {
	s.stopped--
	for _, p := range s.processes() {
		p.woken()
	}
}

func freezeWardens(_ *world, s *site) {
	s.wardens[0].freeze()
	s.wardens[1].freeze()
}

func thawWardens(_ *world, s *site) {
	s.wardens[0].thaw()
	s.wardens[1].thaw()
}

func databaseUp(_ *world, s *site) { s.db.down-- }

// setTrap lets a warden crash or freeze right before or after one of its next effects.
func setTrap(w *world, s *site) {
	s.anyWarden().trap = trap{kind: crashBefore + trapKind(w.rng.IntN(4)), skip: w.rng.IntN(6), sleep: w.lasting()}
}

func stepClocks(w *world, s *site) { s.wallStep += w.between(-2*w.lease, 2*w.lease) }

// want is 'holdfast switchover'.
func want(w *world, s *site) {
	r := w.store.record
	r.Version++
	r.Wanted = &term.Wanted{Site: s.name, By: "operator", Reason: "planned", At: w.wallClock()}
	r.TakeoverBudget = max(r.TakeoverBudget, takeoverBudget)
	w.store.write(w, &r)
}

// withdraw clears a request whatever has been done for it since.
func withdraw(w *world, _ *site) {
	r := w.store.record
	r.Version++
	r.Wanted = nil
	w.store.write(w, &r)
}

func failOverByHand(w *world, s *site) {
	w.failedOver = true
	w.control.failover(s, w.operatorForces)
}

// approve is 'holdfast approve' or 'holdfast failover', every other time with --allow-data-loss.
func approve(w *world, s *site) {
	b := term.Beacon{Deployment: "simulated", Site: s.name}
	if old := w.store.beacons[s.index]; old != nil {
		b = *old
	}
	b.Approval = &term.Approval{
		Term: w.store.record.Term, By: "operator", Reason: "decided", Expires: w.wallClock().Add(5 * time.Minute),
		Commanded: w.chance(0.7),
	}
	b.Approval.AllowDataLoss = b.Approval.Commanded && w.chance(0.7)
	w.store.beacons[s.index] = &b
}

// saveTail is 'holdfast reconcile export --saved': an operator has read the ends of terms from the snapshots that the service
// kept. A snapshot has the end of its newest term, if that was served by the site that it was taken of.
func saveTail(w *world, _ *site) {
	r := w.store.record
	if !w.store.exists {
		return
	}
	for _, s := range w.snapshots {
		w.export(s.volume)
		if terms := s.volume.terms; len(terms) > 0 && w.servedBy[terms[len(terms)-1]] == s.of {
			r = r.WithoutTail(terms[len(terms)-1])
		}
	}
	if len(r.TailOf) == len(w.store.record.TailOf) {
		return
	}
	w.trace("an operator has saved the ends of terms: %d are missing yet, of %d", r.TailOf, w.store.record.TailOf)
	r.Version++
	w.store.write(w, &r)
}

// lengthenLease is a deployment with a longer lease under way. The record has it before any warden trusts it (P3); the
// tasks with the new configuration start one by one.
func lengthenLease(w *world, s *site) {
	for _, d := range s.wardens {
		if w.chance(0.5) {
			d.localLease = 2 * w.lease
		}
	}
	if w.chance(0.5) {
		return // the record has not been changed yet
	}
	r := w.store.record
	r.Version++
	r.LeaseMS = (w.lease + w.between(0, w.lease/2)).Milliseconds()
	if r.LeaseMS > w.store.record.LeaseMS {
		w.store.write(w, &r)
	}
}

// loseRecord deletes the record, as bad as it is rare.
func loseRecord(w *world, _ *site) {
	if !w.store.exists || !w.chance(0.3) {
		return
	}
	w.trace("the record is gone")
	w.store.exists, w.store.current = false, nil
	if !w.chance(0.7) {
		return
	}
	wait := w.between(0, w.lease)
	if w.mutation != InitAtOnce {
		wait += w.store.record.Lease() + w.margin
	}
	w.initAfter(wait, w.now+3*time.Minute)
}

// initAfter is 'holdfast init' over databases that have served (P1): an operator creates the record anew, for the site
// whose database is the writer, with a term above every term in both databases, once both answer. The command waits out
// the longest lease that may still be trusted.
func (w *world) initAfter(wait time.Duration, limit instant) {
	w.after(wait, func() {
		primary, dr := w.sites[0], w.sites[1]
		answers := w.store.serves(w, primary) || w.store.serves(w, dr)
		if w.store.exists || w.now > limit {
			return
		}
		if !answers || !primary.db.serving() || !dr.db.serving() || w.control.moving || !w.control.writer.db.writer {
			w.initAfter(time.Second, limit)
			return
		}
		w.replicate()
		r := w.firstRecord()
		r.LeaseMS = w.store.record.LeaseMS // a longer lease is the configuration's by now
		for _, s := range w.sites {
			row := s.db.volume.row
			r.ServedTerm = max(r.ServedTerm, s.db.newestTerm(), row.term, row.sealed)
		}
		// A term that was served may be in neither database, after a stale copy was promoted by hand and the other rebuilt: an
		// operator who reads the journals passes --highest-term.
		r.ServedTerm = max(r.ServedTerm, w.latest)
		r.Term, r.Holder = r.ServedTerm+1, w.control.writer.name
		w.recreated = true
		w.trace("an operator creates the record anew: term %d, held by %s", r.Term, r.Holder)
		w.store.write(w, &r)
	})
}
