package aws

import (
	"context"
	"fmt"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// Alarms is CloudWatch's alarms of one region.
type Alarms struct {
	api    cloudwatch.DescribeAlarmsAPIClient
	region string
}

// Alarms makes the adapter for a region.
func (s *Session) Alarms(region string) *Alarms {
	api := cloudwatch.NewFromConfig(s.cfg, func(o *cloudwatch.Options) {
		o.Region = region
		o.Retryer = few()
	})
	return &Alarms{api: api, region: region}
}

// Alarm is one alarm, on a metric or, if Composite, on other alarms. Actions are what it notifies when it fires.
type Alarm struct {
	Name           string
	Composite      bool
	State          string
	StateReason    string
	Metric         string
	Dimensions     map[string]string
	ActionsEnabled bool
	Actions        []string
}

// alarmPages bounds the pages of a region's alarms: at most 100 alarms each.
const alarmPages = 50

// List returns the region's alarms of both kinds whose names end in the given text.
func (a *Alarms) List(ctx context.Context, suffix string) ([]Alarm, error) {
	var found []Alarm
	pages := cloudwatch.NewDescribeAlarmsPaginator(a.api, &cloudwatch.DescribeAlarmsInput{
		AlarmTypes: []types.AlarmType{types.AlarmTypeMetricAlarm, types.AlarmTypeCompositeAlarm}, // unasked it leaves out composite ones
	})
	for n := 0; pages.HasMorePages() && n < alarmPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe the alarms in %s: %w", a.region, err)
		}
		for _, m := range page.MetricAlarms {
			if strings.HasSuffix(sdk.ToString(m.AlarmName), suffix) {
				found = append(found, metricAlarm(m))
			}
		}
		for _, c := range page.CompositeAlarms {
			if strings.HasSuffix(sdk.ToString(c.AlarmName), suffix) {
				found = append(found, Alarm{
					Name: sdk.ToString(c.AlarmName), Composite: true, State: string(c.StateValue), StateReason: sdk.ToString(c.StateReason),
					ActionsEnabled: sdk.ToBool(c.ActionsEnabled), Actions: c.AlarmActions,
				})
			}
		}
	}
	return found, nil
}

func metricAlarm(m types.MetricAlarm) Alarm {
	a := Alarm{
		Name: sdk.ToString(m.AlarmName), State: string(m.StateValue), StateReason: sdk.ToString(m.StateReason),
		Metric: sdk.ToString(m.MetricName), Dimensions: map[string]string{}, ActionsEnabled: sdk.ToBool(m.ActionsEnabled), Actions: m.AlarmActions,
	}
	for _, d := range m.Dimensions {
		a.Dimensions[sdk.ToString(d.Name)] = sdk.ToString(d.Value)
	}
	return a
}
