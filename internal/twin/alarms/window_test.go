package alarms

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/topology"
)

// told collects notifications.
type told struct {
	sync.Mutex
	list []string
}

func (l *told) notify(_ context.Context, action string, n Notification) error {
	l.Lock()
	defer l.Unlock()
	l.list = append(l.list, action+" "+n.Alarm.Name+" "+n.From+">"+n.To)
	return nil
}

func (l *told) count(text string) (n int) {
	l.Lock()
	defer l.Unlock()
	for _, s := range l.list {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}

func startEvaluator(t *testing.T, o Options) *Evaluator {
	t.Helper()
	e, err := NewEvaluator(o)
	if err != nil {
		t.Fatal(err)
	}
	e.Start(t.Context())
	t.Cleanup(e.Stop)
	return e
}

func wantState(t *testing.T, e *Evaluator, name, value string) {
	t.Helper()
	if s, ok := e.State(region, name); !ok || s.Value != value {
		t.Fatalf("%s is %+v, want %s", name, s, value)
	}
}

// TestLongPeriodsSlide: an alarm of two periods of five minutes is judged every minute on the ten minutes before, so it
// comes ten minutes after the load, and goes a minute or two after its end.
func TestLongPeriodsSlide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := NewMetrics(nil)
		topo := topology.Topology{Alarms: []topology.Alarm{{
			Region: region, Name: "cpu", Namespace: "AWS/RDS", Metric: "CPUUtilization", Statistic: "Average", Period: 5 * time.Minute,
			EvaluationPeriods: 2, DatapointsToAlarm: 2, Threshold: 80, ComparisonOperator: "GreaterThanThreshold",
		}}}
		e := startEvaluator(t, Options{Topology: topo, Metrics: metrics})
		minutes := func(n int, value float64) {
			for range n {
				metrics.Put(region, "AWS/RDS", One("CPUUtilization", value, "Percent", nil))
				sleep(t, time.Minute)
			}
			synctest.Wait()
		}
		sleep(t, 15*time.Second) // past the moment of judgement in the minute, so that each minute has one
		minutes(11, 5)
		wantState(t, e, "cpu", OK)
		minutes(8, 99)
		wantState(t, e, "cpu", OK)
		minutes(2, 99)
		wantState(t, e, "cpu", Alarm)
		minutes(2, 5)
		wantState(t, e, "cpu", OK)
	})
}

// TestNothingIsMissingBeforeTheBeginning: no data is a breach for this alarm, but not for times before it was watched.
func TestNothingIsMissingBeforeTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topo := lagAlarm()
		topo.Alarms[0].TreatMissingData = treatBreaching
		e := startEvaluator(t, Options{Topology: topo, Metrics: NewMetrics(nil)})
		sleep(t, 119*time.Second)
		synctest.Wait()
		wantState(t, e, "lag", InsufficientData)
		sleep(t, 2*time.Minute)
		synctest.Wait()
		wantState(t, e, "lag", Alarm)
	})
}

func TestCompositeFollowsItsChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topo := lagAlarm()
		topo.CompositeAlarms = []topology.CompositeAlarm{
			{Region: region, Name: "both", Rule: `ALARM("lag") AND NOT ALARM("other")`, AlarmActions: []string{"sns:both"}, OKActions: []string{"sns:both"}},
			{Region: region, Name: "above", Rule: `ALARM("both")`},
		}
		other := topo.Alarms[0]
		other.Name, other.Metric = "other", "Other"
		var told told
		e := startEvaluator(t, Options{Topology: topo, Extra: []topology.Alarm{other}, Metrics: NewMetrics(nil), Notify: told.notify})
		wantState(t, e, "both", InsufficientData)
		sleep(t, 2*time.Minute)
		synctest.Wait()
		wantState(t, e, "both", OK)
		if !e.SetState(t.Context(), region, "lag", Alarm, "tested", "{}") {
			t.Fatal("no such alarm")
		}
		wantState(t, e, "above", Alarm)
		if s, _ := e.State(region, "both"); !strings.Contains(s.Reason, ":alarm:lag transitioned to ALARM at ") || !strings.Contains(s.ReasonData, "triggeringAlarms") {
			t.Errorf("state = %+v", s)
		}
		sleep(t, 2*time.Minute) // the next evaluation takes back what was set
		synctest.Wait()
		wantState(t, e, "lag", InsufficientData)
		wantState(t, e, "both", OK)
		if told.count("sns:both both OK>ALARM") != 1 || told.count("sns:both both ALARM>OK") != 1 {
			t.Errorf("told %q", told.list)
		}
		if !slices.ContainsFunc(e.History(region), func(h Event) bool { return h.Alarm == "both" && h.Composite && h.Type == "StateUpdate" }) {
			t.Error("the history lacks the composite alarm")
		}
		if e.SetState(t.Context(), region, "nobody", Alarm, "", "") {
			t.Error("an alarm that does not exist was set")
		}
	})
	topo := lagAlarm()
	topo.CompositeAlarms = []topology.CompositeAlarm{{Region: region, Name: "c", Rule: `ALARM("nobody")`}}
	if _, err := NewEvaluator(Options{Topology: topo, Metrics: NewMetrics(nil)}); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("a rule on an alarm that does not exist: %v", err)
	}
}

// TestScalingActionsRepeat: Auto Scaling is asked every minute that the alarm lasts, people once.
func TestScalingActionsRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := NewMetrics(nil)
		topo := lagAlarm()
		topo.Alarms[0].AlarmActions = []string{"arn:aws:sns:x", "arn:aws:autoscaling:x"}
		var told told
		startEvaluator(t, Options{Topology: topo, Metrics: metrics, Notify: told.notify})
		for range 6 {
			metrics.Put(region, "AWS/RDS", One("AuroraGlobalDBReplicationLag", 90000, "Milliseconds", map[string]string{"DBClusterIdentifier": "dr"}))
			sleep(t, time.Minute)
		}
		synctest.Wait()
		if sns, scaling := told.count("arn:aws:sns"), told.count("arn:aws:autoscaling"); sns != 1 || scaling < 3 {
			t.Errorf("%d notifications and %d scaling actions: %q", sns, scaling, told.list)
		}
	})
}
