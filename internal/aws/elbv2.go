package aws

import (
	"context"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// balancerAPI lists the Elastic Load Balancing calls that [Balancers] makes.
type balancerAPI interface {
	balancerInspectionAPI
	DescribeTargetHealth(context.Context, *elb.DescribeTargetHealthInput, ...func(*elb.Options)) (
		*elb.DescribeTargetHealthOutput, error)
	DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error)
	ModifyListener(context.Context, *elb.ModifyListenerInput, ...func(*elb.Options)) (*elb.ModifyListenerOutput, error)
}

// Balancers is the load balancers' control plane of one region.
type Balancers struct {
	api    balancerAPI
	region string
}

// Target is one registered target and its health as the balancer sees it.
type Target struct {
	ID   string
	Port int32
	// State is AWS's word: healthy, unhealthy, initial, draining, unused, unavailable.
	State  string
	Reason string
}

// Balancers makes the adapter for a region.
func (s *Session) Balancers(region string) *Balancers {
	api := elb.NewFromConfig(s.cfg, func(o *elb.Options) {
		o.Region = region
		o.Retryer = few()
	})
	return &Balancers{api: api, region: region}
}

// TargetHealth lists the targets of a target group.
func (b *Balancers) TargetHealth(ctx context.Context, targetGroupARN string) ([]Target, error) {
	out, err := b.api.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: sdk.String(targetGroupARN)})
	if err != nil {
		return nil, fmt.Errorf("describe the health of target group %s in %s: %w", targetGroupARN, b.region, err)
	}
	targets := make([]Target, 0, len(out.TargetHealthDescriptions))
	for _, d := range out.TargetHealthDescriptions {
		t := Target{}
		if d.Target != nil {
			t.ID, t.Port = sdk.ToString(d.Target.Id), sdk.ToInt32(d.Target.Port)
		}
		if d.TargetHealth != nil {
			t.State, t.Reason = string(d.TargetHealth.State), string(d.TargetHealth.Reason)
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// Healthy counts the targets in state healthy.
func Healthy(targets []Target) int {
	n := 0
	for _, t := range targets {
		if t.State == "healthy" {
			n++
		}
	}
	return n
}

// Weight is a target group's share of a listener's requests.
type Weight struct {
	TargetGroupARN string
	// Weight is from 0 to 999.
	Weight int32
}

// Weights are the shares of the target groups that a listener forwards to by default.
func (b *Balancers) Weights(ctx context.Context, listenerARN string) (map[string]int32, error) {
	action, err := b.defaultAction(ctx, listenerARN)
	if err != nil {
		return nil, err
	}
	weights := map[string]int32{}
	for _, t := range action.ForwardConfig.TargetGroups {
		weights[sdk.ToString(t.TargetGroupArn)] = sdk.ToInt32(t.Weight)
	}
	return weights, nil
}

// SetWeights makes a listener forward to target groups by weight; how it sticks to targets stays as it is.
func (b *Balancers) SetWeights(ctx context.Context, listenerARN string, weights []Weight) error {
	action, err := b.defaultAction(ctx, listenerARN)
	if err != nil {
		return err
	}
	action.ForwardConfig.TargetGroups = nil
	for _, w := range weights {
		action.ForwardConfig.TargetGroups = append(action.ForwardConfig.TargetGroups,
			types.TargetGroupTuple{TargetGroupArn: sdk.String(w.TargetGroupARN), Weight: sdk.Int32(w.Weight)})
	}
	action.TargetGroupArn = nil // ELB refuses both forms at once
	_, err = b.api.ModifyListener(ctx, &elb.ModifyListenerInput{
		ListenerArn: sdk.String(listenerARN), DefaultActions: []types.Action{action},
	})
	if err != nil {
		return fmt.Errorf("change the weights of listener %s in %s: %w", listenerARN, b.region, err)
	}
	return nil
}

// defaultAction is a listener's default action, which must be one that forwards.
func (b *Balancers) defaultAction(ctx context.Context, listenerARN string) (types.Action, error) {
	out, err := b.api.DescribeListeners(ctx, &elb.DescribeListenersInput{ListenerArns: []string{listenerARN}})
	if err != nil {
		return types.Action{}, fmt.Errorf("describe listener %s in %s: %w", listenerARN, b.region, err)
	}
	if len(out.Listeners) != 1 || len(out.Listeners[0].DefaultActions) != 1 ||
		out.Listeners[0].DefaultActions[0].Type != types.ActionTypeEnumForward || out.Listeners[0].DefaultActions[0].ForwardConfig == nil {
		return types.Action{}, fmt.Errorf("listener %s in %s: want one default action that forwards; did somebody change it by hand?", listenerARN, b.region)
	}
	return out.Listeners[0].DefaultActions[0], nil
}
