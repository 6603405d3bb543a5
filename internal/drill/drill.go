package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"

	"holdfast/internal/drill/acquirer"
	"holdfast/internal/drill/merchant"
	"holdfast/internal/drill/verdict"
	"holdfast/internal/term"
	"holdfast/internal/twin"
)

// How the drill's acquirer behaves.
const (
	acquirerLatency     = 15 * time.Millisecond
	acquirerJitter      = 10 * time.Millisecond
	acquirerLostAnswers = 0.005
	acquirerDeclines    = 0.5
)

// Result is what a drill leaves.
type Result struct {
	Verdict *verdict.Verdict
	// Twin is still up if Options.Keep asked for that and it came up; the caller takes it down.
	Twin Twin
}

// drill is one run. Its fields are set by the phases, one after the other; mu guards what the reporter and the twin's
// goroutines touch too.
type drill struct {
	o        Options
	scenario scenario
	began    time.Time
	verdict  *verdict.Verdict
	timeline *timeline
	random   *rand.Rand
	acquirer *acquirer.Server
	twin     Twin
	// first is the site that is active on day one, second the other one.
	first, second string

	// before is the term record before the newest fault, after the one at the end; zero if it could not be read.
	before, after term.Record
	// writerBefore is the database server that was the active site's writer then.
	writerBefore string
	// firstFault is when the first fault began; killBegan and killEnded are about the newest one, faultEnds about all.
	firstFault, killBegan, killEnded time.Time
	faultEnds                        []time.Duration
	// loadEnded is when no new payment arrived any more.
	loadEnded time.Time
	// asked is when an operator acted, if that is part of the drill.
	asked       time.Time
	attack      attack
	held        held
	attackCount splitBrainCount
	// windows are when sites had to be silent; deadline is the one that has not ended.
	windows  []window
	deadline *window
	// blows are what the drill warden-crash has not struck yet, struck what the drill's ambushes have.
	blows     blows
	struck    []twin.Ambush
	endAmbush func() (struck, missed []twin.Ambush)
	// lostBefore are the payments that the ledger lacked before the switch back.
	lostBefore map[string]bool
	// tailPayments are the ids of the payments in the exported tail.
	tailPayments map[string]bool
	// planted are the keys of the drill's own rows in the exported tail, by their mark.
	planted map[string]map[string]bool

	mu    sync.Mutex
	phase Phase
	fleet *merchant.Fleet

	lines       chan Line
	linesMu     sync.RWMutex
	linesClosed bool
}

// Run rehearses. It returns an error only if there is nothing to judge: the options are wrong, or the machine can't
// run a drill (see [IsEnvironment]); nothing is left running then. Everything else, an interruption included, is a
// verdict.
func Run(ctx context.Context, options Options) (Result, error) {
	began := time.Now()
	o, err := options.withDefaults(began)
	if err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return Result{}, fmt.Errorf("%w: make the results folder: %w", ErrEnvironment, err)
	}
	d := &drill{
		o: o, began: began, timeline: &timeline{began: began},
		verdict: verdict.New(o.Fault, o.Seed, o.Speed),
		random:  rand.New(rand.NewPCG(o.Seed, 0x6472696c6c)),
		acquirer: acquirer.New(acquirer.Options{
			Seed: o.Seed, Latency: acquirerLatency, Jitter: acquirerJitter, LostAnswers: acquirerLostAnswers,
			Declines: map[string]float64{merchant.DecliningMethod: acquirerDeclines},
		}),
		lostBefore: map[string]bool{}, tailPayments: map[string]bool{}, planted: map[string]map[string]bool{},
	}
	d.scenario, _ = scenarioOf(o.Fault)
	d.verdict.Expectation, d.verdict.Demands = d.scenario.expectation, d.scenario.demands
	d.verdict.Objectives = verdict.Objectives{RTOSeconds: objectiveRTO.Seconds() / o.Speed, RPOSeconds: objectiveRPO.Seconds() / o.Speed}
	d.verdict.Environment = verdict.Environment{CPUs: runtime.NumCPU(), PostgreSQL: o.PostgreSQL, StartedAt: began.UTC()}
	d.verdict.Setup, d.verdict.ResultsFolder = o.Setup(), o.Out
	return d.run(ctx)
}

func (d *drill) run(ctx context.Context) (Result, error) {
	if err := d.acquirer.Start("127.0.0.1:0"); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	defer d.startShowing()()
	handedOn := false
	defer func() {
		if !handedOn {
			d.closeAcquirer()
		}
	}()
	stopReports := d.startReports()
	failure := d.rehearse(ctx)
	if d.twin == nil && IsEnvironment(failure) {
		stopReports()
		_ = os.Remove(d.o.Out) // only if it is empty: nothing was found out
		return Result{}, failure
	}
	if failure != nil {
		d.fail(ctx, failure)
	}
	d.settle(ctx, failure != nil)
	stopReports()
	result := Result{Verdict: d.verdict}
	if d.o.Keep && ctx.Err() == nil {
		result.Twin, handedOn = keptTwin{d.twin, d.closeAcquirer}, true
	} else if err := d.down(ctx); err != nil {
		d.fail(ctx, err)
	}
	d.verdict.Happened = d.happened()
	d.verdict.Judge()
	if err := d.writeResults(); err != nil {
		d.verdict.Verdict = verdict.Fail
		d.verdict.Failf("the results could not be written: %v", err)
	}
	return result, nil
}

