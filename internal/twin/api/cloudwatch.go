package api

import (
	"context"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/api/wire"
)

func (e *Endpoint) cloudwatchService() *service {
	s := &service{
		id: "cloudwatch", protocols: []protocol{rpcCBOR, json10, query}, target: "GraniteServiceVersion20100801",
		namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/", version: "2010-08-01", queryErrors: true,
		style: wire.Style{ListElement: "member"},
		missing: func(member string) error {
			return shaped("MissingParameter", "MissingRequiredParameterException", "The parameter %s is required.", member)
		},
		invalid: func(message string) error { return badValue("%s", message) },
	}
	var list []operation
	if e.options.Metrics != nil {
		list = append(list,
			op("PutMetricData", e.putMetricData, "Namespace"),
			op("GetMetricData", e.getMetricData, "MetricDataQueries", "StartTime", "EndTime"),
			op("GetMetricStatistics", e.getMetricStatistics, "Namespace", "MetricName", "StartTime", "EndTime", "Period"),
			op("ListMetrics", e.listMetrics),
		)
	}
	if e.options.Alarms != nil {
		list = append(list,
			op("DescribeAlarms", e.describeAlarms),
			op("DescribeAlarmHistory", e.describeAlarmHistory),
			op("SetAlarmState", e.setAlarmState, "AlarmName", "StateValue", "StateReason"),
		)
	}
	s.operations = operations(list...)
	return s
}

// shaped is an error whose modelled name differs from its code in the query protocol.
func shaped(code, shape, format string, a ...any) *Error {
	err := fail(code, format, a...)
	err.Shape = shape
	return err
}

func badValue(format string, a ...any) error {
	return shaped("InvalidParameterValue", "InvalidParameterValueException", format, a...)
}

func badCombination(format string, a ...any) error {
	return shaped("InvalidParameterCombination", "InvalidParameterCombinationException", format, a...)
}

// Limits of PutMetricData.
const (
	maxMetricData = 1000
	maxDimensions = 30
	maxValues     = 150
	maxMagnitude  = 1 << 60 // CloudWatch accepts -2^360 to 2^360; sums of those would lose everything else
	oldestDatum   = 14 * 24 * time.Hour
	newestDatum   = 2 * time.Hour
)

func (e *Endpoint) putMetricData(
	_ context.Context, r request, in *cloudwatch.PutMetricDataInput,
) (*cloudwatch.PutMetricDataOutput, error) {
	switch {
	case strings.HasPrefix(*in.Namespace, "AWS/"):
		return nil, badValue("The value %s for parameter Namespace is invalid: it must not begin with AWS/.", *in.Namespace)
	case len(in.EntityMetricData) > 0:
		return nil, badValue("The twin does not serve EntityMetricData.")
	case len(in.MetricData) == 0:
		return nil, shaped("MissingParameter", "MissingRequiredParameterException", "The parameter MetricData is required.")
	case len(in.MetricData) > maxMetricData:
		return nil, badValue("The collection MetricData must not have a size greater than %d.", maxMetricData)
	}
	data := make([]alarms.Datum, len(in.MetricData))
	for i, m := range in.MetricData {
		d, err := e.datum("MetricData.member."+strconv.Itoa(i+1), m)
		if err != nil {
			return nil, err
		}
		data[i] = d
	}
	e.options.Metrics.Put(r.region, *in.Namespace, data...) // all or nothing
	return &cloudwatch.PutMetricDataOutput{}, nil
}

