package simulation_test

import (
	"runtime/debug"
	"strings"
	"testing"

	"holdfast/internal/failover/simulation"
)

// finding is a seed in which a mutation breaks an invariant that holds with every rule in force.
type finding struct {
	seed      uint64
	invariant string
}

// findings has one for every mutation. TestHunt finds others.
var findings = map[simulation.Mutation]finding{
	simulation.NoMargin:               {5476, "I1"},
	simulation.WallClock:              {653, "I1"},
	simulation.ClockThatStandsStill:   {354, "I1"},
	simulation.TrustFromAnswer:        {1117, "I1"},
	simulation.HolderNameGivesTrust:   {53, "I1"},
	simulation.WatchFromRequest:       {1666, "I1"},
	simulation.AcquireNamesTerm:       {3472, "I1"},
	simulation.ClearInsteadOfTakeBack: {1, "I2"},
	simulation.LocalSettings:          {1257, "I1"},
	simulation.EmptyStart:             {1253, "I1"},
	simulation.InitAtOnce:             {4209, "I1"},
	simulation.ServeFirst:             {5, "I5"},
	simulation.IgnoreMode:             {10, "P17"},
	simulation.IgnoreBudget:           {111, "P19"},
	simulation.ForeignLeaseRow:        {25, "I1"},
	simulation.FenceAtStatementStart:  {52, "I1"},
	simulation.IntervalInSQL:          {1202, "I1"},
	simulation.ShortenInsteadOfSeal:   {5, "I1"},
	simulation.SealWithoutDrain:       {21, "I1"},
	simulation.PreparedTransactions:   {21, "I1"},
	simulation.AcknowledgeAfterLease:  {3714, "I1"},
	simulation.PromoteWithoutTerm:     {6, "I1"},
	simulation.IgnoreLineage:          {180, "I2"},
	simulation.IgnoreLag:              {180, "I2"},
	simulation.GrantWithoutSeal:       {41, "I1"},
	simulation.HoldOnWithoutWriter:    {20, "I5"},
	simulation.NeverReturns:           {1, "I5"},
	simulation.DropOldVolume:          {20, "I2"},
	simulation.UnsaidTail:             {31, "I2"},
	simulation.ReportWhatWas:          {3077, "I2"},
	simulation.PinWithoutAbstention:   {552, "I1"},
	simulation.RandomReference:        {3, "I3"},
	simulation.NotFoundMeansFailed:    {13, "I3"},
	simulation.SplitEntries:           {1, "I4"},
}

// breaks reports whether the mutation breaks the invariant in a seed in which the whole protocol breaks none.
func breaks(m simulation.Mutation, seed uint64, invariant string) bool {
	return violates(simulation.Run(seed, simulation.Options{Mutation: m}), invariant) &&
		simulation.Run(seed, simulation.Options{}).Violation == ""
}

func violates(r simulation.Result, invariant string) bool {
	_, what, _ := strings.Cut(r.Violation, ": ")
	return strings.HasPrefix(what, invariant+":")
}

// TestMutationsAreFound: the checker can see. In the recorded seed, with the same faults, an invariant breaks without
// the rule and none with it. A change of the protocol or of the model moves what happens in a seed; then the next seeds
// are tried, and the one to record is logged.
func TestMutationsAreFound(t *testing.T) {
	const next = 12_000
	was := debug.SetGCPercent(simulation.GCPercent)
	t.Cleanup(func() { debug.SetGCPercent(was) })
	for _, m := range simulation.Mutations() {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			recorded, known := findings[m]
			if !known {
				t.Fatalf("no seed is recorded; find one with: go test -run TestHunt -hunt=%s", m)
			}
			if breaks(m, recorded.seed, recorded.invariant) {
				return
			}
			for seed := recorded.seed + 1; seed <= recorded.seed+next; seed++ {
				if breaks(m, seed, recorded.invariant) {
					t.Logf("seed %d breaks %s no more: record %d instead", recorded.seed, recorded.invariant, seed)
					return
				}
			}
			t.Errorf("neither seed %d nor the next %d break %s without the rule: the checker does not see what it is for",
				recorded.seed, next, recorded.invariant)
		})
	}
}

func TestMutationNames(t *testing.T) {
	for _, m := range simulation.Mutations() {
		if parsed, err := simulation.ParseMutation(m.String()); err != nil || parsed != m {
			t.Errorf("%s is read as %v, %v", m, parsed, err)
		}
	}
	if _, err := simulation.ParseMutation("no-such-rule"); err == nil {
		t.Error("a name that no mutation has was accepted")
	}
}
