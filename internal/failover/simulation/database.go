package simulation

import (
	"slices"
	"time"

	"holdfast/internal/term"
)

// row is holdfast.write_lease. Its deadline is on the clock of the server that it was given to.
type row struct {
	term, sealed, drained term.Number
	validUntil            time.Duration
	server                uint32
	renewal               int64
}

// publication is the lease as the commit check sees it: the fence's sequences (ADR 0019). It counts from the statement that
// changes the lease on, in every snapshot, and whether or not that statement's transaction commits. Its end is 0 for never.
type publication struct {
	// term is for the checker; the sequences do not have it.
	term   term.Number
	until  time.Duration
	server uint32
}

// status is where a payment stands in a database.
type status uint8

const (
	unknown status = iota
	pending
	approved
	declined
)

// entry is a payment's row.
type entry struct {
	status    status
	reference int32
	since     instant
}

// change is one committed transaction, in the order of the log.
type change struct {
	at instant
	// lease is a new write_lease, served a new row of holdfast.terms; otherwise the change is a payment's. undone says that the
	// transaction of a new write_lease came to nothing; what it has published stays.
	lease, undone bool
	published     publication
	served        term.Number
	// pin is the version of a row of holdfast.pins, 0 if the change is none.
	pin     int32
	row     row
	payment int32
	entry   entry
	// book is what the transaction adds to the ledger's accounts, one amount per entry; they add up to zero.
	book [2]int64
}

// currencies is how many currencies the ledger has; a payment's number chooses.
const currencies = 3

// snapshot is a volume of a site that a rebuild has left.
type snapshot struct {
	of     *site
	volume *volume
}

// volume is a log and the state that it leads to.
type volume struct {
	log       []change
	row       row
	published publication
	terms     []term.Number
	payments  []entry
	sums      [currencies]int64
	pin       int32
}

func (v *volume) status(payment int32) status {
	if int(payment) >= len(v.payments) {
		return unknown
	}
	return v.payments[payment].status
}

func (v *volume) apply(c *change) {
	v.log = append(v.log, *c)
	switch {
	case c.lease:
		if v.published = c.published; !c.undone {
			v.row = c.row
		}
	case c.pin > 0:
		v.pin = c.pin
	case c.served > 0:
		v.terms = append(v.terms[:len(v.terms):len(v.terms)], c.served) // views of the old slice are about
	default:
		for int(c.payment) >= len(v.payments) {
			v.payments = append(v.payments, entry{})
		}
		v.payments[c.payment] = c.entry
		v.sums[c.payment%currencies] += c.book[0] + c.book[1]
	}
}

func (v *volume) fork() *volume {
	return &volume{
		log: slices.Clone(v.log), row: v.row, published: v.published, terms: slices.Clone(v.terms), payments: slices.Clone(v.payments), sums: v.sums, pin: v.pin,
	}
}

// database is one site's database server on its volume. A standby's volume is a prefix of the writer's.
type database struct {
	process
	volume *volume
	writer bool
	// server changes with every start, as pg_postmaster_start_time() does.
	server uint32
	// down counts the faults that keep the server from running.
	down int
	// instances are the clocks of the cluster's two machines; an in-site failover goes from one to the other.
	instances [2]clock
	instance  int
	open      []*transaction
	began     int64
	probing   bool
}

// now is the database's wall clock.
func (d *database) now() time.Duration { return d.clock.read(d.w.now) }

// replicate applies to a standby what has arrived by now. It is called before every look at a standby and before every
// change of what replication depends on.
func (w *world) replicate() {
	from, to := w.control.writer.db, w.control.writer.peer.db
	if w.cut[linkSites] > 0 || w.replicationStalled > 0 || !from.serving() || !to.serving() || to.writer || !from.writer {
		return
	}
	for i := len(to.volume.log); i < len(from.volume.log) && from.volume.log[i].at+w.replicationLag <= w.now; i++ {
		to.volume.apply(&from.volume.log[i])
	}
}

// replayAll is what a switchover waits for.
func replayAll(from, to *database) {
	for i := len(to.volume.log); i < len(from.volume.log); i++ {
		to.volume.apply(&from.volume.log[i])
	}
}

