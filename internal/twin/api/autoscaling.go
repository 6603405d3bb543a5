package api

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsscaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"

	"holdfast/internal/topology"
	"holdfast/internal/twin/autoscaling"
)

// ecsDimension is the only thing that the twin scales.
const ecsDimension = types.ScalableDimensionECSServiceDesiredCount

func (e *Endpoint) autoscalingService() *service {
	s := &service{
		id: "applicationautoscaling", protocols: []protocol{json11}, target: "AnyScaleFrontendService",
		missing: mustNotBeNull("ValidationException"), invalid: invalidWith("ValidationException"),
	}
	if e.options.Scaling == nil {
		return s
	}
	s.operations = operations(
		op("DescribeScalableTargets", e.describeScalableTargets, "ServiceNamespace"),
		op("RegisterScalableTarget", e.registerScalableTarget, "ServiceNamespace", "ResourceId", "ScalableDimension"),
		op("DescribeScalingPolicies", e.describeScalingPolicies, "ServiceNamespace"),
		op("DescribeScalingActivities", e.describeScalingActivities, "ServiceNamespace"),
	)
	return s
}

// scalingPage pages a list of Application Auto Scaling.
func scalingPage[T any](items []T, key func(T) string, token *string, limit *int32) ([]T, *string, error) {
	n := 50
	if limit != nil {
		if n = int(*limit); n < 1 || n > 50 {
			return nil, nil, fail("ValidationException", "1 validation error detected: Value '%d' at 'maxResults' failed to "+
				"satisfy constraint: Member must have value between 1 and 50", n)
		}
	}
	page, next, ok := pageAfter(items, key, aws.ToString(token), n)
	if !ok {
		return nil, nil, fail("InvalidNextTokenException", "Invalid next token")
	}
	return page, optional(next), nil
}

func (e *Endpoint) describeScalableTargets(
	_ context.Context, r request, in *awsscaling.DescribeScalableTargetsInput,
) (*awsscaling.DescribeScalableTargetsOutput, error) {
	found := []types.ScalableTarget{}
	for _, t := range e.options.Scaling.Targets(r.region) {
		if in.ServiceNamespace != types.ServiceNamespaceEcs || in.ScalableDimension != "" && in.ScalableDimension != ecsDimension ||
			len(in.ResourceIds) > 0 && !slices.Contains(in.ResourceIds, t.ResourceID) {
			continue
		}
		found = append(found, types.ScalableTarget{
			ServiceNamespace: types.ServiceNamespaceEcs, ScalableDimension: ecsDimension, ResourceId: aws.String(t.ResourceID),
			MinCapacity: aws.Int32(int32(t.Min)), MaxCapacity: aws.Int32(int32(t.Max)),
			ScalableTargetARN: aws.String(e.scalableTargetARN(t)), RoleARN: aws.String(e.scalingRole()),
			CreationTime: aws.Time(e.created), SuspendedState: &types.SuspendedState{
				DynamicScalingInSuspended: aws.Bool(false), DynamicScalingOutSuspended: aws.Bool(false),
				ScheduledScalingSuspended: aws.Bool(false),
			},
		})
	}
	page, next, err := scalingPage(found, func(t types.ScalableTarget) string { return *t.ResourceId },
		in.NextToken, in.MaxResults)
	return &awsscaling.DescribeScalableTargetsOutput{ScalableTargets: page, NextToken: next}, err
}

func (e *Endpoint) scalableTargetARN(t topology.ScalableTarget) string {
	return "arn:aws:application-autoscaling:" + t.Region + ":" + e.options.Topology.AccountID + ":scalable-target/" + t.ResourceID
}

func (e *Endpoint) scalingRole() string {
	return "arn:aws:iam::" + e.options.Topology.AccountID + ":role/aws-service-role/" +
		"ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"
}

func (e *Endpoint) registerScalableTarget(
	ctx context.Context, r request, in *awsscaling.RegisterScalableTargetInput,
) (*awsscaling.RegisterScalableTargetOutput, error) {
	if in.ServiceNamespace != types.ServiceNamespaceEcs || in.ScalableDimension != ecsDimension {
		return nil, fail("ValidationException", "Unsupported service namespace, resource type or scalable dimension")
	}
	if in.SuspendedState != nil || len(in.Tags) > 0 {
		return nil, fail("ValidationException", "The twin serves neither SuspendedState nor Tags of a scalable target")
	}
	parts := strings.Split(*in.ResourceId, "/")
	if len(parts) != 3 || parts[0] != "service" || !e.hasService(r.region, parts[1], parts[2]) {
		return nil, fail("ValidationException", "ECS service doesn't exist: %s", *in.ResourceId)
	}
	t, exists := e.scalableTarget(r.region, *in.ResourceId)
	if !exists && (in.MinCapacity == nil || in.MaxCapacity == nil) {
		return nil, fail("ValidationException", "You must specify both MinCapacity and MaxCapacity when "+
			"registering a new scalable target")
	}
	if in.MinCapacity != nil {
		t.Min = int(*in.MinCapacity)
	}
	if in.MaxCapacity != nil {
		t.Max = int(*in.MaxCapacity)
	}
	switch {
	case t.Min < 0 || t.Max < 0:
		return nil, fail("ValidationException", "Minimum and maximum capacity must not be negative")
	case t.Max < t.Min:
		return nil, fail("ValidationException", "Maximum capacity cannot be less than minimum capacity")
	}
	if err := e.options.Scaling.Register(ctx, t); err != nil {
		if errors.Is(err, autoscaling.ErrNoService) {
			return nil, fail("ValidationException", "ECS service doesn't exist: %s", *in.ResourceId)
		}
		return nil, err
	}
	return &awsscaling.RegisterScalableTargetOutput{ScalableTargetARN: aws.String(e.scalableTargetARN(t))}, nil
}

