package simulation

import (
	"slices"
	"time"

	"holdfast/internal/term"
)

// purchase is one thing that somebody buys, and must be charged for once.
type purchase struct {
	// payment is the number of its payment; it changes only if the first one was declined.
	payment int32
	charges int
	// acknowledged says that somebody was told that it is paid, at an instant.
	acknowledged bool
	at           instant
	term         term.Number
	// lost says that it was found missing when a later term began, than missingSince.
	lost         bool
	missingSince term.Number
	// customer says that the client by whom the time to recover is measured would have been sent to the same site.
	customer bool
}

// acquirer knows every reference that it has charged. It stands outside both regions and is never lost.
type acquirer struct {
	charged map[int32]bool
	// random is the last reference that RandomReference drew.
	random int32
}

// application takes payments at one site, whether or not the site is active: the fence must hold on its own.
type application struct {
	process
	// sick counts the faults that make its targets unhealthy, gone those that leave it without a task.
	sick, gone int
}

const (
	claim          = 10 * time.Second // how long a request may work on a payment before the recovery worker does
	chargeLimit    = 5 * time.Second
	clientPatience = 3 * time.Second
	clientTries    = 4
	recoverEvery   = 6 * time.Second
	recoverBatch   = 4
)

// buy makes a new purchase.
func (w *world) buy() int32 {
	n := int32(len(w.payments))
	w.purchases = append(w.purchases, purchase{payment: n})
	w.payments = append(w.payments, int32(len(w.purchases)-1))
	return n
}

func (w *world) purchaseOf(payment int32) *purchase { return &w.purchases[w.payments[payment]] }

// shop lets clients come, for ever.
func (w *world) shop() {
	w.after(w.between(300*time.Millisecond, 1700*time.Millisecond), func() {
		w.request(w.buy(), 1)
		w.shop()
	})
}

// request sends a payment to the site that DNS names, or to one that a stale resolver still names, and tries again
// until somebody acknowledges it.
func (w *world) request(payment int32, try int) {
	s := w.dns.ask(w)
	if w.chance(0.3) {
		s = w.anySite()
	}
	customer := s == w.dns.cached(w, w.dns.customer)
	if s.up && s.clientsCut == 0 {
		w.schedule(w.between(5*time.Millisecond, 50*time.Millisecond), &s.app.process, thunk(func() {
			w.purchaseOf(payment).customer = customer
			s.app.take(payment)
		}))
	}
	if try < clientTries {
		w.after(clientPatience+w.between(0, 2*time.Second), func() {
			if p := w.purchaseOf(payment); !p.acknowledged {
				w.request(p.payment, try+1)
			}
		})
	}
}

// take is the API's handler.
func (a *application) take(payment int32) {
	db := a.site.db
	if a.sick+a.gone > 0 || !db.serving() || !db.writer {
		return
	}
	switch v := db.volume; v.status(payment) {
	case unknown:
		a.begin(payment)
	case approved:
		// The recorded answer may be repeated only under a lease (P10).
		if p := v.published; db.valid(p) {
			a.w.acknowledge(a.site, payment, p.term, a.w.now)
		}
	case declined:
		a.w.declined(payment)
	case pending:
		if e := v.payments[payment]; a.w.now-e.since > claim {
			a.charge(payment, e.reference)
		}
	}
}

func (a *application) begin(payment int32) {
	a.start(payment, pending, func(tx *transaction) { tx.app.charge(tx.payment, tx.reference) })
}

func (a *application) finish(payment int32) {
	a.start(payment, approved, (*transaction).answer)
}

// answer tells the client what the database has recorded, if there is time left (P10). A payment whose row is gone, on a
// volume that was left behind, has no answer.
func (tx *transaction) answer() {
	a := tx.app
	late := a.boot() >= tx.deadline && a.w.mutation != AcknowledgeAfterLease
	if tx.recorded == approved && !late {
		a.w.acknowledge(a.site, tx.payment, tx.term, tx.leaseEnds)
	}
}

// reference is the acquirer's idempotency key. It is derived from the payment, so that a payment whose rows are lost and
// which is sent again is the same charge (P21).
func (w *world) reference(payment int32) int32 {
	if w.mutation == RandomReference {
		w.acquirer.random++
		return 1_000_000 + w.acquirer.random
	}
	return payment
}

