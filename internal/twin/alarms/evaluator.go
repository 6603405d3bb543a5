package alarms

import (
	"cmp"
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
	// Extra are alarms beside the topology's, such as those that target tracking makes for itself.
	Extra []topology.Alarm
	// Speed divides the alarms' periods, and the thresholds of replication lags; 0 means 1.
	Speed float64
	// Up reports whether a region is there; nil means always.
	Up func(region string) bool
	// Notify delivers a notification to an alarm action (an ARN). It is called from one goroutine, must not block for
	// long, and its error goes into the alarm's history. Nil delivers nothing.
	Notify func(ctx context.Context, action string, n Notification) error
	// OnState, if set, is told of every change of state. It must not block.
	OnState func(Notification)
	Now     func() time.Time
	Logger  *slog.Logger
}

// Notification is one change of an alarm's state, or for an action of Auto Scaling one period more in that state.
type Notification struct {
	// Alarm is the alarm; of a composite one it has only the names and actions, and Rule is its rule.
	Alarm    topology.Alarm
	Rule     string
	Account  string
	From, To string
	Reason   string
	At       time.Time
}

// Evaluator moves the topology's alarms between their states. Its methods may be called from many goroutines.
type Evaluator struct {
	options    Options
	watched    []*watched
	composites []*composite
	// judging is held while states are changed, so that changes and what they cause come one after another.
	judging sync.Mutex

	mu      sync.Mutex
	history map[string][]Event // by region, oldest first
	// started is when the evaluation began: what was before is not missing.
	started time.Time
	cancel  context.CancelFunc
	done    chan struct{}
}

// watched is one alarm on a metric. The evaluator's lock guards the state, its judging lock the rest.
type watched struct {
	// alarm is as configured, judged as it is evaluated at the speed.
	alarm, judged topology.Alarm
	// period is the alarm's own, divided by the speed; every is how often it is judged.
	period, every time.Duration
	next          time.Time
	state         State
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
	first := State{Value: InsufficientData, Reason: "Unchecked: Initial alarm creation", Updated: now, Transitioned: now}
	for _, a := range slices.Concat(options.Topology.Alarms, options.Extra) {
		if err := check(a); err != nil {
			return nil, fmt.Errorf("alarm %s in %s: %w", a.Name, a.Region, err)
		}
		e.watched = append(e.watched, &watched{
			alarm: a, judged: atSpeed(a, options.Speed), period: e.scaled(a.Period), every: e.scaled(interval(a.Period)), state: first,
		})
		e.created(a.Region, a.Name, false, now)
	}
	for _, a := range options.Topology.CompositeAlarms {
		c, err := e.newComposite(a)
		if err != nil {
			return nil, fmt.Errorf("composite alarm %s in %s: %w", a.Name, a.Region, err)
		}
		c.state = first
		e.composites = append(e.composites, c)
		e.created(a.Region, a.Name, true, now)
	}
	return e, nil
}

func (e *Evaluator) created(region, name string, composite bool, now time.Time) {
	e.record(region, Event{
		At: now, Alarm: name, Composite: composite, Type: "ConfigurationUpdate", Summary: fmt.Sprintf("Alarm %q created", name),
	})
}

func (e *Evaluator) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / e.options.Speed)
}

// interval is how often CloudWatch evaluates an alarm: every minute on the window that ends then, also if the period
// is longer; every ten seconds if it is shorter.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
func interval(period time.Duration) time.Duration {
	if period < time.Minute {
		return 10 * time.Second
	}
	return time.Minute
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

// due is when the minute that holds an instant can be judged: a little after its end, when its data are there.
func due(now time.Time, every time.Duration) time.Time {
	return startOf(now, every).Add(every + settle(every))
}

func settle(every time.Duration) time.Duration { return min(every/6, 10*time.Second) }

// Start begins to evaluate, until ctx ends or Stop.
func (e *Evaluator) Start(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cancel != nil {
		cancel()
		return
	}
	e.cancel, e.done, e.started = cancel, make(chan struct{}), e.options.Now()
	for _, w := range e.watched {
		w.next = due(e.started, w.every)
	}
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
		e.judging.Lock()
		now := e.options.Now()
		for _, w := range e.watched {
			if !w.next.After(now) {
				e.judge(ctx, w, now)
				w.next = due(now, w.every)
			}
		}
		e.judgeComposites(ctx, now)
		e.judging.Unlock()
	}
}

