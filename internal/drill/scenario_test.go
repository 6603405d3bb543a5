package drill

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/drill/verdict"
	"holdfast/internal/twin"
)

// scenarioRate is in payments per second, low enough for several drills at a time on a busy machine.
const scenarioRate = 60

// Every drill passes against a twin that does what is expected of it.
func TestScenariosPass(t *testing.T) {
	for _, s := range scenarios() {
		if s.name == RegionLoss {
			continue // has tests of its own
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeTwin(t)
			o := fastOptions(t, f)
			o.Fault, o.Cycles, o.Rate, o.hiccup = s.name, 3, scenarioRate, time.Minute
			v := rehearse(t, o)
			if v.Verdict != verdict.Pass {
				t.Fatalf("verdict %s: %v", v.Verdict, v.Failures)
			}
			if v.Fault != s.name || v.Expectation == "" || !strings.Contains(v.Happened, "at the end") {
				t.Errorf("fault %q, expected %q, happened %q", v.Fault, v.Expectation, v.Happened)
			}
			if s.name != Switchover && len(f.injected) == 0 {
				t.Error("nothing was broken")
			}
			if v.Payments.Acknowledged < 40 || v.StandstillSeconds == nil || v.RPOSeconds == nil {
				t.Errorf("payments %+v, standstill %v, RPO %v", v.Payments, v.StandstillSeconds, v.RPOSeconds)
			}
			checkVerdictFile(t, o.Out)
		})
	}
}

// A drill sees when what it expects does not happen.
func TestScenariosFail(t *testing.T) {
	for name, c := range map[string]struct {
		fault string
		wrong func(*fakeTwin, *Options)
		want  string
	}{
		"a failover that must not be":       {twin.LinkPartition, func(f *fakeTwin, _ *Options) { f.movesAnyway = true }, "the term: 2 of dr, want 1 of primary"},
		"a failover for a slow application": {twin.ApplicationSlow, func(f *fakeTwin, _ *Options) { f.movesAnyway = true }, "the term: 2 of dr"},
		"a cut link that carries nothing":   {twin.LinkPartition, func(f *fakeTwin, _ *Options) { f.unmet = true }, "sent into link-partition: 0, want at least 1"},
		"a lost replica that nobody asks":   {twin.StoreRegionLoss, func(f *fakeTwin, _ *Options) { f.unmet = true }, "sent into store-region-loss us-east-1: 0, want at least 1"},
		"a slow application that is not":    {twin.ApplicationSlow, func(f *fakeTwin, _ *Options) { f.slowed = 0 }, "the middle attempt: "},
		"no payment while the link is cut":  {twin.LinkPartition, func(f *fakeTwin, o *Options) { f.refusesFor, o.Limits.Hold = time.Hour, 2*time.Second }, "0 payments were acknowledged while this stood"},
		"a long standstill":                 {twin.LinkPartition, func(f *fakeTwin, _ *Options) { f.refusesFor = 2500 * time.Millisecond }, "want at most 2.0 s"},
		"a gray failure that is none":       {twin.ApplicationFailing, func(f *fakeTwin, o *Options) { f.keepsWriting, o.Limits.Hold = true, 2*time.Second }, "want none and at least 10"},
		"the writer stays where it was":     {twin.ZoneLoss, func(f *fakeTwin, _ *Options) { f.writerStays = true }, "the writer: primary, want another than primary"},
		"writing goes on without a store":   {twin.StoreLoss, func(f *fakeTwin, _ *Options) { f.keepsWriting = true }, "acknowledged past the trust deadline"},
		"writing goes on in the margin": {twin.StoreLoss, func(f *fakeTwin, _ *Options) {
			f.lease, f.margin, f.stopsAfter = 2500*time.Millisecond, 1200*time.Millisecond, 2400*time.Millisecond
		}, "acknowledged past the trust deadline"},
		"nobody takes over a frozen region":  {twin.RegionFreeze, func(f *fakeTwin, o *Options) { f.neverTakesOver, o.Limits.Takeover = true, 300*time.Millisecond }, "phase takeover took longer"},
		"a thawed transaction gets in":       {FreezeThaw, func(f *fakeTwin, _ *Options) { f.heldGetsIn = 1 }, "accepted 3 of"},
		"a frozen transaction is silent":     {twin.RegionFreeze, func(f *fakeTwin, _ *Options) { f.heldUnanswered = 1 }, "1 of 8 transactions that were frozen"},
		"what thawed is in no tail":          {FreezeThaw, func(f *fakeTwin, _ *Options) { f.thawedLands = 1 }, "3 transactions landed after a thaw, but only 0"},
		"loss in a hand-over":                {twin.WardenCrash, func(f *fakeTwin, _ *Options) { f.loseOnSwitch = true }, "nothing may be lost"},
		"a step was never struck":            {twin.WardenCrash, func(f *fakeTwin, _ *Options) { f.skips = "grant" }, "wardens were killed: 16: "},
		"a hand-over is never taken back":    {twin.WardenCrash, func(f *fakeTwin, _ *Options) { f.skips = "take-back" }, "wardens were killed: 16: "},
		"a term is never released":           {twin.WardenCrash, func(f *fakeTwin, _ *Options) { f.skips = "release" }, "wardens were killed: 16: "},
		"the wardens outlived a strike":      {twin.WardenCrash, func(f *fakeTwin, _ *Options) { f.failsToStrike = "record-term" }, "wardens were killed: 16: "},
		"they outlived one in a release":     {twin.WardenCrash, func(f *fakeTwin, _ *Options) { f.failsToStrike = "release" }, "wardens were killed: 16: "},
		"the second failure did not happen":  {SecondFailure, func(f *fakeTwin, _ *Options) { f.skips = "acquire" }, "the export of the tail: 3: "},
		"only the wardens were struck":       {SecondFailure, func(f *fakeTwin, _ *Options) { f.skips = "promote" }, "the export of the tail: 3: "},
		"the export was not struck":          {SecondFailure, func(f *fakeTwin, _ *Options) { f.failsToStrike = "export-tail" }, "the export of the tail: 3: "},
		"the tail was not exported":          {SecondFailure, func(f *fakeTwin, _ *Options) { f.loseTail = true }, "no warden has exported: [1], want none"},
		"the fault can't be injected":        {twin.ZoneLoss, func(f *fakeTwin, _ *Options) { f.injectFails = true }, "no such thing to break"},
		"payments do not come back":          {twin.DatabaseWriterCrash, func(f *fakeTwin, o *Options) { f.refusesForEver, o.Limits.Hold = true, 2*time.Second }, "phase hold took longer"},
		"the fence is not shown to hold":     {twin.IsolatedActive, func(f *fakeTwin, _ *Options) { f.noAttempts = true }, "not shown to hold"},
		"a planned move that is turned down": {Switchover, func(f *fakeTwin, o *Options) { f.rejectSwitch, o.Limits.SwitchBack = 1000, 700*time.Millisecond }, "the target is not ready"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeTwin(t)
			o := fastOptions(t, f)
			o.Fault, o.Cycles, o.Rate = c.fault, 3, scenarioRate
			o.Limits.Drain = time.Second
			c.wrong(f, &o)
			v := rehearse(t, o)
			if v.Verdict != verdict.Fail || !slices.ContainsFunc(v.Failures, func(text string) bool { return strings.Contains(text, c.want) }) {
				t.Errorf("verdict %s, failures %q, want one with %q", v.Verdict, v.Failures, c.want)
			}
			checkVerdictFile(t, o.Out)
			if f.downCount() != 1 {
				t.Errorf("the twin was taken down %d times", f.downCount())
			}
		})
	}
}

