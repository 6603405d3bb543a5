package failover

import "holdfast/internal/term"

// Health is what the warden's HTTP endpoints answer.
type Health struct {
	// Serving is /healthz: the site holds a trusted, served term, its database is the writer, its application is healthy.
	Serving bool
	// Target is the warden's own target-group check: false takes this warden out of the balancer (P13).
	Target bool
	Reason string
}

// Judge says what /healthz answers. Route 53 reads exactly this, so DNS follows the term.
func Judge(o Observation) Health { return judge(&o) }

func judge(o *Observation) Health {
	r := &o.Store.Record
	holding := r.Holder == o.Site
	trusted := holding && o.Trust.Holds(r.Term, o.Now)
	h := Health{Target: !holding || trusted}
	if !trusted && pinned(o) {
		return judgePinned(o)
	}
	switch {
	case o.Store.Missing || r.Validate() != nil:
		h.Reason = "no usable term record"
	case !holding:
		h.Reason = "standby: the term is held by " + r.Holder
	case !trusted:
		h.Reason = "this warden has no trust in the term: its last confirmed renewal is too old"
	case r.State != term.Held:
		h.Reason = "the term is " + string(r.State)
	case r.ServedTerm != r.Term:
		h.Reason = "the term is not served yet"
	case !o.Database.Reachable:
		h.Reason = "the database is unreachable: " + o.Database.Err
	case !o.Database.Writer || !o.Database.HasTerm(r.Term):
		h.Reason = "the database is not the writer of this term"
	case sealed(o):
		h.Reason = "the database is sealed for a hand-over"
	case !o.Database.LeaseValid:
		h.Reason = "the database's write lease is over"
	case o.App.Known && o.App.HealthyTargets == 0: // a control plane that does not answer says nothing about the application
		h.Reason = "the application has no healthy target"
	default:
		h.Serving = true
	}
	return h
}

// judgePinned is [Judge] for a site that goes on without the store: the pin says what the record would say.
func judgePinned(o *Observation) Health {
	h := Health{Target: true}
	switch {
	case !o.Database.LeaseValid:
		h.Reason = "pinned, but the database's write lease is over"
	case o.App.Known && o.App.HealthyTargets == 0:
		h.Reason = "the application has no healthy target"
	default:
		h.Serving = true
	}
	return h
}

// databaseAilment says what keeps a served database from taking payments, "" if nothing does. Reads alone say little: where
// a storage stalls or a lock stands in the way, a database answers every question and takes no write. Its lease row is the
// one write that is always due, so under trust in a term that is not sealed a lease that is over means that writes fail.
// Without trust, as while the store is away, it means nothing.
func databaseAilment(o *Observation) string {
	r := &o.Store.Record
	switch {
	case !o.Database.Reachable:
		return "the database is unreachable: " + o.Database.Err
	case !o.Database.Writer:
		return "the database takes no writes"
	case o.Store.Readable && r.State == term.Held && o.Trust.Holds(r.Term, o.Now) && !sealed(o) && !o.Database.LeaseValid:
		return "the database answers but does not take its write lease"
	}
	return ""
}
