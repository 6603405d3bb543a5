package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// What a preview assumes of the wardens' settings that no beacon tells; they only bound how long something may take.
const (
	previewHandoff   = 5 * time.Minute
	previewBeaconAge = 30 * time.Second
	previewThreshold = time.Minute
)

// preview is what a command would do and what the wardens would make of it, by their own decisions on what both sites say
// of themselves now. It changes nothing. It is [ErrRefused] if the command would be.
func (o *Operator) preview(ctx context.Context, command, to, what, why string, change func(*failover.Observation), silent func(Status) string) (Plan, error) {
	s := o.Status(ctx)
	if s.Record == nil {
		return Plan{}, fmt.Errorf("%w: %s", ErrEnvironment, s.RecordError)
	}
	plan := newPlan(command, true, nil)
	plan.saw("term %d is %s by %s; its lease is %s", s.Record.Term, s.Record.State, s.Record.Holder, map[bool]string{true: "being renewed", false: "not renewed"}[s.LeaseRunning])
	_ = plan.do("operator", what, why, nil)
	from, target := o.observed(s, o.otherName(to)), o.observed(s, to)
	change(&from)
	change(&target)
	for _, f := range failover.Foresee(from, target, silent(s)) {
		plan.Steps = append(plan.Steps, PlanStep{By: f.Site, Step: string(f.Decision.Step), Why: f.Decision.Reason, Refusals: f.Decision.Refusals})
	}
	if !fresh(s, beaconIn(s, to)) {
		plan.saw("the wardens of %s are silent: until they report again nothing of what is foreseen for %s happens", to, to)
	}
	if r := s.Record; r.Holder != to && silent(s) == "" && command != "switchover" {
		plan.saw("%s renews its lease, so nobody takes its term: a live site is moved with 'holdfast switchover --to %s'", r.Holder, to)
	}
	return plan.Plan, nil
}

// observed is what a warden of the site would know, as far as record, beacons and control planes tell.
func (o *Operator) observed(s Status, site string) failover.Observation {
	r := *s.Record
	peer := o.otherName(site)
	now := term.Boot()
	own, other := beaconIn(s, site), beaconIn(s, peer)
	settings := failover.Settings{
		Mode: failover.Mode(cmp.Or(own.Mode, string(failover.Automatic))), MaxLag: time.Duration(own.MaxLagMS) * time.Millisecond,
		DatabaseThreshold: previewThreshold, AppThreshold: previewThreshold, BalancerThreshold: previewThreshold, HandoffTimeout: previewHandoff, BeaconMaxAge: previewBeaconAge,
	}
	v := failover.Observation{
		Now: now, WallClock: s.At, Site: site, Peer: peer, Warden: site + "/preview", Settings: settings,
		Store: failover.StoreView{Readable: true, Record: r}, OwnBeacon: own, PeerBeacon: other,
		PeerBeaconSeen: fresh(s, other), App: failover.AppView{Known: true, HealthyTargets: own.HealthyTargets, RunningTasks: own.RunningTasks},
		Cluster: failover.ClusterView{Known: true, Writer: o.writer(s), Member: true},
	}
	v.Database = failover.DatabaseView{
		Reachable: own.LineageTerm > 0, Err: own.NotReadyBecause, Writer: v.Cluster.Writer == site,
		LeaseTerm: own.LineageTerm, DrainedTerm: own.DrainedTerm, ValidUntil: own.CoveredUntil, Pin: failover.ReportedPin(own.Pin),
	}
	v.Database.Pin.Lease, v.Database.Pin.Margin = r.Lease(), r.Margin()
	v.For.PinSeen, v.For.PinEnded = max(0, s.At.Sub(v.Database.Pin.PinnedAt)), max(0, s.At.Sub(v.Database.Pin.EndedAt))
	v.Database.Terms = slices.Compact(slices.Sorted(slices.Values([]term.Number{min(r.ServedTerm, own.LineageTerm), own.LineageTerm})))
	if r.Holder == site && s.LeaseRunning {
		v.Trust = term.Trust{Term: r.Term, Until: now.Add(r.Lease() - r.Margin())}
		v.Database.LeaseValid = own.Ready
	}
	return v
}

// fresh judges a beacon by the wall clock, which is good enough for people's eyes and for nothing else.
func fresh(s Status, b term.Beacon) bool { return b.Sequence > 0 && silence(s, b) == 0 }

// silence is how old a beacon is that a warden wrote, 0 if that is not long ago.
func silence(s Status, b term.Beacon) time.Duration {
	if age := s.At.Sub(b.At); b.Sequence > 0 && age >= previewBeaconAge {
		return age
	}
	return 0
}

func beaconIn(s Status, site string) term.Beacon {
	for _, st := range s.Sites {
		if st.Name == site && st.Beacon != nil {
			return *st.Beacon
		}
	}
	return term.Beacon{}
}

// writer is the site that the control planes call the writer, or the holder if none answers.
func (o *Operator) writer(s Status) string {
	for _, st := range s.Sites {
		if st.controlAnswered && st.isGlobalWriter {
			return st.Name
		}
	}
	return s.Record.Holder
}

func (o *Operator) otherName(site string) string {
	for _, s := range o.cfg.Sites {
		if s.Name != site {
			return s.Name
		}
	}
	return ""
}

// PreviewSwitchover is what [Operator.Switchover] would lead to.
func (o *Operator) PreviewSwitchover(ctx context.Context, q Request) (Plan, error) {
	if _, err := o.site(q.To); err != nil {
		return Plan{}, err
	}
	r, err := o.Record(ctx)
	if err != nil {
		return Plan{}, err
	}
	write, err := request(q, time.Now().UTC())(&r)
	if err != nil {
		return Plan{}, err
	}
	if !write {
		return already("switchover", r), nil
	}
	return o.preview(ctx, "switchover", q.To, "write the request into the record", "a request gives no right: the holder decides",
		func(v *failover.Observation) { v.Store.Record.Wanted = r.Wanted }, func(Status) string { return "" })
}

// PreviewFailover is what [Operator.Failover] would lead to.
func (o *Operator) PreviewFailover(ctx context.Context, q Request, allowDataLoss bool, validFor time.Duration) (Plan, error) {
	command := "approve"
	if q.Commanded {
		command = "failover"
	}
	if _, err := o.site(q.To); err != nil {
		return Plan{}, err
	}
	r, err := o.Record(ctx)
	if err != nil {
		return Plan{}, err
	}
	if r.Holder == q.To {
		return already(command, r), nil
	}
	if allowDataLoss {
		if err := o.refuseNeedlessLoss(ctx, q.To); err != nil {
			return Plan{}, err
		}
	}
	approval := approvalOf(q, r, time.Now(), allowDataLoss, validFor)
	return o.preview(ctx, command, q.To, fmt.Sprintf("approve in the beacon of %s, for term %d only, until %s", q.To, r.Term, approval.Expires.Format(time.RFC3339)),
		"an approval opens gates: the lease is waited out all the same",
		func(v *failover.Observation) {
			if v.Site == q.To {
				v.OwnBeacon.Approval = &approval
			}
		},
		func(s Status) string {
			if s.LeaseRunning {
				return ""
			}
			return s.Record.Holder
		})
}

func already(command string, r term.Record) Plan {
	plan := newPlan(command, true, nil)
	if r.State == term.Held && r.ServedTerm == r.Term {
		plan.saw("%s is the active site already, in term %d", r.Holder, r.Term)
	} else {
		plan.saw("%s has term %d already, and does not serve it: the term is %s, and term %d was served last", r.Holder, r.Term, r.State, r.ServedTerm)
	}
	return plan.Plan
}
