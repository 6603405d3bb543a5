package simulation

import (
	"maps"
	"slices"
	"time"

	"holdfast/internal/term"
)

// row is holdfast.write_lease. validUntil is in the time of the database that wrote it.
type row struct {
	term, sealed, drained term.Number
	validUntil            term.Instant
	server                uint64
	renewal               int64
}

// change is one committed transaction, in the order of the log.
type change struct {
	at      instant
	payment int // 0 for a change that is no payment
	row     row
	term    term.Number // 0, or a row of holdfast.terms
}

// volume is a log and the state that it leads to.
type volume struct {
	log      []change
	row      row
	terms    []term.Number
	payments map[int]bool
}

func (v *volume) has(payment int) bool { return v.payments[payment] }

func (v *volume) apply(c change) {
	v.log = append(v.log, c)
	v.row = c.row
	if c.term > 0 && !slices.Contains(v.terms, c.term) {
		v.terms = append(v.terms, c.term)
		slices.Sort(v.terms)
	}
	if c.payment > 0 {
		if v.payments == nil {
			v.payments = map[int]bool{}
		}
		v.payments[c.payment] = true
	}
}

func (v *volume) fork() *volume {
	return &volume{log: slices.Clone(v.log), row: v.row, terms: slices.Clone(v.terms), payments: maps.Clone(v.payments)}
}

// database is one site's database on its volume. A standby's volume is a prefix of the writer's.
type database struct {
	w      *world
	site   *site
	volume *volume
	writer bool
	// server changes with every start of the server process, as pg_postmaster_start_time() does.
	server uint64
	clock  clock
	frozen bool
	// open are the transactions between their start and their end.
	open map[*transaction]bool
}

func (d *database) up() bool { return d.site.up && !d.frozen }

func (d *database) reach() func() bool { return d.up }

func (d *database) boot() term.Instant { return d.clock.read(d.w.now) }

// terms brings a standby up to date before it is looked at.
func (d *database) terms() []term.Number { return d.volume.terms }

// replicationLag is how far a standby runs behind while the link is up.
const replicationLag = 300 * time.Millisecond

// replicate applies to a standby what has arrived by now. It is called before every look at a database and before
// every change of the link.
func (w *world) replicate() {
	from := w.control.writer.db
	to := w.control.writer.peer.db
	if !w.linkUp || !from.up() || !to.up() || to.writer || !from.writer {
		return
	}
	for i := len(to.volume.log); i < len(from.volume.log) && from.volume.log[i].at+replicationLag <= w.now; i++ {
		to.volume.apply(from.volume.log[i])
	}
}

// replicateAll is what a switchover waits for.
func (w *world) replicateAll(from, to *database) {
	for i := len(to.volume.log); i < len(from.volume.log); i++ {
		to.volume.apply(from.volume.log[i])
	}
}

func (d *database) commit(c change) {
	c.at = d.w.now
	d.volume.apply(c)
}

// valid is the fence's check.
func (d *database) valid(r row) bool {
	own := r.server == d.server || d.w.is(ForeignLeaseRow)
	return own && r.validUntil > d.boot()
}

// extend is holdfast.extend_lease.
func (d *database) extend(t term.Number, validUntil term.Instant, renewal int64) {
	r := d.volume.row
	if !d.writer || t < r.term || !slices.Contains(d.volume.terms, t) || t <= r.sealed {
		return
	}
	if t == r.term && r.server == d.server {
		validUntil = max(validUntil, r.validUntil)
	}
	r.term, r.validUntil, r.server, r.renewal = t, validUntil, d.server, max(r.renewal, renewal)
	d.commit(change{row: r})
}

func (d *database) seal(t term.Number) {
	if r := d.volume.row; d.writer && r.sealed < t {
		if d.w.is(ShortenInsteadOfSeal) {
			r.validUntil = min(r.validUntil, d.boot()) // and a sibling's next extension opens it again
			r.drained = t
		} else {
			r.sealed, r.validUntil = t, min(r.validUntil, d.boot())
		}
		d.commit(change{row: r})
	}
}

// drain reports whether every transaction from before the seal has ended, and records it.
func (d *database) drain(t term.Number) {
	r := d.volume.row
	if !d.writer || r.sealed < t || r.drained >= t {
		return
	}
	for tx := range d.open {
		tx.life++ // pg_terminate_backend: one that has flushed is in the log already, the others are gone
	}
	clear(d.open)
	r.drained = t
	d.commit(change{row: r})
}

// crash ends every backend; the server comes back at once with another start time.
func (d *database) crash() {
	for tx := range d.open {
		tx.life++
	}
	clear(d.open)
	d.server = d.w.rng.Uint64()
}

// control is the global database's control plane.
type control struct {
	w      *world
	writer *site
	moving bool
	move   int
}

// failover makes the target the writer without asking the old one. The old one, if it still runs, is told so later,
// as best it can; until then it is a second server that accepts connections.
func (c *control) failover(target *site) {
	if c.moving || c.writer == target || !target.up {
		return
	}
	c.w.replicate()
	old := c.writer
	target.db.volume = target.db.volume.fork()
	target.db.crash()
	target.db.writer = true
	c.writer = target
	c.moving = true
	c.move++
	c.w.after(c.w.between(time.Second, 5*time.Second), func() { c.moving = false })
	c.rejoin(old, c.move)
}

// rejoin turns an old writer into a secondary once it can be reached, on a new volume; the old one is kept.
func (c *control) rejoin(old *site, move int) {
	c.w.after(c.w.between(5*time.Second, 60*time.Second), func() {
		if c.move != move || c.writer == old {
			return
		}
		if !old.db.up() || !c.writer.db.up() || !c.w.linkUp {
			c.rejoin(old, move)
			return
		}
		if !c.w.is(DropOldVolume) {
			c.w.tails = append(c.w.tails, old.db.volume)
		}
		old.db.crash()
		old.db.writer = false
		old.db.volume = c.writer.db.volume.fork()
	})
}

// switchover moves the writer without loss, if both sides and the link cooperate to the end.
func (c *control) switchover(target *site) {
	if c.moving || c.writer == target || !c.cooperative() {
		return
	}
	c.moving = true
	c.w.after(c.w.between(500*time.Millisecond, 8*time.Second), func() {
		c.moving = false
		if c.writer == target || !c.cooperative() {
			return
		}
		old := c.writer
		old.db.crash()
		c.w.replicateAll(old.db, target.db)
		old.db.writer, target.db.writer = false, true
		target.db.crash()
		c.writer = target
		c.move++
	})
}

func (c *control) cooperative() bool {
	return c.w.linkUp && c.w.sites[0].db.up() && c.w.sites[1].db.up() && c.writer.db.writer && !c.writer.peer.db.writer
}
