package drill

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/drill/verdict"
	"holdfast/internal/pgserver"
	"holdfast/internal/topology"
	"holdfast/internal/twin"
)

func TestMain(m *testing.M) {
	// A drill of a fake twin waits more than it works, so more of them run at a time than there are processors.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	// The default client keeps connections to the acquirer of a test that has ended.
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		http.DefaultClient.CloseIdleConnections()
		os.Exit(code)
	}))
}

func fastOptions(t *testing.T, f *fakeTwin) Options {
	t.Helper()
	ms := time.Millisecond
	return Options{
		Seed: 1, Speed: 10, Up: f.up, Rate: 200, Out: filepath.Join(t.TempDir(), "out"), PostgreSQL: "15.1", databases: f,
		Pace: Pace{WarmUp: 150 * ms, WarmUpSpread: 100 * ms, RunOn: 200 * ms, Settle: 200 * ms, Report: 20 * ms},
	}
}

func rehearse(t *testing.T, o Options) *verdict.Verdict {
	t.Helper()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return result.Verdict
}

func TestDrillWithoutLossPasses(t *testing.T) {
	f := newFakeTwin(t)
	f.rejectSwitch = 1
	o := fastOptions(t, f)
	var lines []Line
	o.Progress = func(l Line) { lines = append(lines, l) } // the race detector says if it is called at once
	v := rehearse(t, o)
	if v.Verdict != verdict.Pass || len(v.Failures) != 0 {
		t.Fatalf("verdict %s: %v", v.Verdict, v.Failures)
	}
	p := v.Payments
	if p.Acknowledged < 60 || p.Kept != p.Acknowledged || p.Lost != 0 || p.Attempted != p.Acknowledged+p.Declined+p.Unknown+p.Refused {
		t.Errorf("payments %+v", p)
	}
	if *v.RTOSeconds <= 0.09 || *v.RTOSeconds > 20 || *v.RPOSeconds != 0 {
		t.Errorf("RTO %v and RPO %v, want at least the 0.1 s of the takeover, and 0", *v.RTOSeconds, *v.RPOSeconds)
	}
	if v.Objectives != (verdict.Objectives{RTOSeconds: 90, RPOSeconds: 30}) {
		t.Errorf("objectives %+v at speed 10, want 90 and 30", v.Objectives)
	}
	if v.SplitBrain.Attempts != 10 || v.SplitBrain.RefusedBy["HF001"] != 10 || *v.SwitchBack.DowntimeSeconds <= 0 {
		t.Errorf("split brain %+v, switch back %+v", v.SplitBrain, v.SwitchBack)
	}
	var names []string
	for _, phase := range v.Phases {
		names = append(names, phase.Name)
	}
	if got := strings.Join(names, " "); got != "boot warm-up fault takeover run-on return rejoin switch-back drain count down" {
		t.Errorf("phases %s", got)
	}
	if !slices.ContainsFunc(lines, func(l Line) bool { return strings.Contains(l.Text, "payments/s") }) {
		t.Error("no line of progress tells the rate")
	}
	if f.downCount() != 1 {
		t.Errorf("the twin was taken down %d times", f.downCount())
	}
	checkResults(t, o.Out, v)
}

func checkResults(t *testing.T, folder string, v *verdict.Verdict) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(folder, "*.new")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, name := range []string{"verdict.json", "timeline.jsonl", "merchants.jsonl", "acquirer.jsonl"} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Size() == 0 {
			t.Errorf("results: %s: %v", name, err)
		}
	}
	encoded, err := os.ReadFile(filepath.Join(folder, "verdict.json"))
	if err != nil {
		t.Fatal(err)
	}
	var read verdict.Verdict
	if err := json.Unmarshal(encoded, &read); err != nil || read.Verdict != v.Verdict || read.Payments != v.Payments {
		t.Errorf("verdict.json differs from the verdict: %v", err)
	}
}

// Half of a verdict must never stand in for one.
func TestWriteWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "verdict.json")
	if err := writeWhole(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".new", 0o700); err != nil { // as a disk that is full
		t.Fatal(err)
	}
	if err := writeWhole(path, []byte("new")); err == nil {
		t.Error("the file was written past its temporary one")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "old" {
		t.Errorf("%q, %v; want what was there before", text, err)
	}
}

