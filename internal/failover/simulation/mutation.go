package simulation

import (
	"fmt"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// Mutation switches one rule off, where the rule is applied: everything else, the choice of faults included, stays as
// it is. The zero value switches nothing off.
type Mutation uint8

// The mutations, each with the rule that it breaks.
const (
	// NoMutation leaves every rule in force.
	NoMutation Mutation = iota
	// NoMargin is a deployment with a margin of next to nothing: trust lasts the whole lease, and the watch no longer.
	NoMargin
	// WallClock measures leases with a clock that people and NTP step (P4).
	WallClock
	// ClockThatStandsStill measures leases with a clock that leaves out suspended time, as CLOCK_MONOTONIC does (P4).
	ClockThatStandsStill
	// TrustFromAnswer counts trust from the confirmation of a renewal instead of from before its first attempt (P4).
	TrustFromAnswer
	// HolderNameGivesTrust takes the own site's name in the record for a successful renewal (P4).
	HolderNameGivesTrust
	// WatchFromRequest starts the watch at the beginning of the read that first showed a renewal (P5).
	WatchFromRequest
	// AcquireNamesTerm lets a write of the next term name the term that it follows instead of the version, so that it lands
	// over a renewal that came since (P2).
	AcquireNamesTerm
	// ClearInsteadOfTakeBack takes a hand-over back by clearing the fields and the seal, under the same term, with writes
	// within a term that name term and holder instead of the version: one of the hand-over's lands after it (P2).
	ClearInsteadOfTakeBack
	// LocalSettings trusts the longer lease of the warden's own configuration before the record has it (P3).
	LocalSettings
	// EmptyStart creates the record when it is missing (P1).
	EmptyStart
	// InitAtOnce creates a lost record anew although wardens may still trust in it (P1).
	InitAtOnce
	// ServeFirst writes served_term with the term itself, before the database is the writer and has the term in it (P13).
	ServeFirst
	// IgnoreMode lets the wardens decide in every mode (P17).
	IgnoreMode
	// IgnoreBudget hands over for health without asking for budget and cool-down (P19).
	IgnoreBudget
	// ForeignLeaseRow honours a lease row that another server was given: replicated, restored or promoted (P7).
	ForeignLeaseRow
	// FenceAtStatementStart asks the fence when a transaction begins to write, and not again when it commits (P7).
	FenceAtStatementStart
	// SnapshotCheck reads the lease from its table, as the transaction's own snapshot shows it, instead of from sequences: one
	// from before a seal passes under the old term after the site has begun the next (P7, P9).
	SnapshotCheck
	// IntervalInSQL computes valid_until as clock_timestamp() plus an interval, whenever the statement runs (P8).
	IntervalInSQL
	// ShortenInsteadOfSeal ends the lease early and calls that a seal: neither the fence nor an extension asks for the seal,
	// so a sibling opens the term again (P9).
	ShortenInsteadOfSeal
	// SealWithoutDrain seals, but waits for no transaction from before the seal (P9).
	SealWithoutDrain
	// PreparedTransactions are allowed: COMMIT PREPARED passes no check and survives a drain (P9).
	PreparedTransactions
	// AcknowledgeAfterLease answers the client although the lease has run out since the commit was sent (P10).
	AcknowledgeAfterLease
	// PromoteWithoutTerm promotes, records and serves the next term after two missed renewals, and acquires it then (P12).
	PromoteWithoutTerm
	// IgnoreLineage takes over with any database, as if an operator had accepted the loss (P11). That opens the gate for lag
	// as well, which alone would refuse a copy without the term served last: its lag is unknown.
	IgnoreLineage
	// IgnoreLag takes over although the own copy is further behind than allowed, or unknown to be near (P11).
	IgnoreLag
	// GrantWithoutSeal moves the writer and grants the term without sealing and draining the database (P14).
	GrantWithoutSeal
	// HoldOnWithoutWriter never releases a term (P15, P16).
	HoldOnWithoutWriter
	// NeverReturns leaves a term that nobody took released for ever, although its holder is well again (P15).
	NeverReturns
	// DropOldVolume rebuilds a secondary in place, whether or not its tail has been exported (P20).
	DropOldVolume
	// UnsaidTail brings a term into service without writing that the end of the one before may be missing (P20).
	UnsaidTail
	// ReportWhatWas lets renewals report how far the lease has reached, instead of how far it may, and leases reach further
	// than that, so that a copy's lag has no bound (P11).
	ReportWhatWas
	// PinWithoutAbstention lets a pinned site go on without the store although the other one does not stand still (P18).
	PinWithoutAbstention
	// RandomReference draws a new charge reference for every row instead of deriving it from the payment (P21).
	RandomReference
	// NotFoundMeansFailed lets the recovery worker decline what the acquirer does not know yet (P21).
	NotFoundMeansFailed
	// SplitEntries books the two sides of a payment in two transactions (I4).
	SplitEntries
	mutations
)

var names = [mutations]string{
	NoMutation: "none", NoMargin: "no-margin", WallClock: "wall-clock", ClockThatStandsStill: "clock-that-stands-still",
	TrustFromAnswer: "trust-from-answer", HolderNameGivesTrust: "holder-name-gives-trust", WatchFromRequest: "watch-from-request",
	AcquireNamesTerm: "acquire-names-term", ClearInsteadOfTakeBack: "clear-instead-of-take-back", LocalSettings: "local-settings", EmptyStart: "empty-start", InitAtOnce: "init-at-once",
	ServeFirst: "serve-first", IgnoreMode: "ignore-mode", IgnoreBudget: "ignore-budget",

	ForeignLeaseRow: "foreign-lease-row", FenceAtStatementStart: "fence-at-statement-start", SnapshotCheck: "snapshot-check", IntervalInSQL: "interval-in-sql",
	ShortenInsteadOfSeal: "shorten-instead-of-seal", SealWithoutDrain: "seal-without-drain",
	PreparedTransactions:  "prepared-transactions",
	AcknowledgeAfterLease: "acknowledge-after-lease", PromoteWithoutTerm: "promote-without-term", IgnoreLineage: "ignore-lineage",
	IgnoreLag: "ignore-lag", GrantWithoutSeal: "grant-without-seal", HoldOnWithoutWriter: "hold-on-without-writer",
	NeverReturns: "never-returns", DropOldVolume: "drop-old-volume", UnsaidTail: "unsaid-tail", ReportWhatWas: "report-what-was",
	PinWithoutAbstention: "pin-without-abstention",
	RandomReference:      "random-reference", NotFoundMeansFailed: "not-found-means-failed",
	SplitEntries: "split-entries",
}

// Mutations lists all of them.
func Mutations() []Mutation {
	var all []Mutation
	for m := NoMutation + 1; m < mutations; m++ {
		all = append(all, m)
	}
	return all
}

func (m Mutation) String() string {
	if m >= mutations {
		return fmt.Sprintf("mutation %d", m)
	}
	return names[m]
}

// ParseMutation returns the mutation of that name.
func ParseMutation(name string) (Mutation, error) {
	for m, known := range names {
		if known == name {
			return Mutation(m), nil
		}
	}
	return 0, fmt.Errorf("there is no mutation %q", name)
}

// decide is what package failover decides, unless a rule is switched off.
func (d *warden) decide(o *failover.Observation) failover.Decision {
	decision := failover.Decide(*o)
	if d.w.mutation == NoMutation {
		return decision
	}
	return d.mutate(*o, decision)
}

// mutate replaces a decision by what the mutated rule would have decided.
func (d *warden) mutate(o failover.Observation, decision failover.Decision) failover.Decision {
	r := o.Store.Record
	standby := o.Store.Readable && !o.Store.Missing && r.Holder == o.Peer
	switch d.w.mutation {
	case EmptyStart:
		if o.Store.Missing && o.Database.Reachable {
			fresh := d.w.firstRecord()
			fresh.Term, fresh.Holder = o.Database.HighestTerm()+1, o.Site
			return failover.Decision{Step: failover.Acquire, Record: &fresh, Reason: "there is no record"}
		}
	case IgnoreLineage:
		o.OwnBeacon.Approval = &term.Approval{Term: r.Term, AllowDataLoss: true, Expires: o.WallClock.Add(1)}
		return failover.Decide(o)
	case IgnoreLag:
		o.Database.LeaseTerm = max(o.Database.LeaseTerm, r.ServedTerm)
		o.Store.Record.CoveredUntil = o.Database.ValidUntil
		mutated := failover.Decide(o)
		if mutated.Record != nil && decision.Record != nil {
			mutated.Record.CoveredUntil = decision.Record.CoveredUntil
		}
		return mutated
	case IgnoreMode:
		o.Settings.Mode = failover.Automatic
		return failover.Decide(o)
	case IgnoreBudget:
		o.Store.Record.TakeoverBudget, o.Store.Record.MovedAt = takeoverBudget, time.Time{}
		mutated := failover.Decide(o)
		if next := mutated.Record; next != nil {
			next.TakeoverBudget = r.TakeoverBudget
			if next.Term == r.Term {
				next.MovedAt = r.MovedAt
			}
		}
		return mutated
	case ServeFirst:
		if decision.Step == failover.Acquire {
			decision.Record.ServedTerm = decision.Record.Term
		}
	case PromoteWithoutTerm:
		if !standby || o.Watch.Stood() < 2*r.RenewEvery() {
			break
		}
		switch {
		case !o.Database.Writer:
			return failover.Decision{Step: failover.Promote, Lossy: true, Reason: "two renewals are missing"}
		case !o.Database.HasTerm(r.Term + 1):
			return failover.Decision{Step: failover.RecordTerm, Reason: "promoted"}
		}
		next := r
		next.Version++
		next.Term++
		next.Holder, next.State, next.GrantedTo, next.Wanted = o.Site, term.Held, "", nil
		return failover.Decision{Step: failover.Acquire, Record: &next, Reason: "promoted"}
	case GrantWithoutSeal:
		if r.Holder == o.Site && r.Wanted != nil && r.Wanted.Site == o.Peer && o.Trust.Holds(r.Term, o.Now) {
			o.Database.SealedTerm, o.Database.DrainedTerm, o.PeerBeacon.DrainedTerm = r.Term, r.Term, r.Term
			return failover.Decide(o)
		}
		if standby && r.State == term.Granted {
			o.Database.DrainedTerm = r.Term
			return failover.Decide(o)
		}
	case ClearInsteadOfTakeBack:
		if decision.Step == failover.TakeBack {
			next := r
			next.Version++
			next.State, next.GrantedTo, next.Wanted = term.Held, "", nil
			decision.Record = &next
		}
	case UnsaidTail:
		if decision.Step == failover.RecordTerm {
			decision.Record = nil
		}
	case NeverReturns:
		if decision.Step == failover.Acquire && r.Holder == o.Site && r.State == term.Releasing {
			return failover.Decision{Step: failover.Wait, Reason: "the other site may take the term for ever"}
		}
	case HoldOnWithoutWriter:
		if decision.Step == failover.Release {
			return failover.Decision{Step: failover.Wait, Reason: "holding on"}
		}
	}
	return decision
}

// promoteFirst is what PromoteWithoutTerm does before it asks for the term: it takes the database, and writes under a
// term and a lease that it has given to itself.
func (d *warden) promoteFirst(step failover.Step, t term.Number, done func(bool)) {
	c := &d.w.control
	if step == failover.Promote {
		d.effect(d.callLimit(), place{toControl, d.site}, func() { c.failover(d.site, func() {}) }, func(bool) { done(false) })
		return
	}
	if step != failover.RecordTerm {
		done(false)
		return
	}
	d.effect(d.callLimit(), d.database(), func() { d.site.db.record(t) }, func(bool) {
		r := d.memory.Store.Record
		r.Term = t
		d.extendUntil(&r, term.Trusted(r, d.now()), func() { done(true) })
	})
}

// reported is the record by which the database's lease is extended. That it reaches no further than covered_until is a
// second bound beside the end of the trust, and would hide what mistakes about trust do.
func (d *warden) reported(r *term.Record) term.Record {
	next := *r
	switch d.w.mutation {
	case NoMargin, WallClock, ClockThatStandsStill, TrustFromAnswer, HolderNameGivesTrust, LocalSettings, PromoteWithoutTerm, ReportWhatWas:
		next.CoveredUntil = time.Unix(1<<32, 0)
	}
	return next
}
