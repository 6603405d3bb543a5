package warden

import (
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// durations notes since when conditions have held, on the boot clock. They belong to one term in one phase: a change
// of term, holder or served term starts them anew, so that the health gate begins after the first serving of a term
// (P19) and a promotion that took long does not count as an outage.
type durations struct {
	phase phase
	// Each is the instant since which the condition holds, zero if it does not.
	databaseDown, appDown, wanted, handoff, unserved, moved term.Instant
	wantedAs                                                term.Wanted
}

type phase struct {
	term, served term.Number
	holder       string
}

// observe takes one observation into account.
func (d *durations) observe(o failover.Observation) {
	r := o.Store.Record
	if p := (phase{r.Term, r.ServedTerm, r.Holder}); p != d.phase {
		*d = durations{phase: p, wanted: d.wanted, wantedAs: d.wantedAs}
	}
	holding := r.Holder == o.Site
	served := holding && r.ServedTerm == r.Term
	// Before the term is served "not the writer" means nothing (P16); afterwards a database that can't be written to
	// is as good as none.
	down := holding && !o.Database.Reachable || served && !o.Database.Writer
	since(&d.databaseDown, down, o.Now)
	// A control plane that does not answer says nothing about the application: it neither starts nor ends an outage.
	if !served || o.App.Known {
		since(&d.appDown, served && o.App.HealthyTargets == 0, o.Now)
	}
	var wanted term.Wanted
	if r.Wanted != nil {
		wanted = *r.Wanted
	}
	if wanted != d.wantedAs {
		d.wanted, d.wantedAs = 0, wanted
	}
	since(&d.wanted, r.Wanted != nil, o.Now)
	since(&d.unserved, holding && !served, o.Now)
	since(&d.moved, failover.MovedAway(o), o.Now)
	sealed := holding && r.State == term.Held && o.Database.Reachable && o.Database.SealedTerm >= r.Term
	// An unreachable database does not end a hand-over that was seen.
	unsure := holding && r.State == term.Held && !o.Database.Reachable && d.handoff != 0
	since(&d.handoff, sealed || unsure || r.State == term.Granted, o.Now)
}

func since(from *term.Instant, holds bool, now term.Instant) {
	switch {
	case !holds:
		*from = 0
	case *from == 0:
		*from = now
	}
}

// at says how long each condition has held by now.
func (d *durations) at(now term.Instant) failover.Durations {
	return failover.Durations{
		DatabaseDown: elapsed(d.databaseDown, now), AppDown: elapsed(d.appDown, now), Wanted: elapsed(d.wanted, now),
		Handoff: elapsed(d.handoff, now), Unserved: elapsed(d.unserved, now), WriterMoved: elapsed(d.moved, now),
	}
}

func elapsed(from, now term.Instant) time.Duration {
	if from == 0 {
		return 0
	}
	return now.Sub(from)
}
