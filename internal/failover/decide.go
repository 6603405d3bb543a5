package failover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/term"
)

// Decide says what the warden does next. It is a pure function: the same observation gives the same decision, so a
// warden killed at any point is replaced by one that carries on.
func Decide(o Observation) Decision {
	if pinIsOver(&o) {
		return Decision{Step: EndPin, Reason: "the term store answers, so the pin is over (P18)"}
	}
	return underPin(&o, decide(&o))
}

func decide(o *Observation) Decision {
	if pinned(o) {
		return wait(fmt.Sprintf("pinned to term %d without the term store: %s", o.Database.Pin.Term, o.Store.Err))
	}
	if reason := unusable(o); reason != "" {
		return Decision{Step: Wait, Reason: reason, Refusals: []Refusal{storeGate(o)}}
	}
	switch o.Store.Record.Holder {
	case o.Site:
		return decideHolder(o)
	case o.Peer:
		return decideStandby(o)
	default:
		return wait(fmt.Sprintf("the term's holder %q is neither %q nor %q: the record belongs to another deployment, or a site was renamed",
			o.Store.Record.Holder, o.Site, o.Peer))
	}
}

// Renew says whether the warden should renew the lease now, and with which record (P4). The executor stamps the nonce.
//
// After its trust ran out the holder may renew and go on, because the conditional write proves that nobody took over;
// but not over a seal (P6): a sealed term ends by a hand-over or by being taken back under the next number.
func Renew(o Observation) (next term.Record, ok bool) {
	r := &o.Store.Record
	if unusable(&o) != "" || r.Holder != o.Site || r.State != term.Held {
		return term.Record{}, false
	}
	if !o.Trust.Holds(r.Term, o.Now) && sealed(&o) {
		return term.Record{}, false
	}
	next = following(*r)
	next.Renewal++
	if reach := o.Database.ClockBy(o.Now).Add(r.Lease() - r.Margin()); writes(&o) && (r.ServedTerm < r.Term || reach.After(r.CoveredUntil)) {
		next.CoveredUntil = reach // before the term is served this may be another database's clock than the report before
	}
	return next, true
}

// writes: the own database answers and takes writes.
func writes(o *Observation) bool { return o.Database.Reachable && o.Database.Writer }

// Urgent reports whether a renewal out of turn is due still, after a sibling may have made it: before the warden has trust of
// its own in the term, or while the record is [Uncovered]. One that is not would only be in the way of the step that serves the
// term.
func Urgent(o Observation) bool { return !o.Trust.Holds(o.Store.Record.Term, o.Now) || Uncovered(o) }

// Uncovered reports whether a renewal is due at once: the holder's database takes writes, but the record lets its lease
// reach less than a renewal period ahead. So it is when a term or a database has just come into service.
func Uncovered(o Observation) bool {
	r := &o.Store.Record
	return unusable(&o) == "" && r.Holder == o.Site && r.State == term.Held && writes(&o) && !sealed(&o) &&
		r.CoveredUntil.Before(o.Database.ClockBy(o.Now).Add(r.RenewEvery()))
}

// LeaseUntil says how far a database's lease may reach, on its own clock: clock is what that showed, and the own boot clock
// was read as after when the answer was there, so that the way back only shortens the lease (P8). The end is that of the
// trust, and never later than what the record says to everybody: [Lag] relies on it. ok is false if that is over already.
func LeaseUntil(r term.Record, t term.Trust, clock time.Time, after term.Instant) (until time.Time, ok bool) {
	if !t.Holds(r.Term, after) {
		return time.Time{}, false
	}
	until = clock.Add(t.Until.Sub(after))
	if r.CoveredUntil.Before(until) {
		until = r.CoveredUntil
	}
	return until, until.After(clock)
}

// unusable says why nothing may be decided from what the store answered, or "" if something may.
func unusable(o *Observation) string {
	r := &o.Store.Record
	switch {
	case o.Store.Missing:
		return "the term store has no record: only 'holdfast init' creates one (P1)"
	case !o.Store.Readable:
		return "the term store cannot be read: " + o.Store.Err
	case r.Validate() != nil:
		return r.Validate().Error()
	case o.Database.Reachable && o.Database.HighestTerm() > r.Term:
		return fmt.Sprintf("the database has served term %d, above the record's term %d: the record was restored or re-created (P1)",
			o.Database.HighestTerm(), r.Term)
	}
	return ""
}

