package alarms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast/internal/topology"
)

// maxHistory is how many entries of alarm history a region keeps.
const maxHistory = 2000

// Options say what an [Evaluator] watches.
type Options struct {
	Topology topology.Topology
	Metrics  *Metrics
	// Speed divides the alarms' periods; 0 means 1.
	Speed float64
	// Up reports whether a region is there; nil means always.
	Up func(region string) bool
	// Notify delivers a notification to an alarm action (a topic's ARN). It is called from one goroutine, must not block
	// for long, and its error goes into the alarm's history. Nil delivers nothing.
	Notify func(ctx context.Context, action string, n Notification) error
	// OnState, if set, is told of every change of state. It must not block.
	OnState func(Notification)
	Now     func() time.Time
	Logger  *slog.Logger
}

// Notification is one change of an alarm's state.
type Notification struct {
	Alarm    topology.Alarm
	Account  string
	From, To string
	Reason   string
	At       time.Time
}

// Evaluator moves the topology's alarms between their states.
type Evaluator struct {
	options Options
	watched []*watched

	mu      sync.Mutex
	history map[string][]Event // by region, oldest first
	cancel  context.CancelFunc
	done    chan struct{}
}

// watched is one alarm.
type watched struct {
	alarm topology.Alarm
	// period is the alarm's own, divided by the speed.
	period time.Duration
	next   time.Time
	state  State
}

