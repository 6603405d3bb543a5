package failover_test

import (
	"slices"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

func stepsOf(seen []failover.Foreseen) (steps []string) {
	for _, f := range seen {
		if f.Decision.Step != failover.Wait {
			steps = append(steps, f.Site+" "+string(f.Decision.Step))
		}
	}
	return steps
}

// TestForeseeSwitchover: from the request to the new site in service, with nothing but the decisions themselves.
func TestForeseeSwitchover(t *testing.T) {
	seen := failover.Foresee(wanted(serving()), wanted(standby()), "")
	want := []string{
		"primary seal", "primary drain", "primary move-writer", "primary grant", "dr acquire", "dr record-term", "dr serve",
	}
	if got := stepsOf(seen); !slices.Equal(got, want) {
		t.Errorf("foresees %v, want %v", got, want)
	}
}

// TestForeseeTakeover: the holder is silent, so its lease is watched out and the promotion may lose data.
func TestForeseeTakeover(t *testing.T) {
	o := standby()
	o.PeerBeaconSeen = false
	seen := failover.Foresee(serving(), o, "primary")
	if got, want := stepsOf(seen), []string{"dr acquire", "dr promote", "dr record-term", "dr serve"}; !slices.Equal(got, want) {
		t.Errorf("foresees %v, want %v", got, want)
	}
	for _, f := range seen {
		if f.Decision.Step == failover.Promote && !f.Decision.Lossy {
			t.Error("a switchover is asked of a silent site")
		}
	}
}

// TestForeseeShutGates: the rehearsal ends with what an operator would have to open.
func TestForeseeShutGates(t *testing.T) {
	o := standby()
	o.Settings.Mode = failover.Approval
	o.Store.Record.CoveredUntil = covered.Add(time.Hour)
	holder := serving()
	holder.Store = o.Store
	seen := failover.Foresee(holder, o, "primary")
	last := seen[len(seen)-1]
	if len(stepsOf(seen)) != 0 || last.Site != "dr" || len(last.Decision.Refusals) != 2 {
		t.Errorf("foresees %+v", seen)
	}
	o.OwnBeacon.Approval = &term.Approval{Term: 7, Expires: o.WallClock.Add(time.Minute), AllowDataLoss: true}
	if got := stepsOf(failover.Foresee(holder, o, "primary")); !slices.Contains(got, "dr serve") {
		t.Errorf("approved with data loss: foresees %v", got)
	}
	if seen := failover.Foresee(serving(), standby(), ""); len(seen) != 0 {
		t.Errorf("two quiet sites: foresees %+v", seen)
	}
	down := wanted(serving())
	down.PeerBeacon.Ready = false
	if seen := failover.Foresee(down, wanted(standby()), ""); len(stepsOf(seen)) != 0 || seen[0].Decision.Refusals[0].Gate != "peer readiness" {
		t.Errorf("a target that is not ready: foresees %+v", seen)
	}
}
