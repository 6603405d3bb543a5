package alarms

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(second int, d Datum) Datum {
	d.At = noon.Add(time.Duration(second) * time.Second)
	return d
}

func TestStatistics(t *testing.T) {
	m := NewMetrics(nil)
	lag := func(v float64) Datum { return One("Lag", v, "Milliseconds", map[string]string{"Cluster": "dr"}) }
	m.Put("us-west-2", "AWS/RDS", at(59, lag(40)), at(0, lag(10)), at(30, lag(30)), at(60, lag(100)), at(185, lag(7)))
	m.Put("us-west-2", "AWS/RDS", at(61, One("Lag", 5, "Seconds", map[string]string{"Cluster": "dr"})))
	m.Put("us-east-1", "AWS/RDS", at(0, lag(1)))
	metric := Metric{Namespace: "AWS/RDS", Name: "Lag", Dimensions: map[string]string{"Cluster": "dr"}}

	got := m.Statistics("us-west-2", metric, "Milliseconds", noon.Add(20*time.Second), noon.Add(3*time.Minute), time.Minute)
	if len(got) != 2 || !got[0].At.Equal(noon) || !got[1].At.Equal(noon.Add(time.Minute)) {
		t.Fatalf("periods = %+v, want those of 12:00 and 12:01", got)
	}
	for name, want := range map[string]float64{
		"Average": 80.0 / 3, "Sum": 80, "Minimum": 10, "Maximum": 40, "SampleCount": 3, "p50": 30, "p0": 10, "p100": 40, "p99.9": 40,
	} {
		if v, ok := got[0].Statistic(name); !ok || v != want {
			t.Errorf("%s = %v, %v; want %v", name, v, ok, want)
		}
	}
	if _, ok := got[0].Statistic("p101"); ok {
		t.Error("p101 was worked out")
	}
	if all := m.Statistics("us-west-2", metric, "", noon.Add(time.Minute), noon.Add(2*time.Minute), time.Minute); len(all) != 2 ||
		all[0].Unit == all[1].Unit {
		t.Errorf("any unit = %+v, want one aggregate per unit", all)
	}
	if other := m.Statistics("us-west-2", Metric{Namespace: "AWS/RDS", Name: "Lag"}, "", noon, noon.Add(time.Hour), time.Minute); other != nil {
		t.Errorf("without the dimension = %+v, want nothing", other)
	}
	if list := m.List("us-west-2"); len(list) != 1 || list[0].Dimensions["Cluster"] != "dr" {
		t.Errorf("metrics = %+v", list)
	}
}

func TestSetsHaveNoPercentiles(t *testing.T) {
	m := NewMetrics(func() time.Time { return noon })
	m.Put("r", "n", Datum{Name: "x", Sum: 10, Minimum: 1, Maximum: 9, Count: 4})
	a := m.Statistics("r", Metric{Namespace: "n", Name: "x"}, "", noon, noon.Add(time.Second), time.Second)
	if len(a) != 1 || a[0].Unit != "None" {
		t.Fatalf("aggregates = %+v", a)
	}
	if v, _ := a[0].Statistic("Average"); v != 2.5 {
		t.Errorf("average = %v, want 2.5", v)
	}
	if _, ok := a[0].Statistic("p50"); ok {
		t.Error("a percentile was made up")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := NewMetrics(nil)
	for n := range maxData + 100 {
		m.Put("r", "n", at(n, One("x", float64(n), "", nil)))
	}
	a := m.Statistics("r", Metric{Namespace: "n", Name: "x"}, "", noon, noon.Add(24*time.Hour), 24*time.Hour)
	if len(a) != 1 || a[0].Count != maxData || a[0].Minimum != 100 {
		t.Errorf("kept %v data from %v on, want the newest %d", a[0].Count, a[0].Minimum, maxData)
	}
}