func decideHolder(o *Observation) Decision {
	r := &o.Store.Record
	switch r.State {
	case term.Granted:
		if o.For.Handoff >= o.Settings.HandoffTimeout {
			return takeBack(o, "the grant was not taken in time")
		}
		return wait("granted to " + r.GrantedTo)
	case term.Releasing:
		return decideReleasing(o)
	}
	if r.ServedTerm < r.Term {
		return decideUnserved(o)
	}
	return decideServing(o)
}

// decideUnserved brings a term that the site has acquired into service: the database becomes the writer, the term goes
// into its lineage, the lease covers it, and only then is it served (P12, P13).
func decideUnserved(o *Observation) Decision {
	t := o.Store.Record.Term
	switch {
	case !o.Trust.Holds(t, o.Now):
		return wait("waiting for the own renewal before anything is done under the term")
	case !o.Database.Reachable:
		if o.For.DatabaseDown >= o.Settings.DatabaseThreshold {
			return release(o, "the database is unreachable: "+o.Database.Err)
		}
		return wait("the database is unreachable: " + o.Database.Err)
	case o.For.Unserved >= o.Settings.HandoffTimeout && peerWaits(o):
		return release(o, "the term could not be brought into service in time")
	case o.Cluster.Moving && !(o.Database.Writer && o.Cluster.Writer == o.Site):
		return wait("the global database is changing its writer")
	case o.Database.HasTerm(t):
		return decideRecorded(o)
	case !o.Cluster.Known:
		return wait("the database's control plane does not say which cluster is the writer: " + o.Cluster.Err)
	case o.Database.Writer && o.Cluster.Writer == o.Site: // what is left of a move concerns the old writer
		return recordTerm(o)
	case o.Database.Writer:
		return Decision{Step: Wait, Reason: "the database takes writes but its cluster is not the global writer", Refusals: []Refusal{{
			Gate: gateMembership, Current: "the global writer is " + o.Cluster.Writer, Wanted: o.Site,
			Remedy: "wait until the control plane has rebuilt this cluster; if " + o.Peer + " will not come back, take this cluster out of the " +
				"global database, make a new one of it (aws rds create-global-cluster --source-db-cluster-identifier), and name that in HOLDFAST_GLOBAL_CLUSTER",
		}}}
	case o.Cluster.Writer == o.Site:
		return wait("the own cluster is the writer, but its writer instance does not answer")
	default:
		return promote(o)
	}
}

// recordTerm puts the term into the lineage of a database that is the writer, however it became that: a writer that was
// moved by hand may lack the end of a term like one that was promoted, and nothing is served before the record says so
// (P20).
func recordTerm(o *Observation) Decision {
	d := Decision{Step: RecordTerm, Reason: "the database is the writer"}
	if wentOn(o) || movedWhole(o) {
		return d
	}
	if d.Record = withTail(o); d.Record != nil {
		d.Reason += fmt.Sprintf(", and may lack the end of term %d", d.Record.TailOf[len(d.Record.TailOf)-1])
	}
	return d
}

// wentOn: this very server was given the lease under the term served last, and has not stopped since.
func wentOn(o *Observation) bool {
	return o.Database.LeaseHere && o.Database.LeaseTerm >= o.Store.Record.ServedTerm
}

// movedWhole: what made the own cluster the writer still goes on, and is a switchover, which loses nothing. Once it has
// ended nobody can tell it from a failover.
func movedWhole(o *Observation) bool { return o.Cluster.Moving && o.Cluster.Lossless }

// withTail is the record that says which terms' ends may be missing in a database that becomes the writer of the record's
// term, or nil if it says so already: of the term served last, and of those that came after it and may have taken writes
// before the record said that they were served.
func withTail(o *Observation) *term.Record {
	r := following(o.Store.Record)
	known := len(r.TailOf)
	for n := max(r.ServedTerm, o.Database.DrainedTerm+1, 1); n < r.Term; n++ {
		r = r.WithTail(n)
	}
	if len(r.TailOf) == known {
		return nil
	}
	return &r
}