// datum checks one datum; path names it in errors.
func (e *Endpoint) datum(path string, m types.MetricDatum) (alarms.Datum, error) {
	var none alarms.Datum
	if aws.ToString(m.MetricName) == "" {
		return none, shaped("MissingParameter", "MissingRequiredParameterException", "The parameter %s.MetricName is required.", path)
	}
	given := 0
	for _, is := range []bool{m.Value != nil, m.StatisticValues != nil, len(m.Values) > 0} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return none, shaped("MissingParameter", "MissingRequiredParameterException",
			"At least one of the parameters %[1]s.Value, %[1]s.Values and %[1]s.StatisticValues must be specified.", path)
	case given > 1:
		return none, badCombination("The parameters %[1]s.Value, %[1]s.Values and %[1]s.StatisticValues are mutually exclusive "+
			"and you have specified more than one.", path)
	}
	dimensions, err := dimensionsOf(path, m.Dimensions)
	if err != nil {
		return none, err
	}
	d := alarms.Datum{Name: *m.MetricName, Dimensions: dimensions, Unit: string(m.Unit), At: e.options.Now()}
	if m.Timestamp != nil {
		d.At = *m.Timestamp
		if age := e.options.Now().Sub(d.At); age > oldestDatum || -age > newestDatum {
			return none, badValue("The parameter %s.Timestamp must specify a time within the past two weeks and no more than "+
				"two hours in the future.", path)
		}
	}
	err = fillDatum(&d, path, m)
	return d, err
}

// fillDatum sets the numbers of a datum.
func fillDatum(d *alarms.Datum, path string, m types.MetricDatum) error {
	switch {
	case m.Value != nil:
		one := alarms.One(d.Name, *m.Value, d.Unit, d.Dimensions)
		one.At = d.At
		*d = one
	case m.StatisticValues != nil:
		v := m.StatisticValues
		if v.SampleCount == nil || v.Sum == nil || v.Minimum == nil || v.Maximum == nil {
			return shaped("MissingParameter", "MissingRequiredParameterException",
				"The parameter %s.StatisticValues needs SampleCount, Sum, Minimum and Maximum.", path)
		}
		d.Count, d.Sum, d.Minimum, d.Maximum = *v.SampleCount, *v.Sum, *v.Minimum, *v.Maximum
		if d.Count <= 0 || d.Minimum > d.Maximum {
			return badValue("The value of parameter %s.StatisticValues is invalid.", path)
		}
	default:
		if len(m.Values) > maxValues || m.Counts != nil && len(m.Counts) != len(m.Values) {
			return badCombination("The parameters %[1]s.Values and %[1]s.Counts must have the same size, at most %[2]d.", path, maxValues)
		}
		d.Values, d.Counts = m.Values, m.Counts
		if d.Counts == nil {
			d.Counts = slices.Repeat([]float64{1}, len(d.Values))
		}
		d.Minimum, d.Maximum = slices.Min(d.Values), slices.Max(d.Values)
		for i, v := range d.Values {
			d.Sum += v * d.Counts[i]
			d.Count += d.Counts[i]
		}
	}
	numbers := slices.Concat([]float64{d.Sum, d.Minimum, d.Maximum, d.Count}, d.Values, d.Counts)
	if slices.ContainsFunc(numbers, func(f float64) bool { return math.IsNaN(f) || math.Abs(f) > maxMagnitude }) {
		return badValue("The value for parameter %s is not a valid number.", path)
	}
	return nil
}

func dimensionsOf(path string, list []types.Dimension) (map[string]string, error) {
	if len(list) > maxDimensions {
		return nil, badValue("The collection %s.Dimensions must not have a size greater than %d.", path, maxDimensions)
	}
	out := make(map[string]string, len(list))
	for _, d := range list {
		name, value := aws.ToString(d.Name), aws.ToString(d.Value)
		if name == "" || value == "" {
			return nil, shaped("MissingParameter", "MissingRequiredParameterException",
				"The parameters %[1]s.Dimensions.member.Name and .Value are required.", path)
		}
		if _, twice := out[name]; twice {
			return nil, badValue("The dimension %s of %s is given twice.", name, path)
		}
		out[name] = value
	}
	return out, nil
}

// checkPeriod refuses periods that CloudWatch does not know.
func checkPeriod(seconds int32) error {
	if seconds < 1 || seconds > 86400 || seconds%60 != 0 && !slices.Contains([]int32{1, 5, 10, 20, 30}, seconds) {
		return badValue("The value %d for parameter Period is invalid: it must be 1, 5, 10, 20, 30 or a multiple of 60.", seconds)
	}
	return nil
}

// maxDatapoints is what GetMetricStatistics and GetMetricData return at most.
const (
	maxStatisticsPoints = 1440
	maxDataPoints       = 100800
)

