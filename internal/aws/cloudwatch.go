package aws

import (
	"context"
	"fmt"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
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

// Alarm is one metric alarm. Actions are what it notifies when it fires.
type Alarm struct {
	Name           string
	State          string
	StateReason    string
	Metric         string
	ActionsEnabled bool
	Actions        []string
}

// alarmPages bounds the pages of a region's alarms: at most 100 alarms each.
const alarmPages = 50

// List returns the region's metric alarms whose names end in the given text.
func (a *Alarms) List(ctx context.Context, suffix string) ([]Alarm, error) {
	var found []Alarm
	pages := cloudwatch.NewDescribeAlarmsPaginator(a.api, &cloudwatch.DescribeAlarmsInput{})
	for n := 0; pages.HasMorePages() && n < alarmPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe the alarms in %s: %w", a.region, err)
		}
		for _, m := range page.MetricAlarms {
			if strings.HasSuffix(sdk.ToString(m.AlarmName), suffix) {
				found = append(found, Alarm{
					Name: sdk.ToString(m.AlarmName), State: string(m.StateValue), StateReason: sdk.ToString(m.StateReason),
					Metric: sdk.ToString(m.MetricName), ActionsEnabled: sdk.ToBool(m.ActionsEnabled), Actions: m.AlarmActions,
				})
			}
		}
	}
	return found, nil
}
