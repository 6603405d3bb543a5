package failover

import (
	"cmp"
	"fmt"
	"time"

	"holdfast/internal/term"
)

// The names of the gates, as operators read them.
const (
	gateMode       = "mode"
	gateCapacity   = "capacity"
	gateBudget     = "budget"
	gateCoolDown   = "cool-down"
	gateDatabase   = "database"
	gateLineage    = "lineage"
	gateLag        = "lag"
	gatePeerSilent = "peer beacon"
	gatePeerReady  = "peer readiness"
	gateMembership = "membership"
	gatePin        = "pin"
	gateStore      = "term store"
	gateTargets    = "targets"
)

// Gates lists what would keep the site from taking the term now if it had expired, for people who look ahead.
func Gates(o Observation) []Refusal { return gates(&o) }

// gates lists what keeps the site from taking an expired term (P11, P17). An operator's approval with AllowDataLoss
// opens lag and lineage for the one term it names.
func gates(o *Observation) []Refusal {
	var shut []Refusal
	approval := currentApproval(o)
	if refusal, isShut := modeGate(o, approval, o.Site); isShut {
		shut = append(shut, refusal)
	}
	// Tasks can be started after the takeover as well, but while nobody has looked the holder, which may come back, has more.
	if o.App.Known && o.App.Err == "" && o.App.RunningTasks == 0 && o.App.HealthyTargets == 0 && approval == nil {
		shut = append(shut, Refusal{
			Gate: gateCapacity, Current: "no task of the application runs", Wanted: "at least 1",
			Remedy: fmt.Sprintf("start tasks in %s, or run 'holdfast approve --to %s'", o.Site, o.Site),
		})
	}
	if refusal, isShut := pinGate(o); isShut {
		shut = append(shut, refusal)
	}
	if !o.Database.Reachable {
		return append(shut, Refusal{
			Gate: gateDatabase, Current: "unreachable: " + o.Database.Err, Wanted: "reachable",
			Remedy: "bring the site's own database cluster back; without it there is nothing to take over with",
		})
	}
	if approval != nil && approval.AllowDataLoss {
		return shut
	}
	return append(shut, dataGates(o)...)
}

// modeGate is shut where the wardens may not decide by themselves that the site gets the term.
func modeGate(o *Observation, approval *term.Approval, site string) (Refusal, bool) {
	switch {
	case o.Settings.Mode == Approval && approval == nil:
		return Refusal{
			Gate: gateMode, Current: "approval, and none for this term", Wanted: "an approval for " + site,
			Remedy: fmt.Sprintf("run 'holdfast approve --to %s'", site),
		}, true
	case o.Settings.Mode == Manual && (approval == nil || !approval.Commanded):
		return Refusal{
			Gate: gateMode, Current: "manual", Wanted: "a command",
			Remedy: fmt.Sprintf("run 'holdfast failover --to %s', or 'holdfast switchover --to %s' if the active site is well enough for it", site, site),
		}, true
	}
	return Refusal{}, false
}

// dataGates are the gates that stand for data: the database must contain the term served last, and its lag must be
// known and small.
func dataGates(o *Observation) []Refusal {
	r := &o.Store.Record
	if !o.Database.HasTerm(r.ServedTerm) {
		return []Refusal{{
			Gate: gateLineage, Current: fmt.Sprintf("highest term in the database is %d", o.Database.HighestTerm()),
			Wanted: fmt.Sprintf("term %d, which was served last", r.ServedTerm), Remedy: "let replication catch up; else " + override(o),
		}}
	}
	lag, known := lagOf(o)
	if !known {
		return []Refusal{{Gate: gateLag, Current: "unknown", Wanted: o.Settings.MaxLag.String(), Remedy: override(o)}}
	}
	if lag > o.Settings.MaxLag {
		return []Refusal{{Gate: gateLag, Current: lag.String(), Wanted: "at most " + o.Settings.MaxLag.String(), Remedy: "let replication catch up; else " + override(o)}}
	}
	return nil
}

func override(o *Observation) string {
	return fmt.Sprintf("run 'holdfast failover --to %s --allow-data-loss' if losing that data is acceptable", o.Site)
}