// judge evaluates one alarm at an instant. The caller holds the judging lock.
func (e *Evaluator) judge(ctx context.Context, w *watched, now time.Time) {
	if !e.options.Up(w.alarm.Region) {
		return
	}
	end := startOf(now.Add(-settle(w.every)), w.every)
	points := e.points(w, end)
	from, _ := e.State(w.alarm.Region, w.alarm.Name)
	if e.tooYoung(w, points, end) {
		return
	}
	n := Notification{
		Alarm: w.alarm, Account: e.options.Topology.AccountID, From: from.Value, To: Evaluate(w.judged, points, from.Value), At: now,
	}
	if n.To == n.From {
		n.Reason = from.Reason
		e.act(ctx, n, repeats)
		return
	}
	n.Reason = reasonFor(w, points, n.From, n.To, end)
	e.move(ctx, &w.state, n, reasonData(w, points, end, now))
}

// tooYoung reports whether an alarm lacks data only because the twin did not exist yet.
func (e *Evaluator) tooYoung(w *watched, points []Point, end time.Time) bool {
	if w.alarm.TreatMissingData != treatBreaching {
		return false
	}
	known := 0
	for _, p := range points {
		if p.Known {
			known++
		}
	}
	n := w.alarm.EvaluationPeriods
	e.mu.Lock()
	defer e.mu.Unlock()
	return known < n && end.Add(-time.Duration(n)*w.period).Before(e.started)
}

// move changes a state, tells it and runs its actions. The caller holds the judging lock.
func (e *Evaluator) move(ctx context.Context, state *State, n Notification, data string) {
	e.mu.Lock()
	*state = State{Value: n.To, Reason: n.Reason, ReasonData: data, Updated: n.At, Transitioned: n.At}
	e.record(n.Alarm.Region, Event{
		At: n.At, Alarm: n.Alarm.Name, Composite: n.Rule != "", Type: "StateUpdate", Summary: "Alarm updated from " + n.From + " to " + n.To,
		Data: updateData(n.From, n.To, n.Reason, data),
	})
	e.mu.Unlock()
	e.options.Logger.Info("alarm", "region", n.Alarm.Region, "alarm", n.Alarm.Name, "from", n.From, "to", n.To)
	if e.options.OnState != nil {
		e.options.OnState(n)
	}
	e.act(ctx, n, func(string) bool { return true })
}

// SetState sets an alarm's state until its next evaluation, as set-alarm-state does, and runs the actions of the change.
// It reports false if there is no such alarm.
func (e *Evaluator) SetState(ctx context.Context, region, name, value, reason, data string) bool {
	e.judging.Lock()
	defer e.judging.Unlock()
	n := Notification{Account: e.options.Topology.AccountID, To: value, Reason: reason, At: e.options.Now()}
	var state *State
	for _, w := range e.watched {
		if w.alarm.Region == region && w.alarm.Name == name {
			n.Alarm, state = w.alarm, &w.state
		}
	}
	for _, c := range e.composites {
		if c.alarm.Region == region && c.alarm.Name == name {
			n.Alarm, n.Rule, state = c.named(), c.alarm.Rule, &c.state
		}
	}
	if state == nil {
		return false
	}
	e.mu.Lock()
	n.From = state.Value
	e.mu.Unlock()
	if n.From != n.To {
		e.move(ctx, state, n, data)
	}
	e.judgeComposites(ctx, n.At)
	return true
}

// repeats reports whether an action is invoked again for every period that its alarm stays in the state: Auto Scaling's
// are, notifications are not.
func repeats(action string) bool { return strings.HasPrefix(action, "arn:aws:autoscaling:") }