func (e *Endpoint) getMetricStatistics(
	_ context.Context, r request, in *cloudwatch.GetMetricStatisticsInput,
) (*cloudwatch.GetMetricStatisticsOutput, error) {
	if err := checkPeriod(*in.Period); err != nil {
		return nil, err
	}
	if len(in.Statistics) == 0 && len(in.ExtendedStatistics) == 0 {
		return nil, shaped("MissingParameter", "MissingRequiredParameterException",
			"Must specify either Statistics or ExtendedStatistics")
	}
	for _, s := range in.ExtendedStatistics {
		if !strings.HasPrefix(s, "p") || !alarms.ValidStatistic(s) {
			return nil, badValue("The value %s for parameter ExtendedStatistics.member is invalid.", s)
		}
	}
	dimensions, err := dimensionsOf("GetMetricStatistics", in.Dimensions)
	if err != nil {
		return nil, err
	}
	period := time.Duration(*in.Period) * time.Second
	if err := checkWindow(*in.StartTime, *in.EndTime, period, maxStatisticsPoints); err != nil {
		return nil, err
	}
	metric := alarms.Metric{Namespace: *in.Namespace, Name: *in.MetricName, Dimensions: dimensions}
	out := &cloudwatch.GetMetricStatisticsOutput{Label: in.MetricName, Datapoints: []types.Datapoint{}}
	for _, a := range e.options.Metrics.Statistics(r.region, metric, string(in.Unit), *in.StartTime, *in.EndTime, period) {
		out.Datapoints = append(out.Datapoints, datapoint(a, in.Statistics, in.ExtendedStatistics))
	}
	return out, nil
}

func checkWindow(from, to time.Time, period time.Duration, limit int64) error {
	if !from.Before(to) {
		return shaped("InvalidParameterValue", "InvalidParameterValueException",
			"The parameter StartTime must be less than the parameter EndTime.")
	}
	if points := int64(to.Sub(from) / period); points > limit {
		return badCombination("You have requested up to %d datapoints, which exceeds the limit of %d. You may reduce the "+
			"datapoints requested by increasing Period, or decreasing the time range.", points, limit)
	}
	return nil
}

func datapoint(a alarms.Aggregate, statistics []types.Statistic, extended []string) types.Datapoint {
	d := types.Datapoint{Timestamp: aws.Time(a.At), Unit: types.StandardUnit(a.Unit)}
	for _, s := range statistics {
		v, ok := a.Statistic(string(s))
		if !ok {
			continue
		}
		switch s {
		case types.StatisticAverage:
			d.Average = &v
		case types.StatisticSum:
			d.Sum = &v
		case types.StatisticMinimum:
			d.Minimum = &v
		case types.StatisticMaximum:
			d.Maximum = &v
		case types.StatisticSampleCount:
			d.SampleCount = &v
		}
	}
	for _, s := range extended {
		if v, ok := a.Statistic(s); ok {
			if d.ExtendedStatistics == nil {
				d.ExtendedStatistics = map[string]float64{}
			}
			d.ExtendedStatistics[s] = v
		}
	}
	return d
}

// queryID is the form of a query's name.
var queryID = regexp.MustCompile(`^[a-z][a-zA-Z0-9_]{0,254}$`)

func (e *Endpoint) getMetricData(
	_ context.Context, r request, in *cloudwatch.GetMetricDataInput,
) (*cloudwatch.GetMetricDataOutput, error) {
	if len(in.MetricDataQueries) > 500 {
		return nil, badValue("The collection MetricDataQueries must not have a size greater than 500.")
	}
	if in.NextToken != nil {
		return nil, shaped("InvalidNextToken", "InvalidNextToken", "The NextToken is not valid: every answer holds all data.")
	}
	out := &cloudwatch.GetMetricDataOutput{MetricDataResults: []types.MetricDataResult{}, Messages: []types.MessageData{}}
	seen := map[string]bool{}
	for _, q := range in.MetricDataQueries {
		id := aws.ToString(q.Id)
		switch {
		case !queryID.MatchString(id):
			return nil, badValue("The value %s for parameter MetricDataQueries.member.Id is not matching the expected "+
				"pattern ^[a-z][a-zA-Z0-9_]*$.", id)
		case seen[id]:
			return nil, badValue("The values for parameter id in MetricDataQueries are not unique.")
		case q.Expression != nil:
			return nil, badValue("The twin does not serve metric math: %s.", *q.Expression)
		case q.MetricStat == nil || q.MetricStat.Metric == nil || q.MetricStat.Period == nil || q.MetricStat.Stat == nil:
			return nil, shaped("MissingParameter", "MissingRequiredParameterException",
				"The parameter MetricDataQueries.member.MetricStat needs Metric, Period and Stat.")
		}
		seen[id] = true
		result, err := e.metricDataResult(r, in, q)
		if err != nil {
			return nil, err
		}
		if q.ReturnData == nil || *q.ReturnData {
			out.MetricDataResults = append(out.MetricDataResults, result)
		}
	}
	return out, nil
}