// peerWaits: the other site is there, and would have to be asked before the term is held on to any longer.
func peerWaits(o *Observation) bool {
	wanted := o.Store.Record.Wanted
	return peerFresh(o) || wanted != nil && wanted.Site == o.Peer
}

// decideRecorded: the term is in the lineage, so from here on a database that is not the writer was moved by somebody.
func decideRecorded(o *Observation) Decision {
	r := &o.Store.Record
	switch {
	case movedAway(o):
		return decideMovedAway(o)
	case !o.Database.Writer:
		return wait("the database has recorded the term but does not take writes yet")
	case o.Database.LeaseTerm != r.Term || !o.Database.LeaseValid:
		return wait("waiting for the write lease")
	}
	next := following(*r)
	next.ServedTerm = r.Term
	return Decision{Step: Serve, Record: &next, Reason: "the database takes writes under the term"}
}

// MovedAway reports whether the control plane names the other site's cluster as the writer of a term that this site has
// served, or at least recorded in its database (P16). Before that, "not the writer" means nothing.
func MovedAway(o Observation) bool { return movedAway(&o) }

func movedAway(o *Observation) bool {
	r := &o.Store.Record
	return r.Holder == o.Site && o.Database.Reachable && (r.ServedTerm == r.Term || o.Database.HasTerm(r.Term)) &&
		o.Cluster.Known && !o.Cluster.Moving && o.Cluster.Writer == o.Peer
}

// decideMovedAway gives the term up, once the control plane has said for two periods that the writer is elsewhere: its
// answers come from another service than the database's, and one of them may be older than the lineage it is held
// against.
func decideMovedAway(o *Observation) Decision {
	if o.For.WriterMoved < 2*o.Store.Record.RenewEvery() {
		return wait("the control plane names " + o.Peer + " as the writer: looking again")
	}
	return release(o, "the writer was moved to "+o.Peer+" by hand (P16)")
}

// promote asks for the writer. While the other site is there to cooperate the move is a switchover, which loses
// nothing; once it is silent, or its region refuses the switchover, or the cooperation took too long, only a failover is
// left. Silent is measured in beacon periods here, not by the hand-over's more patient limit: a switchover is asked of
// the other region, and a request to a lost region hangs.
func promote(o *Observation) Decision {
	d := Decision{Step: Promote, Lossy: true}
	switch {
	case !peerAlive(o):
		d.Reason = "the other site is silent"
	case o.SwitchoverRefused == o.Store.Record.Term:
		d.Reason = "the other region does not let this site ask for a switchover"
	case o.For.Unserved >= o.Settings.HandoffTimeout/4:
		d.Reason = "the switchover has not come about in time"
	default:
		d.Lossy, d.Reason = false, "the other site is there to hand its writer over"
	}
	if d.Lossy {
		d.Record = withTail(o)
	}
	return d
}

// peerAlive: the other site's wardens were heard of a moment ago.
func peerAlive(o *Observation) bool {
	return o.PeerBeaconSeen && o.PeerBeaconAge <= 3*o.Store.Record.RenewEvery()
}

// missesTail: the own database may lack the end of the term served last.
func missesTail(o *Observation) bool { return o.Database.DrainedTerm < o.Store.Record.ServedTerm }

func decideServing(o *Observation) Decision {
	r := &o.Store.Record
	handingOver := r.Wanted != nil && r.Wanted.Site == o.Peer
	switch {
	case movedAway(o) && !(handingOver && handedOver(o)):
		return decideMovedAway(o)
	case handingOver:
		return decideHandover(o)
	case sealed(o):
		return takeBack(o, "the database is sealed but no hand-over is wanted")
	case r.Wanted != nil:
		next := following(*r)
		next.Wanted = nil
		return Decision{Step: ClearWanted, Record: &next, Reason: "the wanted site " + r.Wanted.Site + " is the active one"}
	}
	return decideHealth(o)
}

// ailment is something that makes the active site give up its term when it lasts.
type ailment struct {
	now              bool
	lasted, patience time.Duration
	cause            string
	// step is what ends it: [Release] or [Want].
	step Step
}

