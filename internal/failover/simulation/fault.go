package simulation

import (
	"time"

	"holdfast/internal/term"
)

// fault does something at an instant and undoes it later; undo may be nil.
type fault struct {
	name   string
	inject func(w *world, s *site)
	undo   func(w *world, s *site)
}

// faults are drawn with equal chance. Every one may hit either site, at any instant, any number at once.
func faults() []fault {
	return []fault{
		{"region loss", (*world).loseRegion, (*world).returnRegion},
		{"region freeze", func(w *world, s *site) { w.setFrozen(s, true) }, func(w *world, s *site) { w.setFrozen(s, false) }},
		{"database freeze", func(w *world, s *site) { w.replicate(); s.db.frozen = true }, func(w *world, s *site) { s.db.frozen = false }},
		{"database crash", func(w *world, s *site) { s.db.crash() }, nil},
		{"warden crash", func(w *world, s *site) { s.wardens[w.rng.IntN(2)].crash() }, nil},
		{"warden freeze", func(w *world, s *site) { s.wardens[0].freeze() }, func(w *world, s *site) { s.wardens[0].thaw() }},
		{"application freeze", func(w *world, s *site) { s.app.freeze() }, func(w *world, s *site) { s.app.thaw() }},
		{"application down", func(w *world, s *site) { s.app.healthy = false }, func(w *world, s *site) { s.app.healthy = true }},
		{"store unreachable", func(w *world, s *site) { s.storeReach = false }, func(w *world, s *site) { s.storeReach = true }},
		{"store down", func(w *world, s *site) { w.store.up = false }, func(w *world, s *site) { w.store.up = true }},
		{"link partition", func(w *world, s *site) { w.replicate(); w.linkUp = false }, func(w *world, s *site) { w.linkUp = true }},
		{"control plane down", func(w *world, s *site) { s.controlReach = false }, func(w *world, s *site) { s.controlReach = true }},
		{"operator wants a site", (*world).operatorWants, nil},
		{"operator wants and withdraws", (*world).operatorWants, (*world).operatorWithdraws},
		{"operator switches over by hand", func(w *world, s *site) { w.control.switchover(s) }, nil},
		{"operator fails over by hand", func(w *world, s *site) { w.control.failover(s) }, nil},
		{"operator changes the lease", func(w *world, s *site) { w.publishLongerLease() }, nil},
		{"record lost", func(w *world, s *site) { w.loseRecord() }, nil},
		{"clock step", (*world).stepClocks, nil},
	}
}

func (w *world) scheduleFaults(most int) {
	if most == 0 {
		most = 6
	}
	all := faults()
	for range w.rng.IntN(most + 1) {
		f, s := all[w.rng.IntN(len(all))], w.sites[w.rng.IntN(2)]
		start := w.between(20*time.Second, faultPhase-time.Second)
		w.at(start, func() { f.inject(w, s) })
		if f.undo != nil {
			w.at(min(start+w.between(time.Second, 2*time.Minute), faultPhase), func() { f.undo(w, s) })
		}
	}
}

// heal ends every fault that is still there.
func (w *world) heal() {
	w.store.up = true
	w.linkUp = true
	for _, s := range w.sites {
		w.returnRegion(s)
		s.db.frozen = false
		s.storeReach, s.controlReach = true, true
		s.app.healthy = true
		w.setFrozen(s, false)
	}
}

func (w *world) loseRegion(s *site) {
	if !s.up {
		return
	}
	w.replicate()
	w.lostAt = append(w.lostAt, w.now)
	s.up = false
	s.db.crash()
	for _, p := range s.processes() {
		p.life++
		p.held, p.frozen = nil, false
	}
}

func (w *world) returnRegion(s *site) {
	if s.up {
		return
	}
	s.up = true
	s.db.crash()
	s.db.frozen = false
	for _, d := range s.wardens {
		d.crash()
	}
}

func (s *site) processes() []*process {
	all := []*process{&s.app.process}
	for _, d := range s.wardens {
		all = append(all, &d.process)
	}
	return all
}

func (w *world) setFrozen(s *site, frozen bool) {
	if !s.up {
		return
	}
	w.replicate()
	s.db.frozen = frozen
	for _, p := range s.processes() {
		if frozen {
			p.freeze()
		} else {
			p.thaw()
		}
	}
}

func (w *world) operatorWants(s *site) {
	r := w.store.record
	r.Version++
	r.Wanted = &term.Wanted{Site: s.name, By: "operator", Reason: "planned"}
	w.store.write(r)
}

// operatorWithdraws clears the request whatever has been done for it since.
func (w *world) operatorWithdraws(*site) {
	r := w.store.record
	r.Version++
	r.Wanted = nil
	w.store.write(r)
}

// loseRecord deletes the record, as bad as it is rare. Only an operator may make a new one, with a term above both
// databases' (P1), so the run may end without a serving site.
func (w *world) loseRecord() {
	if w.chance(0.2) {
		w.store.exists = false
	}
}

func (w *world) stepClocks(s *site) {
	for _, d := range s.wardens {
		d.step += w.between(-2*w.lease, 2*w.lease)
	}
}
