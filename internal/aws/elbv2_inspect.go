package aws

import (
	"context"
	"fmt"
	"strconv"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// balancerInspectionAPI lists the Elastic Load Balancing calls that only looking at a deployment takes.
type balancerInspectionAPI interface {
	DescribeLoadBalancerAttributes(context.Context, *elb.DescribeLoadBalancerAttributesInput, ...func(*elb.Options)) (
		*elb.DescribeLoadBalancerAttributesOutput, error)
	DescribeRules(context.Context, *elb.DescribeRulesInput, ...func(*elb.Options)) (*elb.DescribeRulesOutput, error)
}

// Listener is one listener of a load balancer.
type Listener struct {
	ARN      string
	Port     int
	Protocol string
	// Default are the target groups of its default action.
	Default []string
	// Paths maps a path pattern of its rules to the target groups of the rule's action.
	Paths map[string][]string
}

// Listeners describes a load balancer's listeners with their rules.
func (b *Balancers) Listeners(ctx context.Context, loadBalancerARN string) ([]Listener, error) {
	out, err := b.api.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: sdk.String(loadBalancerARN)})
	if err != nil {
		return nil, fmt.Errorf("describe the listeners of %s in %s: %w", loadBalancerARN, b.region, err)
	}
	var listeners []Listener
	for _, found := range out.Listeners {
		l := Listener{
			ARN: sdk.ToString(found.ListenerArn), Port: int(sdk.ToInt32(found.Port)), Protocol: string(found.Protocol),
			Default: targetGroups(found.DefaultActions), Paths: map[string][]string{},
		}
		rules, err := b.api.DescribeRules(ctx, &elb.DescribeRulesInput{ListenerArn: found.ListenerArn})
		if err != nil {
			return nil, fmt.Errorf("describe the rules of listener %s in %s: %w", l.ARN, b.region, err)
		}
		for _, rule := range rules.Rules {
			for _, c := range rule.Conditions {
				if sdk.ToString(c.Field) != "path-pattern" {
					continue
				}
				patterns := c.Values
				if c.PathPatternConfig != nil {
					patterns = c.PathPatternConfig.Values
				}
				for _, pattern := range patterns {
					l.Paths[pattern] = targetGroups(rule.Actions)
				}
			}
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func targetGroups(actions []types.Action) []string {
	var arns []string
	for _, a := range actions {
		if a.ForwardConfig != nil && len(a.ForwardConfig.TargetGroups) > 0 {
			for _, g := range a.ForwardConfig.TargetGroups {
				arns = append(arns, sdk.ToString(g.TargetGroupArn))
			}
		} else if a.TargetGroupArn != nil {
			arns = append(arns, *a.TargetGroupArn)
		}
	}
	return arns
}

// defaultKeepAlive is a load balancer's client keep-alive where it was never set:
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html
const defaultKeepAlive = 3600 * time.Second

// KeepAlive is how long a load balancer keeps a client's connection at most.
func (b *Balancers) KeepAlive(ctx context.Context, loadBalancerARN string) (time.Duration, error) {
	out, err := b.api.DescribeLoadBalancerAttributes(ctx, &elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: sdk.String(loadBalancerARN)})
	if err != nil {
		return 0, fmt.Errorf("describe the attributes of %s in %s: %w", loadBalancerARN, b.region, err)
	}
	for _, a := range out.Attributes {
		if sdk.ToString(a.Key) == "client_keep_alive.seconds" {
			seconds, err := strconv.Atoi(sdk.ToString(a.Value))
			if err != nil {
				return 0, fmt.Errorf("attribute client_keep_alive.seconds of %s: %w", loadBalancerARN, err)
			}
			return time.Duration(seconds) * time.Second, nil
		}
	}
	return defaultKeepAlive, nil
}
