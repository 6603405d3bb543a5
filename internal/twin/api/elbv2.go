package api

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"holdfast/internal/topology"
	"holdfast/internal/twin/api/wire"
	"holdfast/internal/twin/balancer"
)

func (e *Endpoint) elbService() *service {
	s := &service{
		id: "elasticloadbalancingv2", protocols: []protocol{query},
		namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/", version: "2015-12-01",
		style:   wire.Style{ListElement: "member"},
		missing: mustNotBeNull("ValidationError"), invalid: invalidWith("ValidationError"),
	}
	if e.options.Balancers == nil {
		return s
	}
	s.operations = operations(
		op("DescribeLoadBalancers", e.describeLoadBalancers),
		op("DescribeLoadBalancerAttributes", e.describeLoadBalancerAttributes, "LoadBalancerArn"),
		op("DescribeTargetGroups", e.describeTargetGroups),
		op("DescribeTargetHealth", e.describeTargetHealth, "TargetGroupArn"),
		op("DescribeListeners", e.describeListeners),
		op("DescribeRules", e.describeRules),
		op("ModifyListener", e.modifyListener, "ListenerArn"),
	)
	return s
}

// elbPage pages a list of Elastic Load Balancing.
func elbPage[T any](items []T, key func(T) string, marker *string, size *int32) ([]T, *string, error) {
	n := 400
	if size != nil {
		if n = int(*size); n < 1 || n > 400 {
			return nil, nil, fail("ValidationError", "1 validation error detected: Value '%d' at 'pageSize' failed to satisfy "+
				"constraint: Member must have value between 1 and 400", n)
		}
	}
	page, next, ok := pageAfter(items, key, aws.ToString(marker), n)
	if !ok {
		return nil, nil, fail("ValidationError", "The marker '%s' is not valid", *marker)
	}
	return page, optional(next), nil
}

func (e *Endpoint) describeLoadBalancers(
	_ context.Context, r request, in *elb.DescribeLoadBalancersInput,
) (*elb.DescribeLoadBalancersOutput, error) {
	if len(in.Names) > 0 && len(in.LoadBalancerArns) > 0 {
		return nil, fail("ValidationError", "Load balancer names and load balancer ARNs cannot be specified at the same time")
	}
	all := inRegionOf(e.options.Topology.LoadBalancers, r.region, func(l topology.LoadBalancer) string { return l.Region })
	found, missing := pick(all, slices.Concat(in.Names, in.LoadBalancerArns), func(l topology.LoadBalancer) []string {
		return []string{l.Name, l.ARN}
	})
	if len(missing) > 0 {
		return nil, noLoadBalancers(missing)
	}
	page, next, err := elbPage(found, func(l topology.LoadBalancer) string { return l.ARN }, in.Marker, in.PageSize)
	if err != nil {
		return nil, err
	}
	out := &elb.DescribeLoadBalancersOutput{LoadBalancers: []types.LoadBalancer{}, NextMarker: next}
	for _, l := range page {
		out.LoadBalancers = append(out.LoadBalancers, e.loadBalancer(l))
	}
	return out, nil
}

func noLoadBalancers(missing []string) error {
	return fail("LoadBalancerNotFound", "Load balancers '[%s]' not found", missing[0])
}

func (e *Endpoint) loadBalancer(l topology.LoadBalancer) types.LoadBalancer {
	out := types.LoadBalancer{
		LoadBalancerArn: aws.String(l.ARN), LoadBalancerName: aws.String(l.Name), DNSName: aws.String(l.DNSName),
		CanonicalHostedZoneId: aws.String(l.ZoneID), Scheme: types.LoadBalancerSchemeEnumInternetFacing,
		Type: types.LoadBalancerTypeEnumApplication, IpAddressType: types.IpAddressTypeIpv4,
		State: &types.LoadBalancerState{Code: types.LoadBalancerStateEnumActive}, SecurityGroups: l.SecurityGroupIDs,
		AvailabilityZones: []types.AvailabilityZone{},
	}
	if l.Internal {
		out.Scheme = types.LoadBalancerSchemeEnumInternal
	}
	for _, n := range e.options.Topology.Networks {
		for _, subnet := range n.Subnets {
			if slices.Contains(l.SubnetIDs, subnet.ID) {
				out.VpcId = aws.String(n.ID)
				out.AvailabilityZones = append(out.AvailabilityZones, types.AvailabilityZone{
					SubnetId: aws.String(subnet.ID), ZoneName: aws.String(subnet.AvailabilityZone),
				})
			}
		}
	}
	return out
}

