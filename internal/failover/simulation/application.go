package simulation

import (
	"time"

	"holdfast/internal/term"
)

// application takes payments at one site, whether or not the site is active: the fence must hold on its own.
type application struct {
	process
	healthy bool
}

// transaction is one ledger write between its start and its end. Each kind attacks the fence in its own way.
type transaction struct {
	life     int
	payment  int
	began    row // what its snapshot shows
	deadline term.Instant
	acting   *site
}

func newApplication(s *site) *application {
	a := &application{process: process{w: s.w, site: s, clock: s.w.newClock()}, healthy: true}
	a.arrive()
	return a
}

// arrive starts a payment now and then, for ever.
func (a *application) arrive() {
	a.w.after(a.w.between(200*time.Millisecond, 1800*time.Millisecond), func() {
		if a.site.up && !a.frozen && a.healthy {
			a.begin()
		}
		a.arrive()
	})
}

// begin opens a transaction; most commit at once, some stay open for minutes before they do.
func (a *application) begin() {
	db := a.site.db
	if !db.up() || !db.writer {
		return
	}
	if db.open == nil {
		db.open = map[*transaction]bool{}
	}
	a.w.nextPayment++
	tx := &transaction{payment: a.w.nextPayment, began: db.volume.row, acting: a.site}
	db.open[tx] = true
	open := a.w.between(time.Millisecond, 20*time.Millisecond)
	if a.w.chance(0.05) {
		open = a.w.between(0, 3*a.w.lease)
	}
	life := tx.life
	db.later(open, tx, life, func() { a.check(tx) })
}

// check is the deferred constraint trigger at COMMIT.
func (a *application) check(tx *transaction) {
	db := a.site.db
	current := db.volume.row
	if a.w.is(FenceAtStatementStart) {
		current.validUntil = max(tx.began.validUntil, current.validUntil)
		if db.valid(tx.began) || tx.began.validUntil > 0 && tx.began.server == db.server {
			current = tx.began
			current.validUntil = db.boot() + 1
		}
	}
	if !db.writer || !db.valid(current) {
		delete(db.open, tx)
		return
	}
	a.w.checkPassed(a.site, current.term)
	// payd notes its own clock before COMMIT and fetches what remains of the lease with it (P10).
	tx.deadline = a.boot().Add(current.validUntil.Sub(db.boot()))
	gap := a.w.between(0, 3*time.Millisecond)
	if a.w.chance(0.02) {
		gap = a.w.between(0, a.w.margin*8/10)
	}
	db.later(gap, tx, tx.life, func() { a.flush(tx, current.term) })
}

// flush makes the commit durable and sends the answer.
func (a *application) flush(tx *transaction, t term.Number) {
	db := a.site.db
	delete(db.open, tx)
	c := change{row: db.volume.row, payment: tx.payment}
	db.commit(c)
	a.after(a.w.between(0, 2*time.Millisecond), func() {
		if a.boot() >= tx.deadline && !a.w.is(AcknowledgeAfterLease) {
			return // committed, but too late to say so
		}
		a.w.acknowledge(a.site, tx.payment, t)
	})
}

// later runs a transaction's next stage unless its backend is gone by then; a freeze of the database delays it.
func (d *database) later(wait time.Duration, tx *transaction, life int, fn func()) {
	d.w.after(wait, func() {
		switch {
		case tx.life != life || !d.site.up:
		case d.frozen:
			d.later(100*time.Millisecond, tx, life, fn)
		default:
			fn()
		}
	})
}
