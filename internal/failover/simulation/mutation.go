package simulation

import (
	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// Mutation names a rule that a run switches off.
type Mutation string

// The mutations, each with the rule that it breaks.
const (
	// NoMargin trusts for the whole lease and watches only the lease.
	NoMargin Mutation = "no-margin"
	// WallClock measures leases with a clock that operators and NTP step.
	WallClock Mutation = "wall-clock"
	// TrustFromAnswer counts trust from the answer of a renewal instead of from its attempt (P4).
	TrustFromAnswer Mutation = "trust-from-answer"
	// HolderNameGivesTrust takes the own site's name in the record for a successful renewal (P4).
	HolderNameGivesTrust Mutation = "holder-name-gives-trust"
	// WatchFromRequest starts the watch at the request of the read instead of its answer (P5).
	WatchFromRequest Mutation = "watch-from-request"
	// ClearInsteadOfTakeBack takes a hand-over back by clearing the field under the same term (P2).
	ClearInsteadOfTakeBack Mutation = "clear-instead-of-take-back"
	// LocalSettings trusts a longer lease than the record publishes (P3).
	LocalSettings Mutation = "local-settings"
	// EmptyStart creates the record when it is missing (P1).
	EmptyStart Mutation = "empty-start"
	// ForeignLeaseRow honours a lease row that another server process wrote (P7).
	ForeignLeaseRow Mutation = "foreign-lease-row"
	// IntervalInSQL lets the database compute valid_until from its own clock at the time of the update (P8).
	IntervalInSQL Mutation = "interval-in-sql"
	// ShortenInsteadOfSeal ends the lease early instead of sealing and draining (P9).
	ShortenInsteadOfSeal Mutation = "shorten-instead-of-seal"
	// FenceAtStatementStart checks the lease as the transaction's snapshot shows it (P7).
	FenceAtStatementStart Mutation = "fence-at-statement-start"
	// AcknowledgeAfterLease answers the client although the lease has run out since the commit check (P10).
	AcknowledgeAfterLease Mutation = "acknowledge-after-lease"
	// PromoteWithoutTerm promotes the database first and takes the term afterwards (P11, P12).
	PromoteWithoutTerm Mutation = "promote-without-term"
	// IgnoreLineage takes over with a database that misses the term served last (P11).
	IgnoreLineage Mutation = "ignore-lineage"
	// GrantWithoutSeal hands the term over before the database is sealed and drained (P14).
	GrantWithoutSeal Mutation = "grant-without-seal"
	// HoldOnWithoutWriter goes on renewing although the writer was moved away (P15, P16).
	HoldOnWithoutWriter Mutation = "hold-on-without-writer"
	// DropOldVolume rebuilds a secondary without keeping its old volume (P20).
	DropOldVolume Mutation = "drop-old-volume"
)

// Mutations lists all of them.
func Mutations() []Mutation {
	return []Mutation{
		NoMargin, WallClock, TrustFromAnswer, HolderNameGivesTrust, WatchFromRequest, ClearInsteadOfTakeBack, LocalSettings,
		EmptyStart, ForeignLeaseRow, IntervalInSQL, ShortenInsteadOfSeal, FenceAtStatementStart, AcknowledgeAfterLease,
		PromoteWithoutTerm, IgnoreLineage, GrantWithoutSeal, HoldOnWithoutWriter, DropOldVolume,
	}
}

// mutate replaces a decision by what the mutated rule would have decided.
func (d *warden) mutate(o failover.Observation, decision failover.Decision) failover.Decision {
	r := o.Store.Record
	usable := o.Store.Readable && !o.Store.Missing
	switch {
	case d.w.is(EmptyStart) && o.Store.Missing && o.Database.Reachable:
		fresh := term.Record{
			Deployment: "d", Version: 1, Term: 1, Holder: d.site.name, LeaseMS: d.w.lease.Milliseconds(),
			MarginMS: d.w.margin.Milliseconds(), State: term.Held, ServedTerm: 0, TakeoverBudget: 3,
		}
		fresh.Term = o.Database.HighestTerm() + 1
		d.call(d.site.reachesStore(), d.w.attemptTimeout(), func() bool {
			if !d.w.store.exists {
				d.w.store.exists, d.w.store.record = true, fresh
			}
			return true
		}, func(bool) {})
	case d.w.is(NoMargin) && usable && r.Holder == o.Peer && decision.Step == failover.Wait && o.Watch.Stood() >= r.Lease():
		return d.take(o)
	case d.w.is(IgnoreLineage) && usable && r.Holder == o.Peer && decision.Step == failover.Wait && o.Watch.Expired(r):
		return d.take(o)
	case d.w.is(PromoteWithoutTerm) && usable && r.Holder == o.Peer && o.Watch.Stood() >= r.RenewEvery()*2 && !o.Database.Writer:
		return failover.Decision{Step: failover.Promote, Lossy: true}
	case d.w.is(GrantWithoutSeal) && decision.Step == failover.Seal:
		next := r
		next.Version++
		next.State, next.GrantedTo = term.Granted, o.Peer
		return failover.Decision{Step: failover.Grant, Record: &next}
	case d.w.is(ClearInsteadOfTakeBack) && decision.Step == failover.TakeBack:
		next := r
		next.Version++
		next.State, next.GrantedTo, next.Wanted = term.Held, "", nil
		return failover.Decision{Step: failover.TakeBack, Record: &next}
	case d.w.is(HoldOnWithoutWriter) && decision.Step == failover.Release:
		return failover.Decision{Step: failover.Wait, Reason: "holding on"}
	}
	return decision
}

func (d *warden) take(o failover.Observation) failover.Decision {
	next := o.Store.Record
	next.Version++
	next.Term++
	next.Holder, next.State, next.GrantedTo, next.Wanted = o.Site, term.Held, "", nil
	return failover.Decision{Step: failover.Acquire, Record: &next}
}

// lease settings that a rolling deployment changes under LocalSettings.
func (w *world) publishLongerLease() {
	for _, s := range w.sites {
		for _, d := range s.wardens {
			if w.is(LocalSettings) && w.chance(0.5) {
				d.localLease = 3 * w.lease
			}
		}
	}
	if w.chance(0.5) {
		return // only some wardens have the new configuration yet
	}
	if r := w.store.record; w.store.exists && !w.is(LocalSettings) {
		r.Version++
		r.LeaseMS = (w.lease + w.between(0, w.lease)).Milliseconds()
		w.store.write(r)
	}
}
