package simulation_test

import (
	"flag"
	"runtime/debug"
	"testing"

	"holdfast/internal/failover/simulation"
)

var (
	hunt      = flag.String("hunt", "", "a mutation, or 'all': TestHunt looks for seeds in which it breaks its invariant")
	huntFinds = flag.Int("hunt-finds", 2, "how many seeds are enough for TestHunt")
	huntSeeds = flag.Int("hunt-seeds", 20_000, "how many seeds TestHunt tries")
)

// TestHunt finds the seeds that TestMutationsAreFound records. It is not part of a normal run.
func TestHunt(t *testing.T) {
	if *hunt == "" {
		t.Skip("a tool: run it with -hunt=all or -hunt=NAME")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(simulation.GCPercent))
	for _, m := range simulation.Mutations() {
		if *hunt != "all" && *hunt != m.String() {
			continue
		}
		found := 0
		err := simulation.RunMany(t.Context(), 1, *huntSeeds, simulation.Options{Mutation: m}, func(r simulation.Result) bool {
			if !violates(r, findings[m].invariant) {
				return true
			}
			if violation, broken := breaks(m, r.Seed, findings[m]); broken {
				t.Logf("%s: seed %d (%s): %q", m, r.Seed, r.Profile, recorded(violation))
				found++
			}
			return found < *huntFinds
		})
		if err != nil {
			t.Fatal(err)
		}
		if found == 0 {
			t.Errorf("%s: nothing found in %d seeds", m, *huntSeeds)
		}
	}
}
