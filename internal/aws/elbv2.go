package aws

import (
	"context"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

// balancerAPI lists the Elastic Load Balancing calls that [Balancers] makes.
type balancerAPI interface {
	DescribeTargetHealth(context.Context, *elb.DescribeTargetHealthInput, ...func(*elb.Options)) (
		*elb.DescribeTargetHealthOutput, error)
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
