package api

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsscaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	twinecs "holdfast/internal/twin/ecs"
)

func TestCompositeAlarms(t *testing.T) {
	b := newBackends(t)
	client := cloudwatch.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	ctx := t.Context()
	const impaired, silent, hosts = "region-impaired-primary-twin", "no-site-serves-twin", "ecs-healthy-hosts-primary-twin"
	describe := func(in *cloudwatch.DescribeAlarmsInput) *cloudwatch.DescribeAlarmsOutput {
		t.Helper()
		return must[*cloudwatch.DescribeAlarmsOutput](t)(client.DescribeAlarms(ctx, in))
	}
	if out := describe(&cloudwatch.DescribeAlarmsInput{}); len(out.CompositeAlarms) != 0 || len(out.MetricAlarms) < 8 {
		t.Errorf("without types there are %d composite and %d metric alarms", len(out.CompositeAlarms), len(out.MetricAlarms))
	}
	out := describe(&cloudwatch.DescribeAlarmsInput{AlarmTypes: []cwtypes.AlarmType{cwtypes.AlarmTypeCompositeAlarm}})
	rules := map[string]string{}
	for _, c := range out.CompositeAlarms {
		rules[*c.AlarmName] = *c.AlarmRule
		if c.StateValue != cwtypes.StateValueOk {
			t.Errorf("%s is %s", *c.AlarmName, c.StateValue)
		}
	}
	if len(rules) != 2 || !strings.Contains(rules[impaired], `ALARM("`+hosts+`")`) || !strings.Contains(rules[silent], `ALARM("route53-health-check-dr-twin")`) ||
		len(out.MetricAlarms) != 0 {
		t.Errorf("composite alarms = %v, and %d of metrics", rules, len(out.MetricAlarms))
	}

	set := func(name, state, data string) error {
		_, err := client.SetAlarmState(ctx, &cloudwatch.SetAlarmStateInput{
			AlarmName: aws.String(name), StateValue: cwtypes.StateValue(state), StateReason: aws.String("tested"), StateReasonData: optional(data),
		})
		return err
	}
	if err := set(hosts, "ALARM", `{"a":1}`); err != nil {
		t.Fatal(err)
	}
	if out := describe(&cloudwatch.DescribeAlarmsInput{StateValue: cwtypes.StateValueAlarm}); len(out.MetricAlarms) != 1 || *out.MetricAlarms[0].AlarmName != hosts {
		t.Errorf("alarms in ALARM = %+v", out.MetricAlarms)
	}
	wantError(t, set("nobody", "OK", ""), "ResourceNotFound", 404, "")
	wantError(t, set(hosts, "LOUD", ""), "InvalidParameterValue", 400, "enum value set")
	wantError(t, set(hosts, "OK", "{"), "InvalidFormat", 400, "not valid JSON")
}

func TestScalingActivities(t *testing.T) {
	b := newBackends(t)
	client := awsscaling.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	ctx := t.Context()
	id := aws.String("service/payment-cluster-primary-twin/payment-service-primary-twin")
	policies := must[*awsscaling.DescribeScalingPoliciesOutput](t)(client.DescribeScalingPolicies(ctx, &awsscaling.DescribeScalingPoliciesInput{
		ServiceNamespace: scalingtypes.ServiceNamespaceEcs,
	}))
	if p := policies.ScalingPolicies; len(p) != 1 || len(p[0].Alarms) != 2 ||
		!strings.HasPrefix(*p[0].Alarms[0].AlarmName, "TargetTracking-"+*id+"-AlarmHigh-") {
		t.Fatalf("policies = %+v", p)
	}
	describe := func() []scalingtypes.ScalingActivity {
		t.Helper()
		return must[*awsscaling.DescribeScalingActivitiesOutput](t)(client.DescribeScalingActivities(ctx, &awsscaling.DescribeScalingActivitiesInput{
			ServiceNamespace: scalingtypes.ServiceNamespaceEcs, ResourceId: id, ScalableDimension: ecsDimension,
		})).ScalingActivities
	}
	if a := describe(); len(a) != 0 {
		t.Errorf("activities before anything happened: %+v", a)
	}
	_, err := client.RegisterScalableTarget(ctx, &awsscaling.RegisterScalableTargetInput{
		ServiceNamespace: scalingtypes.ServiceNamespaceEcs, ScalableDimension: ecsDimension, ResourceId: id, MinCapacity: aws.Int32(4),
	})
	if err != nil {
		t.Fatal(err)
	}
	a := describe()
	if len(a) != 1 || *a[0].Cause != "minimum capacity was set to 4" || *a[0].Description != "Setting desired count to 4." ||
		a[0].StatusCode != scalingtypes.ScalingActivityStatusCodeSuccessful || a[0].EndTime == nil {
		t.Errorf("activities = %+v", a)
	}
	services, err := b.ecs.Services(east, "payment-cluster-primary-twin")
	if err != nil || !slices.ContainsFunc(services, func(s twinecs.Service) bool { return s.Name == "payment-service-primary-twin" && s.DesiredCount == 4 }) {
		t.Errorf("the services are %+v, %v", services, err)
	}
}

