package simulation

import (
	"fmt"
	"slices"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// fail records the first violation; the run ends with it.
func (w *world) fail(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf("at %v: ", w.now) + fmt.Sprintf(format, args...)
		w.trace("VIOLATION %s", w.violation)
	}
}

// reign is one server's time under one term, from its first commit check on.
type reign struct {
	term   term.Number
	site   *site
	server uint32
}

// checkPassed is called at every commit check that passes (I1).
func (w *world) checkPassed(tx *transaction) {
	now := reign{tx.term, tx.app.site, tx.db.server}
	known := false
	for _, r := range w.reigns {
		switch {
		case r == now:
			known = true
		case r.term == now.term && r.site != now.site:
			w.fail("I1: term %d passed a commit check at %s and at %s", now.term, r.site.name, now.site.name)
		case r.term > now.term:
			w.fail("I1: a commit check passed at %s under term %d after term %d had begun at %s", now.site.name, now.term, r.term, r.site.name)
		}
	}
	if known || w.violation != "" {
		return
	}
	w.reigns = append(w.reigns, now)
	if now.term > w.latest {
		w.trace("first commit under term %d at %s", now.term, now.site.name)
		w.begun(now.site, now.term)
		w.latest = now.term
		w.terms++
	}
}

// superseded reports whether a later term than t has begun anywhere else.
func (w *world) superseded(s *site, t term.Number) bool {
	for _, r := range w.reigns {
		if r.term > t && (r.site != s || r.server != s.db.server) {
			return true
		}
	}
	return false
}

// begun counts what a term begins without (I2): a hand-over loses nothing, and a takeover no more than its gate allows.
func (w *world) begun(s *site, t term.Number) {
	forced := w.forced
	w.forced = false
	var first, last instant
	lost := 0
	for i := range w.purchases {
		p := &w.purchases[i]
		if !p.acknowledged {
			continue
		}
		last = max(last, p.at)
		if p.lost || s.db.volume.status(p.payment) == approved {
			continue
		}
		p.lost, p.missingSince = true, w.latest
		if lost == 0 || p.at < first {
			first = p.at
		}
		lost++
	}
	if lost == 0 {
		return
	}
	w.trace("term %d begins without %d acknowledged payments, of the last %v", t, lost, last-first)
	w.lost += lost
	if w.lostSite != nil {
		w.rpo = max(w.rpo, w.lostAt-first)
	}
	if w.backAgain && w.failedOver {
		// What was committed on an old volume after the writer was failed over by hand is lost with it, and once the writer is
		// back nobody can tell (see doc.go). It shows when the next term begins, which has not lost it.
		return
	}
	if w.grantedTerm == t && !forced {
		w.fail("I2: term %d was handed over to %s and lost %d acknowledged payments", t, s.name, lost)
	}
	// The gate measures on other clocks, which may run 1 % faster or slower.
	limit := w.settings.MaxLag + w.settings.MaxLag/25 + time.Second
	if !forced && last-first > limit {
		w.fail("I2: the takeover of term %d by %s lost payments of the last %v, although max_lag is %v",
			t, s.name, last-first, w.settings.MaxLag)
	}
}

// checkDurable is called when a transaction becomes durable: a drain promises that none of its term does any more.
func (w *world) checkDurable(tx *transaction) {
	if tx.db.volume.row.drained >= tx.term {
		w.fail("I1: a transaction of term %d became durable at %s after the term's drain", tx.term, tx.app.site.name)
	}
}

// acknowledge is called when the application answers its client, on the strength of a lease that ends at an instant (P10):
// the application counted its rest on another clock.
func (w *world) acknowledge(s *site, payment int32, t term.Number, leaseEnds instant) {
	p := w.purchaseOf(payment)
	if drift := (w.lease + w.lease/2) * 2 * driftPPM / 1_000_000; w.now > leaseEnds+drift {
		w.fail("I1: payment %d was acknowledged at %s under term %d, %v after the end of its lease", payment, s.name, t, w.now-leaseEnds)
	}
	if w.superseded(s, t) && !w.handedOver(payment, t) {
		w.fail("I1: payment %d was acknowledged at %s under term %d after term %d had begun", payment, s.name, t, w.latest)
	}
	if !p.acknowledged {
		p.acknowledged, p.at, p.term = true, w.now, t
		w.acknowledged++
	}
	w.measure(s, p.customer)
}