// ailments are the health gate: database, application and balancer, each with its own threshold (P19). A site without a
// database can't hand over, so it releases; one without an application can, and loses nothing.
func ailments(o *Observation) []ailment {
	database := databaseAilment(o)
	noTarget := o.App.Known && o.App.HealthyTargets == 0
	return []ailment{
		{database != "", o.For.DatabaseDown, o.Settings.DatabaseThreshold, database, Release},
		{noTarget && noTasks(o), o.For.AppDown, o.Settings.AppThreshold, "no task of the application runs", Want},
		{noTarget, o.For.BalancerDown, o.Settings.BalancerThreshold, "the balancer finds no healthy target", Want},
	}
}

// NoTasks: the scheduler answers, and no task of the application runs.
func NoTasks(o Observation) bool { return noTasks(&o) }

func noTasks(o *Observation) bool { return o.App.Known && o.App.Err == "" && o.App.RunningTasks == 0 }

func decideHealth(o *Observation) Decision {
	// After a copy without the term was promoted by hand, and this database rebuilt from it, the term has no place here. The
	// threshold is for a look at the database that is older than the one at the record.
	if r := &o.Store.Record; writes(o) && !o.Database.HasTerm(r.Term) && o.For.DatabaseDown >= max(o.Settings.DatabaseThreshold, 2*r.RenewEvery()) {
		return release(o, fmt.Sprintf("the database does not contain term %d, which was served here: it comes from an older copy (P16)", r.Term))
	}
	first := ""
	for _, a := range ailments(o) {
		switch {
		case !a.now || a.lasted <= 0 || a.patience <= 0: // no threshold: not watched
		case a.lasted >= a.patience:
			return decideUnhealthy(o, a.cause, a.step)
		case first == "":
			first = fmt.Sprintf("serving, but %s: for %v of %v", a.cause, a.lasted, a.patience)
		}
	}
	return wait(cmp.Or(first, "serving"))
}

// decideUnhealthy moves the term for health, if the other site can take it and the budget allows it (P19). Expiry is
// not limited by either.
func decideUnhealthy(o *Observation, cause string, step Step) Decision {
	var refusals []Refusal
	approval := approvalIn(o, &o.PeerBeacon)
	if r, shut := modeGate(o, approval, o.Peer); shut {
		refusals = append(refusals, r)
	}
	if r, shut := peerGate(o); shut {
		refusals = append(refusals, r)
	}
	if r := &o.Store.Record; r.TakeoverBudget <= 0 && approval == nil {
		refusals = append(refusals, Refusal{
			Gate: gateBudget, Current: "0 hand-overs for health left", Wanted: "at least 1",
			Remedy: "move the site with 'holdfast switchover --to " + o.Peer + "', which refills the budget, or run 'holdfast approve --to " + o.Peer + "'",
		})
	}
	if since := o.WallClock.Sub(o.Store.Record.MovedAt); since < o.Settings.CoolDown && approval == nil {
		refusals = append(refusals, Refusal{
			Gate: gateCoolDown, Current: since.String(), Wanted: o.Settings.CoolDown.String(),
			Remedy: "wait, or move the site with 'holdfast switchover --to " + o.Peer + "'",
		})
	}
	if len(refusals) > 0 {
		return Decision{Step: Wait, Reason: cause + ", but a gate is shut", Refusals: refusals}
	}
	d := want(o, o.Peer, cause)
	if step == Release {
		d = release(o, cause)
	}
	d.Record.TakeoverBudget = max(0, d.Record.TakeoverBudget-1)
	return d
}