func (e *Endpoint) metricDataResult(
	r request, in *cloudwatch.GetMetricDataInput, q types.MetricDataQuery,
) (types.MetricDataResult, error) {
	m := q.MetricStat
	result := types.MetricDataResult{
		Id: q.Id, Label: q.Label, StatusCode: types.StatusCodeComplete, Timestamps: []time.Time{}, Values: []float64{},
	}
	if q.Label == nil {
		result.Label = m.Metric.MetricName
	}
	if err := checkPeriod(*m.Period); err != nil {
		return result, err
	}
	if !alarms.ValidStatistic(*m.Stat) {
		return result, badValue("The value %s for parameter MetricDataQueries.member.MetricStat.Stat is invalid.", *m.Stat)
	}
	dimensions, err := dimensionsOf("MetricDataQueries.member.MetricStat.Metric", m.Metric.Dimensions)
	if err != nil {
		return result, err
	}
	period := time.Duration(*m.Period) * time.Second
	if err := checkWindow(*in.StartTime, *in.EndTime, period, maxDataPoints); err != nil {
		return result, err
	}
	metric := alarms.Metric{
		Namespace: aws.ToString(m.Metric.Namespace), Name: aws.ToString(m.Metric.MetricName), Dimensions: dimensions,
	}
	for _, a := range e.options.Metrics.Statistics(r.region, metric, string(m.Unit), *in.StartTime, *in.EndTime, period) {
		if v, ok := a.Statistic(*m.Stat); ok {
			result.Timestamps = append(result.Timestamps, a.At)
			result.Values = append(result.Values, v)
		}
	}
	if in.ScanBy != types.ScanByTimestampAscending { // the newest first is the default
		slices.Reverse(result.Timestamps)
		slices.Reverse(result.Values)
	}
	return result, nil
}

// listPage is what ListMetrics returns at a time.
const listPage = 500

func (e *Endpoint) listMetrics(
	_ context.Context, r request, in *cloudwatch.ListMetricsInput,
) (*cloudwatch.ListMetricsOutput, error) {
	found := []types.Metric{}
	for _, m := range e.options.Metrics.List(r.region) {
		if in.Namespace != nil && *in.Namespace != m.Namespace || in.MetricName != nil && *in.MetricName != m.Name ||
			slices.ContainsFunc(in.Dimensions, func(f types.DimensionFilter) bool {
				v, ok := m.Dimensions[aws.ToString(f.Name)]
				return !ok || f.Value != nil && *f.Value != v
			}) {
			continue
		}
		found = append(found, types.Metric{
			Namespace: aws.String(m.Namespace), MetricName: aws.String(m.Name), Dimensions: dimensionViews(m.Dimensions),
		})
	}
	page, next, ok := pageAfter(found, metricKey, aws.ToString(in.NextToken), listPage)
	if !ok {
		return nil, badValue("The value for parameter NextToken is invalid.")
	}
	return &cloudwatch.ListMetricsOutput{Metrics: page, NextToken: optional(next)}, nil
}

func metricKey(m types.Metric) string {
	key := *m.Namespace + "/" + *m.MetricName
	for _, d := range m.Dimensions {
		key += "," + *d.Name + "=" + *d.Value
	}
	return key
}

func dimensionViews(m map[string]string) []types.Dimension {
	out := []types.Dimension{}
	for _, name := range sortedNames(m) {
		out = append(out, types.Dimension{Name: aws.String(name), Value: aws.String(m[name])})
	}
	return out
}
