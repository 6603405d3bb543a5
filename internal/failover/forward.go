package failover

import "holdfast/internal/term"

// Forwarding is what a site does with the requests of clients whose DNS answer is older than the term's move.
type Forwarding struct {
	// Divert: the site's balancer gives the application's requests to the wardens, who send them on.
	Divert bool
	// Peer: the other site serves, so they can be sent there. Until then they wait.
	Peer bool
	// Moving: a hand-over is asked for, and the database was not sealed when it was asked. Requests that come all the same wait
	// too: a sibling may have sealed it and set the balancer since.
	Moving bool
}

// Forward says whether the site forwards: from the seal of a hand-over on, when its own application can commit nothing
// any more, and for Settings.ForwardFor after the term has been handed over, until the clients have followed DNS. After
// an unplanned takeover nobody follows the old site any more by the time it is back. A standby in its quiet state does
// not forward, so that a takeover needs no call to its balancer's control plane. known is false if the store or the
// database does not say, or what they said may have changed since; what was set before then stays.
func Forward(o Observation) (f Forwarding, known bool) {
	if unusable(&o) != "" {
		return Forwarding{}, false
	}
	r := &o.Store.Record
	if r.Holder == o.Site {
		return forwardHolder(&o)
	}
	switch {
	case o.WallClock.Sub(r.MovedAt) >= o.Settings.ForwardFor:
		return Forwarding{}, true
	case !o.Database.Reachable, o.Database.AskedIn < r.Term:
		return Forwarding{Peer: served(r)}, false
	case o.Database.DrainedTerm < r.Term-1: // the term was taken, not handed over
		return Forwarding{}, true
	}
	return Forwarding{Divert: true, Peer: served(r)}, true
}

func forwardHolder(o *Observation) (f Forwarding, known bool) {
	r := &o.Store.Record
	switch {
	case r.State == term.Granted:
		return Forwarding{Divert: true}, true
	case r.State != term.Held || r.Wanted == nil || r.Wanted.Site != o.Peer:
		return Forwarding{}, true
	}
	// A database that restarts as a replica does not answer for a while; the hand-over goes on.
	sealed := sealed(o) || o.For.Handoff > 0
	return Forwarding{Divert: sealed, Moving: !sealed}, true
}

func served(r *term.Record) bool { return r.State == term.Held && r.ServedTerm == r.Term }
