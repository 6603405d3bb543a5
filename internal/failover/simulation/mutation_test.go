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
	// violation is the beginning of what the run says, so that a seed that begins to show something else is noticed.
	violation string
	// attack are parts of the trace, in their order: what the rule is there against, and not just any way to break something.
	attack []string
}

// findings has one for every mutation. TestHunt finds others.
var findings = map[simulation.Mutation]finding{
	simulation.NoMargin:               {1470, "I1", "I1: a commit check passed at primary under term 1 after term 2 had begun at dr", nil},
	simulation.WallClock:              {898, "I1", "I1: a commit check passed at primary under term 1 after term 2 had begun at dr", []string{"wall clocks stepped"}},
	simulation.ClockThatStandsStill:   {1130, "I1", "I1: a commit check passed at dr under term 2 after term 3 had begun at primary", []string{"freeze"}},
	simulation.TrustFromAnswer:        {5111, "I1", "I1: a commit check passed at dr under term 2 after term 3 had begun at primary", nil},
	simulation.HolderNameGivesTrust:   {199, "I1", "I1: a commit check passed at dr under term 2 after term 3 had begun at primary", nil},
	simulation.WatchFromRequest:       {3846, "I1", "I1: a commit check passed at primary under term 1 after term 2 had begun at dr", nil},
	simulation.AcquireNamesTerm:       {14600, "I1", "I1: a commit check passed at primary under term 1 after term 2 had begun at dr", []string{"acquire: the term stood still"}},
	simulation.ClearInsteadOfTakeBack: {11487, "I2", "I2: term 2 was handed over to dr and lost 18 acknowledged payments", []string{"grant: sealed, drained", "take-back: the database is sealed but no hand-over", ", primary, granted, by", "was handed over"}},
	simulation.LocalSettings:          {6673, "I1", "I1: a commit check passed at dr under term 2 after term 3 had begun at primary", []string{"operator publishes a longer lease"}},
	simulation.EmptyStart:             {1816, "I1", "I1: a commit check passed at primary under term 1 after term 2 had begun at dr", []string{"the record is gone"}},
	simulation.InitAtOnce:             {24909, "I1", "I1: a commit check passed at primary under term 1 after term 2 had begun at dr", []string{"an operator creates the record anew"}},
	simulation.ServeFirst:             {5, "I5", "I5: nobody serves 8m45s after the last fault, and no warden names a decision that it waits for: record {Deploy", nil},
	simulation.IgnoreMode:             {56, "P17", "P17: primary/2 took term 2 over in mode approval, and nobody had decided that", nil},
	simulation.IgnoreBudget:           {5683, "P19", "P19: dr/2 hands term 2 over for health with a budget of 3, 19.992223943s after it came", nil},
	simulation.ForeignLeaseRow:        {31, "I1", "I1: term 1 passed a commit check at primary and at dr", nil},
	simulation.FenceAtStatementStart:  {9, "I1", "I1: a commit check passed at primary under term 1 after term 2 had begun at dr", nil},
	simulation.SnapshotCheck:          {9756, "I1", "I1: a commit check passed at dr under term 2 after term 3 had begun at dr", nil},
	simulation.IntervalInSQL:          {1799, "I1", "I1: a commit check passed at primary under term 1 after term 2 had begun at dr", nil},
	simulation.ShortenInsteadOfSeal:   {7, "I1", "I1: a transaction of term 1 became durable at primary after the term's drain", nil},
	simulation.SealWithoutDrain:       {289, "I1", "I1: a transaction of term 1 became durable at primary after the term's drain", []string{"is drained"}},
	simulation.PreparedTransactions:   {21, "I1", "I1: a transaction of term 1 became durable at primary after the term's drain", nil},
	simulation.AcknowledgeAfterLease:  {272, "I1", "I1: payment 10 was acknowledged at primary under term 1, 848.506853ms after the end of its lease", nil},
	simulation.PromoteWithoutTerm:     {19, "I1", "I1: a commit check passed at dr under term 2 after term 3 had begun at primary", nil},
	simulation.IgnoreLineage:          {80, "I2", "I2: the takeover of term 2 by dr lost payments of the last 1m17.139243112s, although max_lag is 25s", nil},
	simulation.IgnoreLag:              {80, "I2", "I2: the takeover of term 2 by dr lost payments of the last 1m17.139243112s, although max_lag is 25s", nil},
	simulation.GrantWithoutSeal:       {88, "I1", "I1: a commit check passed at primary under term 1 after term 2 had begun at dr", []string{", granted, by"}},
	simulation.HoldOnWithoutWriter:    {38, "I5", "I5: nobody serves 8m45s after the last fault, and no warden names a decision that it waits for: record {Deploy", nil},
	simulation.NeverReturns:           {931, "I5", "I5: nobody serves 3m15s after the last fault; a warden waits for dr: mode: approval, and none for this term, w", []string{"the other site may take the term for ever"}},
	simulation.DropOldVolume:          {20, "I2", "I2: payment 21 was acknowledged at 57.103050293s and is neither in a ledger nor in the lost tail's report", []string{"is rebuilt as a secondary"}},
	simulation.UnsaidTail:             {48, "I2", "I2: payment 55 was acknowledged at 1m1.031251285s and is missing in the database of dr, and neither an export ", nil},
	simulation.ReportWhatWas:          {4128, "I2", "I2: the takeover of term 2 by dr lost payments of the last 38.198738033s, although max_lag is 25s", nil},
	simulation.PinWithoutAbstention:   {1791, "I1", "I1: a commit check passed at primary under term 1 after term 2 had begun at dr", []string{"is confirmed"}},
	simulation.RandomReference:        {2, "I3", "I3: purchase of payment 4 was charged 2 times", nil},
	simulation.NotFoundMeansFailed:    {24, "I3", "I3: purchase of payment 9 was charged 2 times", nil},
	simulation.SplitEntries:           {1, "I4", "I4: the ledger of primary adds up to 114 in currency 2", nil},
}