// keptTwin goes on after the drill, with the acquirer that its payments need.
type keptTwin struct {
	Twin
	closeAcquirer func()
}

func (t keptTwin) Down(ctx context.Context) error {
	defer t.closeAcquirer()
	return t.Twin.Down(ctx)
}

// fail puts a failure into words. An interruption is named as such, not as the time-out that it looks like.
func (d *drill) fail(ctx context.Context, failure error) {
	if ctx.Err() != nil {
		d.verdict.Failf("interrupted in phase %s", d.currentPhase())
		return
	}
	d.verdict.Failf("%v", failure)
	d.event("drill", "", "failed: "+failure.Error())
}

// rehearse goes through the phases up to the end of the scenario; the first error ends it.
func (d *drill) rehearse(ctx context.Context) error {
	if err := d.enter(ctx, Boot, d.o.Limits.Boot, d.boot); err != nil {
		return err
	}
	if err := d.enter(ctx, WarmUp, d.o.Limits.WarmUp, func(phase context.Context) error { return d.warmUp(ctx, phase) }); err != nil {
		return err
	}
	for _, s := range d.scenario.steps(d, ctx) {
		if err := d.enter(ctx, s.phase, s.limit, s.body); err != nil {
			return err
		}
	}
	return nil
}

// drainAfterFailure bounds the drain when the drill has failed anyway and the merchants may have nobody to pay to.
const drainAfterFailure = 10 * time.Second

// settle ends the load and the attack and counts, whatever happened before, as far as there is something to count.
func (d *drill) settle(ctx context.Context, failed bool) {
	d.endAll(ctx)
	d.copyAttack()
	if d.twin == nil || d.fleet == nil {
		return
	}
	d.loadEnded = time.Now()
	d.measureStandstill()
	if !failed {
		d.judgeStandstill()
		d.judgeOverhead()
	}
	limit := d.o.Limits.Drain
	if failed {
		limit = min(limit, drainAfterFailure)
	}
	if err := d.enter(ctx, Drain, limit, d.fleet.Drain); err != nil && !failed {
		d.fail(ctx, err)
	}
	// The merchants' and the acquirer's records are here, so they are counted even when nothing else can be.
	d.countMerchants()
	defer d.countAcquirer()
	if ctx.Err() != nil {
		return
	}
	if err := d.enter(ctx, Count, d.o.Limits.Count, d.count); err != nil {
		d.fail(ctx, err)
	}
}

// endAll ends what the phases left running: transactions, the attack and the ambushes.
func (d *drill) endAll(ctx context.Context) {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.o.Limits.Fault)
	defer cancel()
	err := d.within(ending, func(context.Context) error {
		d.endHeld()
		d.endAttack()
		d.judgeAmbush()
		return nil
	})
	if err != nil {
		d.verdict.Failf("end the attack and the ambushes: %v", err)
	}
}

// down takes the twin down, also after an interruption.
func (d *drill) down(ctx context.Context) error {
	if d.twin == nil {
		return nil
	}
	return d.enter(context.WithoutCancel(ctx), Down, d.o.Limits.Down, d.twin.Down)
}

func (d *drill) closeAcquirer() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = d.acquirer.Close(ctx)
}

// event records something that the drill itself did or saw.
func (d *drill) event(kind, site, text string) {
	d.observe(Event{At: time.Now(), Site: site, Kind: kind, Text: text})
}

// observe records an event of the twin or of the drill, and shows it.
func (d *drill) observe(e Event) {
	d.timeline.add(e)
	d.show(Line{At: e.At.Sub(d.began), Phase: d.currentPhase(), Kind: e.Kind, Site: e.Site, Text: e.Text})
}

// maxLines is how many lines wait to be shown before some are left out.
const maxLines = 4096

// show hands a line to the terminal, or leaves it out if that does not keep up: events come from the goroutines that
// check health and move databases, and a pager that stands still must not slow down what is measured.
func (d *drill) show(line Line) {
	d.linesMu.RLock()
	defer d.linesMu.RUnlock()
	if d.linesClosed {
		return
	}
	select {
	case d.lines <- line:
	default:
	}
}

// startShowing passes lines on, one at a time, until the returned function is called.
func (d *drill) startShowing() (stop func()) {
	d.lines = make(chan Line, maxLines)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for line := range d.lines {
			d.o.Progress(line)
		}
	}()
	return func() {
		d.linesMu.Lock()
		d.linesClosed = true
		close(d.lines)
		d.linesMu.Unlock()
		<-done
	}
}

// startReports shows the load now and then until the returned function is called.
func (d *drill) startReports() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		last, lastAt := 0, time.Now()
		for rest(ctx, d.o.Pace.Report) == nil {
			d.mu.Lock()
			fleet, phase := d.fleet, d.phase
			d.mu.Unlock()
			if fleet == nil {
				continue
			}
			counts, now := fleet.Counts(), time.Now()
			rate := float64(counts.Acknowledged-last) / now.Sub(lastAt).Seconds()
			last, lastAt = counts.Acknowledged, now
			text := fmt.Sprintf("%.1f payments/s, %d acknowledged, %d under way", rate, counts.Acknowledged, counts.Pending)
			d.show(Line{At: now.Sub(d.began), Phase: phase, Kind: "load", Text: text})
		}
	}()
	return func() { cancel(); <-done }
}
