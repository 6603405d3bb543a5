package aws

import (
	"context"
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// alarmsFake has one alarm of each kind, and like CloudWatch shows composite ones only to those who ask for them.
type alarmsFake struct{}

func (alarmsFake) DescribeAlarms(
	_ context.Context, in *cloudwatch.DescribeAlarmsInput, _ ...func(*cloudwatch.Options),
) (*cloudwatch.DescribeAlarmsOutput, error) {
	out := &cloudwatch.DescribeAlarmsOutput{}
	if len(in.AlarmTypes) == 0 || slices.Contains(in.AlarmTypes, types.AlarmTypeMetricAlarm) {
		out.MetricAlarms = []types.MetricAlarm{
			{AlarmName: sdk.String("engine-t"), MetricName: sdk.String("EngineUptime"), Dimensions: []types.Dimension{{Name: sdk.String("DBClusterIdentifier"), Value: sdk.String("db")}}},
			{AlarmName: sdk.String("engine-other")},
		}
	}
	if slices.Contains(in.AlarmTypes, types.AlarmTypeCompositeAlarm) {
		out.CompositeAlarms = []types.CompositeAlarm{{AlarmName: sdk.String("impaired-t"), StateValue: types.StateValueAlarm, ActionsEnabled: sdk.Bool(true), AlarmActions: []string{"topic"}}}
	}
	return out, nil
}

func TestListHasBothKindsOfAlarm(t *testing.T) {
	got, err := (&Alarms{api: alarmsFake{}, region: "us-east-1"}).List(context.Background(), "-t")
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if a := got[0]; a.Name != "engine-t" || a.Composite || a.Dimensions["DBClusterIdentifier"] != "db" {
		t.Errorf("the alarm on a metric is %+v", a)
	}
	if a := got[1]; a.Name != "impaired-t" || !a.Composite || a.State != "ALARM" || !a.ActionsEnabled || !slices.Equal(a.Actions, []string{"topic"}) {
		t.Errorf("the composite alarm is %+v", a)
	}
}