func TestSetup(t *testing.T) {
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Fault: FreezeThaw, Topology: &topo}
	s := o.Setup()
	if s.Revision != "unknown" || s.Rate != 60 || s.Merchants != 8 || s.Cycles != 20 || len(s.Topology) != 16 {
		t.Errorf("%+v, want the defaults", s)
	}
	if o.Fault = RegionLoss; o.Setup().Cycles != 0 {
		t.Errorf("%+v, want no cycles for a fault that does not repeat", o.Setup())
	}
	topo.Lease++
	if o.Setup().Topology == s.Topology {
		t.Error("another lease has the same hash")
	}
}

func TestRevisionsAreNamed(t *testing.T) {
	of := func(revisions ...string) string {
		var series []*verdict.Verdict
		for _, r := range revisions {
			v := verdict.New(RegionLoss, 1, 1)
			v.Setup.Revision = r
			series = append(series, v)
		}
		return revisionsOf(series)
	}
	if got := of("", "unknown"); got != "an unknown revision" {
		t.Error(got)
	}
	if got := of("0123456789abcdef", "0123456789abcdef+modified", "unknown"); got != "0123456789ab, 0123456789ab (modified), unknown" {
		t.Error(got)
	}
}

func TestLostPaymentsAreCountedAndFoundInTheTail(t *testing.T) {
	f := newFakeTwin(t)
	f.lag = 150 * time.Millisecond
	o := fastOptions(t, f)
	v := rehearse(t, o)
	if v.Verdict != verdict.Pass {
		t.Fatalf("verdict %s: %v", v.Verdict, v.Failures)
	}
	p := v.Payments
	if p.Lost == 0 || p.Lost != len(v.Lost) || p.Kept+p.Lost != p.Acknowledged || v.SwitchBack.Lost != 0 {
		t.Errorf("payments %+v, %d listed, switch back lost %d", p, len(v.Lost), v.SwitchBack.Lost)
	}
	if *v.RPOSeconds <= 0 || *v.RPOSeconds > 5 {
		t.Errorf("RPO %v s with a lag of 0.15 s", *v.RPOSeconds)
	}
	if v.Tail.Payments < p.Lost || v.Tail.Folder != filepath.Join(o.Out, "tail") {
		t.Errorf("tail %+v", v.Tail)
	}
	if _, err := os.Stat(filepath.Join(v.Tail.Folder, "tail-primary-term-1", "manifest.json")); err != nil {
		t.Error(err)
	}
}

