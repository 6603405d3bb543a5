package alarms

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of the memory, per region.
const (
	maxSeries = 10000
	// maxData is how many data one metric keeps; the oldest go first. It is a day of one datum per minute.
	maxData = 24 * 60
)

// Metric identifies a metric.
type Metric struct {
	Namespace, Name string
	Dimensions      map[string]string
}

// key is the metric's identity as a map key.
func (m Metric) key() string {
	var b strings.Builder
	b.WriteString(strconv.Quote(m.Namespace) + strconv.Quote(m.Name))
	for _, name := range slices.Sorted(maps.Keys(m.Dimensions)) {
		b.WriteString(strconv.Quote(name) + strconv.Quote(m.Dimensions[name]))
	}
	return b.String()
}

// Datum is one measurement, or a set of measurements of one instant.
type Datum struct {
	Name       string
	Dimensions map[string]string
	// Unit is CloudWatch's, as in "Milliseconds"; empty is "None".
	Unit string
	// At is when it was measured; zero is now.
	At time.Time
	// Sum, Minimum, Maximum and Count describe the set; One fills them for a single value.
	Sum, Minimum, Maximum, Count float64
	// Values and Counts are the single values, for percentiles, if they are known. A set of one has them in Sum.
	Values, Counts []float64
}

// One is a single measurement.
func One(name string, value float64, unit string, dimensions map[string]string) Datum {
	return Datum{Name: name, Dimensions: dimensions, Unit: unit, Sum: value, Minimum: value, Maximum: value, Count: 1}
}

// Set is a measurement of several things at once, such as the tasks of a service. It holds at least one value.
func Set(name string, values []float64, unit string, dimensions map[string]string) Datum {
	d := Datum{
		Name: name, Dimensions: dimensions, Unit: unit, Minimum: slices.Min(values), Maximum: slices.Max(values),
		Count: float64(len(values)), Values: values, Counts: slices.Repeat([]float64{1}, len(values)),
	}
	for _, v := range values {
		d.Sum += v
	}
	return d
}

// Aggregate is what one period of a metric held.
type Aggregate struct {
	// At is the start of the period.
	At                           time.Time
	Unit                         string
	Sum, Minimum, Maximum, Count float64

	samples []sample
	// whole says that the samples are all that the period held.
	whole bool
}

type sample struct{ value, count float64 }

// ValidStatistic reports whether Statistic knows a name: Average, Sum, Minimum, Maximum, SampleCount and percentiles
// from p0 to p100.
func ValidStatistic(name string) bool {
	_, ok := percentile(name)
	return ok || slices.Contains([]string{"Average", "Sum", "Minimum", "Maximum", "SampleCount"}, name)
}

func percentile(name string) (float64, bool) {
	text, ok := strings.CutPrefix(name, "p")
	if !ok {
		return 0, false
	}
	p, err := strconv.ParseFloat(text, 64)
	return p, err == nil && p >= 0 && p <= 100
}

// Statistic works one statistic out. ok is false if the name is unknown, or for a percentile of data that was reported
// as sets.
func (a Aggregate) Statistic(name string) (value float64, ok bool) {
	switch name {
	case "Average":
		return a.Sum / a.Count, a.Count > 0
	case "Sum":
		return a.Sum, true
	case "Minimum":
		return a.Minimum, true
	case "Maximum":
		return a.Maximum, true
	case "SampleCount":
		return a.Count, true
	}
	p, ok := percentile(name)
	if !ok || !a.whole || len(a.samples) == 0 {
		return 0, false
	}
	slices.SortFunc(a.samples, func(x, y sample) int { return cmp.Compare(x.value, y.value) })
	rank := math.Ceil(p / 100 * a.Count)
	for _, s := range a.samples {
		if rank -= s.count; rank <= 0 {
			return s.value, true
		}
	}
	return a.Maximum, true
}

func (a *Aggregate) add(d Datum) {
	if a.Count == 0 {
		a.Minimum, a.Maximum, a.whole = d.Minimum, d.Maximum, true
	}
	a.Sum += d.Sum
	a.Count += d.Count
	a.Minimum, a.Maximum = min(a.Minimum, d.Minimum), max(a.Maximum, d.Maximum)
	if d.Count == 1 {
		a.samples = append(a.samples, sample{d.Sum, 1})
		return
	}
	a.whole = a.whole && len(d.Values) > 0
	for i, v := range d.Values {
		a.samples = append(a.samples, sample{v, d.Counts[i]})
	}
}

