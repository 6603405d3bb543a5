package api

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"holdfast/internal/topology"
)

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
		out.Listeners = append(out.Listeners, e.listener(l))
	}
	return out, nil
}

func (e *Endpoint) listener(l topology.Listener) types.Listener {
	return types.Listener{
		ListenerArn: aws.String(l.ARN), LoadBalancerArn: aws.String(l.LoadBalancerARN), Port: aws.Int32(int32(l.Port)),
		Protocol: types.ProtocolEnum(l.Protocol), DefaultActions: []types.Action{actionView(e.current(l).Default)},
	}
}

// current is a listener with its default action of this moment, which [Endpoint.modifyListener] changes.
func (e *Endpoint) current(l topology.Listener) topology.Listener {
	if action, err := e.options.Balancers.Default(l.ARN); err == nil {
		l.Default = action
	}
	return l
}

// modifyListener changes the default action to one that forwards. What else AWS can modify is refused by name rather
// than left out.
func (e *Endpoint) modifyListener(
	_ context.Context, r request, in *elb.ModifyListenerInput,
) (*elb.ModifyListenerOutput, error) {
	n := slices.IndexFunc(e.options.Topology.Listeners, func(l topology.Listener) bool {
		return l.Region == r.region && l.ARN == *in.ListenerArn
	})
	if n < 0 {
		return nil, errNoListener
	}
	if in.Port != nil || in.Protocol != "" || in.SslPolicy != nil || len(in.Certificates) > 0 || len(in.AlpnPolicy) > 0 || in.MutualAuthentication != nil {
		return nil, fail("OperationNotPermitted", "The twin changes nothing of a listener but its DefaultActions")
	}
	listener := e.options.Topology.Listeners[n]
	if len(in.DefaultActions) > 0 {
		groups, err := forwardOf(in.DefaultActions)
		if err != nil {
			return nil, err
		}
		if err := e.options.Balancers.SetDefault(listener.ARN, groups); err != nil {
			return nil, errNoTargetGroup
		}
	}
	return &elb.ModifyListenerOutput{Listeners: []types.Listener{e.listener(listener)}}, nil
}

// forwardOf reads the target groups of a listener's new default action.
func forwardOf(actions []types.Action) ([]topology.WeightedTargetGroup, error) {
	if len(actions) != 1 || actions[0].Type != types.ActionTypeEnumForward {
		return nil, fail("OperationNotPermitted", "The twin changes a default action to one forward action only")
	}
	a := actions[0]
	if a.ForwardConfig == nil || len(a.ForwardConfig.TargetGroups) == 0 {
		if a.TargetGroupArn == nil {
			return nil, fail("ValidationError", "A target group ARN must be specified")
		}
		return []topology.WeightedTargetGroup{{TargetGroupARN: *a.TargetGroupArn, Weight: 1}}, nil
	}
	tuples := a.ForwardConfig.TargetGroups
	if len(tuples) > maximumTargetGroups {
		return nil, fail("TooManyTargetGroups", "The maximum number of target groups per action is %d", maximumTargetGroups)
	}
	groups := make([]topology.WeightedTargetGroup, 0, len(tuples))
	for _, t := range tuples {
		weight := 1
		if t.Weight != nil {
			weight = int(*t.Weight)
		}
		if weight < 0 || weight > 999 {
			return nil, fail("ValidationError", "Weight '%d' must be between 0 and 999", weight)
		}
		groups = append(groups, topology.WeightedTargetGroup{TargetGroupARN: aws.ToString(t.TargetGroupArn), Weight: weight})
	}
	return groups, nil
}

// maximumTargetGroups is ELB's quota of target groups per action.
const maximumTargetGroups = 5

var errNoListener = fail("ListenerNotFound", "One or more listeners not found")

func actionView(a topology.Action) types.Action {
	out := types.Action{Type: types.ActionTypeEnum(a.Type), Order: aws.Int32(1)}
	switch a.Type {
	case "forward":
		out.ForwardConfig = &types.ForwardActionConfig{}
		if len(a.TargetGroups) == 0 { // with several, AWS names none of them here
			out.TargetGroupArn = aws.String(a.TargetGroupARN)
			out.ForwardConfig.TargetGroups = []types.TargetGroupTuple{{TargetGroupArn: aws.String(a.TargetGroupARN), Weight: aws.Int32(1)}}
		}
		for _, w := range a.TargetGroups {
			out.ForwardConfig.TargetGroups = append(out.ForwardConfig.TargetGroups, types.TargetGroupTuple{
				TargetGroupArn: aws.String(w.TargetGroupARN), Weight: aws.Int32(int32(w.Weight)),
			})
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
		all = append(all, rulesOf(e.current(l))...)
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
