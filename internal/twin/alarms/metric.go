package alarms

import "time"

// Metric identifies a metric.
type Metric struct {
	Namespace, Name string
	Dimensions      map[string]string
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
	// Values and Counts are the single values, for percentiles, if they are known.
	Values, Counts []float64
}

// One is a single measurement.
func One(name string, value float64, unit string, dimensions map[string]string) Datum {
	return Datum{
		Name: name, Dimensions: dimensions, Unit: unit, Sum: value, Minimum: value, Maximum: value, Count: 1,
		Values: []float64{value}, Counts: []float64{1},
	}
}

// Aggregate is what one period of a metric held.
type Aggregate struct {
	// At is the start of the period.
	At                           time.Time
	Unit                         string
	Sum, Minimum, Maximum, Count float64
	// values and counts are the single values, sorted, for percentiles.
	values, counts []float64
}