// Both regions that the holder may have to do without are taken, one after the other.
func TestStoreRegionLossTakesTheHoldersReplicaToo(t *testing.T) {
	t.Parallel()
	f := newFakeTwin(t)
	o := fastOptions(t, f)
	o.Fault, o.Rate, o.hiccup = twin.StoreRegionLoss, scenarioRate, time.Minute
	if v := rehearse(t, o); v.Verdict != verdict.Pass {
		t.Fatalf("verdict %s: %v", v.Verdict, v.Failures)
	}
	if want := []string{"store-region-loss", "store-region-loss us-east-1"}; !slices.Equal(f.injected, want) {
		t.Errorf("broke %q, want %q", f.injected, want)
	}
}

// Every step of a move is struck before its effect and after it, whatever the seed, and what a move did not come by
// is made up for.
func TestWardensAreKilledInsideEveryStep(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		f := newFakeTwin(t)
		f.skipsOnce = "drain"
		o := fastOptions(t, f)
		o.Fault, o.Seed, o.Rate = twin.WardenCrash, seed, scenarioRate
		v := rehearse(t, o)
		if v.Verdict != verdict.Pass {
			t.Fatalf("seed %d: verdict %s: %v", seed, v.Verdict, v.Failures)
		}
		i := slices.IndexFunc(v.Checks, func(c verdict.Check) bool { return strings.HasPrefix(c.What, "steps inside") })
		if i < 0 {
			t.Fatalf("seed %d: no check of the strikes: %+v", seed, v.Checks)
		}
		for _, step := range []string{"seal", "drain", "move-writer", "grant", "take-back", "release", "acquire", "record-term", "serve"} {
			for _, way := range []string{"before", "after"} {
				if n := len(regexp.MustCompile("inside "+step+` of \w+, `+way+" its effect").FindAllString(v.Checks[i].Got, -1)); n != 1 {
					t.Errorf("seed %d: %d strikes %s the effect of %s: %s", seed, n, way, step, v.Checks[i].Got)
				}
			}
		}
	}
}

