package drill

import (
	"context"
	"slices"
	"time"

	"holdfast/internal/drill/verdict"
	"holdfast/internal/twin"
)

// The faults that are not one of the twin's alone.
const (
	// RegionLoss kills everything in the active site's region at once.
	RegionLoss = twin.RegionLoss
	// CutOff is the twin's isolated active site, cut off from its clients too: alive, and alone.
	CutOff = "cut-off"
	// FreezeThaw freezes whichever site is active, again and again.
	FreezeThaw = "freeze-thaw"
	// SecondFailure strikes the standby while it takes over from a lost region.
	SecondFailure = "second-failure"
	// Switchover is no fault: a planned move, there and back.
	Switchover = "switchover"
)

// scenario is one kind of drill: what is broken, what has to happen, and the phases in which it is shown.
type scenario struct {
	name, doc string
	// expectation says what has to happen, in words for a report.
	expectation string
	demands     verdict.Demands
	// steps lists the phases between the warm-up and the drain. ctx is the whole drill's.
	steps func(d *drill, ctx context.Context) []step
}

// step is one phase.
type step struct {
	phase Phase
	limit time.Duration
	body  func(context.Context) error
}

// What the faults call for.
var (
	// mustTakeOver: the other site serves within the objective, and the fence holds at the old one.
	mustTakeOver = verdict.Demands{RTO: true, RPO: true, Fence: true}
	// mustHandOver: as before, but in agreement, so that nothing is lost.
	mustHandOver = verdict.Demands{RTO: true, RPO: true, NoLoss: true}
	// mustStay: no other site takes over, and nothing is lost.
	mustStay = verdict.Demands{RPO: true, NoLoss: true}
)

// standstill is a bound for the time without an acknowledged payment: what starting processes takes at any speed, and what
// the deployment's own clocks take. What any machine stalls by itself is allowed beside it.
type standstill struct{ fixed, scaled time.Duration }

func (s standstill) at(speed float64) time.Duration {
	return s.fixed + time.Duration(float64(s.scaled)/speed)
}

// standstills are the drills with a bound of their own for how long payments may stop, because the active site stays. The
// others have the recovery time objective.
func standstills() map[string]standstill {
	// The fault is on none of the ways that a payment takes.
	unbroken := standstill{}
	// The writer moves inside the site, in the time that Aurora takes for that, and the application connects to it again.
	inSite := standstill{fixed: 3 * time.Second, scaled: 30 * time.Second}
	return map[string]standstill{
		twin.DatabaseWriterCrash: inSite,
		twin.ZoneLoss:            inSite,
		twin.ApplicationSlow:     {fixed: 3 * time.Second},
		twin.LinkPartition:       unbroken,
		twin.LinkLoss:            unbroken,
		twin.LinkDelay:           unbroken,
		twin.StoreRegionLoss:     unbroken,
		twin.IsolatedStandby:     unbroken,
	}
}

