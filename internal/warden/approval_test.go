package warden

import (
	"errors"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// approvedStandby is a warden in mode approval that has decided, a while ago, to take an expired term that it was approved
// for, with what it decided that from.
func approvedStandby(t *testing.T) (w *Warden, memory *termtest.Memory, o failover.Observation, d failover.Decision) {
	t.Helper()
	first := firstRecord()
	first.ServedTerm = 1
	memory = newStore(t, first)
	clock := term.Instant(time.Hour)
	w, _ = quiet(t, memory, "dr", "primary", func(o *Options) {
		o.Config.Settings.Mode = failover.Approval
		o.Boot = func() term.Instant { return clock }
	})
	approve(t, w, time.Minute)
	for range 2 {
		if _, err := w.read(t.Context()); err != nil {
			t.Fatal(err)
		}
		clock = clock.Add(testLease + testMargin)
	}
	if err := w.readBeacons(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.memory.Database = failover.DatabaseView{Reachable: true, Terms: []term.Number{1}, LeaseTerm: 1, DrainedTerm: 1}
	w.memory.App = failover.AppView{Known: true, HealthyTargets: 2, RunningTasks: 2}
	o = w.observation()
	o.WallClock = o.WallClock.Add(-10 * time.Second)
	if d = failover.Decide(o); d.Step != failover.Acquire {
		t.Fatalf("decided %s: %s %v", d.Step, d.Reason, d.Refusals)
	}
	return w, memory, o, d
}

// approve writes an approval of term 1 that expires after a while, or takes it back if that is 0.
func approve(t *testing.T, w *Warden, expires time.Duration) {
	t.Helper()
	b := term.Beacon{Deployment: "test", Site: "dr", Sequence: 1}
	if expires != 0 {
		b.Approval = &term.Approval{Term: 1, By: "test", Expires: time.Now().Add(expires)}
	}
	if err := w.stores[0].PutBeacon(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// TestApprovalIsJudgedAgainAtTheWrite: a warden that was frozen between its decision and the write does not take a term with
// an approval that has expired or was withdrawn meanwhile, or that it can't ask for.
func TestApprovalIsJudgedAgainAtTheWrite(t *testing.T) {
	for name, meanwhile := range map[string]func(*testing.T, *Warden){
		"expired":   func(t *testing.T, w *Warden) { approve(t, w, -5*time.Second) },
		"withdrawn": func(t *testing.T, w *Warden) { approve(t, w, 0) },
		"unknown": func(_ *testing.T, w *Warden) {
			w.stores[0].(*termtest.Replica).SetFault(func(op termtest.Operation) termtest.Fault {
				if op.Kind == "beacons" {
					return termtest.Fault{Before: errors.New("no answer")}
				}
				return termtest.Fault{}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, memory, o, d := approvedStandby(t)
			meanwhile(t, w)
			if got := w.execute(t.Context(), o, d); got.err == nil {
				t.Errorf("outcome %+v, want an error", got)
			}
			if r := recordOf(t, memory); r.Term != 1 || r.Holder != "primary" {
				t.Errorf("%s took term %d", r.Holder, r.Term)
			}
		})
	}
	w, memory, o, d := approvedStandby(t)
	expectStep(t, w.execute(t.Context(), o, d), true)
	if r := recordOf(t, memory); r.Term != 2 || r.Holder != "dr" {
		t.Errorf("%s holds term %d, want dr and 2", r.Holder, r.Term)
	}
}
