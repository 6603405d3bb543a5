package api

import (
	"context"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"holdfast/internal/topology"
)

// describeLoadBalancerAttributes shows the attributes that the twin's balancers act on.
func (e *Endpoint) describeLoadBalancerAttributes(
	_ context.Context, r request, in *elb.DescribeLoadBalancerAttributesInput,
) (*elb.DescribeLoadBalancerAttributesOutput, error) {
	all := e.options.Topology.LoadBalancers
	i := slices.IndexFunc(all, func(l topology.LoadBalancer) bool { return l.Region == r.region && l.ARN == *in.LoadBalancerArn })
	if i < 0 {
		return nil, noLoadBalancers([]string{*in.LoadBalancerArn})
	}
	attribute := func(key string, value int) types.LoadBalancerAttribute {
		return types.LoadBalancerAttribute{Key: aws.String(key), Value: aws.String(strconv.Itoa(value))}
	}
	return &elb.DescribeLoadBalancerAttributesOutput{Attributes: []types.LoadBalancerAttribute{
		attribute("client_keep_alive.seconds", int(all[i].ClientKeepAlive.Seconds())),
		attribute("idle_timeout.timeout_seconds", int(all[i].IdleTimeout.Seconds())),
	}}, nil
}
