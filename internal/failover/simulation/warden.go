package simulation

import (
	"slices"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// warden drives the real decisions the way package warden does: a renewer and a decision loop that share what they
// know, each a chain of requests that may be slow, lost, or answered late.
type warden struct {
	process
	name string
	// step is a wall-clock jump, which only the mutation WallClock lets into the lease.
	step time.Duration

	store        failover.StoreView
	storeSeen    bool
	trust        term.Trust
	watch        term.Watch
	database     failover.DatabaseView
	cluster      failover.ClusterView
	peerBeacon   term.Beacon
	peerSeen     bool
	peerMovedAt  term.Instant
	since        map[string]term.Instant
	decision     failover.Decision
	tailExported bool
	sequence     int64
	localLease   time.Duration
}

func newWarden(s *site, name string) *warden {
	d := &warden{process: process{w: s.w, site: s, clock: s.w.newClock()}, name: name}
	d.start()
	return d
}

// start begins a life with an empty memory.
func (d *warden) start() {
	d.store, d.storeSeen, d.trust, d.watch = failover.StoreView{}, false, term.Trust{}, term.Watch{}
	d.database, d.cluster, d.peerSeen = failover.DatabaseView{}, failover.ClusterView{}, false
	d.since, d.decision = map[string]term.Instant{}, failover.Decision{}
	d.localLease = d.w.lease
	d.after(d.w.between(0, time.Second), d.renewTick)
	d.after(d.w.between(0, time.Second), d.decideTick)
}

func (d *warden) crash() {
	d.life++
	d.held = nil
	d.frozen = false
	d.start()
}

// now is the clock that leases are measured with.
func (d *warden) now() term.Instant {
	if d.w.is(WallClock) {
		return d.boot().Add(d.step)
	}
	return d.boot()
}

func (d *warden) period() time.Duration {
	if !d.storeSeen {
		return time.Second
	}
	return d.store.Record.RenewEvery()
}

// read asks the store for the record and remembers it; then runs fn whether it was answered or not.
func (d *warden) read(fn func(ok bool)) {
	var r term.Record
	var peer term.Beacon
	var missing bool
	asked := d.now()
	d.call(d.site.reachesStore(), d.w.attemptTimeout(), func() bool {
		r, peer, missing = d.w.store.record, *d.w.beacon(d.site.peer), !d.w.store.exists
		return true
	}, func(ok bool) {
		answered := d.now()
		if d.w.is(WatchFromRequest) {
			answered = min(answered, asked)
		}
		switch {
		case !ok:
			d.store.Readable, d.store.Err = false, "time-out"
			d.watch = d.watch.Unreadable(answered)
		case missing:
			d.store = failover.StoreView{Readable: true, Missing: true, Record: d.store.Record}
		default:
			d.remember(r, peer, answered)
		}
		fn(ok && !missing)
	})
}

func (d *warden) remember(r term.Record, peer term.Beacon, answered term.Instant) {
	if d.storeSeen && r.Version < d.store.Record.Version && d.store.Readable {
		return // an answer that an earlier request was given; the newer one stands
	}
	d.store, d.storeSeen = failover.StoreView{Readable: true, Record: r}, true
	if d.w.is(WatchFromRequest) {
		d.watch = d.watch.Observe(r, d.now())
		if d.watch.Stood() == 0 { // the clock of a new value starts at the request
			d.watch = term.Watch{}.Observe(r, answered).Observe(r, d.now())
		}
	} else {
		d.watch = d.watch.Observe(r, answered)
	}
	if !d.peerSeen && peer.Sequence > 0 || peer.Sequence != d.peerBeacon.Sequence {
		d.peerSeen, d.peerMovedAt = true, d.now()
	}
	d.peerBeacon = peer
}

// write tries a conditional write with an own nonce; fn learns whether the nonce is in the record (P4).
func (d *warden) write(next term.Record, fn func(mine bool)) {
	d.w.nonces++
	next.Nonce = d.name + "#" + string(rune('0'+d.w.nonces%10)) + time.Duration(d.w.nonces).String()
	written := false
	d.call(d.site.reachesStore(), d.w.attemptTimeout(), func() bool {
		written = d.w.store.write(next)
		return true
	}, func(ok bool) {
		if ok && written {
			d.store = failover.StoreView{Readable: true, Record: next}
			fn(true)
			return
		}
		d.read(func(ok bool) {
			mine := ok && d.store.Record.Nonce == next.Nonce
			if d.w.is(HolderNameGivesTrust) {
				mine = ok && d.store.Record.Holder == d.site.name
			}
			fn(mine)
		})
	})
}

func (d *warden) renewTick() {
	d.after(d.period(), d.renewTick)
	d.read(func(ok bool) {
		if !ok {
			return
		}
		next, due := failover.Renew(d.observation())
		if !due {
			return
		}
		before := d.now()
		d.write(next, func(mine bool) {
			if !mine {
				return
			}
			if d.w.is(TrustFromAnswer) {
				before = d.now()
			}
			d.trust = d.trusted(d.store.Record, before)
			d.extend()
		})
	})
}

func (d *warden) trusted(r term.Record, before term.Instant) term.Trust {
	switch {
	case d.w.is(NoMargin):
		return term.Trust{Term: r.Term, Until: before.Add(r.Lease())}
	case d.w.is(LocalSettings):
		return term.Trust{Term: r.Term, Until: before.Add(d.localLease - r.Margin())}
	}
	return term.Trusted(r, before)
}

// extend moves the database's lease up to the trust deadline (P8).
func (d *warden) extend() {
	db := d.site.db
	t, renewal := d.trust.Term, d.store.Record.Renewal
	var sampled term.Instant
	d.call(db.reach(), 2*time.Second, func() bool { sampled = db.boot(); return true }, func(ok bool) {
		if !ok {
			return
		}
		left := d.trust.Until.Sub(d.now()) // after the sample, so that every delay shortens it
		if left <= 0 || d.trust.Term != t {
			return
		}
		d.call(db.reach(), 2*time.Second, func() bool {
			until := sampled.Add(left)
			if d.w.is(IntervalInSQL) {
				until = db.boot().Add(d.w.lease - d.w.margin)
			}
			db.extend(t, until, renewal)
			return true
		}, func(bool) {})
	})
}

func (d *warden) decideTick() {
	again := d.w.between(d.period()/2, d.period())
	d.read(func(bool) {
		d.sampleDatabase(func() {
			d.sampleCluster(func() {
				d.decision = d.decide()
				d.publish()
				d.execute(d.decision, func() { d.after(again, d.decideTick) })
			})
		})
	})
}

func (d *warden) decide() failover.Decision {
	o := d.observation()
	decision := failover.Decide(o)
	return d.mutate(o, decision)
}

func (d *warden) sampleDatabase(fn func()) {
	db := d.site.db
	view := failover.DatabaseView{}
	d.call(db.reach(), 2*time.Second, func() bool {
		d.w.replicate()
		r := db.volume.row
		view = failover.DatabaseView{
			Reachable: true, Writer: db.writer, Terms: slices.Clone(db.volume.terms), LeaseTerm: r.term,
			SealedTerm: r.sealed, DrainedTerm: r.drained, Renewal: r.renewal, ValidUntil: time.Unix(0, int64(r.validUntil)), LeaseValid: db.writer && db.valid(r),
		}
		return true
	}, func(ok bool) {
		if !ok {
			view = failover.DatabaseView{Err: "time-out"}
		}
		d.database = view
		fn()
	})
}

func (d *warden) sampleCluster(fn func()) {
	view := failover.ClusterView{}
	d.call(d.reachesControl(), 2*time.Second, func() bool {
		view = failover.ClusterView{Known: true, Writer: d.w.control.writer.name, Moving: d.w.control.moving, Member: true}
		return true
	}, func(ok bool) {
		if !ok {
			view = failover.ClusterView{Err: "time-out"}
		}
		d.cluster = view
		fn()
	})
}

func (d *warden) reachesControl() func() bool {
	return func() bool { return d.site.up && d.site.controlReach }
}

// held returns for how long a condition has held on the warden's own clock.
func (d *warden) heldFor(name string, holds bool) time.Duration {
	if !holds {
		delete(d.since, name)
		return 0
	}
	if _, ok := d.since[name]; !ok {
		d.since[name] = d.now()
	}
	return d.now().Sub(d.since[name])
}

func (d *warden) observation() failover.Observation {
	r := d.store.Record
	healthy := 0
	if d.site.app.healthy {
		healthy = 2
	}
	o := failover.Observation{
		Now: d.now(), WallClock: time.Unix(0, 0).Add(d.w.now), Site: d.site.name, Peer: d.site.peer.name, Warden: d.name,
		Settings: d.w.settings(), Store: d.store, Trust: d.trust, Watch: d.watch, Database: d.database, Cluster: d.cluster,
		App:        failover.AppView{Known: true, HealthyTargets: healthy, RunningTasks: healthy},
		PeerBeacon: d.peerBeacon, PeerBeaconSeen: d.peerSeen, PeerBeaconAge: d.now().Sub(d.peerMovedAt),
		OwnBeacon: *d.w.beacon(d.site), TailExported: d.tailExported,
	}
	holding := r.Holder == d.site.name
	o.For = failover.Durations{
		WriterMoved:  d.heldFor("moved", failover.MovedAway(o)),
		DatabaseDown: d.heldFor("database", !d.database.Reachable),
		AppDown:      d.heldFor("app", healthy == 0),
		Wanted:       d.heldFor("wanted", r.Wanted != nil),
		Handoff:      d.heldFor("handoff", holding && (r.State == term.Granted || d.database.SealedTerm >= r.Term)),
		Unserved:     d.heldFor("unserved", holding && r.ServedTerm < r.Term),
	}
	return o
}

func (d *warden) publish() {
	ready, because := failover.Readiness(d.observation())
	d.sequence++
	approval := d.w.beacon(d.site).Approval
	b := term.Beacon{
		Site: d.site.name, Sequence: d.sequence<<8 | int64(d.life&0xff), Ready: ready, NotReadyBecause: because,
		DrainedTerm: d.database.DrainedTerm, LineageTerm: d.database.HighestTerm(), Approval: approval,
	}
	d.call(d.site.reachesStore(), d.w.attemptTimeout(), func() bool { *d.w.beacon(d.site) = b; return true }, func(bool) {})
}

// staleWriter: an operator promoted a copy that lacks the term served last; only an operator can mend that (P16).
func (d *warden) staleWriter() bool {
	return d.database.Writer && d.cluster.Writer == d.site.name && !d.database.HasTerm(d.store.Record.ServedTerm)
}

func (d *warden) execute(decision failover.Decision, then func()) {
	db, r := d.site.db, d.store.Record
	inDatabase := func(fn func()) {
		d.call(db.reach(), 5*time.Second, func() bool { d.w.replicate(); fn(); return true }, func(bool) { then() })
	}
	switch decision.Step {
	case failover.Acquire:
		granted := r.State == term.Granted
		before := d.now()
		d.write(*decision.Record, func(mine bool) {
			if mine {
				d.trust = d.trusted(d.store.Record, before)
				if granted {
					d.w.checkGranted(d.site)
				}
			}
			then()
		})
	case failover.Serve, failover.Grant, failover.TakeBack, failover.Release, failover.Want, failover.ClearWanted:
		d.write(*decision.Record, func(bool) { then() })
	case failover.RecordTerm:
		inDatabase(func() {
			if db.writer && !slices.Contains(db.volume.terms, r.Term) {
				db.commit(change{row: db.volume.row, term: r.Term})
			}
		})
	case failover.Seal:
		inDatabase(func() { db.seal(r.Term) })
	case failover.Drain:
		inDatabase(func() { db.drain(r.Term) })
	case failover.Promote:
		d.promote(decision.Lossy, then)
	case failover.MoveWriter:
		d.call(d.reachesControl(), 5*time.Second, func() bool { d.w.control.switchover(d.site.peer); return true }, func(bool) { then() })
	case failover.ExportTail:
		d.tailExported = true
		then()
	default:
		then()
	}
}

// promote re-reads the record right before the call (P12).
func (d *warden) promote(lossy bool, then func()) {
	t := d.trust.Term
	d.read(func(ok bool) {
		r := d.store.Record
		if !d.w.is(PromoteWithoutTerm) && (!ok || r.Holder != d.site.name || r.Term != t || r.State != term.Held || !d.trust.Holds(t, d.now())) {
			then()
			return
		}
		d.call(d.reachesControl(), 5*time.Second, func() bool {
			if lossy {
				d.w.control.failover(d.site)
			} else {
				d.w.control.switchover(d.site)
			}
			return true
		}, func(bool) { then() })
	})
}