// decideHandover gives the term away without losing anything: seal, drain, let the target replay, move the writer,
// grant (P14). Everything it needs to know after a crash is in the database and the record.
func decideHandover(o *Observation) Decision {
	r := &o.Store.Record
	switch {
	case sealed(o) && o.For.Handoff >= o.Settings.HandoffTimeout:
		return takeBack(o, "the hand-over to "+o.Peer+" did not complete in time")
	case !sealed(o) && databaseAilment(o) != "" && o.For.DatabaseDown >= o.Settings.DatabaseThreshold && peerFresh(o):
		// Somebody has asked for the move, so neither budget nor cool-down is asked again.
		return release(o, o.Peer+" is wanted, and "+databaseAilment(o))
	case !o.Trust.Holds(r.Term, o.Now):
		return wait("waiting for the own renewal before the hand-over goes on")
	case handedOver(o) && o.Cluster.Known && o.Cluster.Writer == o.Peer:
		// That may be while the move still goes on: what is left of it is to make this site's database a secondary.
		next := following(*r)
		next.State, next.GrantedTo = term.Granted, o.Peer
		return Decision{Step: Grant, Record: &next, Reason: "sealed, drained, and the writer has moved"}
	case !o.Database.Reachable:
		return wait("the database is unreachable: " + o.Database.Err)
	case o.Cluster.Moving || !o.Cluster.Known:
		return wait("waiting for the global database's control plane")
	case !sealed(o):
		return decideSeal(o)
	case !drained(o):
		return Decision{Step: Drain, Reason: "sealed; transactions from before the seal must end"}
	}
	if refusal, shut := peerGate(o); shut && refusal.Gate == gatePeerSilent {
		return Decision{Step: Wait, Reason: "drained; " + o.Peer + " is silent", Refusals: []Refusal{refusal}}
	}
	if o.PeerBeacon.DrainedTerm < r.Term {
		return wait("drained; waiting until " + o.Peer + " has replayed everything")
	}
	return Decision{Step: MoveWriter, Reason: o.Peer + " has replayed everything"}
}

// decideSeal starts a hand-over only towards a site that can take it, because from the seal on nobody takes writes.
func decideSeal(o *Observation) Decision {
	r := &o.Store.Record
	if refusal, shut := takerGate(o); shut {
		if o.For.Wanted >= o.Settings.HandoffTimeout {
			next := following(*r)
			next.Wanted = nil
			return Decision{Step: ClearWanted, Record: &next, Reason: o.Peer + " did not become ready in time", Refusals: []Refusal{refusal}}
		}
		return Decision{Step: Wait, Reason: "a hand-over is wanted, but " + o.Peer + " is not ready", Refusals: []Refusal{refusal}}
	}
	if o.For.Wanted >= o.Settings.HandoffTimeout {
		next := following(*r)
		next.Wanted = nil
		return Decision{Step: ClearWanted, Record: &next, Reason: "the own database was not sealed in time"}
	}
	if !o.Database.Writer {
		return wait("a hand-over is wanted, but the own database does not take writes")
	}
	return Decision{Step: Seal, Reason: "a hand-over to " + o.Peer + " is wanted by " + r.Wanted.By}
}

// decideReleasing lets the other site go first. Only if it leaves the term lying for a second lease and margin, and the
// cause is gone, does the holder take the next term itself.
func decideReleasing(o *Observation) Decision {
	r := &o.Store.Record
	grace := 2 * (r.Lease() + r.Margin())
	if !o.Watch.Expired(*r) || o.Watch.Stood() < grace {
		return wait("releasing: the other site waits out the lease")
	}
	if shut := returnGates(o); len(shut) > 0 {
		return Decision{Step: Wait, Reason: "nobody took the released term, and the cause is not gone", Refusals: shut}
	}
	return acquire(o, "nobody took the released term and the cause is gone")
}

func decideStandby(o *Observation) Decision {
	r := &o.Store.Record
	switch {
	case r.State == term.Granted && r.GrantedTo == o.Site && drained(o) && o.Database.HasTerm(r.ServedTerm):
		return acquire(o, "the term was granted")
	case hasTail(o) && !(o.Watch.Expired(*r) && len(gates(o)) == 0):
		d := Decision{Step: ExportTail, Reason: "the own old volume may hold commits that " + o.Peer + " has not"}
		if o.Watch.Expired(*r) {
			d.Refusals = gates(o) // the other site is silent too, so the export can't succeed: an operator has to decide
		}
		return d
	case o.Watch.Expired(*r):
		return decideExpired(o)
	case writerWithoutTerm(o) && (r.Wanted == nil || r.Wanted.Site != o.Site):
		return want(o, o.Site, "the writer was moved here by hand (P16)")
	case slices.Contains(r.TailOf, o.TailSaved):
		next := following(*r).WithoutTail(o.TailSaved)
		return Decision{Step: ClearTail, Record: &next, Reason: fmt.Sprintf("the end of term %d is exported", o.TailSaved)}
	}
	return wait("standby")
}

