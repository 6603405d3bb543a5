package alarms

import (
	"strings"
	"testing"

	"holdfast/internal/topology"
)

// points reads "0 - X": 0 does not breach, X breaches, - is missing.
func points(text string) []Point {
	var out []Point
	for _, f := range strings.Fields(text) {
		out = append(out, map[string]Point{"0": {Value: 0, Known: true}, "X": {Value: 9, Known: true}, "-": {}}[f])
	}
	return out
}

// TestMissingDataTables are the two tables of CloudWatch's user guide (3 periods of which 3, or 2, must breach; five in
// the evaluation range), and the cases between them.
func TestMissingDataTables(t *testing.T) {
	const keep = "KEEP"
	tests := []struct {
		need                                     int
		points                                   string
		missing, ignore, breaching, notBreaching string
	}{
		{3, "0 - X - X", OK, OK, OK, OK},
		{3, "- - - - 0", OK, OK, OK, OK},
		{3, "- - - - -", InsufficientData, keep, Alarm, OK},
		{3, "0 X X - X", Alarm, Alarm, Alarm, Alarm},
		{3, "- - X - -", Alarm, keep, Alarm, OK},
		{3, "- - - - X", keep, keep, Alarm, OK},
		{3, "X X X 0 0", OK, OK, OK, OK},
		{3, "0 0 X X X", Alarm, Alarm, Alarm, Alarm},
		{2, "0 - X - X", Alarm, Alarm, Alarm, Alarm},
		{2, "0 0 X 0 X", Alarm, Alarm, Alarm, Alarm},
		{2, "0 - X - -", OK, OK, Alarm, OK},
		{2, "- - - - 0", OK, OK, Alarm, OK},
		{2, "- - - X -", Alarm, keep, Alarm, OK},
		{2, "X X 0 0 X", OK, OK, OK, OK},
	}
	for _, tt := range tests {
		for treatment, want := range map[string]string{
			"": tt.missing, "missing": tt.missing, "ignore": tt.ignore, "breaching": tt.breaching, "notBreaching": tt.notBreaching,
		} {
			a := topology.Alarm{
				EvaluationPeriods: 3, DatapointsToAlarm: tt.need, Threshold: 5,
				ComparisonOperator: "GreaterThanThreshold", TreatMissingData: treatment,
			}
			for _, current := range []string{OK, Alarm, InsufficientData} {
				expected := want
				if want == keep {
					expected = current
				}
				if got := Evaluate(a, points(tt.points), current); got != expected {
					t.Errorf("%d of 3, %s, %q, from %s: %s, want %s", tt.need, tt.points, treatment, current, got, expected)
				}
			}
		}
	}
}

func TestComparisons(t *testing.T) {
	for operator, want := range map[string][3]bool{ // below, at, above the threshold
		"GreaterThanOrEqualToThreshold": {false, true, true}, "GreaterThanThreshold": {false, false, true},
		"LessThanThreshold": {true, false, false}, "LessThanOrEqualToThreshold": {true, true, false},
	} {
		a := topology.Alarm{Threshold: 1, ComparisonOperator: operator}
		if got := [3]bool{breaches(a, 0), breaches(a, 1), breaches(a, 2)}; got != want {
			t.Errorf("%s = %v, want %v", operator, got, want)
		}
	}
}