// scenarios lists every drill, in the order in which they are shown and run.
func scenarios() []scenario {
	return []scenario{
		{
			RegionLoss, "everything in the active site's region is killed at once, and comes back later",
			"the other site takes over within the objective; the returned one is rebuilt; then back",
			verdict.Demands{RTO: true, RPO: true, Fence: true, SwitchBack: true},
			(*drill).regionLoss,
		},
		{
			twin.RegionFreeze, "everything in the active site's region stands still, past its lease, and goes on later",
			"the other site takes over; what thaws commits nothing, and is rebuilt", mustTakeOver, (*drill).regionFreeze,
		},
		{
			FreezeThaw, "whichever site is active is frozen past its lease and thawed, under load, again and again",
			"each time the other site takes over; nothing that had not passed its commit check gets in", mustTakeOver, (*drill).freezeThaw,
		},
		{
			twin.DatabaseWriterCrash, "the active site's database writer is killed",
			"no failover: the writer moves inside the site, and payments go on", mustStay, strikeAndStay(twin.Fault{Name: twin.DatabaseWriterCrash}, 1),
		},
		{
			twin.ApplicationDown, "the active site's application has no task any more",
			"the site hands over without losing anything, and stays standby when its tasks are back", mustHandOver, (*drill).applicationDown,
		},
		{
			twin.ApplicationSlow, "the active site's application gets little CPU; its health checks still pass (gray)",
			"no failover: slow is not down; payments go on slowly and nothing is lost", mustStay, strikeAndStay(twin.Fault{Name: twin.ApplicationSlow}, 2),
		},
		{
			twin.ApplicationFailing, "the active site's application does not reach its acquirer; its health checks still pass (gray)",
			"no failover by itself: an operator's switchover brings payments back, and nothing is lost", mustHandOver, (*drill).applicationFailing,
		},
		{
			twin.ZoneLoss, "the availability zone of the active site's database writer is lost",
			"no failover: the writer moves to another zone, and payments go on", mustStay, strikeAndStay(twin.Fault{Name: twin.ZoneLoss}, 2),
		},
		{
			twin.LinkPartition, "nothing gets from one site's region to the other's",
			"no failover: payments go on, and the standby catches up afterwards", mustStay, strikeAndStay(twin.Fault{Name: twin.LinkPartition}, 2),
		},
		{
			twin.LinkLoss, "the link between the regions loses a fifth of its segments",
			"no failover: payments go on, and the standby catches up afterwards", mustStay, strikeAndStay(twin.Fault{Name: twin.LinkLoss}, 2),
		},
		{
			twin.LinkDelay, "the link between the regions takes a quarter of a second longer, one way",
			"no failover: payments go on, and the standby catches up afterwards", mustStay, strikeAndStay(twin.Fault{Name: twin.LinkDelay}, 2),
		},
		{
			twin.StoreRegionLoss, "the term store loses its witness, and then the active site's own replica",
			"no failover: two of three regions are enough, and the holder renews at the other one", mustStay, (*drill).storeRegionLoss,
		},
		{
			twin.StoreLoss, "the term store answers nowhere",
			"writing stops at the trust deadline and resumes by itself, at the same site",
			verdict.Demands{RPO: true, NoLoss: true, Fence: true},
			(*drill).storeLoss,
		},
		{
			twin.IsolatedActive, "the active site is cut off from the other site and from the store; clients still reach it",
			"it stops writing at its trust deadline, the other site takes over, and it is rebuilt", mustTakeOver, isolated(twin.Fault{Name: twin.IsolatedActive}),
		},
		{
			CutOff, "the active site is cut off from the other site, from the store and from its clients",
			"it stops writing at its trust deadline, the other site takes over and the clients follow DNS, and it is rebuilt", mustTakeOver,
			isolated(twin.Fault{Name: twin.IsolatedActive, Clients: true}),
		},
		{
			twin.IsolatedStandby, "the standby site is cut off from the other site and from the store",
			"no failover: payments go on, and the standby catches up afterwards", mustStay, strikeAndStay(twin.Fault{Name: twin.IsolatedStandby}, 2),
		},
		{
			twin.WardenCrash, "in moves that are planned, withdrawn, and made by hand, all wardens of a site are killed at each step of the protocol",
			"every move comes to its end all the same, and nothing is lost",
			verdict.Demands{RPO: true, NoLoss: true},
			(*drill).wardenCrash,
		},
		{
			SecondFailure, "while the standby takes over from a lost region, its wardens are killed, then its database; and the returned region's wardens as they export its tail",
			"it takes over within the objective all the same, and the tail is exported", mustTakeOver, (*drill).secondFailure,
		},
		{
			Switchover, "no fault: a planned move to the other site and back, under load",
			"both moves complete, and nothing is lost",
			verdict.Demands{RTO: true, RPO: true, NoLoss: true, SwitchBack: true},
			(*drill).thereAndBack,
		},
	}
}

func scenarioOf(name string) (scenario, bool) {
	for _, s := range scenarios() {
		if s.name == name {
			return s, true
		}
	}
	return scenario{}, false
}

// Faults lists the drills with what they break, in the order in which they are shown.
func Faults() [][2]string {
	var list [][2]string
	for _, s := range scenarios() {
		list = append(list, [2]string{s.name, s.doc})
	}
	return list
}

// Expectation is what has to happen in a drill, in words.
func Expectation(fault string) string {
	s, _ := scenarioOf(fault)
	return s.expectation
}

func (d *drill) regionLoss(ctx context.Context) []step {
	l := d.o.Limits
	return []step{
		{Fault, l.Fault, d.strike(twin.Fault{Name: RegionLoss, Site: d.first})},
		{Takeover, l.Takeover, d.takeover},
		{RunOn, l.RunOn, d.runOn},
		{Return, l.Return, func(phase context.Context) error { return d.returnRegion(ctx, phase) }},
		{Rejoin, l.Rejoin, d.rejoin},
		{SwitchBack, l.SwitchBack, d.switchBack},
	}
}

// strikeAndStay is a fault that must not move the active site. It is watched for as many leases and margins as given,
// which a standby would need to take over, and where the health gate looks at what is broken for as long as that needs.
func strikeAndStay(f twin.Fault, leases int) func(*drill, context.Context) []step {
	return func(d *drill, _ context.Context) []step {
		l, gate := d.o.Limits, time.Duration(0)
		if slices.Contains([]string{twin.DatabaseWriterCrash, twin.ApplicationSlow, twin.ZoneLoss}, f.Name) {
			gate = d.gate()
		}
		steps := []step{
			{Fault, l.Fault, d.strike(f)},
			{Hold, l.Hold + gate, d.hold(leases, gate, d.paymentsGoOn)},
		}
		if slices.Contains([]string{twin.DatabaseWriterCrash, twin.ZoneLoss}, f.Name) {
			steps = append(steps, step{Settled, l.RunOn, d.writerMoved})
		}
		if f.Name == twin.ApplicationSlow {
			steps = append(steps, step{Settled, l.RunOn, d.slowed})
		}
		if k, ok := twin.FaultKindOf(f.Name); ok && k.Lasting {
			steps = append(steps, step{Clear, l.Return, d.clear(f.Name)})
		}
		return append(steps, step{Resume, l.Rejoin, d.resume}, step{Settled, l.RunOn, d.stayed})
	}
}