// act runs those actions of a state that are wanted.
func (e *Evaluator) act(ctx context.Context, n Notification, wanted func(action string) bool) {
	actions := map[string][]string{Alarm: n.Alarm.AlarmActions, OK: n.Alarm.OKActions}[n.To]
	if e.options.Notify == nil {
		return
	}
	for _, action := range actions {
		if !wanted(action) {
			continue
		}
		err := e.options.Notify(ctx, action, n)
		if err == nil && n.From == n.To {
			continue // the history of CloudWatch does not repeat what goes on
		}
		summary := "Successfully executed action " + action
		if err != nil {
			summary = "Failed to execute action " + action + ". Received error: " + err.Error()
			e.options.Logger.Warn("alarm action failed", "alarm", n.Alarm.Name, "action", action, "error", err)
		}
		e.mu.Lock()
		e.record(n.Alarm.Region, Event{
			At: e.options.Now(), Alarm: n.Alarm.Name, Composite: n.Rule != "", Type: "Action", Summary: summary,
		})
		e.mu.Unlock()
	}
}

// points reads the periods of an alarm's evaluation range that ends at an instant.
func (e *Evaluator) points(w *watched, end time.Time) []Point {
	metric := Metric{Namespace: w.alarm.Namespace, Name: w.alarm.Metric, Dimensions: w.alarm.Dimensions}
	out := make([]Point, w.alarm.EvaluationPeriods+extraPeriods)
	for i, a := range e.options.Metrics.Windows(w.alarm.Region, metric, end, w.period, len(out)) {
		if a != nil {
			out[i].Value, out[i].Known = a.Statistic(w.alarm.Statistic)
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
	for _, c := range e.composites {
		if c.alarm.Region == region && c.alarm.Name == name {
			return c.state, true
		}
	}
	return State{}, false
}

// List returns a region's alarms on metrics, those beside the topology's too.
func (e *Evaluator) List(region string) []topology.Alarm {
	var out []topology.Alarm
	for _, w := range e.watched {
		if w.alarm.Region == region {
			out = append(out, w.alarm)
		}
	}
	return out
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
	need := w.judged.DatapointsToAlarm
	if need == 0 {
		need = w.judged.EvaluationPeriods
	}
	if to == InsufficientData {
		return fmt.Sprintf("Insufficient Data: %s unknown.", count(w.judged.EvaluationPeriods, "datapoint was", "datapoints were"))
	}
	var shown []string
	matching, known := 0, 0
	for i, p := range slices.Backward(points) {
		if !p.Known || known == w.judged.EvaluationPeriods {
			continue
		}
		known++
		at := end.Add(-time.Duration(len(points)-i) * w.period)
		shown = append(shown, number(p.Value)+" ("+at.Format("02/01/06 15:04:05")+")")
		if breaches(w.judged, p.Value) == (to == Alarm) {
			matching++
		}
	}
	slices.Reverse(shown)
	not := ""
	if to == OK {
		not, need = "not ", w.judged.EvaluationPeriods-need+1
	}
	if known == 0 {
		return fmt.Sprintf("Threshold Crossed: no datapoints were received for %s and missing datapoints are treated as [%s].",
			count(w.judged.EvaluationPeriods, "period", "periods"), map[bool]string{true: "Breaching", false: "NonBreaching"}[to == Alarm])
	}
	verb := "were"
	if matching == 1 {
		verb = "was"
	}
	return fmt.Sprintf("Threshold Crossed: %d out of the last %d datapoints [%s] %s %s%s the threshold (%s) "+
		"(minimum %s for %s -> %s transition).",
		matching, known, strings.Join(shown, ", "), verb, not, comparisons[w.judged.ComparisonOperator].words,
		number(w.judged.Threshold), count(need, "datapoint", "datapoints"), from, to)
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
		"version": "1.0", "queryDate": now.UTC().Format(time.RFC3339Nano), "statistic": w.judged.Statistic,
		"startDate": end.Add(-time.Duration(w.judged.EvaluationPeriods) * w.period).UTC().Format(time.RFC3339Nano),
		"period":    w.judged.Period.Seconds(), "recentDatapoints": recent, "threshold": w.judged.Threshold,
	})
}

func updateData(from, to, reason, data string) string {
	return marshal(map[string]any{
		"version": "1.0", "oldState": map[string]string{"stateValue": from},
		"newState": map[string]any{"stateValue": to, "stateReason": reason, "stateReasonData": json.RawMessage(cmp.Or(data, "{}"))},
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