func TestDrillFails(t *testing.T) {
	for name, c := range map[string]struct {
		wrong func(*fakeTwin, *Options)
		want  string
	}{
		"lost and not in the tail": {func(f *fakeTwin, _ *Options) { f.lag, f.loseTail = 150*time.Millisecond, true }, "not in the exported tail"},
		"charged twice":            {func(f *fakeTwin, _ *Options) { f.inventRefs = true }, "charged more than once"},
		"refused":                  {func(f *fakeTwin, _ *Options) { f.deniesThird = http.StatusNotFound }, "valid payments were refused for good"},
		"refused, and charged":     {func(f *fakeTwin, _ *Options) { f.deniesThird = http.StatusNotFound }, "were declined or refused, and charged"},
		"declined, and charged":    {func(f *fakeTwin, _ *Options) { f.deniesThird = http.StatusPaymentRequired }, "were declined or refused, and charged"},
		"charged twice at the end": {func(f *fakeTwin, _ *Options) { f.chargesLate = true }, "1 orders were charged more than once"},
		"the books are not quiet":  {func(f *fakeTwin, o *Options) { f.neverQuiet, o.Limits.Count = true, 600*time.Millisecond }, "1 payments in the surviving ledger are still undecided 0.3 s after the load"},
		"nobody says who is active": {func(f *fakeTwin, o *Options) {
			f.activeFails, o.Limits.Count = true, 600*time.Millisecond
			o.Progress = func(l Line) { f.setDrained(l.Phase == Drain || l.Phase == Count) }
		}, "which site is active at the end is not known"},
		"split brain":                {func(f *fakeTwin, _ *Options) { f.accepts = 1 }, "accepted 1 of 11 commits"},
		"split brain in the tail":    {func(f *fakeTwin, _ *Options) { f.plantedInTail = []string{"split-brain-1", "split-brain-2"} }, "accepted 2 of 12 commits"},
		"split brain in the ledger":  {func(f *fakeTwin, _ *Options) { f.plantedKept = 1 }, "0 are in the exported tail and 1 in the surviving ledger"},
		"no split-brain attempt":     {func(f *fakeTwin, _ *Options) { f.noAttempts = true }, "not shown to hold"},
		"unbalanced":                 {func(f *fakeTwin, _ *Options) { f.unbalanced = true }, "not shown to be balanced"},
		"nobody takes over":          {func(f *fakeTwin, o *Options) { f.neverTakesOver, o.Limits.Takeover = true, 500*time.Millisecond }, "phase takeover took longer"},
		"loss in the switch back":    {func(f *fakeTwin, _ *Options) { f.loseOnSwitch = true }, "the switch back lost"},
		"switch back is turned down": {func(f *fakeTwin, o *Options) { f.rejectSwitch, o.Limits.SwitchBack = 1000, 700*time.Millisecond }, "the target is not ready"},
		"twin does not come up":      {func(_ *fakeTwin, o *Options) { o.Up = failingUp(errors.New("the writer crashed")) }, "the writer crashed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeTwin(t)
			o := fastOptions(t, f)
			c.wrong(f, &o)
			v := rehearse(t, o)
			if v.Verdict != verdict.Fail {
				t.Fatalf("verdict %s, want fail", v.Verdict)
			}
			if !slices.ContainsFunc(v.Failures, func(text string) bool { return strings.Contains(text, c.want) }) {
				t.Errorf("failures %q, want one with %q", v.Failures, c.want)
			}
			checkVerdictFile(t, o.Out)
			if name != "twin does not come up" && f.downCount() != 1 {
				t.Errorf("the twin was taken down %d times", f.downCount())
			}
		})
	}
}

// What the drill's own transactions left in the tail is no payment that a merchant was not told of.
func TestTailTellsPaymentsFromTheDrillsOwnRows(t *testing.T) {
	f := newFakeTwin(t)
	f.plantedInTail = []string{"split-brain-1", "thawed-2", "thawed-3"}
	v := rehearse(t, fastOptions(t, f))
	if v.SplitBrain.InTail != 1 || v.Thawed.InTail != 2 {
		t.Errorf("%d of the attack and %d thawed ones in the tail, want 1 and 2", v.SplitBrain.InTail, v.Thawed.InTail)
	}
	if v.Tail.Payments != v.Payments.Lost || v.Tail.Unacknowledged != 0 {
		t.Errorf("tail %+v with %d lost payments", v.Tail, v.Payments.Lost)
	}
}

func checkVerdictFile(t *testing.T, folder string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(folder, "verdict.json")); err != nil {
		t.Error(err)
	}
}

func failingUp(err error) UpFunc {
	return func(context.Context, UpOptions) (Twin, error) { return nil, err }
}

func TestEnvironmentThatCannotRunADrillHasNoVerdict(t *testing.T) {
	for _, cause := range []error{pgserver.ErrNotInstalled, fmt.Errorf("%w: the disk is full", ErrEnvironment)} {
		o := fastOptions(t, newFakeTwin(t))
		o.Up = failingUp(fmt.Errorf("up: %w", cause))
		_, err := Run(t.Context(), o)
		if !IsEnvironment(err) || !errors.Is(err, cause) {
			t.Errorf("Run = %v, want the environment's error", err)
		}
		if _, err := os.Stat(o.Out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a results folder was left: %v", err)
		}
	}
	o := fastOptions(t, newFakeTwin(t))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Out = filepath.Join(file, "out")
	if _, err := Run(t.Context(), o); !IsEnvironment(err) {
		t.Errorf("Run with a results folder below a file = %v", err)
	}
}

