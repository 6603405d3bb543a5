package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
)

// alarmPage pages a list of alarms.
func alarmPage[T any](items []T, key func(T) string, token *string, limit *int32) ([]T, *string, error) {
	n := 50
	if limit != nil {
		if n = int(*limit); n < 1 || n > 100 {
			return nil, nil, badValue("The value %d for parameter MaxRecords is invalid: it must be between 1 and 100.", n)
		}
	}
	page, next, ok := pageAfter(items, key, aws.ToString(token), n)
	if !ok {
		return nil, nil, shaped("InvalidNextToken", "InvalidNextToken", "The NextToken is not valid.")
	}
	return page, optional(next), nil
}

func (e *Endpoint) describeAlarms(
	_ context.Context, r request, in *cloudwatch.DescribeAlarmsInput,
) (*cloudwatch.DescribeAlarmsOutput, error) {
	if len(in.AlarmNames) > 0 && in.AlarmNamePrefix != nil {
		return nil, badCombination("AlarmNames and AlarmNamePrefix are mutually exclusive")
	}
	if in.ChildrenOfAlarmName != nil || in.ParentsOfAlarmName != nil {
		return nil, badValue("The twin does not serve ChildrenOfAlarmName and ParentsOfAlarmName.")
	}
	kinds := in.AlarmTypes
	if len(kinds) == 0 {
		kinds = []types.AlarmType{types.AlarmTypeMetricAlarm} // composite ones only if they are asked for
	}
	wanted := func(name string, state alarms.State, actions []string) bool {
		return (len(in.AlarmNames) == 0 || slices.Contains(in.AlarmNames, name)) &&
			strings.HasPrefix(name, aws.ToString(in.AlarmNamePrefix)) &&
			(in.StateValue == "" || string(in.StateValue) == state.Value) &&
			(in.ActionPrefix == nil || slices.ContainsFunc(actions, func(arn string) bool { return strings.HasPrefix(arn, *in.ActionPrefix) }))
	}
	found := []alarmEntry{}
	for _, a := range e.options.Topology.CompositeAlarms {
		state, ok := e.options.Alarms.State(r.region, a.Name)
		if slices.Contains(kinds, types.AlarmTypeCompositeAlarm) && ok && a.Region == r.region &&
			wanted(a.Name, state, slices.Concat(a.AlarmActions, a.OKActions)) {
			view := e.compositeView(a, state)
			found = append(found, alarmEntry{name: a.Name, composite: &view})
		}
	}
	for _, a := range e.options.Alarms.List(r.region) {
		state, ok := e.options.Alarms.State(r.region, a.Name)
		if slices.Contains(kinds, types.AlarmTypeMetricAlarm) && ok && wanted(a.Name, state, slices.Concat(a.AlarmActions, a.OKActions)) {
			view := e.alarmView(a, state)
			found = append(found, alarmEntry{name: a.Name, metric: &view})
		}
	}
	page, next, err := alarmPage(found, func(a alarmEntry) string { return a.name }, in.NextToken, in.MaxRecords)
	out := &cloudwatch.DescribeAlarmsOutput{MetricAlarms: []types.MetricAlarm{}, CompositeAlarms: []types.CompositeAlarm{}, NextToken: next}
	for _, a := range page {
		if a.composite != nil {
			out.CompositeAlarms = append(out.CompositeAlarms, *a.composite)
		} else {
			out.MetricAlarms = append(out.MetricAlarms, *a.metric)
		}
	}
	return out, err
}

// alarmEntry is an alarm of either kind.
type alarmEntry struct {
	name      string
	metric    *types.MetricAlarm
	composite *types.CompositeAlarm
}

func (e *Endpoint) compositeView(a topology.CompositeAlarm, s alarms.State) types.CompositeAlarm {
	return types.CompositeAlarm{
		AlarmName: aws.String(a.Name), AlarmArn: aws.String(a.ARN), AlarmRule: aws.String(a.Rule), ActionsEnabled: aws.Bool(true),
		AlarmActions: append([]string{}, a.AlarmActions...), OKActions: append([]string{}, a.OKActions...),
		InsufficientDataActions: []string{}, AlarmConfigurationUpdatedTimestamp: aws.Time(e.created),
		StateValue: types.StateValue(s.Value), StateReason: aws.String(s.Reason), StateReasonData: optional(s.ReasonData),
		StateUpdatedTimestamp: stamp(s.Updated), StateTransitionedTimestamp: stamp(s.Transitioned),
	}
}