// charge asks the acquirer, who may be slow, may answer in vain, and may be reached long after the caller has given up. The
// answer lets the payment be finished.
func (a *application) charge(payment, reference int32) {
	w := a.w
	if w.chance(0.01) || !a.site.up {
		return
	}
	there := w.between(10*time.Millisecond, 100*time.Millisecond)
	if w.chance(0.03) {
		there = w.between(0, time.Minute)
	}
	deadline, life := w.now+chargeLimit, a.life
	w.after(there, func() {
		w.charged(payment, reference)
		if w.now < deadline && a.life == life && !w.chance(0.01) {
			w.schedule(w.between(10*time.Millisecond, 50*time.Millisecond), &a.process, thunk(func() { a.finish(payment) }))
		}
	})
}

// recover is the recovery worker: it finishes what a crash left pending by sending the same reference again.
func (a *application) recover() {
	a.after(recoverEvery, a.recover)
	db := a.site.db
	if a.sick+a.gone > 0 || !db.serving() || !db.writer {
		return
	}
	found := 0
	for payment, e := range db.volume.payments {
		if e.status != pending || a.w.now-e.since < claim {
			continue
		}
		if found++; found > recoverBatch {
			return
		}
		if a.w.mutation == NotFoundMeansFailed && !a.w.acquirer.charged[e.reference] {
			a.start(int32(payment), declined, func(*transaction) {})
			continue
		}
		a.charge(int32(payment), e.reference)
	}
}

// kind is how a transaction attacks the fence.
type kind uint8

const (
	readCommitted  kind = iota
	repeatableRead      // what it sees of tables is as it was when the transaction began
	heldOpen            // minutes pass between its start and its COMMIT
	slowFlush           // nearly a margin passes between its check (SET CONSTRAINTS IMMEDIATE, a slow disk) and its flush
	twoPhase            // PREPARE TRANSACTION checks; COMMIT PREPARED comes whenever it likes
)

// transaction is one write to the ledger between its start and its end.
type transaction struct {
	app       *application
	db        *database
	kind      kind
	payment   int32
	becomes   status
	reference int32
	began     int64
	snapshot  publication
	// early is what the fence would say if it were asked at the start.
	early   bool
	sent    term.Instant
	checked bool
	dead    bool
	// term is what the check passed under, deadline until when the commit may be acknowledged, on payd's clock (P10).
	term     term.Number
	deadline term.Instant
	// leaseEnds is when the lease that the check passed under ends, if nobody extends it.
	leaseEnds instant
	// recorded is the payment's status after the commit.
	recorded status
	done     func(*transaction)
}

func (tx *transaction) prepared() bool { return tx.kind == twoPhase && tx.checked }

func (a *application) open(payment int32, becomes status, done func(*transaction)) *transaction {
	db := a.site.db
	db.began++
	p := db.volume.published
	tx := &transaction{
		app: a, db: db, payment: payment, becomes: becomes, began: db.began, snapshot: p, early: db.valid(p), done: done,
		reference: a.w.reference(payment),
	}
	db.open = append(db.open, tx)
	return tx
}

// start opens a transaction and commits it, most at once, some in the ways that the fence has to withstand.
func (a *application) start(payment int32, becomes status, done func(*transaction)) {
	w, db := a.w, a.site.db
	if !db.serving() || !db.writer {
		return
	}
	tx := a.open(payment, becomes, done)
	wait := w.between(0, 5*time.Millisecond)
	switch w.rng.IntN(20) {
	case 0:
		tx.kind = heldOpen
		wait = w.between(0, w.lease+w.lease/2)
	case 1:
		tx.kind = repeatableRead
		wait = w.between(0, w.lease)
	case 2:
		tx.kind = slowFlush
	case 3:
		if w.mutation == PreparedTransactions { // else max_prepared_transactions is 0
			tx.kind = twoPhase
		}
	}
	w.schedule(a.clock.real(wait), &a.process, (*commit)(tx))
}

// The stages of a transaction in the application, each an action. Those in the database are its own.
type (
	commit   transaction
	reported transaction
)

func (tx *commit) run() { (*transaction)(tx).commit() }

func (tx *reported) run() { tx.done((*transaction)(tx)) }

func (tx *transaction) run() { // the next stage in the database
	if tx.checked {
		tx.flush()
		return
	}
	tx.check()
}

// commit sends COMMIT, with the question for the rest of the lease in the same pipeline.
func (tx *transaction) commit() {
	tx.sent = tx.app.boot()
	tx.db.w.schedule(tx.db.w.between(100*time.Microsecond, 3*time.Millisecond), &tx.db.process, tx)
}