// handedOver reports whether the payment was there when its term was drained, and so is in the ledger of the term that
// followed: a seal ends a term before its trust, and an answer that is late by then is true all the same.
func (w *world) handedOver(payment int32, t term.Number) bool {
	v := w.control.writer.db.volume
	return v.row.drained >= t && v.status(payment) == approved
}

// charged is called when a charge reaches the acquirer (I3), who knows a reference again.
func (w *world) charged(payment, reference int32) {
	if w.acquirer.charged[reference] {
		return
	}
	w.acquirer.charged[reference] = true
	p := w.purchaseOf(payment)
	if p.charges++; p.charges > 1 {
		w.fail("I3: purchase of payment %d was charged %d times", payment, p.charges)
	}
}

// declined is what a client does when told that nothing was charged: it buys again, with a new key.
func (w *world) declined(payment int32) {
	p := w.purchaseOf(payment)
	if p.payment != payment {
		return
	}
	p.payment = int32(len(w.payments))
	w.payments = append(w.payments, w.payments[payment])
	w.request(p.payment, 1)
}

// checkLedger is called after every commit (I4).
func (w *world) checkLedger(d *database) {
	for currency, sum := range d.volume.sums {
		if sum != 0 {
			w.fail("I4: the ledger of %s adds up to %d in currency %d", d.site.name, sum, currency)
		}
	}
}

// export remembers what an old volume has that an export has written down.
func (w *world) export(v *volume) {
	w.keep(v)
	for payment, e := range v.payments {
		if e.status == approved {
			w.exported[int32(payment)] = true
		}
	}
}

// keep remembers what an old volume has: its snapshot stays.
func (w *world) keep(v *volume) {
	for payment, e := range v.payments {
		if e.status == approved {
			w.kept[int32(payment)] = true
		}
	}
}

// checkKept is called at the end (I2): whatever was acknowledged is in the surviving ledger, in an export, or on a volume.
func (w *world) checkKept() {
	for i := range w.purchases {
		p := &w.purchases[i]
		if !p.acknowledged || w.kept[p.payment] || w.sites[0].db.volume.status(p.payment) == approved ||
			w.sites[1].db.volume.status(p.payment) == approved {
			continue
		}
		w.fail("I2: payment %d was acknowledged at %v and is neither in a ledger nor in the lost tail's report", p.payment, p.at)
		return
	}
}

// checkSaid is called at the end (I2): what is missing in the database that serves has been exported, or the record says
// that the end of a term is missing, whoever moved the writer. Where one was moved away and came back before another term was
// served nobody can tell.
func (w *world) checkSaid() {
	if w.recreated || w.backAgain || !w.serving() {
		return
	}
	for i := range w.purchases {
		p := &w.purchases[i]
		if p.acknowledged && !w.exported[p.payment] && w.control.writer.db.volume.status(p.payment) != approved && !w.said(p) {
			w.fail("I2: payment %d was acknowledged at %v and is missing in the database of %s, and neither an export nor the record says so",
				p.payment, p.at, w.control.writer.name)
			return
		}
	}
}

// said: the record says that the end of the term is missing under which the payment was acknowledged, or of one that its
// holder went on under, on the same volume, until that was lost.
func (w *world) said(p *purchase) bool {
	return slices.ContainsFunc(w.store.record.TailOf, func(t term.Number) bool { return p.term <= t && t <= p.missingSince })
}