// storeRegionLoss takes the store's regions that the active site may have to do without, one after the other.
func (d *drill) storeRegionLoss(context.Context) []step {
	l := d.o.Limits
	own := func(ctx context.Context) error {
		return d.strike(twin.Fault{Name: twin.StoreRegionLoss, Region: d.region(d.before.Holder)})(ctx)
	}
	return []step{
		{Fault, l.Fault, d.strike(twin.Fault{Name: twin.StoreRegionLoss})},
		{Hold, l.Hold, d.hold(2, 0, d.paymentsGoOn)},
		{Settled, l.RunOn, d.stayed},
		{Clear, l.Return, d.clear(twin.StoreRegionLoss)},
		{Fault, l.Fault, own},
		{Hold, l.Hold, d.hold(2, 0, d.paymentsGoOn)},
		{Settled, l.RunOn, d.stayed},
		{Clear, l.Return, d.clear(twin.StoreRegionLoss)},
		{Resume, l.Rejoin, d.resume},
		{Settled, l.RunOn, d.stayed},
	}
}

func (d *drill) applicationDown(context.Context) []step {
	l := d.o.Limits
	return []step{
		{Fault, l.Fault, d.strike(twin.Fault{Name: twin.ApplicationDown, Site: d.first})},
		{Takeover, l.Takeover, d.takeover},
		{RunOn, l.RunOn, d.runOn},
		{Clear, l.Return, d.clear(twin.ApplicationDown)},
		{Hold, l.Hold, d.hold(1, 0, d.paymentsGoOn)},
		{Settled, l.RunOn, d.stayedAt(func() string { return d.second })},
	}
}

func (d *drill) applicationFailing(context.Context) []step {
	l := d.o.Limits
	return []step{
		{Fault, l.Fault, d.strike(twin.Fault{Name: twin.ApplicationFailing, Site: d.first})},
		{Hold, l.Hold + d.gate(), d.hold(3, d.gate(), d.paymentsFail)},
		{Settled, l.RunOn, d.termStayed},
		{SwitchBack, l.SwitchBack, d.operatorMoves},
		{Clear, l.Return, d.clear(twin.ApplicationFailing)},
		{RunOn, l.RunOn, d.runOn},
		{Settled, l.RunOn, d.stayedAt(func() string { return d.second })},
	}
}

func (d *drill) storeLoss(ctx context.Context) []step {
	l := d.o.Limits
	return []step{
		{Fault, l.Fault, d.strike(twin.Fault{Name: twin.StoreLoss})},
		{Hold, l.Hold, d.pastDeadline(ctx, 1)},
		{Clear, l.Return, d.clearAttacked(twin.StoreLoss)},
		{Resume, l.Rejoin, d.resume},
		{Settled, l.RunOn, d.stayed},
	}
}

// isolated is a fault that leaves the active site running and alone.
func isolated(f twin.Fault) func(*drill, context.Context) []step {
	return func(d *drill, ctx context.Context) []step {
		l, fault := d.o.Limits, f
		fault.Site = d.first
		return []step{
			{Fault, l.Fault, d.strike(fault)},
			{Takeover, l.Takeover, d.takeover},
			{Hold, l.Hold, d.pastDeadline(ctx, 1)},
			{Clear, l.Return, d.clear(fault.Name)},
			{Rejoin, l.Rejoin, d.rejoin},
			{RunOn, l.RunOn, d.runOn},
		}
	}
}

func (d *drill) secondFailure(ctx context.Context) []step {
	l := d.o.Limits
	return []step{
		{Fault, l.Fault, d.strikeTwice},
		{Takeover, l.Takeover, d.takeover},
		{RunOn, l.RunOn, d.runOn},
		{Return, l.Return, func(phase context.Context) error { return d.returnRegion(ctx, phase) }},
		{Rejoin, l.Rejoin, d.rejoin},
		{Settled, l.Fault, d.tailSaved},
	}
}

func (d *drill) thereAndBack(context.Context) []step {
	l := d.o.Limits
	return []step{
		{SwitchOver, l.SwitchBack, d.switchOver},
		{RunOn, l.RunOn, d.runOn},
		{SwitchBack, l.SwitchBack, d.switchBack},
	}
}