// check is the deferred constraint trigger.
func (tx *transaction) check() {
	db, w := tx.db, tx.db.w
	if tx.dead {
		return
	}
	p := db.volume.published
	passes := db.valid(p)
	tx.deadline, tx.leaseEnds = tx.sent, w.now
	if passes {
		left := p.until - db.now()
		tx.deadline, tx.leaseEnds = tx.sent.Add(left), w.now+db.clock.real(left)
	}
	switch {
	case w.mutation == FenceAtStatementStart:
		p, passes = tx.snapshot, tx.early
	case w.mutation == SnapshotCheck && tx.kind == repeatableRead:
		p = tx.snapshot
		passes = db.valid(p)
	}
	if !db.writer || !passes {
		tx.leave()
		return
	}
	tx.checked, tx.term = true, p.term
	w.checkPassed(tx)
	gap := w.between(0, 2*time.Millisecond)
	switch tx.kind {
	case slowFlush:
		gap = w.between(0, w.gap)
	case twoPhase:
		gap = w.between(0, 2*w.lease)
	}
	w.schedule(gap, &db.process, tx)
}

// again lets a prepared transaction's COMMIT PREPARED come after the server's restart.
func (tx *transaction) again() {
	tx.db.w.schedule(tx.db.w.between(0, tx.db.w.lease), &tx.db.process, tx)
}

// flush makes the commit durable and sends the answer.
func (tx *transaction) flush() {
	db, w := tx.db, tx.db.w
	if tx.dead || !db.writer {
		return
	}
	tx.leave()
	w.checkDurable(tx)
	now := db.volume.status(tx.payment)
	switch {
	case tx.becomes == pending && now == unknown, tx.becomes == declined && now == pending:
		db.commit(change{payment: tx.payment, entry: entry{status: tx.becomes, reference: tx.reference, since: w.now}})
	case tx.becomes == approved && now == pending:
		tx.book()
	}
	tx.recorded = db.volume.status(tx.payment)
	w.schedule(w.between(0, 2*time.Millisecond), &tx.app.process, (*reported)(tx))
}

// book writes the ledger: what the acquirer owes and what the merchant is owed, in one transaction.
func (tx *transaction) book() {
	db, w := tx.db, tx.db.w
	amount := int64(tx.payment)*7 + 100
	c := change{payment: tx.payment, entry: db.volume.payments[tx.payment], book: [2]int64{amount, -amount}}
	c.entry.status = approved
	if w.mutation == SplitEntries {
		c.book[1] = 0
		second := change{payment: tx.payment, entry: c.entry, book: [2]int64{0, -amount}}
		w.schedule(time.Millisecond, &db.process, thunk(func() {
			if db.writer && db.valid(db.volume.published) {
				db.commit(second)
			}
		}))
	}
	db.commit(c)
}

func (tx *transaction) leave() {
	if i := slices.Index(tx.db.open, tx); i >= 0 {
		tx.db.open = slices.Delete(tx.db.open, i, i+1)
	}
}

// probe commits at the two worst moments of a lease: right after a term's first, and in the last milliseconds of one
// that runs out, as one of many clients would.
func (d *database) probe(fresh bool) {
	w := d.w
	if fresh {
		w.schedule(w.between(0, 3*time.Millisecond), &d.process, thunk(func() { d.site.app.reserve() }))
	}
	if d.probing {
		return
	}
	d.probing = true
	d.probeAtEnd()
}

func (d *database) probeAtEnd() {
	w := d.w
	left := d.volume.published.until - d.now() - w.between(0, 4*time.Millisecond)
	w.schedule(d.clock.real(left), &d.process, thunk(func() {
		if p := d.volume.published; p.until-d.now() > 10*time.Millisecond && d.writer && p.server == d.server {
			d.probeAtEnd()
			return
		}
		d.probing = false
		d.site.app.last()
	}))
}

// reserve begins a payment whose acquirer is slow: it is finished in the last moment of the lease.
func (a *application) reserve() {
	w := a.w
	if !a.site.db.writer {
		return
	}
	payment := w.buy()
	tx := a.open(payment, pending, func(tx *transaction) {
		w.charged(payment, tx.reference)
		a.site.reserved = payment
	})
	tx.commit()
}

// last finishes the payment that was reserved for the lease's last moment.
func (a *application) last() {
	w, db := a.w, a.site.db
	if !db.writer {
		return
	}
	payment := a.site.reserved
	if db.volume.status(payment) != pending || payment == 0 {
		a.reserve()
		return
	}
	tx := a.open(payment, approved, (*transaction).answer)
	if w.chance(0.4) {
		tx.kind = slowFlush
	}
	// It has been sent a moment ago; the server gets to it now.
	tx.sent = a.boot()
	tx.check()
}
