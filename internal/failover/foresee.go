package failover

import (
	"fmt"

	"holdfast/internal/term"
)

// Foreseen is one decision that a site's wardens would come to.
type Foreseen struct {
	Site     string
	Decision Decision
}

// foreseeLimit bounds a rehearsal; the longest way from one site to the other takes about fifteen steps.
const foreseeLimit = 40

// Foresee rehearses what the wardens of both sites would do, by asking [Decide] again and again and letting every step
// succeed at once: replication catches up, leases are extended, a silent holder is watched out. It ends when a site
// serves and nothing is left to do, or with the gates that are shut. silent names a site that does nothing, or is empty.
// It says what the decisions are, not that the world will go along.
func Foresee(a, b Observation, silent string) []Foreseen {
	f := rehearsal{sites: [2]*Observation{&a, &b}, silent: silent}
	for len(f.seen) < foreseeLimit && (f.act() || f.wait()) {
	}
	return f.seen
}

type rehearsal struct {
	sites  [2]*Observation
	silent string
	seen   []Foreseen
}

func (f *rehearsal) note(o *Observation, d Decision) {
	f.seen = append(f.seen, Foreseen{Site: o.Site, Decision: d})
}

// act lets the first site that has something to do do it.
func (f *rehearsal) act() bool {
	for i, o := range f.sites {
		if o.Site == f.silent {
			continue
		}
		if peer := f.sites[1-i]; peer.Site != f.silent {
			o.PeerBeacon.Request = Request(*peer)
		}
		if d := Decide(*o); d.Step != Wait {
			f.note(o, d)
			f.apply(o, f.sites[1-i], d)
			return true
		}
	}
	return false
}

func (f *rehearsal) apply(o, peer *Observation, d Decision) {
	t := o.Store.Record.Term
	switch d.Step {
	case Acquire, TakeBack, Serve, Grant, Release, Want, ClearWanted, ClearTail:
		for _, s := range f.sites {
			s.Store.Record = *d.Record
			if d.Record.Term != t {
				s.For, s.Watch, s.Trust = Durations{PinSeen: s.For.PinSeen, PinEnded: s.For.PinEnded}, term.Watch{}, term.Trust{}
			}
		}
		if d.Record.Term != t {
			o.Trust = term.Trust{Term: d.Record.Term, Until: o.Now.Add(d.Record.Lease() - d.Record.Margin())}
		}
	case Seal:
		o.Database.SealedTerm, o.Database.LeaseValid = t, false
	case Drain:
		o.Database.DrainedTerm = t
	case MoveWriter:
		f.move(o, peer)
	case Promote:
		f.move(peer, o)
	case RecordTerm:
		o.Database.Terms = append(o.Database.Terms[:len(o.Database.Terms):len(o.Database.Terms)], t)
	case ExportTail:
		o.TailExported = true
	case EndPin:
		o.Database.Pin.Ended = true
	}
}

func (f *rehearsal) move(from, to *Observation) {
	from.Database.Writer, from.Database.LeaseValid, to.Database.Writer = false, false, true
	for _, s := range f.sites {
		s.Cluster.Writer = to.Site
	}
}

// wait lets the time pass that the sites wait for, and reports whether anything came of it.
func (f *rehearsal) wait() bool {
	r := f.sites[0].Store.Record
	for i, o := range f.sites {
		peer := f.sites[1-i]
		switch {
		case o.Site == r.Holder && r.State == term.Held && o.Site != f.silent && o.Database.Writer && o.Database.HasTerm(r.Term) &&
			!sealed(o) && (o.Database.LeaseTerm != r.Term || !o.Database.LeaseValid):
			o.Database.LeaseTerm, o.Database.LeaseValid = r.Term, true
			f.note(o, wait("the wardens extend the database's write lease"))
			return true
		case o.Site == r.Holder && o.Database.DrainedTerm > peer.Database.DrainedTerm && peer.Database.Reachable && f.silent == "":
			peer.Database.Terms, peer.Database.LeaseTerm = o.Database.Terms, o.Database.LeaseTerm
			peer.Database.SealedTerm, peer.Database.DrainedTerm = o.Database.SealedTerm, o.Database.DrainedTerm
			o.PeerBeacon.DrainedTerm = o.Database.DrainedTerm
			f.note(peer, wait("replication brings everything, and the beacon says so"))
			return true
		case o.Site != r.Holder && !o.Watch.Expired(r) && (f.silent == r.Holder || r.State == term.Releasing):
			o.Watch = term.Watch{}.Observe(r, o.Now).Observe(r, o.Now.Add(r.Lease()+r.Margin()))
			f.note(o, wait(fmt.Sprintf("watches the record stand still for %v", r.Lease()+r.Margin())))
			return true
		}
	}
	for _, o := range f.sites {
		if d := Decide(*o); o.Site != f.silent && len(d.Refusals) > 0 {
			f.note(o, d)
		}
	}
	return false
}
