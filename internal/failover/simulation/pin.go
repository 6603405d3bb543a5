package simulation

import (
	"slices"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// pin is a row of holdfast.pins (P18). A row that changes is a new version with the same id.
type pin struct {
	id     int64
	term   term.Number
	site   *site
	server uint32
	// at and endedAt are on the clock of the server.
	at, endedAt, lasts time.Duration
	confirmed, ended   bool
}

// pinOf is the newest pin in a volume.
func (w *world) pinOf(v *volume) (pin, bool) {
	if v.pin == 0 {
		return pin{}, false
	}
	return w.pins[v.pin-1], true
}

func (d *database) writePin(p pin) {
	d.w.pins = append(d.w.pins, p)
	d.commit(change{pin: int32(len(d.w.pins))})
}

func (d *database) newestTerm() term.Number {
	if len(d.volume.terms) == 0 {
		return 0
	}
	return d.volume.terms[len(d.volume.terms)-1]
}

// endPin is the end of every open pin, in the database of a writer.
func (d *database) endPin() {
	if p, there := d.w.pinOf(d.volume); there && !p.ended && d.writer {
		p.ended, p.endedAt = true, d.now()
		d.writePin(p)
		d.w.trace("%s: the pin is ended", d.name)
	}
}

// pinView is package warden's: the end of a pin is counted from before the database's clock was read.
func (s *sample) pinView(w *world, asked term.Instant) failover.PinView {
	p := s.pin
	if p.id == 0 {
		return failover.PinView{}
	}
	v := failover.PinView{
		ID: p.id, Term: p.term, Site: p.site.name, Confirmed: p.confirmed, Ended: p.ended, For: p.lasts, Lease: w.lease, Margin: w.margin,
		PinnedAt: time.Unix(0, int64(p.at)), EndedAt: time.Unix(0, int64(p.endedAt)),
	}
	if p.server == s.server {
		v.Until = asked.Add(p.at + p.lasts - w.margin - s.at)
	}
	return v
}

// extendPinned extends the database's lease by its pin alone.
func (d *warden) extendPinned(t term.Number, done func()) {
	db, w := d.site.db, d.w
	var s sample
	d.ask(d.callLimit(), d.database(), &errand{do: func() { s = db.sample() }, then: func(answered bool) {
		p := s.pin
		if !answered || !s.view.Writer || s.view.SealedTerm >= t || p.ended || !p.confirmed || p.site != d.site || p.server != s.server ||
			p.term != s.view.HighestTerm() || p.term != t {
			done()
			return
		}
		until := min(s.at+w.lease-w.margin, p.at+p.lasts-w.margin)
		if until <= s.at {
			done()
			return
		}
		d.effect(d.callLimit(), d.database(), func() { db.extend(t, until, 0, s.server) }, func(bool) { done() })
	}})
}

// pinTick lets the extender go by its own clock while there is a pin: nothing renews then.
func (d *warden) pinTick() {
	if d.memory.Database.Pin.ID == 0 {
		d.pinTicking = false
		return
	}
	if failover.Pinned(d.observation()) {
		d.extendSoon()
	}
	d.after(d.renewEvery(), d.pinTick)
}

// longestPin is the longest that an operator pins a site for, in leases.
const longestPin = 7

// operatorPins is 'holdfast pin --site S': it writes the pin, waits until the other site's copy shows it and still is a
// copy a lease and margin later, and only then lets it give a lease. The operator reaches both databases.
func operatorPins(w *world, s *site) {
	db, copied := s.db, s.peer.db
	t := db.newestTerm()
	if old, there := w.pinOf(db.volume); there && !old.ended && old.term == t {
		return
	}
	answers := w.store.exists && (w.store.serves(w, s) || w.store.serves(w, s.peer))
	if answers || !db.serving() || !db.writer || t == 0 || db.volume.row.term != t || db.volume.row.sealed >= t || w.servedBy[t] != s ||
		!copied.serving() || copied.writer || !slices.Equal(copied.volume.terms, db.volume.terms) {
		return
	}
	w.pinned++
	id := w.pinned
	db.writePin(pin{id: id, term: t, site: s, server: db.server, at: db.now(), lasts: w.between(3*w.lease, longestPin*w.lease)})
	w.trace("an operator pins %s to term %d", s.name, t)
	w.awaitPin(s, id, w.now+time.Minute)
}

// awaitPin waits for the copy to show the pin, and then a lease and margin.
func (w *world) awaitPin(s *site, id int64, limit instant) {
	w.after(500*time.Millisecond, func() {
		w.replicate()
		shown, refused := w.shows(s.peer, id)
		switch {
		case refused || w.now > limit:
			w.giveUpPin(s)
		case !shown:
			w.awaitPin(s, id, limit)
		default:
			w.after(w.lease+w.margin+w.between(0, w.lease/2), func() { w.confirmPin(s, id) })
		}
	})
}

// shows reports whether a site's copy shows the open pin, and whether it is no copy any more.
func (w *world) shows(s *site, id int64) (shown, refused bool) {
	if !s.db.serving() {
		return false, false
	}
	p, _ := w.pinOf(s.db.volume)
	return p.id == id && !p.ended, s.db.writer
}

func (w *world) confirmPin(s *site, id int64) {
	w.replicate()
	db := s.db
	p, _ := w.pinOf(db.volume)
	shown, refused := w.shows(s.peer, id)
	if !shown || refused {
		w.giveUpPin(s)
		return
	}
	r := db.volume.row
	same := p.id == id && !p.ended && p.server == db.server
	if !db.serving() || !db.writer || !same || r.term != p.term || r.sealed >= p.term || p.term != db.newestTerm() {
		return
	}
	p.confirmed = true
	db.writePin(p)
	w.pinsConfirmed++
	w.trace("the pin of %s is confirmed", s.name)
	if w.chance(0.3) { // 'holdfast unpin'
		w.after(w.between(0, p.lasts), func() {
			if db.serving() {
				db.endPin()
			}
		})
	}
}

// liftPin is 'holdfast unpin --i-have-stopped S': S is lost with its database, so nobody can end its pin, and an operator
// vouches that nothing of it runs. A region that returns has another server, which the pin is not for.
func liftPin(w *world, s *site) {
	copied := s.peer.db
	p, there := w.pinOf(copied.volume)
	if s.up || !there || p.ended || p.site != s || !copied.serving() || !w.store.exists || !w.store.serves(w, s.peer) {
		return
	}
	r := w.store.record
	r.Version++
	r.UnpinnedTerm = max(r.UnpinnedTerm, p.term)
	w.trace("an operator vouches that %s, pinned to term %d, stands still", s.name, p.term)
	w.store.write(w, &r)
}

func (w *world) giveUpPin(s *site) {
	if s.db.serving() {
		s.db.endPin()
	}
}

// schedulePin takes the term store away from everybody, lets an operator pin the active site, and gives the store back
// to the other site first.
func (w *world) schedulePin(end instant) {
	start := quietBefore + w.between(0, 10*time.Second)
	w.atActive(start, func(active *site) {
		gone := w.between(2*w.lease, 4*w.lease)
		w.inject(byName("store gone"), active, w.now, gone, end)
		w.inject(byName("operator pins"), active, w.now+w.between(0, w.lease/2), 0, end)
		if w.chance(0.7) {
			w.inject(byName("store unreachable"), active, w.now+gone/2, gone/2+w.between(0, 4*w.lease), end)
		}
		if w.chance(0.2) { // the pinned region is lost in the end, and its pin keeps the other site still
			at := w.now + w.lease + w.between(0, gone)
			w.inject(byName("region loss"), active, at, 4*w.lease, end)
			w.inject(byName("operator lifts a pin"), active, max(at, w.now+gone)+w.between(0, w.lease), 0, end)
		}
		for range w.rng.IntN(3) {
			w.inject(w.anyFault(), w.anySite(), w.now+w.between(0, gone+w.lease), w.lasting(), end)
		}
	})
}
