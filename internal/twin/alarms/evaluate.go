package alarms

import (
	"slices"

	"holdfast/internal/topology"
)

// The ways to treat missing data, in Terraform's and CloudWatch's words; an empty one is "missing".
const (
	treatMissing      = "missing"
	treatIgnore       = "ignore"
	treatBreaching    = "breaching"
	treatNotBreaching = "notBreaching"
)

// extraPeriods is how many periods before the evaluation periods an alarm looks at.
const extraPeriods = 2

// Point is one period of an alarm's metric.
type Point struct {
	Value float64
	// Known is false if the period had no data.
	Known bool
}

// Evaluate returns an alarm's next state. points are the periods in its evaluation range (EvaluationPeriods and two
// more), the oldest first; current is the present state.
//
//   - With at least EvaluationPeriods known points, the newest of those decide alone.
//   - With fewer, breaching and notBreaching fill up; the others judge what is known: enough breaching points are an
//     alarm, a point that does not breach is OK. If all known points breach but are too few, ignore keeps the state;
//     missing goes to ALARM once the oldest of them is DatapointsToAlarm periods old, because no younger data can
//     undo it, and keeps the state until then.
//   - With none at all, missing is INSUFFICIENT_DATA and ignore keeps the state.
func Evaluate(a topology.Alarm, points []Point, current string) string {
	need := a.DatapointsToAlarm
	if need == 0 {
		need = a.EvaluationPeriods
	}
	var known, breaching, oldestAge int
	newest := 0 // breaching ones among the newest EvaluationPeriods known points
	for i, p := range slices.Backward(points) {
		if !p.Known {
			continue
		}
		known++
		oldestAge = len(points) - i
		if breaches(a, p.Value) {
			breaching++
			if known <= a.EvaluationPeriods {
				newest++
			}
		}
	}
	missing := a.EvaluationPeriods - known
	switch {
	case missing <= 0:
		return alarmIf(newest >= need)
	case a.TreatMissingData == treatBreaching:
		return alarmIf(breaching+missing >= need)
	case a.TreatMissingData == treatNotBreaching:
		return alarmIf(breaching >= need)
	case known == 0 && a.TreatMissingData == treatIgnore:
		return current
	case known == 0:
		return InsufficientData
	case breaching >= need:
		return Alarm
	case breaching < known:
		return OK
	case a.TreatMissingData != treatIgnore && oldestAge >= need:
		return Alarm
	}
	return current
}

func alarmIf(breaching bool) string {
	if breaching {
		return Alarm
	}
	return OK
}

// comparisons say in words how a breaching value compares with the threshold.
var comparisons = map[string]struct {
	breaches func(value, threshold float64) bool
	words    string
}{
	"GreaterThanOrEqualToThreshold": {func(v, t float64) bool { return v >= t }, "greater than or equal to"},
	"GreaterThanThreshold":          {func(v, t float64) bool { return v > t }, "greater than"},
	"LessThanThreshold":             {func(v, t float64) bool { return v < t }, "less than"},
	"LessThanOrEqualToThreshold":    {func(v, t float64) bool { return v <= t }, "less than or equal to"},
}

func breaches(a topology.Alarm, value float64) bool {
	return comparisons[a.ComparisonOperator].breaches(value, a.Threshold)
}

// replicationLags are the metrics whose threshold is an amount of time that somebody chose to wait.
var replicationLags = []string{"AuroraGlobalDBReplicationLag", "AuroraGlobalDBRPOLag", "AuroraGlobalDBProgressLag"}

// atSpeed is the alarm as it is evaluated: a threshold on how far a region is behind is a configured time like any other,
// and is divided by the speed. No other threshold is: response times and lags within a region are the machine's own.
func atSpeed(a topology.Alarm, speed float64) topology.Alarm {
	if a.Namespace == "AWS/RDS" && slices.Contains(replicationLags, a.Metric) {
		a.Threshold /= speed
	}
	return a
}