// Lag bounds from above how much committed time the own database lacks. Commits pass only under a lease, leases are rows
// that replicate, and none reaches further than the record said before it was given ([LeaseUntil]). A copy that has the
// row with one deadline has everything that was committed before that row, which was written less than one lease before
// its deadline. So the distance between the record's report and the replicated row, both on the holder's database clock,
// plus one lease, is an upper bound. It needs no synchronised clocks, survives a warden's restart, and stands still while
// nothing can be committed. A database that contains the drain of the record's term lacks nothing (P9).
//
// The drain of the term served last is not enough once a later one has been acquired: its holder may have committed under
// leases without having come to the write that says the term is served. Its report may then be by another database's clock
// than a row from before it.
func Lag(o Observation) (lag time.Duration, known bool) { return lagOf(&o) }

func lagOf(o *Observation) (lag time.Duration, known bool) {
	r := &o.Store.Record
	switch {
	case !o.Database.Reachable || o.Database.LeaseTerm < r.ServedTerm:
		return 0, false
	case o.Database.DrainedTerm >= r.Term:
		return 0, true
	case r.CoveredUntil.IsZero():
		return 0, false
	}
	covered := r.CoveredUntil
	// Under a pin the holder commits without reporting.
	if p := o.Database.Pin; p.ID != 0 && p.Term >= r.ServedTerm {
		unreported := p.PinnedAt.Add(p.For)
		if p.Ended {
			unreported = p.EndedAt
		}
		if unreported.After(covered) {
			covered = unreported
		}
	}
	return max(0, covered.Sub(o.Database.ValidUntil)) + r.Lease(), true
}

// storeGate words an [unusable] store or record: without one nothing is decided.
func storeGate(o *Observation) Refusal {
	r := &o.Store.Record
	switch {
	case o.Store.Missing:
		return Refusal{
			Gate: gateStore, Current: "it has no record", Wanted: "the deployment's record",
			Remedy: "run 'holdfast init', which asks both databases for their terms; find out first who deleted the record",
		}
	case !o.Store.Readable:
		return Refusal{
			Gate: gateStore, Current: "unreadable: " + o.Store.Err, Wanted: "readable",
			Remedy: fmt.Sprintf("see that the wardens of %s reach the term table; if it is gone for everybody, 'holdfast pin' lets the site "+
				"that was active go on without it", o.Site),
		}
	case r.Validate() != nil:
		return Refusal{Gate: gateStore, Current: r.Validate().Error(), Wanted: "a valid record", Remedy: "find out who wrote it; only wardens and this program may"}
	}
	return Refusal{
		Gate: gateStore, Current: fmt.Sprintf("the record's term is %d", r.Term), Wanted: fmt.Sprintf("at least %d, which the database has served", o.Database.HighestTerm()),
		Remedy: "the record was restored or re-created: with the wardens of both sites stopped delete it and run 'holdfast init'",
	}
}

// returnGates keep a site from taking back a term that it has released and nobody took.
func returnGates(o *Observation) []Refusal {
	var shut []Refusal
	r := &o.Store.Record
	add := func(gate, current, wanted, remedy string) {
		shut = append(shut, Refusal{Gate: gate, Current: current, Wanted: wanted, Remedy: remedy})
	}
	takeover := fmt.Sprintf("or let %s take over: 'holdfast status' shows what keeps it from that", o.Peer)
	switch d := o.Database; {
	case !d.Reachable:
		add(gateDatabase, "unreachable: "+d.Err, "reachable", "bring the site's own database cluster back, "+takeover)
	case !d.Writer:
		add(gateDatabase, "takes no writes", "the writer", "see the global database, "+takeover)
	case r.ServedTerm != 0 && !d.HasTerm(r.ServedTerm): // the very first term may be given up before it was served
		add(gateLineage, fmt.Sprintf("highest term in the database is %d", d.HighestTerm()), fmt.Sprintf("term %d, which was served last", r.ServedTerm), "this is an old copy: "+takeover)
	}
	switch c := o.Cluster; {
	case !c.Known:
		add(gateMembership, "the control plane does not answer: "+c.Err, "an answer", "see that the region's API answers, "+takeover)
	case c.Moving || c.Writer != o.Site:
		add(gateMembership, "the global writer is "+cmp.Or(c.Writer, "unknown"), o.Site+", and at rest", "see the global database, "+takeover)
	}
	if o.App.HealthyTargets == 0 {
		add(gateTargets, cmp.Or(o.App.Err, "the application has no healthy target"), "at least 1", "see the tasks' logs in "+o.Site+", "+takeover)
	}
	return shut
}