func (d *database) serving() bool { return d.site.up && d.down == 0 && !d.frozen() }

func (d *database) commit(c change) {
	c.at = d.w.now
	d.volume.apply(&c)
	d.w.checkLedger(d)
}

// valid is the fence's check (P7).
func (d *database) valid(p publication) bool {
	return p.until > d.now() && (p.server == d.server || d.w.mutation == ForeignLeaseRow)
}

// publish is what the trigger on write_lease makes of a new row.
func (d *database) publish(r row) publication {
	p := publication{term: r.term, until: r.validUntil, server: r.server}
	if r.term <= r.sealed && d.w.mutation != ShortenInsteadOfSeal {
		p.until = 0
	}
	return p
}

// undoneShare is how often a change of the lease is rolled back, or its server loses it before it is durable.
const undoneShare = 0.03

// change changes the lease.
func (d *database) change(r row) {
	d.commit(change{lease: true, row: r, published: d.publish(r), undone: d.w.chance(undoneShare)})
}

// extend is the update of the lease row, on the server that was sampled.
func (d *database) extend(t term.Number, validUntil time.Duration, renewal int64, server uint32) {
	r := d.volume.row
	if !d.writer || server != d.server || t < r.term || t <= r.sealed && d.w.mutation != ShortenInsteadOfSeal {
		return
	}
	fresh := t != r.term
	if !fresh && r.server == d.server {
		validUntil = max(validUntil, r.validUntil)
	}
	if !fresh {
		renewal = max(renewal, r.renewal)
	}
	r.term, r.validUntil, r.server, r.renewal = t, validUntil, d.server, renewal
	d.change(r)
	d.probe(fresh)
}

// record puts a term into the lineage, and reports whether it is there for the own site.
func (d *database) record(t term.Number) bool {
	if !d.writer {
		return false
	}
	if t > d.newestTerm() {
		d.commit(change{served: t})
		d.w.servedBy[t] = d.site
		return true
	}
	return slices.Contains(d.volume.terms, t) && d.w.servedBy[t] == d.site
}

func (d *database) seal(t term.Number) {
	r := d.volume.row
	if !d.writer || r.term > t || r.sealed >= t {
		return
	}
	r.sealed = t
	if d.w.mutation == ShortenInsteadOfSeal {
		r.validUntil = min(r.validUntil, d.now()) // and nobody looks at the seal
	}
	d.change(r)
}

// unseal is what no rule allows: it lets the sealed term go on.
func (d *database) unseal(t term.Number) {
	r := d.volume.row
	if d.writer && r.sealed == t {
		r.sealed, r.drained = t-1, t-1
		d.change(r)
	}
}

// drainable is the drain's first look: how many transactions are older than the seal, and the boundary before which
// they began. ok is false if the term is not sealed, or another one holds the lease.
func (d *database) drainable(t term.Number) (old int, boundary int64, ok bool) {
	r := d.volume.row
	if !d.writer || r.sealed < t || r.term > t {
		return 0, 0, false
	}
	for _, tx := range d.open {
		if !tx.prepared() {
			old++
		}
	}
	return old, d.began, true
}

// drained terminates what is still there from before the boundary, and records the drain.
func (d *database) drained(t term.Number, boundary int64) {
	r := d.volume.row
	if !d.writer || r.term > t || r.sealed < t {
		return
	}
	if d.w.mutation != SealWithoutDrain && d.w.mutation != ShortenInsteadOfSeal {
		d.terminate(func(tx *transaction) bool { return tx.began <= boundary && !tx.prepared() })
	}
	r.drained = max(r.drained, t)
	if d.change(r); d.volume.row.drained >= t {
		d.w.trace("%s: term %d is drained", d.name, t)
	}
}

func (d *database) terminate(which func(*transaction) bool) {
	d.open = slices.DeleteFunc(d.open, func(tx *transaction) bool {
		if which(tx) {
			tx.dead = true
			return true
		}
		return false
	})
}

// stop ends the server process: every backend is gone. Prepared transactions survive.
func (d *database) stop() {
	d.terminate(func(tx *transaction) bool { return !tx.prepared() })
	d.end()
	d.w.servers++
	d.server = d.w.servers
	for _, tx := range d.open {
		tx.again() // the old life's events are gone
	}
	d.probing = false
}