func TestInterruptedDrillTearsDownAndFails(t *testing.T) {
	f := newFakeTwin(t)
	f.neverTakesOver = true
	o := fastOptions(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var once sync.Once
	o.Progress = func(l Line) {
		if l.Phase == Takeover {
			once.Do(cancel)
		}
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	result, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	v := result.Verdict
	if v.Verdict != verdict.Fail || !slices.Contains(v.Failures, "interrupted in phase takeover") {
		t.Errorf("verdict %s: %q, want an interruption in phase takeover", v.Verdict, v.Failures)
	}
	if f.downCount() != 1 || v.Payments.Acknowledged == 0 {
		t.Errorf("taken down %d times, %d payments acknowledged", f.downCount(), v.Payments.Acknowledged)
	}
}

// A call that takes no notice of its context does not keep the drill from a verdict, which names the phase.
func TestStuckCallEndsInAVerdict(t *testing.T) {
	for call, want := range map[string]string{"inject": "phase fault took longer", "clear": "phase clear took longer", "down": "phase down took longer"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			f := newFakeTwin(t)
			over := make(chan struct{})
			t.Cleanup(func() { close(over) })
			f.stuck = map[string]chan struct{}{call: over}
			o := fastOptions(t, f)
			o.Fault, o.stuckAfter, o.hiccup = twin.LinkDelay, 100*time.Millisecond, time.Minute
			o.Limits.Fault, o.Limits.Return, o.Limits.Down, o.Limits.Drain = time.Second, time.Second, time.Second, time.Second
			v := rehearse(t, o)
			if v.Verdict != verdict.Fail || !slices.ContainsFunc(v.Failures, func(text string) bool { return strings.Contains(text, want) }) {
				t.Errorf("verdict %s: %v, want %q", v.Verdict, v.Failures, want)
			}
			checkVerdictFile(t, o.Out)
		})
	}
}

func TestKeptTwinIsTheCallers(t *testing.T) {
	f := newFakeTwin(t)
	o := fastOptions(t, f)
	o.Keep = true
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	result, err := Run(t.Context(), o)
	if err != nil || result.Twin == nil || f.downCount() != 0 {
		t.Fatalf("Run = %+v, %v with %d downs; want the twin, still up", result, err, f.downCount())
	}
	charges := f.acquirer + "/v1/charges"
	res, err := http.Get(charges)
	if err != nil {
		t.Fatalf("the kept twin's acquirer: %v", err)
	}
	_ = res.Body.Close()
	if err := result.Twin.Down(t.Context()); err != nil || f.downCount() != 1 {
		t.Errorf("Down = %v, %d downs", err, f.downCount())
	}
	if res, err := http.Get(charges); err == nil {
		_ = res.Body.Close()
		t.Error("the acquirer outlives the twin")
	}
}

func TestUnknownFaultIsRefused(t *testing.T) {
	if _, err := Run(t.Context(), Options{Fault: "meteor", Up: failingUp(nil)}); err == nil || IsEnvironment(err) {
		t.Errorf("Run = %v", err)
	}
}

// A load that came while DNS still names the standby would only wait there and come again.
func TestLoadComesOnceDNSNamesTheSite(t *testing.T) {
	t.Parallel()
	f := newFakeTwin(t)
	f.address = hosts["dr"]
	const late = 700 * time.Millisecond
	timer := time.AfterFunc(late, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.address = hosts["primary"]
	})
	t.Cleanup(func() { timer.Stop() })
	began := time.Now()
	o := fastOptions(t, f)
	o.Fault = twin.LinkDelay
	var first time.Duration
	o.Progress = func(l Line) {
		if first == 0 && l.Phase == WarmUp {
			first = time.Since(began)
		}
	}
	if v := rehearse(t, o); v.Verdict != verdict.Pass {
		t.Fatalf("verdict %s: %v", v.Verdict, v.Failures)
	}
	if first < late {
		t.Errorf("the load came %v after the start, and DNS named the site after %v", first, late)
	}
}
