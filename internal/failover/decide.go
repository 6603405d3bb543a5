package failover

import "holdfast/internal/term"

// Decide says what the warden does next. It is a pure function: the same observation gives the same decision, so a
// warden killed at any point is replaced by one that carries on.
func Decide(o Observation) Decision { return Decision{Step: Wait} }

// Renew says whether the warden should renew the lease now, and with which record (P4, P6).
func Renew(o Observation) (next term.Record, ok bool) { return term.Record{}, false }

// Health is what the warden's HTTP endpoints answer.
type Health struct {
	// Serving is /healthz: the site holds a trusted, served term, its database is the writer, its application is healthy.
	Serving bool
	// Target is the warden's own target-group check: false takes this warden out of the balancer (P13).
	Target bool
	Reason string
}

// Judge says what /healthz answers.
func Judge(o Observation) Health { return Health{} }

// Readiness says whether the site could take over now, for its beacon.
func Readiness(o Observation) (ready bool, because string) { return false, "" }