// Metrics is a memory of metrics. The zero value is not usable; its methods may be called from many goroutines.
type Metrics struct {
	now func() time.Time

	mu      sync.Mutex
	regions map[string]map[string]*series
}

// series is one metric's data, oldest first.
type series struct {
	metric Metric
	data   []Datum
}

// NewMetrics returns an empty memory. now is the clock for data without a time; nil is time.Now.
func NewMetrics(now func() time.Time) *Metrics {
	if now == nil {
		now = time.Now
	}
	return &Metrics{now: now, regions: map[string]map[string]*series{}}
}

// Put adds data to a region's metrics. What does not fit into the memory is dropped, the oldest data first.
func (m *Metrics) Put(region, namespace string, data ...Datum) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.regions[region]
	if all == nil {
		all = map[string]*series{}
		m.regions[region] = all
	}
	for _, d := range data {
		if d.At.IsZero() {
			d.At = m.now()
		}
		if d.Unit == "" {
			d.Unit = "None"
		}
		metric := Metric{Namespace: namespace, Name: d.Name, Dimensions: d.Dimensions}
		key := metric.key()
		s := all[key]
		if s == nil {
			if len(all) >= maxSeries {
				continue
			}
			metric.Dimensions = maps.Clone(d.Dimensions)
			s = &series{metric: metric}
			all[key] = s
		}
		d.Dimensions = nil // the series has them
		s.add(d)
	}
}

func (s *series) add(d Datum) {
	n := len(s.data)
	for n > 0 && s.data[n-1].At.After(d.At) { // data come nearly in order
		n--
	}
	s.data = slices.Insert(s.data, n, d)
	if extra := len(s.data) - maxData; extra > 0 {
		s.data = slices.Delete(s.data, 0, extra)
	}
}

// List returns a region's metrics, sorted by namespace, name and dimensions.
func (m *Metrics) List(region string) []Metric {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Metric
	for _, key := range slices.Sorted(maps.Keys(m.regions[region])) {
		out = append(out, m.regions[region][key].metric)
	}
	return out
}

// Statistics aggregates a metric's data in [from, to) into periods that begin at multiples of the period since 1970.
// The first period is the one that holds from. Periods without data are left out; data in different units are kept
// apart. unit "" means any.
func (m *Metrics) Statistics(
	region string, metric Metric, unit string, from, to time.Time, period time.Duration,
) []Aggregate {
	if period <= 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.regions[region][metric.key()]
	if s == nil {
		return nil
	}
	from = startOf(from, period)
	first, _ := slices.BinarySearchFunc(s.data, from, func(d Datum, t time.Time) int { return d.At.Compare(t) })
	var out []Aggregate
	for _, d := range s.data[first:] {
		if !d.At.Before(to) {
			break
		}
		if unit != "" && unit != d.Unit {
			continue
		}
		at := startOf(d.At, period)
		n := len(out) - 1
		for n >= 0 && out[n].At.Equal(at) && out[n].Unit != d.Unit {
			n--
		}
		if n < 0 || !out[n].At.Equal(at) {
			out = append(out, Aggregate{At: at, Unit: d.Unit})
			n = len(out) - 1
		}
		out[n].add(d)
	}
	return out
}

// Windows aggregates a metric's data in count windows of a length, of which the last ends, exclusively, at an instant; the
// oldest is the first. A window without data is nil. Data in another unit than the window's first are left out.
func (m *Metrics) Windows(region string, metric Metric, end time.Time, length time.Duration, count int) []*Aggregate {
	out := make([]*Aggregate, count)
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.regions[region][metric.key()]
	if s == nil || length <= 0 {
		return out
	}
	from := end.Add(-time.Duration(count) * length)
	first, _ := slices.BinarySearchFunc(s.data, from, func(d Datum, t time.Time) int { return d.At.Compare(t) })
	for _, d := range s.data[first:] {
		if !d.At.Before(end) {
			break
		}
		i := int(d.At.Sub(from) / length)
		if out[i] == nil {
			out[i] = &Aggregate{At: from.Add(time.Duration(i) * length), Unit: d.Unit}
		}
		if out[i].Unit == d.Unit {
			out[i].add(d)
		}
	}
	return out
}

// startOf is the start of the period that holds an instant.
func startOf(t time.Time, period time.Duration) time.Time {
	nanos := t.UnixNano()
	offset := nanos % int64(period)
	if offset < 0 {
		offset += int64(period)
	}
	return time.Unix(0, nanos-offset).UTC()
}