// decideExpired takes a term whose holder has been silent for the whole lease and margin, if every gate is open (P11).
func decideExpired(o *Observation) Decision {
	if refusals := gates(o); len(refusals) > 0 {
		return Decision{Step: Wait, Reason: "the term has expired, but a gate is shut", Refusals: refusals}
	}
	return acquire(o, fmt.Sprintf("the term stood still for %v", o.Watch.Stood()))
}

// writerWithoutTerm: somebody moved the writer here. Between the other site's seal and its grant this is true as well,
// and then wanted already names this site.
func writerWithoutTerm(o *Observation) bool {
	return o.Database.Reachable && o.Database.Writer && o.Database.HasTerm(o.Store.Record.ServedTerm) &&
		o.Cluster.Known && !o.Cluster.Moving && o.Cluster.Writer == o.Site
}

// hasTail: this database still runs as a writer on a volume that a later term has left behind (P20).
func hasTail(o *Observation) bool {
	r := &o.Store.Record
	return !o.TailExported && r.ServedTerm == r.Term && o.Database.Reachable && o.Database.Writer &&
		!o.Database.HasTerm(r.Term) && o.Cluster.Known && o.Cluster.Writer == o.Peer
}

// handedOver: nothing can be committed here under the term, and the other site has shown that it has everything that
// was: the drain that it has replayed was written after the last commit, and the seal stays. A writer that somebody moved
// in the middle of a hand-over may lack the end of it. The own database may not answer to that, because a move restarts it.
func handedOver(o *Observation) bool {
	return (drained(o) || !o.Database.Reachable) && o.PeerBeacon.DrainedTerm >= o.Store.Record.Term
}

func sealed(o *Observation) bool {
	return o.Database.Reachable && o.Database.SealedTerm >= o.Store.Record.Term
}

func drained(o *Observation) bool {
	return o.Database.Reachable && o.Database.DrainedTerm >= o.Store.Record.Term
}

// following is the record read, one version on.
func following(r term.Record) term.Record {
	r.Version++
	return r
}

func acquire(o *Observation, reason string) Decision {
	next := following(o.Store.Record)
	next.Term++
	next.Holder, next.State, next.GrantedTo, next.Wanted = o.Site, term.Held, "", nil
	next.MovedAt = o.WallClock
	if o.Store.Record.Holder != o.Site && missesTail(o) && !peerAlive(o) {
		next = next.WithTail(next.ServedTerm) // a site that is there hands its writer over; if not, see recordTerm
	}
	return Decision{Step: Acquire, Record: &next, Reason: reason}
}

// takeBack is always the next term, never the clearing of a field: a delayed write of the old hand-over would land
// after it otherwise (P2).
func takeBack(o *Observation, reason string) Decision {
	next := following(o.Store.Record)
	next.Term++
	next.Holder, next.State, next.GrantedTo, next.Wanted = o.Site, term.Held, "", nil
	return Decision{Step: TakeBack, Record: &next, Reason: reason}
}

func release(o *Observation, reason string) Decision {
	next := following(o.Store.Record)
	next.State, next.Wanted = term.Releasing, nil
	return Decision{Step: Release, Record: &next, Reason: reason}
}

func want(o *Observation, site, reason string) Decision {
	next := following(o.Store.Record)
	next.Wanted = &term.Wanted{Site: site, By: byWarden + o.Warden, Reason: reason, At: o.WallClock}
	return Decision{Step: Want, Record: &next, Reason: reason}
}

// byWarden begins the name of a warden that asks for a move.
const byWarden = "warden "

// AskedByWarden reports whether it was a warden that asked for a move, which asks again while the cause lasts, and not a person.
func AskedByWarden(w *term.Wanted) bool { return strings.HasPrefix(w.By, byWarden) }

func wait(reason string) Decision { return Decision{Step: Wait, Reason: reason} }
