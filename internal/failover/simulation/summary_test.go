package simulation_test

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/failover/simulation"
)

// lossSeeds are runs that lose the active region and nothing else.
var lossSeeds = []uint64{13, 29, 87, 91}

func summaryOfLosses(t *testing.T, opt simulation.Options) (*simulation.Summary, string) {
	t.Helper()
	s := simulation.NewSummary(1, opt)
	for _, seed := range lossSeeds {
		r := simulation.Run(seed, opt)
		if r.Profile != simulation.RegionLoss || r.Violation != "" {
			t.Fatalf("seed %d (%s): %s", seed, r.Profile, r.Violation)
		}
		s.Add(r)
	}
	s.Finish(time.Second)
	var text strings.Builder
	if err := s.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	return s, text.String()
}

// TestLongLeasesAreMeasured: a loss is measured to its end, however long the lease.
func TestLongLeasesAreMeasured(t *testing.T) {
	opt := simulation.Defaults()
	opt.Lease, opt.Margin = 3*time.Minute, 10*time.Second
	s, text := summaryOfLosses(t, opt)
	if n := len(lossSeeds); s.RegionLosses != n || s.SiteRTO.Count != n || s.ClientRTO.Count != n || s.NotBack != 0 || s.SiteRTO.P50 < 170 {
		t.Errorf("%d losses: %+v\n%s", n, s, text)
	}
}

// TestLossesThatArePeoplesAreCounted: where the wardens may not decide, there is no time to recover, and the summary says so.
func TestLossesThatArePeoplesAreCounted(t *testing.T) {
	for _, mode := range []failover.Mode{failover.Approval, failover.Manual} {
		opt := simulation.Defaults()
		opt.Settings.Mode = mode
		s, text := summaryOfLosses(t, opt)
		if n := len(lossSeeds); s.NotBack != n || s.LeftToPerson != n || s.SiteRTO.Count != 0 || s.ClientRTO.Count != 0 {
			t.Errorf("mode %s: %+v", mode, s)
		}
		for _, want := range []string{"mode " + string(mode), "RTO of a client behind DNS  0  -  -  -  -", "waits for a person"} {
			if !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(want), " ")) {
				t.Errorf("mode %s: no %q in\n%s", mode, want, text)
			}
		}
	}
}
