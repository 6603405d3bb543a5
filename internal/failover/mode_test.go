package failover_test

import (
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

func approved(o failover.Observation, commanded, lossy bool) *term.Approval {
	return &term.Approval{
		Term: o.Store.Record.Term, By: "op", Expires: o.WallClock.Add(time.Minute), Commanded: commanded, AllowDataLoss: lossy,
	}
}

// TestModes: what each mode makes of a silent holder and of a sick one, without an approval, with one, and with a command
// (P17).
func TestModes(t *testing.T) {
	silent := func() failover.Observation {
		o := standby()
		o.Watch = expired(o.Store.Record)
		return o
	}
	dead := func() failover.Observation {
		o := serving()
		o.Database, o.For.DatabaseDown = failover.DatabaseView{Err: "refused"}, time.Minute
		return o
	}
	sick := func() failover.Observation {
		o := serving()
		o.App.HealthyTargets, o.For.BalancerDown = 0, time.Minute
		return o
	}
	for _, c := range []struct {
		name                     string
		from                     func() failover.Observation
		mode                     failover.Mode
		alone, approved, command failover.Step
	}{
		{"silent holder", silent, failover.Automatic, failover.Acquire, failover.Acquire, failover.Acquire},
		{"silent holder", silent, failover.Approval, failover.Wait, failover.Acquire, failover.Acquire},
		{"silent holder", silent, failover.Manual, failover.Wait, failover.Wait, failover.Acquire},
		{"database dead", dead, failover.Automatic, failover.Release, failover.Release, failover.Release},
		{"database dead", dead, failover.Approval, failover.Wait, failover.Release, failover.Release},
		{"database dead", dead, failover.Manual, failover.Wait, failover.Wait, failover.Release},
		{"no healthy target", sick, failover.Automatic, failover.Want, failover.Want, failover.Want},
		{"no healthy target", sick, failover.Approval, failover.Wait, failover.Want, failover.Want},
		{"no healthy target", sick, failover.Manual, failover.Wait, failover.Wait, failover.Want},
	} {
		t.Run(c.name+", "+string(c.mode), func(t *testing.T) {
			for name, want := range map[string]failover.Step{"alone": c.alone, "approved": c.approved, "commanded": c.command} {
				o := c.from()
				o.Settings.Mode = c.mode
				if name != "alone" {
					// The approval lies in the beacon of the site that shall take over.
					o.OwnBeacon.Approval, o.PeerBeacon.Approval = nil, approved(o, name == "commanded", false)
					if o.Site == "dr" {
						o.OwnBeacon.Approval, o.PeerBeacon.Approval = o.PeerBeacon.Approval, nil
					}
				}
				d := failover.Decide(o)
				if d.Step != want {
					t.Errorf("%s: decided %s (%s, %v), want %s", name, d.Step, d.Reason, d.Refusals, want)
				}
				if want == failover.Wait {
					checkRefusal(t, d, "mode")
				}
			}
		})
	}
	// A switchover is an operator's own command, so no mode forbids it.
	for _, mode := range []failover.Mode{failover.Approval, failover.Manual} {
		o := wanted(serving())
		o.Settings.Mode = mode
		if d := failover.Decide(o); d.Step != failover.Seal {
			t.Errorf("a switchover in mode %s: %s", mode, d.Step)
		}
	}
}

func checkRefusal(t *testing.T, d failover.Decision, gate string) {
	t.Helper()
	for _, r := range d.Refusals {
		if r.Current == "" || r.Wanted == "" || r.Remedy == "" {
			t.Errorf("refusal %+v leaves something unsaid", r)
		}
		if r.Gate == gate {
			return
		}
	}
	t.Errorf("refusals %+v, want the gate %s", d.Refusals, gate)
}

// TestPreparationByMode: in mode approval the capacity is raised while the watch runs, in mode manual not before
// the command.
func TestPreparationByMode(t *testing.T) {
	o := standby()
	o.Watch = expired(o.Store.Record)
	o.Settings.PilotTasks, o.Settings.PilotSet, o.App.MaximumTasks, o.PeerTasks = 1, true, 10, 6
	for mode, want := range map[failover.Mode]int{failover.Automatic: 6, failover.Approval: 6, failover.Manual: 1} {
		o.Settings.Mode = mode
		if got, _ := failover.Capacity(o); got != want {
			t.Errorf("mode %s holds %d tasks ready, want %d", mode, got, want)
		}
	}
	o.OwnBeacon.Approval = approved(o, true, false)
	if got, _ := failover.Capacity(o); got != 6 {
		t.Errorf("commanded, mode manual holds %d tasks ready", got)
	}
}

// TestHealthGate: database, application and balancer, each with its own threshold, and what keeps the term although one
// is over (P19).
func TestHealthGate(t *testing.T) {
	minute := time.Minute
	for _, c := range []struct {
		name string
		with func(*failover.Observation)
		step failover.Step
		gate string
	}{
		{"database just below its threshold", func(o *failover.Observation) {
			o.Database, o.For.DatabaseDown = failover.DatabaseView{}, minute-1
		}, failover.Wait, ""},
		{"database that answers but takes no writes", func(o *failover.Observation) {
			o.Database.Writer, o.For.DatabaseDown = false, minute
		}, failover.Release, ""},
		{"database has its own threshold", func(o *failover.Observation) {
			o.Database, o.For.DatabaseDown, o.Settings.DatabaseThreshold = failover.DatabaseView{}, minute, 2*minute
		}, failover.Wait, ""},
		{"no task runs", func(o *failover.Observation) {
			o.App, o.For.AppDown, o.Settings.BalancerThreshold = failover.AppView{Known: true}, minute, time.Hour
		}, failover.Want, ""},
		{"the scheduler is silent: not known to be no task", func(o *failover.Observation) {
			o.App, o.For.AppDown, o.Settings.BalancerThreshold = failover.AppView{Known: true, Err: "no answer"}, minute, time.Hour
		}, failover.Wait, ""},
		{"tasks run and none is healthy", func(o *failover.Observation) {
			o.App.HealthyTargets, o.For.BalancerDown = 0, minute
		}, failover.Want, ""},
		{"the balancer has its own threshold", func(o *failover.Observation) {
			o.App.HealthyTargets, o.For.BalancerDown, o.Settings.BalancerThreshold = 0, minute, 2*minute
		}, failover.Wait, ""},
		{"well again, but not for long: the outage counts on, and does not act", func(o *failover.Observation) {
			o.For.DatabaseDown, o.For.BalancerDown, o.For.AppDown = time.Hour, time.Hour, time.Hour
		}, failover.Wait, ""},
		{"cool-down", func(o *failover.Observation) {
			o.App.HealthyTargets, o.For.BalancerDown, o.Settings.CoolDown = 0, minute, time.Hour
			o.Store.Record.MovedAt = o.WallClock.Add(-minute)
		}, failover.Wait, "cool-down"},
		{"cool-down, approved", func(o *failover.Observation) {
			o.App.HealthyTargets, o.For.BalancerDown, o.Settings.CoolDown = 0, minute, time.Hour
			o.Store.Record.MovedAt, o.PeerBeacon.Approval = o.WallClock.Add(-minute), approved(*o, false, false)
		}, failover.Want, ""},
		{"budget", func(o *failover.Observation) {
			o.App.HealthyTargets, o.For.BalancerDown, o.Store.Record.TakeoverBudget = 0, minute, 0
		}, failover.Wait, "budget"},
		{"budget, approved", func(o *failover.Observation) {
			o.App.HealthyTargets, o.For.BalancerDown, o.Store.Record.TakeoverBudget = 0, minute, 0
			o.PeerBeacon.Approval = approved(*o, false, false)
		}, failover.Want, ""},
		{"nobody to take over, approved all the same", func(o *failover.Observation) {
			o.App.HealthyTargets, o.For.BalancerDown, o.PeerBeacon.Ready = 0, minute, false
			o.PeerBeacon.Approval = approved(*o, false, false)
		}, failover.Wait, "peer readiness"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := serving()
			c.with(&o)
			d := failover.Decide(o)
			if d.Step != c.step {
				t.Fatalf("decided %s (%s, %v), want %s", d.Step, d.Reason, d.Refusals, c.step)
			}
			if c.gate != "" {
				checkRefusal(t, d, c.gate)
			}
			if d.Record != nil && (d.Record.TakeoverBudget < 0 || d.Record.TakeoverBudget > o.Store.Record.TakeoverBudget) {
				t.Errorf("budget %d after %d", d.Record.TakeoverBudget, o.Store.Record.TakeoverBudget)
			}
		})
	}
}

