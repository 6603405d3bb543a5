package verdict

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func number(x float64) *float64 { return &x }

// passing is a verdict that nothing is wrong with.
func passing() *Verdict {
	v := New("region-loss", 1, 10)
	v.Objectives = Objectives{RTOSeconds: 90, RPOSeconds: 30}
	v.RTOSeconds, v.RPOSeconds, v.FaultAtSeconds = number(3.4), number(0.5), number(12.1)
	v.Payments = Payments{Attempted: 109, Acknowledged: 100, Kept: 99, Lost: 1, Unknown: 4, UnknownInLedger: 2, Declined: 5}
	v.Lost = []LostPayment{{PaymentID: "p", AcknowledgedAtSeconds: 11.9, Amount: 5, Currency: "USD", InTail: true}}
	v.Tail = Tail{Folder: "out/tail", Payments: 2}
	v.Ledger = Ledger{Balanced: true, Sums: map[string]int64{"USD": 0}, Entries: 200}
	v.SplitBrain = SplitBrain{Attempts: 30, RefusedBy: map[string]int{"HF001": 20, "25006": 10}, Ways: map[string]int{"plain": 30}}
	v.SwitchBack = SwitchBack{DowntimeSeconds: number(0.8)}
	v.Environment = Environment{CPUs: 2, PostgreSQL: "15.1", StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	v.ResultsFolder = "out"
	return v
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Verdict)
		want   string
	}{
		"nothing":                    {func(*Verdict) {}, ""},
		"RTO missed":                 {func(v *Verdict) { v.RTOSeconds = number(90.1) }, "RTO: 90.1 s"},
		"RTO at the objective":       {func(v *Verdict) { v.RTOSeconds = number(90) }, ""},
		"no RTO":                     {func(v *Verdict) { v.RTOSeconds = nil }, "RTO: no payment"},
		"RPO missed":                 {func(v *Verdict) { v.RPOSeconds = number(30.2) }, "RPO: 30.2 s"},
		"no RPO":                     {func(v *Verdict) { v.RPOSeconds = nil }, "RPO: the surviving ledger"},
		"counts do not add up":       {func(v *Verdict) { v.Payments.Kept = 98 }, "98 kept and 1 lost"},
		"attempted does not add up":  {func(v *Verdict) { v.Payments.Attempted++ }, "110 payments were attempted"},
		"lost are not listed":        {func(v *Verdict) { v.Lost = nil }, "1 payments are lost, but 0 are listed"},
		"lost are not in the tail":   {func(v *Verdict) { v.Lost[0].InTail = false }, "not in the exported tail"},
		"charged twice":              {func(v *Verdict) { v.Payments.ChargedTwice = 1 }, "charged more than once"},
		"refused":                    {func(v *Verdict) { v.Payments.Refused, v.Payments.Declined = 1, 4 }, "1 valid payments were refused"},
		"told no, but charged":       {func(v *Verdict) { v.Payments.ToldNoButCharged = 2 }, "2 payments were declined or refused, and charged"},
		"acknowledged, not charged":  {func(v *Verdict) { v.Payments.AcknowledgedNotCharged = 1 }, "never charged"},
		"nothing acknowledged":       {func(v *Verdict) { v.Payments = Payments{}; v.Lost = nil }, "nothing was shown"},
		"unbalanced":                 {func(v *Verdict) { v.Ledger.Balanced = false }, "not shown to be balanced"},
		"split brain":                {func(v *Verdict) { v.SplitBrain.Accepted = 1 }, "accepted 1 of 30"},
		"split brain in the tail":    {func(v *Verdict) { v.SplitBrain.InTail = 2 }, "2 are in the exported tail and 0 in the surviving ledger"},
		"split brain in the ledger":  {func(v *Verdict) { v.SplitBrain.InLedger = 1 }, "0 are in the exported tail and 1 in the surviving ledger"},
		"unanswered is not accepted": {func(v *Verdict) { v.SplitBrain.Unanswered = 3 }, ""},
		"held, all answered":         {func(v *Verdict) { v.SplitBrain.Held, v.SplitBrain.HeldAnswered = 8, 8 }, ""},
		"held, not all answered":     {func(v *Verdict) { v.SplitBrain.Held, v.SplitBrain.HeldAnswered = 8, 7 }, "1 of 8 transactions that were frozen before their commit check were never answered"},
		"thawed, in the tail":        {func(v *Verdict) { v.Thawed = Thawed{Staged: 2, Landed: 1, InTail: 2} }, ""},
		"thawed, not in the tail":    {func(v *Verdict) { v.Thawed = Thawed{Staged: 2, Landed: 2, InTail: 1} }, "2 transactions landed after a thaw, but only 1"},
		"no attempt":                 {func(v *Verdict) { v.SplitBrain = SplitBrain{} }, "not shown to hold"},
		"only read-only refusals":    {func(v *Verdict) { delete(v.SplitBrain.RefusedBy, "HF001") }, "not shown to hold"},
		"charged, not booked":        {func(v *Verdict) { v.Payments.ChargedNotBooked = 1 }, "neither in the surviving ledger"},
		"no switch back":             {func(v *Verdict) { v.SwitchBack.DowntimeSeconds = nil }, "no switch back"},
		"loss in the switch back":    {func(v *Verdict) { v.SwitchBack.Lost = 2 }, "lost 2 acknowledged"},
		"a failure that was noticed": {func(v *Verdict) { v.Failf("phase %s took too long", "rejoin") }, "phase rejoin took too long"},
	} {
		v := passing()
		c.change(v)
		v.Judge()
		switch all := strings.Join(v.Failures, "\n"); {
		case c.want == "" && (v.Verdict != Pass || all != ""):
			t.Errorf("%s: verdict %s: %s", name, v.Verdict, all)
		case c.want != "" && (v.Verdict != Fail || !strings.Contains(all, c.want)):
			t.Errorf("%s: verdict %s: %q, want a failure with %q", name, v.Verdict, all, c.want)
		}
	}
}

