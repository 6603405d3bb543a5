package simulation_test

import (
	"testing"

	"holdfast/internal/failover/simulation"
)

// found are mutations with a seed, under up to ten faults, in which the rule's absence breaks an invariant.
var found = map[simulation.Mutation]uint64{
	simulation.TrustFromAnswer:        130,
	simulation.ClearInsteadOfTakeBack: 96,
	simulation.LocalSettings:          81,
	simulation.ForeignLeaseRow:        7,
	simulation.IntervalInSQL:          14,
	simulation.ShortenInsteadOfSeal:   34,
	simulation.AcknowledgeAfterLease:  43,
	simulation.GrantWithoutSeal:       57,
	simulation.HoldOnWithoutWriter:    7,
	simulation.DropOldVolume:          7,
}

// TestMutationsAreFound: the same seed violates an invariant without the rule, and none with it.
func TestMutationsAreFound(t *testing.T) {
	for mutation, seed := range found {
		t.Run(string(mutation), func(t *testing.T) {
			t.Parallel()
			mutated := simulation.Run(seed, simulation.Options{Mutation: mutation, Faults: 10})
			if mutated.Violation == "" {
				t.Errorf("seed %d shows no violation although the rule is switched off", seed)
			}
			if whole := simulation.Run(seed, simulation.Options{Faults: 10}); whole.Violation != "" {
				t.Errorf("seed %d violates an invariant with every rule in force: %s", seed, whole.Violation)
			}
		})
	}
}