// The site's own recovery is measured before DNS, and the wait that it can't avoid is taken off.
func TestTakeoverOverhead(t *testing.T) {
	t.Parallel()
	f := newFakeTwin(t)
	v := rehearse(t, fastOptions(t, f))
	if v.SiteRTOSeconds == nil || v.TakeoverOverheadSeconds == nil {
		t.Fatalf("site RTO %v, overhead %v", v.SiteRTOSeconds, v.TakeoverOverheadSeconds)
	}
	site, wait := *v.SiteRTOSeconds, v.LeaseSeconds+v.MarginSeconds
	if site < 0.09 || site > *v.RTOSeconds || wait < 0.299 || wait > 0.301 {
		t.Errorf("site RTO %v of an RTO of %v with the takeover after 0.1 s; lease and margin %v", site, *v.RTOSeconds, wait)
	}
	if difference := *v.TakeoverOverheadSeconds - (site - wait); difference < -0.002 || difference > 0.002 {
		t.Errorf("overhead %v, want %v less %v", *v.TakeoverOverheadSeconds, site, wait)
	}
}

// At speed 1 a takeover may take a second beside its wait; at other speeds the machine's own part is not in proportion.
func TestTakeoverOverheadIsJudgedAtSpeedOne(t *testing.T) {
	for speed, want := range map[float64]string{1: verdict.Fail, 10: verdict.Pass} {
		t.Run(fmt.Sprint(speed), func(t *testing.T) {
			t.Parallel()
			f := newFakeTwin(t)
			f.takesOverIn = 1500 * time.Millisecond
			o := fastOptions(t, f)
			o.Fault, o.Speed, o.Rate = twin.RegionFreeze, speed, scenarioRate
			v := rehearse(t, o)
			late := slices.ContainsFunc(v.Failures, func(text string) bool { return strings.Contains(text, "beside lease and margin: ") })
			if v.Verdict != want || late != (want == verdict.Fail) {
				t.Errorf("verdict %s: %v, want %s", v.Verdict, v.Failures, want)
			}
		})
	}
}

func TestScenariosAreNamedOnceAndSayWhatTheyExpect(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios() {
		if seen[s.name] || s.doc == "" || s.expectation == "" {
			t.Errorf("%s: named twice, or without words: %q, %q", s.name, s.doc, s.expectation)
		}
		seen[s.name] = true
	}
	// Every fault that a twin can suffer and that the wardens have to judge has a drill. The others only make work for
	// ECS, or are a slower link by another name.
	for _, k := range twin.FaultKinds() {
		if !seen[k.Name] && !slices.Contains([]string{twin.ApplicationCrash, twin.ReplicationSlow}, k.Name) {
			t.Errorf("the fault %s has no drill", k.Name)
		}
	}
}

// What the report says of a figure is how it was measured and put together.
func TestReportSaysHowItsFiguresCameAbout(t *testing.T) {
	var series []*verdict.Verdict
	add := func(fault string, rto float64, cycles int) {
		v := verdict.New(fault, uint64(len(series)+1), 10)
		v.Verdict, v.RTOSeconds, v.Setup.Cycles = verdict.Pass, &rto, cycles
		series = append(series, v)
	}
	add(Switchover, 1, 0)
	add(Switchover, 4, 0)
	add(FreezeThaw, 5, 3)
	add(FreezeThaw, 6, 7)
	add(FreezeThaw, 8, freezeCycles)
	var text strings.Builder
	if err := WriteReport(&text, series, "2 CPUs"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| `switchover` | 10 | 2 of 2 | 2.5, 4.0 |", "| `freeze-thaw` | 10 | 3 of 3 | 6.0, 8.0 |",
		"in `application-failing`, where\nnobody takes over unasked, from the operator's request", "in `switchover` the longest time without",
		"A run of `freeze-thaw` at speed 10 is 3 (fewer than the usual 20) or 7 (fewer than the usual 20) or 20 cycles.",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for seed := uint64(1); seed <= 2; seed++ {
		f := newFakeTwin(t)
		o := fastOptions(t, f)
		o.Fault, o.Seed, o.Out = twin.LinkPartition, seed, Folder(root, twin.LinkPartition, 10, seed)
		f.movesAnyway = seed == 2
		rehearse(t, o)
	}
	if err := writeLines(filepath.Join(root, "a file"), []int{1}); err != nil {
		t.Fatal(err)
	}
	series, err := ReadSeries(root)
	if err != nil || len(series) != 2 {
		t.Fatalf("ReadSeries = %d verdicts, %v", len(series), err)
	}
	var text strings.Builder
	if err := WriteReport(&text, series, "2 CPUs"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| `link-partition` | 10 | 1 of 2 |", "Machine: 2 CPUs.", "## Runs that did not pass", "speed 10, seed 2: ", "the term: 2 of dr, want 1 of primary",
		"| `region-loss` |", "| `freeze-thaw` |", "| acknowledged | unknown | lost |",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
}