// failOver stops the server and brings it up again on the cluster's other machine, with another clock.
func (d *database) failOver() {
	d.instance = 1 - d.instance
	d.clock = d.instances[d.instance]
	d.stop()
}

// control is the global database's control plane.
type control struct {
	w      *world
	writer *site
	moving bool
	// switchingTo is the target of the newest move if that loses nothing.
	switchingTo *site
	// move grows with every change of the writer.
	move int
}

// longestMove is the longest that the service takes to make another cluster the writer.
const longestMove = 15 * time.Second

// longestRebuild is the longest that the service takes to begin to rebuild an old writer as a secondary.
const longestRebuild = 40 * time.Second

// takes is how long a move takes, from nearly nothing to long.
func (c *control) takes() time.Duration {
	switch c.w.rng.IntN(3) {
	case 0:
		return c.w.between(20*time.Millisecond, 100*time.Millisecond)
	case 1:
		return c.w.between(100*time.Millisecond, 2*time.Second)
	}
	return c.w.between(2*time.Second, longestMove)
}

// settle ends a move, some time after the writer has changed: what is left is to make the others follow it.
func (c *control) settle() {
	c.w.after(c.w.between(0, 3*time.Second), func() { c.moving = false })
}

// moved is called when the writer is another one.
func (c *control) moved() {
	c.move++
	r := &c.w.store.record
	if r.Holder == c.writer.name && c.w.servedBy[r.Term] == c.writer || c.w.servedBy[r.ServedTerm] == c.writer {
		c.w.backAgain = true
	}
}

// failover makes the target the writer without asking the old one, which learns of it when it can, and calls then.
func (c *control) failover(target *site, then func()) {
	w := c.w
	if c.moving || c.writer == target || !target.up || target.db.down > 0 {
		return
	}
	c.moving, c.switchingTo = true, nil
	w.after(c.takes(), func() {
		defer c.settle()
		if c.writer == target || !target.db.serving() {
			return
		}
		w.replicate()
		w.trace("failover: %s is the writer", target.name)
		old := c.writer
		target.db.volume = target.db.volume.fork()
		target.db.stop()
		target.db.writer, c.writer = true, target
		c.moved()
		c.rebuild(old, c.move)
		then()
	})
}

// rebuild turns an old writer into a secondary, on a copy of the new writer's volume, once both can be reached. The old
// volume is kept as a snapshot.
func (c *control) rebuild(old *site, move int) {
	w := c.w
	w.after(w.between(time.Second, longestRebuild), func() {
		if c.move != move || c.writer == old {
			return
		}
		if !old.db.serving() || !c.writer.db.serving() || w.cut[linkSites] > 0 {
			c.rebuild(old, move)
			return
		}
		w.trace("%s is rebuilt as a secondary", old.db.name)
		if w.mutation != DropOldVolume {
			w.keep(old.db.volume)
			w.snapshots = append(w.snapshots, snapshot{of: old, volume: old.db.volume})
		}
		old.db.open = nil
		old.db.writer = false
		old.db.volume = c.writer.db.volume.fork()
		old.db.stop()
	})
}

// switchover moves the writer without loss, if both sites and the link cooperate to the end.
func (c *control) switchover(target *site) {
	w := c.w
	if c.moving || c.writer == target || !c.cooperative() {
		return
	}
	c.moving, c.switchingTo = true, target
	w.after(c.takes(), func() {
		defer c.settle()
		if c.writer == target || !c.cooperative() {
			return
		}
		w.trace("switchover: %s is the writer", target.name)
		old := c.writer
		old.db.open = slices.DeleteFunc(old.db.open, func(tx *transaction) bool { tx.dead = true; return true })
		old.db.stop()
		replayAll(old.db, target.db)
		old.db.writer, target.db.writer = false, true
		target.db.stop()
		c.writer = target
		c.moved()
	})
}

func (c *control) cooperative() bool {
	from, to := c.writer.db, c.writer.peer.db
	return c.w.cut[linkSites] == 0 && from.serving() && to.serving() && from.writer && !to.writer
}