// A drill that stopped early says why, and not also everything that it did not get to.
func TestEarlyFailureIsTheOnlyOne(t *testing.T) {
	v := New("region-loss", 1, 10)
	v.Failf("phase boot: no")
	v.Judge()
	if v.Verdict != Fail || len(v.Failures) != 1 {
		t.Errorf("verdict %s: %q", v.Verdict, v.Failures)
	}
	v = passing()
	v.Failf("phase switch-back: no")
	v.SplitBrain.Accepted, v.Payments.ChargedTwice, v.Payments.Kept = 1, 1, 5
	v.Judge()
	if len(v.Failures) != 4 {
		t.Errorf("%d failures, want the phase, the split brain, the double charge and the count: %q", len(v.Failures), v.Failures)
	}
}

func TestNewVerdictFails(t *testing.T) {
	if v := New("region-loss", 1, 1); v.Verdict != Fail {
		t.Errorf("a verdict that nobody judged is %s", v.Verdict)
	}
}

// The names are a contract with whoever reads the JSON.
func TestJSONKeepsItsNames(t *testing.T) {
	v := passing()
	v.Timeline = []Entry{{AtSeconds: 0, Site: "primary", Kind: "region", Event: "lost"}}
	v.Judge()
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(encoded, &all); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"verdict", "failures", "fault", "seed", "speed", "objectives.rto_seconds", "objectives.rpo_seconds", "rto_seconds", "rpo_seconds",
		"timeline.0.at_seconds", "timeline.0.site", "timeline.0.event", "payments.attempted", "payments.acknowledged", "payments.kept",
		"payments.lost", "payments.unknown", "payments.charged_twice", "payments.told_no_but_charged", "lost.0.payment_id", "lost.0.acknowledged_at_seconds", "lost.0.amount",
		"lost.0.currency", "tail.folder", "tail.payments", "ledger.balanced", "split_brain.attempts", "split_brain.accepted", "split_brain.unanswered", "split_brain.in_tail", "split_brain.in_ledger", "split_brain.held", "split_brain.held_answered",
		"thawed.staged", "thawed.landed", "thawed.in_tail",
		"switch_back.downtime_seconds", "switch_back.lost", "environment.cpus", "environment.postgresql", "environment.started_at",
	} {
		var at any = all
		for _, name := range strings.Split(path, ".") {
			if list, ok := at.([]any); ok {
				at = list[0]
				continue
			}
			object, _ := at.(map[string]any)
			at = object[name]
		}
		if at == nil {
			t.Errorf("%s is missing in %s", path, encoded)
		}
	}
	if all["verdict"] != "pass" || all["seed"] != 1.0 {
		t.Errorf("verdict %v, seed %v", all["verdict"], all["seed"])
	}
	empty, err := json.Marshal(New("region-loss", 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if rest := strings.ReplaceAll(string(empty), `_seconds":null`, ""); strings.Contains(rest, "null") {
		t.Errorf("a list is null in %s", empty)
	}
}

func TestTextFitsOnOneScreen(t *testing.T) {
	v := passing()
	v.Expectation, v.Happened = strings.Repeat("expected ", 30), strings.Repeat("happened ", 30)
	v.SiteRTOSeconds, v.TakeoverOverheadSeconds, v.LeaseSeconds, v.MarginSeconds = number(2.9), number(0.2), 2, 0.7
	v.SplitBrain.Held, v.SplitBrain.HeldAnswered, v.Thawed = 160, 160, Thawed{Staged: 40, Landed: 40, InTail: 40}
	v.Checks = []Check{{What: "the term", Wanted: "1", Got: strings.Repeat("one ", 40), OK: true}}
	for n := range 100 {
		v.Timeline = append(v.Timeline, Entry{AtSeconds: float64(n), Site: "primary", Kind: []string{"drill", "region", "warden", "dns"}[n%4], Event: strings.Repeat("long ", 50)})
	}
	v.Judge()
	var out bytes.Buffer
	if err := v.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if len(lines) > 24 {
		t.Errorf("%d lines:\n%s", len(lines), out.String())
	}
	for _, line := range lines {
		if n := len([]rune(line)); n > 120 {
			t.Errorf("%d characters: %s", n, line)
		}
	}
	for _, want := range []string{
		"PASS", "served after 2.9 s, before DNS: +0.20 s beside a lease of 2 s and a margin of 0.7 s", "ok           the term", "3.4 s", "99 kept, 1 lost", "4 unknown (2 of them in the ledger)", "write fence 20", "read-only 10", "0.8 s", "out/tail",
		"160 transactions frozen before their commit check, 160 answered; 40 after it: 40 landed, 40 in the tail",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

// What a fault does not call for is not missed; what breaks a promise fails whatever the fault.
func TestDemands(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Verdict)
		want   string
	}{
		"nothing called for":      {func(*Verdict) {}, ""},
		"a split brain all same":  {func(v *Verdict) { v.SplitBrain.Accepted = 1 }, "split brain"},
		"loss where none may be":  {func(v *Verdict) { v.Demands.NoLoss = true }, "nothing may be lost"},
		"a check that failed":     {func(v *Verdict) { v.Checks = []Check{{What: "the term", Wanted: "3", Got: "4"}} }, "the term: 4, want 3"},
		"a check that holds":      {func(v *Verdict) { v.Checks = []Check{{What: "the term", Wanted: "3", Got: "3", OK: true}} }, ""},
		"an RTO that was too big": {func(v *Verdict) { v.RTOSeconds = number(91) }, "RTO: 91"},
	} {
		v := passing()
		v.Demands, v.SplitBrain, v.SwitchBack, v.RTOSeconds = Demands{RPO: true}, SplitBrain{}, SwitchBack{}, nil
		c.change(v)
		v.Judge()
		switch all := strings.Join(v.Failures, "\n"); {
		case c.want == "" && (v.Verdict != Pass || all != ""):
			t.Errorf("%s: verdict %s: %s", name, v.Verdict, all)
		case c.want != "" && (v.Verdict != Fail || !strings.Contains(all, c.want)):
			t.Errorf("%s: verdict %s: %q, want a failure with %q", name, v.Verdict, all, c.want)
		}
	}
}