// currentApproval returns the own site's approval if it names the record's term and has not expired.
func currentApproval(o *Observation) *term.Approval { return approvalIn(o, &o.OwnBeacon) }

// RestsOnApproval reports whether the site would not take the term without the approval that it has. Such a decision is
// made anew right before the write: an approval expires and is withdrawn, and time may have passed since (P17).
func RestsOnApproval(o Observation, d Decision) bool {
	if d.Step != Acquire || currentApproval(&o) == nil {
		return false
	}
	o.OwnBeacon.Approval = nil
	return Decide(o).Step != Acquire
}

func approvalIn(o *Observation, b *term.Beacon) *term.Approval {
	a := b.Approval
	if a == nil || a.Term != o.Store.Record.Term || !o.WallClock.Before(a.Expires) {
		return nil
	}
	return a
}

func peerFresh(o *Observation) bool {
	return o.PeerBeaconSeen && o.PeerBeaconAge <= o.Settings.BeaconMaxAge
}

// peerGate says why the other site cannot take a planned hand-over, if it cannot.
func peerGate(o *Observation) (Refusal, bool) {
	if !peerFresh(o) {
		current := "never seen"
		if o.PeerBeaconSeen {
			current = o.PeerBeaconAge.String() + " old"
		}
		return Refusal{
			Gate: gatePeerSilent, Current: current, Wanted: "at most " + o.Settings.BeaconMaxAge.String() + " old",
			Remedy: "check that the wardens of " + o.Peer + " run and reach the term store",
		}, true
	}
	if !o.PeerBeacon.Ready {
		return Refusal{Gate: gatePeerReady, Current: cmp.Or(o.PeerBeacon.NotReadyBecause, "not ready"), Wanted: "ready", Remedy: "see 'holdfast status' for " + o.Peer}, true
	}
	return Refusal{}, false
}

// takerGate is the gate of a hand-over that is asked for: that the other site is ready has to be said in view of the request,
// because with it the site needs the capacity for this one's load (see Capacity).
func takerGate(o *Observation) (Refusal, bool) {
	if refusal, shut := peerGate(o); shut {
		return refusal, true
	}
	if asked := requestIn(&o.Store.Record); !o.PeerBeacon.Request.Equal(asked) {
		return Refusal{
			Gate: gatePeerReady, Current: "its beacon does not take the request into account yet", Wanted: "ready for the hand-over asked for at " + asked.Format(time.RFC3339),
			Remedy: "nothing: it comes within a renewal; if it does not, update the wardens of " + o.Peer,
		}, true
	}
	return Refusal{}, false
}

// Readiness says whether the site could take over now, for its beacon.
func Readiness(o Observation) (ready bool, because string) {
	r := &o.Store.Record
	if reason := unusable(&o); reason != "" {
		return false, reason
	}
	if r.Holder == o.Site {
		h := judge(&o)
		return h.Serving, h.Reason
	}
	if reason, abstains := abstention(&o); abstains {
		return false, reason
	}
	switch {
	case !o.Database.Reachable:
		return false, "the database is unreachable: " + o.Database.Err
	case !o.Cluster.Known:
		return false, "the database's control plane does not answer: " + o.Cluster.Err
	case !o.Cluster.Member:
		return false, "the cluster is not a member of the global database"
	case o.Database.Writer && o.Cluster.Writer != o.Site:
		return false, "the database still runs on a volume that a later term has left behind"
	case !o.App.Known || o.App.HealthyTargets == 0:
		return false, "the application has no healthy target"
	}
	if have, want, isShort := short(&o); isShort {
		return false, fmt.Sprintf("capacity: %d healthy tasks, want %d for the load of %s", have, want, o.Peer)
	}
	if shut := dataGates(&o); len(shut) > 0 {
		return false, fmt.Sprintf("%s: %s, want %s", shut[0].Gate, shut[0].Current, shut[0].Wanted)
	}
	return true, ""
}