// TestExpiryAsksNeitherBudgetNorCoolDown: those limit hand-overs for health only.
func TestExpiryAsksNeitherBudgetNorCoolDown(t *testing.T) {
	o := standby()
	o.Watch = expired(o.Store.Record)
	o.Store.Record.TakeoverBudget, o.Settings.CoolDown, o.Store.Record.MovedAt = 0, time.Hour, o.WallClock
	if d := failover.Decide(o); d.Step != failover.Acquire {
		t.Errorf("decided %s (%v)", d.Step, d.Refusals)
	}
	o.App = failover.AppView{Known: true}
	d := failover.Decide(o)
	if d.Step != failover.Wait {
		t.Errorf("without a single task: %s", d.Step)
	}
	checkRefusal(t, d, "capacity")
	o.OwnBeacon.Approval = approved(o, false, false)
	if d := failover.Decide(o); d.Step != failover.Acquire {
		t.Errorf("without a single task, approved: %s (%v)", d.Step, d.Refusals)
	}
}

// TestOutageThatComesAndGoes: an outage is over when it has been over for a quarter of its threshold, so one that pauses
// for a moment is one outage.
func TestOutageThatComesAndGoes(t *testing.T) {
	var m failover.Memory
	see := func(seconds int, healthy bool) failover.Durations {
		o := serving()
		o.Now = now.Add(time.Duration(seconds) * time.Second)
		if !healthy {
			o.App.HealthyTargets = 0
		}
		m.Observed(&o)
		filled := failover.Observation{Now: o.Now}
		m.Fill(&filled)
		return filled.For
	}
	see(0, true)
	see(10, false)
	see(40, true)
	if d := see(50, false); d.BalancerDown != 40*time.Second {
		t.Errorf("after a pause of 10 s the outage is %v old, want 40s", d.BalancerDown)
	}
	see(60, true)
	if d := see(74, true); d.BalancerDown != 64*time.Second {
		t.Errorf("after 14 s without it the outage is %v old, want 64s", d.BalancerDown)
	}
	if d := see(75, true); d.BalancerDown != 0 {
		t.Errorf("after 15 s without it the outage is still %v old", d.BalancerDown)
	}
	if d := see(80, false); d.BalancerDown != 0 {
		t.Errorf("a new outage begins at %v", d.BalancerDown)
	}
}