func (e *Endpoint) describeTargetGroups(
	_ context.Context, r request, in *elb.DescribeTargetGroupsInput,
) (*elb.DescribeTargetGroupsOutput, error) {
	selectors := 0
	for _, given := range []bool{in.LoadBalancerArn != nil, len(in.Names) > 0, len(in.TargetGroupArns) > 0} {
		if given {
			selectors++
		}
	}
	if selectors > 1 {
		return nil, fail("ValidationError", "Only one of LoadBalancerArn, Names and TargetGroupArns can be specified")
	}
	all := inRegionOf(e.options.Topology.TargetGroups, r.region, func(g topology.TargetGroup) string { return g.Region })
	if in.LoadBalancerArn != nil {
		if !e.hasLoadBalancer(r.region, *in.LoadBalancerArn) {
			return nil, noLoadBalancers([]string{*in.LoadBalancerArn})
		}
		all = slices.DeleteFunc(all, func(g topology.TargetGroup) bool {
			return !slices.Contains(e.balancersOf(g.ARN), *in.LoadBalancerArn)
		})
	}
	found, missing := pick(all, slices.Concat(in.Names, in.TargetGroupArns), func(g topology.TargetGroup) []string {
		return []string{g.Name, g.ARN}
	})
	if len(missing) > 0 {
		return nil, errNoTargetGroup
	}
	page, next, err := elbPage(found, func(g topology.TargetGroup) string { return g.ARN }, in.Marker, in.PageSize)
	if err != nil {
		return nil, err
	}
	out := &elb.DescribeTargetGroupsOutput{TargetGroups: []types.TargetGroup{}, NextMarker: next}
	for _, g := range page {
		out.TargetGroups = append(out.TargetGroups, e.targetGroup(g))
	}
	return out, nil
}

var errNoTargetGroup = fail("TargetGroupNotFound", "One or more target groups not found")

func (e *Endpoint) targetGroup(g topology.TargetGroup) types.TargetGroup {
	out := types.TargetGroup{
		TargetGroupArn: aws.String(g.ARN), TargetGroupName: aws.String(g.Name), Port: aws.Int32(int32(g.Port)),
		Protocol: types.ProtocolEnum(g.Protocol), ProtocolVersion: aws.String("HTTP1"), TargetType: types.TargetTypeEnumIp,
		IpAddressType: types.TargetGroupIpAddressTypeEnumIpv4, HealthCheckEnabled: aws.Bool(true),
		HealthCheckPath: aws.String(g.HealthCheck.Path), HealthCheckPort: aws.String(g.HealthCheck.Port),
		HealthCheckProtocol:        types.ProtocolEnum(g.HealthCheck.Protocol),
		HealthCheckIntervalSeconds: seconds(g.HealthCheck.Interval), HealthCheckTimeoutSeconds: seconds(g.HealthCheck.Timeout),
		HealthyThresholdCount:   aws.Int32(int32(g.HealthCheck.HealthyThreshold)),
		UnhealthyThresholdCount: aws.Int32(int32(g.HealthCheck.UnhealthyThreshold)),
		Matcher:                 &types.Matcher{HttpCode: aws.String(g.HealthCheck.Matcher)},
		LoadBalancerArns:        e.balancersOf(g.ARN),
	}
	for _, s := range e.options.Topology.Services {
		if slices.ContainsFunc(s.TargetGroups, func(t topology.ServiceTargetGroup) bool { return t.TargetGroupARN == g.ARN }) {
			out.VpcId = optional(e.networkOfSubnets(s.SubnetIDs))
		}
	}
	return out
}

func (e *Endpoint) networkOfSubnets(ids []string) string {
	for _, n := range e.options.Topology.Networks {
		if slices.ContainsFunc(n.Subnets, func(s topology.Subnet) bool { return slices.Contains(ids, s.ID) }) {
			return n.ID
		}
	}
	return ""
}