func TestRegisterTaskDefinition(t *testing.T) {
	b := newBackends(t)
	client := awsecs.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	ctx := t.Context()
	family := aws.String("payment-service-primary-twin")
	old := must[*awsecs.DescribeTaskDefinitionOutput](t)(client.DescribeTaskDefinition(ctx, &awsecs.DescribeTaskDefinitionInput{TaskDefinition: family})).TaskDefinition
	// What an operator does for a new image: take what is there, change it, register it.
	in := &awsecs.RegisterTaskDefinitionInput{
		Family: family, ContainerDefinitions: old.ContainerDefinitions, Cpu: old.Cpu, Memory: old.Memory, NetworkMode: old.NetworkMode,
		RequiresCompatibilities: old.RequiresCompatibilities, ExecutionRoleArn: old.ExecutionRoleArn, TaskRoleArn: old.TaskRoleArn,
	}
	in.ContainerDefinitions[0].Image = aws.String("payd:next")
	created := must[*awsecs.RegisterTaskDefinitionOutput](t)(client.RegisterTaskDefinition(ctx, in)).TaskDefinition
	if created.Revision != old.Revision+1 || *created.ContainerDefinitions[0].Image != "payd:next" {
		t.Errorf("the new revision is %+v", created)
	}
	found := must[*awsecs.DescribeTaskDefinitionOutput](t)(client.DescribeTaskDefinition(ctx, &awsecs.DescribeTaskDefinitionInput{TaskDefinition: family})).TaskDefinition
	if found.Revision != created.Revision || len(found.ContainerDefinitions[0].Environment) != len(old.ContainerDefinitions[0].Environment) ||
		len(found.ContainerDefinitions[0].Secrets) != len(old.ContainerDefinitions[0].Secrets) || *found.Cpu != *old.Cpu ||
		found.ContainerDefinitions[0].LogConfiguration.Options["awslogs-group"] != old.ContainerDefinitions[0].LogConfiguration.Options["awslogs-group"] {
		t.Errorf("what was registered came back as %+v", found)
	}

	refused := func(text string, change func(*awsecs.RegisterTaskDefinitionInput)) {
		t.Helper()
		bad := *in
		bad.ContainerDefinitions = slices.Clone(in.ContainerDefinitions)
		change(&bad)
		_, err := client.RegisterTaskDefinition(ctx, &bad)
		wantError(t, err, "ClientException", 400, text)
	}
	refused("invalid characters", func(in *awsecs.RegisterTaskDefinitionInput) { in.Family = aws.String("a b") })
	refused("cpu at the task level", func(in *awsecs.RegisterTaskDefinitionInput) { in.Cpu = nil })
	refused("memory at the task level", func(in *awsecs.RegisterTaskDefinitionInput) { in.Memory = aws.String("much") })
	refused("image", func(in *awsecs.RegisterTaskDefinitionInput) { in.ContainerDefinitions[0].Image = aws.String("") })
	refused("volumes", func(in *awsecs.RegisterTaskDefinitionInput) { in.Volumes = []ecstypes.Volume{{Name: aws.String("v")}} })
	refused("health checks", func(in *awsecs.RegisterTaskDefinitionInput) {
		in.ContainerDefinitions[0].HealthCheck = &ecstypes.HealthCheck{Command: []string{"true"}}
	})
}