// NewEvaluator checks the alarms. They begin in INSUFFICIENT_DATA.
func NewEvaluator(options Options) (*Evaluator, error) {
	if options.Metrics == nil {
		return nil, errors.New("alarms: no metrics given")
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Speed == 0 {
		options.Speed = 1
	}
	if options.Up == nil {
		options.Up = func(string) bool { return true }
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Evaluator{options: options, history: map[string][]Event{}}
	now := options.Now()
	for _, a := range options.Topology.Alarms {
		if err := check(a); err != nil {
			return nil, fmt.Errorf("alarm %s in %s: %w", a.Name, a.Region, err)
		}
		period := time.Duration(float64(a.Period) / options.Speed)
		e.watched = append(e.watched, &watched{
			alarm: a, period: period, next: due(now, period),
			state: State{Value: InsufficientData, Reason: "Unchecked: Initial alarm creation", Updated: now, Transitioned: now},
		})
		e.history[a.Region] = append(e.history[a.Region], Event{
			At: now, Alarm: a.Name, Type: "ConfigurationUpdate", Summary: fmt.Sprintf("Alarm %q created", a.Name),
		})
	}
	return e, nil
}

func check(a topology.Alarm) error {
	switch {
	case comparisons[a.ComparisonOperator].breaches == nil:
		return fmt.Errorf("unknown comparison operator %q", a.ComparisonOperator)
	case !ValidStatistic(a.Statistic):
		return fmt.Errorf("unknown statistic %q", a.Statistic)
	case a.Period <= 0 || a.EvaluationPeriods <= 0:
		return fmt.Errorf("period %v and evaluation periods %d must be positive", a.Period, a.EvaluationPeriods)
	case a.DatapointsToAlarm < 0 || a.DatapointsToAlarm > a.EvaluationPeriods:
		return fmt.Errorf("datapoints to alarm %d must be at most the evaluation periods, %d", a.DatapointsToAlarm, a.EvaluationPeriods)
	case !slices.Contains([]string{"", treatMissing, treatIgnore, treatBreaching, treatNotBreaching}, a.TreatMissingData):
		return fmt.Errorf("unknown treatment of missing data %q", a.TreatMissingData)
	}
	return nil
}

// due is when a period that holds an instant can be judged: a little after its end, when its data are there.
func due(now time.Time, period time.Duration) time.Time {
	return startOf(now, period).Add(period + settle(period))
}

func settle(period time.Duration) time.Duration { return min(period/6, 10*time.Second) }

// Start begins to evaluate, until ctx ends or Stop.
func (e *Evaluator) Start(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cancel != nil {
		cancel()
		return
	}
	e.cancel, e.done = cancel, make(chan struct{})
	go func() {
		defer close(e.done)
		e.loop(ctx)
	}()
}

// Stop ends the evaluation and waits for it.
func (e *Evaluator) Stop() {
	e.mu.Lock()
	cancel, done := e.cancel, e.done
	e.cancel = nil
	e.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
}

func (e *Evaluator) loop(ctx context.Context) {
	for len(e.watched) > 0 {
		first := slices.MinFunc(e.watched, func(a, b *watched) int { return a.next.Compare(b.next) })
		timer := time.NewTimer(first.next.Sub(e.options.Now()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		now := e.options.Now()
		for _, w := range e.watched {
			if !w.next.After(now) {
				e.judge(ctx, w, now)
				w.next = due(now, w.period)
			}
		}
	}
}

// judge evaluates one alarm at an instant.
func (e *Evaluator) judge(ctx context.Context, w *watched, now time.Time) {
	if !e.options.Up(w.alarm.Region) {
		return
	}
	end := startOf(now.Add(-settle(w.period)), w.period)
	points := e.points(w, end)
	e.mu.Lock()
	from := w.state.Value
	to := Evaluate(w.alarm, points, from)
	if to == from {
		e.mu.Unlock()
		return
	}
	reason := reasonFor(w, points, from, to, end)
	data := reasonData(w, points, end, now)
	w.state = State{Value: to, Reason: reason, ReasonData: data, Updated: now, Transitioned: now}
	e.record(w.alarm.Region, Event{
		At: now, Alarm: w.alarm.Name, Type: "StateUpdate", Summary: "Alarm updated from " + from + " to " + to,
		Data: updateData(from, to, reason, data),
	})
	e.mu.Unlock()
	n := Notification{Alarm: w.alarm, Account: e.options.Topology.AccountID, From: from, To: to, Reason: reason, At: now}
	e.options.Logger.Info("alarm", "region", w.alarm.Region, "alarm", w.alarm.Name, "from", from, "to", to)
	if e.options.OnState != nil {
		e.options.OnState(n)
	}
	e.act(ctx, n)
}

// act runs the actions of a change of state.
func (e *Evaluator) act(ctx context.Context, n Notification) {
	actions := map[string][]string{Alarm: n.Alarm.AlarmActions, OK: n.Alarm.OKActions}[n.To]
	if e.options.Notify == nil {
		return
	}
	for _, action := range actions {
		summary := "Successfully executed action " + action
		if err := e.options.Notify(ctx, action, n); err != nil {
			summary = "Failed to execute action " + action + ". Received error: " + err.Error()
			e.options.Logger.Warn("alarm action failed", "alarm", n.Alarm.Name, "action", action, "error", err)
		}
		e.mu.Lock()
		e.record(n.Alarm.Region, Event{At: e.options.Now(), Alarm: n.Alarm.Name, Type: "Action", Summary: summary})
		e.mu.Unlock()
	}
}

// points reads the periods of an alarm's evaluation range that ends at an instant.
func (e *Evaluator) points(w *watched, end time.Time) []Point {
	n := w.alarm.EvaluationPeriods + extraPeriods
	start := end.Add(-time.Duration(n) * w.period)
	metric := Metric{Namespace: w.alarm.Namespace, Name: w.alarm.Metric, Dimensions: w.alarm.Dimensions}
	out := make([]Point, n)
	for _, a := range e.options.Metrics.Statistics(w.alarm.Region, metric, "", start, end, w.period) {
		i := int(a.At.Sub(start) / w.period)
		if v, ok := a.Statistic(w.alarm.Statistic); ok && i >= 0 && i < n && !out[i].Known {
			out[i] = Point{Value: v, Known: true}
		}
	}
	return out
}

// record adds to a region's history. The caller holds the lock.
func (e *Evaluator) record(region string, ev Event) {
	list := append(e.history[region], ev)
	if extra := len(list) - maxHistory; extra > 0 {
		list = slices.Delete(list, 0, extra)
	}
	e.history[region] = list
}

// State returns an alarm's state.
func (e *Evaluator) State(region, name string) (State, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.watched {
		if w.alarm.Region == region && w.alarm.Name == name {
			return w.state, true
		}
	}
	return State{}, false
}

// History returns a region's history, the newest first.
func (e *Evaluator) History(region string) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := slices.Clone(e.history[region])
	slices.Reverse(list)
	return list
}

// reasonFor says why an alarm changes, as CloudWatch does.
func reasonFor(w *watched, points []Point, from, to string, end time.Time) string {
	need := w.alarm.DatapointsToAlarm
	if need == 0 {
		need = w.alarm.EvaluationPeriods
	}
	if to == InsufficientData {
		return fmt.Sprintf("Insufficient Data: %s unknown.", count(w.alarm.EvaluationPeriods, "datapoint was", "datapoints were"))
	}
	var shown []string
	matching, known := 0, 0
	for i, p := range slices.Backward(points) {
		if !p.Known || known == w.alarm.EvaluationPeriods {
			continue
		}
		known++
		at := end.Add(-time.Duration(len(points)-i) * w.period)
		shown = append(shown, number(p.Value)+" ("+at.Format("02/01/06 15:04:05")+")")
		if breaches(w.alarm, p.Value) == (to == Alarm) {
			matching++
		}
	}
	slices.Reverse(shown)
	not := ""
	if to == OK {
		not, need = "not ", w.alarm.EvaluationPeriods-need+1
	}
	if known == 0 {
		return fmt.Sprintf("Threshold Crossed: no datapoints were received for %s and missing datapoints are treated as [%s].",
			count(w.alarm.EvaluationPeriods, "period", "periods"), map[bool]string{true: "Breaching", false: "NonBreaching"}[to == Alarm])
	}
	verb := "were"
	if matching == 1 {
		verb = "was"
	}
	return fmt.Sprintf("Threshold Crossed: %d out of the last %d datapoints [%s] %s %s%s the threshold (%s) "+
		"(minimum %s for %s -> %s transition).",
		matching, known, strings.Join(shown, ", "), verb, not, comparisons[w.alarm.ComparisonOperator].words,
		number(w.alarm.Threshold), count(need, "datapoint", "datapoints"), from, to)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// number writes a value with at least one decimal, as CloudWatch does.
func number(f float64) string {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func reasonData(w *watched, points []Point, end, now time.Time) string {
	recent := []float64{}
	for _, p := range points[extraPeriods:] {
		if p.Known {
			recent = append(recent, p.Value)
		}
	}
	return marshal(map[string]any{
		"version": "1.0", "queryDate": now.UTC().Format(time.RFC3339Nano), "statistic": w.alarm.Statistic,
		"startDate": end.Add(-time.Duration(w.alarm.EvaluationPeriods) * w.period).UTC().Format(time.RFC3339Nano),
		"period":    w.alarm.Period.Seconds(), "recentDatapoints": recent, "threshold": w.alarm.Threshold,
	})
}

func updateData(from, to, reason, data string) string {
	return marshal(map[string]any{
		"version": "1.0", "oldState": map[string]string{"stateValue": from},
		"newState": map[string]any{"stateValue": to, "stateReason": reason, "stateReasonData": json.RawMessage(data)},
	})
}

// marshal writes JSON out of types that always can be.
func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "{}"
	}
	return string(b)
}
