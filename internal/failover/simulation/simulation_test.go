package simulation_test

import (
	"flag"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"holdfast/internal/failover/simulation"
)

var (
	runs = flag.Int("runs", 2000, "how many seeds TestInvariants simulates")
	seed = flag.Uint64("seed", 1, "the first seed")
)

// TestInvariants: with every rule in force no invariant breaks, under faults that really move something.
func TestInvariants(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(simulation.GCPercent))
	var terms, acknowledged, lost, failures, waiting int
	profiles := map[simulation.Profile]int{}
	err := simulation.RunMany(t.Context(), *seed, *runs, simulation.Options{}, func(r simulation.Result) bool {
		terms += r.Terms
		acknowledged += r.Acknowledged
		lost += r.Lost
		profiles[r.Profile]++
		if r.Waiting != "" {
			waiting++
		}
		if r.Violation != "" {
			failures++
			t.Errorf("seed %d (%s): %s", r.Seed, r.Profile, r.Violation)
		}
		return failures < 5
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d runs %v: %d terms served, %d payments acknowledged, %d of them lost with a region; %d runs ended before a person's decision",
		*runs, profiles, terms, acknowledged, lost, waiting)
	switch {
	case terms < *runs*3/2:
		t.Errorf("only %d terms in %d runs: the faults move nothing", terms, *runs)
	case acknowledged < *runs*30:
		t.Errorf("only %d payments in %d runs: there is nothing to lose", acknowledged, *runs)
	case lost == 0:
		t.Error("no payment was ever lost with a region: no fault hits replication")
	case waiting > *runs/5:
		t.Errorf("%d of %d runs end before a person's decision: too few show that service comes back", waiting, *runs)
	}
}

// TestReplay: a seed gives the same run, line by line, on one processor and on many.
func TestReplay(t *testing.T) {
	const count = 24
	traces := func() (all []string) {
		for s := range uint64(count) {
			r := simulation.Run(s, simulation.Options{Trace: func(line string) { all = append(all, line) }})
			all = append(all, r.Violation)
		}
		return all
	}
	first, second := traces(), traces()
	if len(first) < 20*count {
		t.Errorf("%d runs left only %d lines of trace", count, len(first))
	}
	if !slices.Equal(first, second) {
		t.Error("a second run of the same seeds left another trace")
	}
	results := func(processors int) (all []simulation.Result) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		if err := simulation.RunMany(t.Context(), 100, count, simulation.Options{}, func(r simulation.Result) bool {
			all = append(all, r)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if one, many := results(1), results(7); !slices.Equal(one, many) {
		t.Errorf("one worker: %+v\nseven: %+v", one, many)
	}
}

// TestSettingsMatter: the time to recover follows the lease, so what is reported is the deployment's own.
func TestSettingsMatter(t *testing.T) {
	mean := func(scale time.Duration) (sum float64) {
		opt := simulation.Defaults()
		opt.Lease, opt.Margin = opt.Lease*scale, opt.Margin*scale
		n := 0.0
		if err := simulation.RunMany(t.Context(), 1, 400, opt, func(r simulation.Result) bool {
			if r.RegionLost {
				sum += r.SiteRTO.Seconds()
				n++
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if n < 5 {
			t.Fatalf("only %v runs measure the loss of a region alone", n)
		}
		return sum / n
	}
	short, long := mean(1), mean(2)
	if short < 15 || short > 45 || long < short*3/2 {
		t.Errorf("the site is back after %.1f s with the default lease and after %.1f s with twice of it", short, long)
	}
}