func seconds(d time.Duration) *int32 { return aws.Int32(int32(d / time.Second)) }

// balancersOf lists the load balancers that forward to a target group.
func (e *Endpoint) balancersOf(targetGroupARN string) []string {
	arns := []string{}
	for _, l := range e.options.Topology.Listeners {
		l = e.current(l)
		forwards := leadsTo(l.Default, targetGroupARN) ||
			slices.ContainsFunc(l.Rules, func(r topology.ListenerRule) bool { return leadsTo(r.Action, targetGroupARN) })
		if forwards && !slices.Contains(arns, l.LoadBalancerARN) {
			arns = append(arns, l.LoadBalancerARN)
		}
	}
	return arns
}

// leadsTo says whether an action forwards to a target group, with a weight of zero too: that is enough for the group to
// belong to the load balancer.
func leadsTo(a topology.Action, targetGroupARN string) bool {
	return a.TargetGroupARN == targetGroupARN || slices.ContainsFunc(a.TargetGroups, func(w topology.WeightedTargetGroup) bool {
		return w.TargetGroupARN == targetGroupARN
	})
}

func (e *Endpoint) hasLoadBalancer(region, arn string) bool {
	return slices.ContainsFunc(e.options.Topology.LoadBalancers, func(l topology.LoadBalancer) bool {
		return l.Region == region && l.ARN == arn
	})
}

func (e *Endpoint) describeTargetHealth(
	_ context.Context, r request, in *elb.DescribeTargetHealthInput,
) (*elb.DescribeTargetHealthOutput, error) {
	n := slices.IndexFunc(e.options.Topology.TargetGroups, func(g topology.TargetGroup) bool {
		return g.Region == r.region && g.ARN == *in.TargetGroupArn
	})
	if n < 0 {
		return nil, errNoTargetGroup
	}
	group := e.options.Topology.TargetGroups[n]
	out := &elb.DescribeTargetHealthOutput{TargetHealthDescriptions: []types.TargetHealthDescription{}}
	registered := e.options.Balancers.TargetHealth(group.ARN)
	if len(in.Targets) == 0 {
		for _, t := range registered {
			out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, e.targetHealth(group, t))
		}
		return out, nil
	}
	for _, wanted := range in.Targets {
		ip, err := netip.ParseAddr(aws.ToString(wanted.Id))
		if err != nil {
			return nil, fail("ValidationError", "The IP address '%s' is not a valid IPv4 address", aws.ToString(wanted.Id))
		}
		port := group.Port
		if wanted.Port != nil {
			port = int(*wanted.Port)
		}
		i := slices.IndexFunc(registered, func(t balancer.TargetHealth) bool { return t.IP == ip && t.Port == port })
		if i < 0 {
			out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, notRegistered(ip.String(), port))
			continue
		}
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, e.targetHealth(group, registered[i]))
	}
	return out, nil
}

func notRegistered(id string, port int) types.TargetHealthDescription {
	return types.TargetHealthDescription{
		Target: &types.TargetDescription{Id: aws.String(id), Port: aws.Int32(int32(port))},
		TargetHealth: &types.TargetHealth{
			State: types.TargetHealthStateEnumUnused, Reason: types.TargetHealthReasonEnumNotRegistered,
			Description: aws.String("Target is not registered to the target group"),
		},
	}
}

func (e *Endpoint) targetHealth(g topology.TargetGroup, t balancer.TargetHealth) types.TargetHealthDescription {
	checked := g.HealthCheck.Port
	if checked == "" || checked == "traffic-port" {
		checked = strconv.Itoa(t.Port)
	}
	return types.TargetHealthDescription{
		HealthCheckPort: aws.String(checked),
		Target:          &types.TargetDescription{Id: aws.String(t.IP.String()), Port: aws.Int32(int32(t.Port))},
		TargetHealth: &types.TargetHealth{
			State: types.TargetHealthStateEnum(t.State), Reason: types.TargetHealthReasonEnum(t.Reason),
			Description: optional(t.Description),
		},
	}
}