// checkWritten is called when a step's write is confirmed: who may decide that a term moves (P17), and how often it moves
// for health (P19).
func (w *world) checkWritten(o *failover.Observation, next *term.Record) {
	r := &o.Store.Record
	approved := func(b *term.Beacon) *term.Approval {
		if a := b.Approval; a != nil && a.Term == r.Term && o.WallClock.Before(a.Expires) {
			return a
		}
		return nil
	}
	if next.Holder != r.Holder && r.State != term.Granted && w.settings.Mode != failover.Automatic {
		if a := approved(&o.OwnBeacon); a == nil || w.settings.Mode == failover.Manual && !a.Commanded {
			w.fail("P17: %s took term %d over in mode %s, and nobody had decided that", o.Warden, r.Term, w.settings.Mode)
		}
	}
	// A warden of the holder wants the other site for health only.
	if r.Holder == o.Site && r.Wanted == nil && next.Wanted != nil && next.Term == r.Term && approved(&o.PeerBeacon) == nil {
		if since := o.WallClock.Sub(r.MovedAt); r.TakeoverBudget <= 0 || since < w.settings.CoolDown {
			w.fail("P19: %s hands term %d over for health with a budget of %d, %v after it came", o.Warden, r.Term, r.TakeoverBudget, since)
		}
	}
}

// checkServing is called when faults have been over for long (I5). A gate that a warden names is an excuse only where
// nothing but a person can go on.
func (w *world) checkServing() {
	if w.serving() {
		return
	}
	w.waiting = w.decisionAwaited()
	switch {
	case w.waiting == "":
		w.fail("I5: nobody serves %v after the last fault, and no warden names a decision that it waits for: %s",
			w.now-w.healedAt, w.describe())
	case !w.stuck():
		w.fail("I5: nobody serves %v after the last fault; a warden waits for %s, and the holder could go on: %s",
			w.now-w.healedAt, w.waiting, w.describe())
	}
}

// serving: a payment has been acknowledged lately, under the record's term, and nothing is on its way elsewhere.
func (w *world) serving() bool {
	r := &w.store.record
	return w.store.exists && r.State == term.Held && r.ServedTerm == r.Term && r.Wanted == nil && w.latest == r.Term &&
		w.lastAck > w.healedAt && w.now-w.lastAck < 3*time.Second && !w.control.moving && w.control.writer.name == r.Holder
}

// decisionAwaited returns what only a person can decide, if a warden names such a thing. Every other gate opens by itself
// once faults are over: waiting for it is no excuse.
func (w *world) decisionAwaited() string {
	if !w.store.exists {
		return "the term record is gone: only an operator may create one (P1)"
	}
	for _, s := range w.sites {
		for _, d := range s.wardens {
			// A standby says why it would not take over all the time. It waits for that only once it might.
			record := d.memory.Store.Record
			if record.Holder != s.name && record.State == term.Held && !d.memory.Watch.Expired(record) {
				continue
			}
			for _, r := range d.decision.Refusals {
				// Only what a person did, or a promotion that came late, can leave a lineage behind: else the holder that served last
				// comes back. Before the first serving of all nobody can say what a writer that was moved by hand lacks.
				behind := w.byHand > 0 || w.recreated || w.strayed || record.ServedTerm == 0
				if r.Gate == "mode" || r.Gate == "lag" || r.Gate == "lineage" && behind {
					return s.name + ": " + r.Gate + ": " + r.Current + ", want " + r.Wanted
				}
			}
		}
	}
	return ""
}

// stuck reports whether the wardens can do nothing any more without a person: there is no record, or the term is released
// and its holder can't take it back, because it is no writer any more or on a copy without the term served last.
func (w *world) stuck() bool {
	r, writer := &w.store.record, w.control.writer
	switch {
	case !w.store.exists:
		return true
	case r.State != term.Releasing || w.control.moving:
		return false
	}
	return writer.name != r.Holder || r.ServedTerm != 0 && !slices.Contains(writer.db.volume.terms, r.ServedTerm)
}

func (w *world) describe() string {
	text := fmt.Sprintf("record %+v, writer %s", w.store.record, w.control.writer.name)
	for _, s := range w.sites {
		text += fmt.Sprintf("; %s: database writer %v, terms %v, row %+v", s.name, s.db.writer, s.db.volume.terms, s.db.volume.row)
		for _, d := range s.wardens {
			text += fmt.Sprintf("; %s: %s (%s)", d.name, d.decision.Step, d.decision.Reason)
		}
	}
	return text
}