// breaks runs a seed without the rule and returns what it says if it breaks the invariant by the attack, in a seed in which
// the whole protocol breaks none.
func breaks(m simulation.Mutation, seed uint64, f finding) (violation string, broken bool) {
	r := simulation.Run(seed, simulation.Options{Mutation: m})
	if !violates(r, f.invariant) || simulation.Run(seed, simulation.Options{}).Violation != "" {
		return "", false
	}
	_, violation, _ = strings.Cut(r.Violation, ": ")
	if len(f.attack) == 0 {
		return violation, true
	}
	var lines []string
	simulation.Run(seed, simulation.Options{Mutation: m, Trace: func(line string) { lines = append(lines, line) }})
	return violation, inOrder(strings.Join(lines, "\n"), f.attack)
}

// inOrder reports whether the text has all parts, each after the one before.
func inOrder(text string, parts []string) bool {
	for _, part := range parts {
		_, rest, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = rest
	}
	return true
}

func violates(r simulation.Result, invariant string) bool {
	_, what, _ := strings.Cut(r.Violation, ": ")
	return strings.HasPrefix(what, invariant+":")
}

// recorded is how much of a violation is recorded.
func recorded(violation string) string {
	const most = 110
	return violation[:min(most, len(violation))]
}

// TestMutationsAreFound: the checker can see. In the recorded seed, with the same faults, an invariant breaks without
// the rule and none with it. A change of the protocol or of the model moves what happens in a seed; then the test fails with
// the seed to record instead.
func TestMutationsAreFound(t *testing.T) {
	const next = 12_000
	was := debug.SetGCPercent(simulation.GCPercent)
	t.Cleanup(func() { debug.SetGCPercent(was) })
	for _, m := range simulation.Mutations() {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			f, known := findings[m]
			if !known {
				t.Fatalf("no seed is recorded; find one with: go test -run TestHunt -hunt=%s", m)
			}
			violation, broken := breaks(m, f.seed, f)
			if broken && recorded(violation) == f.violation {
				return
			}
			if broken {
				t.Fatalf("seed %d shows something else than recorded: look whether it is what the rule is there against, and record %q",
					f.seed, recorded(violation))
			}
			for seed := f.seed + 1; seed <= f.seed+next; seed++ {
				if violation, broken := breaks(m, seed, f); broken {
					t.Fatalf("seed %d breaks %s no more: record seed %d and %q instead", f.seed, f.invariant, seed, recorded(violation))
				}
			}
			t.Errorf("neither seed %d nor the next %d break %s without the rule: the checker does not see what it is for",
				f.seed, next, f.invariant)
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
