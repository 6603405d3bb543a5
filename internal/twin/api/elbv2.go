package api

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
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
		op("DescribeTargetGroups", e.describeTargetGroups),
		op("DescribeTargetHealth", e.describeTargetHealth, "TargetGroupArn"),
		op("DescribeListeners", e.describeListeners),
		op("DescribeRules", e.describeRules),
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
		forwards := l.Default.TargetGroupARN == targetGroupARN ||
			slices.ContainsFunc(l.Rules, func(r topology.ListenerRule) bool { return r.Action.TargetGroupARN == targetGroupARN })
		if forwards && !slices.Contains(arns, l.LoadBalancerARN) {
			arns = append(arns, l.LoadBalancerARN)
		}
	}
	return arns
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

func (e *Endpoint) describeListeners(
	_ context.Context, r request, in *elb.DescribeListenersInput,
) (*elb.DescribeListenersOutput, error) {
	if in.LoadBalancerArn == nil && len(in.ListenerArns) == 0 {
		return nil, fail("ValidationError", "You must specify either listener ARNs or a load balancer ARN")
	}
	all := inRegionOf(e.options.Topology.Listeners, r.region, func(l topology.Listener) string { return l.Region })
	if in.LoadBalancerArn != nil {
		if !e.hasLoadBalancer(r.region, *in.LoadBalancerArn) {
			return nil, noLoadBalancers([]string{*in.LoadBalancerArn})
		}
		all = slices.DeleteFunc(all, func(l topology.Listener) bool { return l.LoadBalancerARN != *in.LoadBalancerArn })
	}
	found, missing := pick(all, in.ListenerArns, func(l topology.Listener) []string { return []string{l.ARN} })
	if len(missing) > 0 {
		return nil, errNoListener
	}
	page, next, err := elbPage(found, func(l topology.Listener) string { return l.ARN }, in.Marker, in.PageSize)
	if err != nil {
		return nil, err
	}
	out := &elb.DescribeListenersOutput{Listeners: []types.Listener{}, NextMarker: next}
	for _, l := range page {
		out.Listeners = append(out.Listeners, types.Listener{
			ListenerArn: aws.String(l.ARN), LoadBalancerArn: aws.String(l.LoadBalancerARN), Port: aws.Int32(int32(l.Port)),
			Protocol: types.ProtocolEnum(l.Protocol), DefaultActions: []types.Action{actionView(l.Default)},
		})
	}
	return out, nil
}

var errNoListener = fail("ListenerNotFound", "One or more listeners not found")

func actionView(a topology.Action) types.Action {
	out := types.Action{Type: types.ActionTypeEnum(a.Type), Order: aws.Int32(1)}
	switch a.Type {
	case "forward":
		out.TargetGroupArn = aws.String(a.TargetGroupARN)
		out.ForwardConfig = &types.ForwardActionConfig{
			TargetGroups: []types.TargetGroupTuple{{TargetGroupArn: aws.String(a.TargetGroupARN), Weight: aws.Int32(1)}},
		}
	case "redirect":
		out.RedirectConfig = &types.RedirectActionConfig{
			Protocol: optional(a.RedirectProtocol), Port: optional(a.RedirectPort), Host: aws.String("#{host}"),
			Path: aws.String("/#{path}"), Query: aws.String("#{query}"),
			StatusCode: types.RedirectActionStatusCodeEnum("HTTP_" + strconv.Itoa(a.StatusCode)),
		}
	case "fixed-response":
		out.FixedResponseConfig = &types.FixedResponseActionConfig{
			StatusCode: aws.String(strconv.Itoa(a.StatusCode)), ContentType: optional(a.ContentType), MessageBody: optional(a.Body),
		}
	}
	return out
}

func (e *Endpoint) describeRules(
	_ context.Context, r request, in *elb.DescribeRulesInput,
) (*elb.DescribeRulesOutput, error) {
	if (in.ListenerArn == nil) == (len(in.RuleArns) == 0) {
		return nil, fail("ValidationError", "You must specify either listener ARNs or rule ARNs")
	}
	var all []types.Rule
	known := false
	for _, l := range e.options.Topology.Listeners {
		if l.Region != r.region || in.ListenerArn != nil && l.ARN != *in.ListenerArn {
			continue
		}
		known = true
		all = append(all, rulesOf(l)...)
	}
	if in.ListenerArn != nil && !known {
		return nil, errNoListener
	}
	found, missing := pick(all, in.RuleArns, func(r types.Rule) []string { return []string{*r.RuleArn} })
	if len(missing) > 0 {
		return nil, fail("RuleNotFound", "One or more rules not found")
	}
	page, next, err := elbPage(found, func(r types.Rule) string { return *r.RuleArn }, in.Marker, in.PageSize)
	return &elb.DescribeRulesOutput{Rules: page, NextMarker: next}, err
}

// rulesOf lists a listener's rules with the default rule last, as AWS does.
func rulesOf(l topology.Listener) []types.Rule {
	var out []types.Rule
	for _, rule := range l.Rules {
		view := types.Rule{
			RuleArn: aws.String(rule.ARN), Priority: aws.String(strconv.Itoa(rule.Priority)), IsDefault: aws.Bool(false),
			Actions: []types.Action{actionView(rule.Action)}, Conditions: []types.RuleCondition{},
		}
		if len(rule.PathPatterns) > 0 {
			view.Conditions = append(view.Conditions, types.RuleCondition{
				Field: aws.String("path-pattern"), Values: rule.PathPatterns,
				PathPatternConfig: &types.PathPatternConditionConfig{Values: rule.PathPatterns},
			})
		}
		if len(rule.HostHeaders) > 0 {
			view.Conditions = append(view.Conditions, types.RuleCondition{
				Field: aws.String("host-header"), Values: rule.HostHeaders,
				HostHeaderConfig: &types.HostHeaderConditionConfig{Values: rule.HostHeaders},
			})
		}
		out = append(out, view)
	}
	return append(out, types.Rule{
		RuleArn: aws.String(defaultRuleARN(l.ARN)), Priority: aws.String("default"), IsDefault: aws.Bool(true),
		Actions: []types.Action{actionView(l.Default)}, Conditions: []types.RuleCondition{},
	})
}

// defaultRuleARN names a listener's default rule, which Terraform does not know.
func defaultRuleARN(listenerARN string) string { return listenerRuleARN(listenerARN) + "/default" }

// listenerRuleARN is the common beginning of the ARNs of a listener's rules.
func listenerRuleARN(listenerARN string) string {
	return strings.Replace(listenerARN, ":listener/", ":listener-rule/", 1)
}