func (e *Endpoint) scalableTarget(region, resourceID string) (t topology.ScalableTarget, exists bool) {
	for _, t := range e.options.Scaling.Targets(region) {
		if t.ResourceID == resourceID {
			return t, true
		}
	}
	return topology.ScalableTarget{Region: region, ResourceID: resourceID}, false
}

func (e *Endpoint) hasService(region, cluster, name string) bool {
	return slices.ContainsFunc(e.options.Topology.Services, func(s topology.Service) bool {
		return s.Region == region && s.ClusterName == cluster && s.Name == name
	})
}

func (e *Endpoint) describeScalingPolicies(
	_ context.Context, r request, in *awsscaling.DescribeScalingPoliciesInput,
) (*awsscaling.DescribeScalingPoliciesOutput, error) {
	found := []types.ScalingPolicy{}
	for _, p := range e.options.Topology.ScalingPolicies {
		if p.Region != r.region || in.ServiceNamespace != types.ServiceNamespaceEcs ||
			in.ResourceId != nil && *in.ResourceId != p.ResourceID ||
			in.ScalableDimension != "" && in.ScalableDimension != ecsDimension ||
			len(in.PolicyNames) > 0 && !slices.Contains(in.PolicyNames, p.Name) {
			continue
		}
		found = append(found, e.scalingPolicy(p))
	}
	page, next, err := scalingPage(found, func(p types.ScalingPolicy) string { return *p.PolicyARN },
		in.NextToken, in.MaxResults)
	return &awsscaling.DescribeScalingPoliciesOutput{ScalingPolicies: page, NextToken: next}, err
}

func (e *Endpoint) scalingPolicy(p topology.ScalingPolicy) types.ScalingPolicy {
	own := []types.Alarm{}
	for _, a := range e.options.Scaling.PolicyAlarms(p) {
		own = append(own, types.Alarm{AlarmName: aws.String(a.Name), AlarmARN: aws.String(a.ARN)})
	}
	return types.ScalingPolicy{
		PolicyName: aws.String(p.Name), PolicyType: types.PolicyTypeTargetTrackingScaling, ResourceId: aws.String(p.ResourceID),
		PolicyARN:        aws.String(autoscaling.PolicyARN(e.options.Topology.AccountID, p)),
		ServiceNamespace: types.ServiceNamespaceEcs, ScalableDimension: ecsDimension, CreationTime: aws.Time(e.created), Alarms: own,
		TargetTrackingScalingPolicyConfiguration: &types.TargetTrackingScalingPolicyConfiguration{
			TargetValue: aws.Float64(p.TargetValue), ScaleInCooldown: seconds(p.ScaleInCooldown),
			ScaleOutCooldown: seconds(p.ScaleOutCooldown),
			PredefinedMetricSpecification: &types.PredefinedMetricSpecification{
				PredefinedMetricType: types.MetricType(p.Metric),
			},
		},
	}
}

func (e *Endpoint) describeScalingActivities(
	_ context.Context, r request, in *awsscaling.DescribeScalingActivitiesInput,
) (*awsscaling.DescribeScalingActivitiesOutput, error) {
	found := []types.ScalingActivity{}
	for _, a := range e.options.Scaling.Activities(r.region) {
		if in.ServiceNamespace != types.ServiceNamespaceEcs || in.ResourceId != nil && *in.ResourceId != a.ResourceID ||
			in.ScalableDimension != "" && in.ScalableDimension != ecsDimension {
			continue
		}
		found = append(found, types.ScalingActivity{
			ActivityId: aws.String(a.ID), ServiceNamespace: types.ServiceNamespaceEcs, ScalableDimension: ecsDimension,
			ResourceId: aws.String(a.ResourceID), Description: aws.String(a.Description), Cause: aws.String(a.Cause),
			StartTime: aws.Time(a.Start), EndTime: stamp(a.End), StatusCode: types.ScalingActivityStatusCode(a.Status),
			StatusMessage: aws.String(a.StatusMessage),
		})
	}
	page, next, err := scalingPage(found, func(a types.ScalingActivity) string { return *a.ActivityId }, in.NextToken, in.MaxResults)
	return &awsscaling.DescribeScalingActivitiesOutput{ScalingActivities: page, NextToken: next}, err
}