func (e *Endpoint) setAlarmState(
	ctx context.Context, r request, in *cloudwatch.SetAlarmStateInput,
) (*cloudwatch.SetAlarmStateOutput, error) {
	if !slices.Contains(in.StateValue.Values(), in.StateValue) {
		return nil, badValue("1 validation error detected: Value '%s' at 'stateValue' failed to satisfy constraint: Member must "+
			"satisfy enum value set: [INSUFFICIENT_DATA, ALARM, OK]", in.StateValue)
	}
	data := aws.ToString(in.StateReasonData)
	if data != "" && !json.Valid([]byte(data)) {
		return nil, shaped("InvalidFormat", "InvalidFormatFault", "State reason data is not valid JSON")
	}
	if !e.options.Alarms.SetState(ctx, r.region, *in.AlarmName, string(in.StateValue), *in.StateReason, data) {
		return nil, &Error{Code: "ResourceNotFound", Shape: "ResourceNotFound", Status: http.StatusNotFound}
	}
	return &cloudwatch.SetAlarmStateOutput{}, nil
}

func (e *Endpoint) alarmView(a topology.Alarm, s alarms.State) types.MetricAlarm {
	out := types.MetricAlarm{
		AlarmName: aws.String(a.Name), AlarmArn: aws.String(a.ARN), ActionsEnabled: aws.Bool(true),
		AlarmActions: append([]string{}, a.AlarmActions...), OKActions: append([]string{}, a.OKActions...),
		InsufficientDataActions: []string{}, AlarmConfigurationUpdatedTimestamp: aws.Time(e.created),
		MetricName: aws.String(a.Metric), Namespace: aws.String(a.Namespace), Dimensions: dimensionViews(a.Dimensions),
		Period: seconds(a.Period), EvaluationPeriods: aws.Int32(int32(a.EvaluationPeriods)), Threshold: aws.Float64(a.Threshold),
		ComparisonOperator: types.ComparisonOperator(a.ComparisonOperator), TreatMissingData: optional(a.TreatMissingData),
		StateValue: types.StateValue(s.Value), StateReason: aws.String(s.Reason), StateReasonData: optional(s.ReasonData),
		StateUpdatedTimestamp: stamp(s.Updated), StateTransitionedTimestamp: stamp(s.Transitioned),
	}
	if a.DatapointsToAlarm > 0 {
		out.DatapointsToAlarm = aws.Int32(int32(a.DatapointsToAlarm))
	}
	if strings.HasPrefix(a.Statistic, "p") {
		out.ExtendedStatistic = aws.String(a.Statistic)
	} else {
		out.Statistic = types.Statistic(a.Statistic)
	}
	return out
}

func (e *Endpoint) describeAlarmHistory(
	_ context.Context, r request, in *cloudwatch.DescribeAlarmHistoryInput,
) (*cloudwatch.DescribeAlarmHistoryOutput, error) {
	kinds := in.AlarmTypes
	if len(kinds) == 0 {
		kinds = []types.AlarmType{types.AlarmTypeMetricAlarm}
	}
	found := []types.AlarmHistoryItem{}
	for _, h := range e.options.Alarms.History(r.region) {
		if in.AlarmName != nil && *in.AlarmName != h.Alarm || in.HistoryItemType != "" && string(in.HistoryItemType) != h.Type ||
			in.StartDate != nil && h.At.Before(*in.StartDate) || in.EndDate != nil && h.At.After(*in.EndDate) ||
			!slices.Contains(kinds, alarmType(h)) {
			continue
		}
		found = append(found, types.AlarmHistoryItem{
			AlarmName: aws.String(h.Alarm), AlarmType: alarmType(h), Timestamp: aws.Time(h.At),
			HistoryItemType: types.HistoryItemType(h.Type), HistorySummary: aws.String(h.Summary), HistoryData: optional(h.Data),
		})
	}
	if in.ScanBy == types.ScanByTimestampAscending {
		slices.Reverse(found)
	}
	page, next, err := alarmPage(found, func(h types.AlarmHistoryItem) string {
		return h.Timestamp.Format(time.RFC3339Nano) + " " + *h.AlarmName + " " + string(h.HistoryItemType) + " " + *h.HistorySummary
	}, in.NextToken, in.MaxRecords)
	return &cloudwatch.DescribeAlarmHistoryOutput{AlarmHistoryItems: page, NextToken: next}, err
}

func alarmType(h alarms.Event) types.AlarmType {
	if h.Composite {
		return types.AlarmTypeCompositeAlarm
	}
	return types.AlarmTypeMetricAlarm
}
