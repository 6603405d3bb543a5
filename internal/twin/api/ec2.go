package api

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"holdfast/internal/reach"
	"holdfast/internal/topology"
	"holdfast/internal/twin/api/wire"
)

// Networks are the private networks, with rules and routes that can be changed; *vpc.VPC is one. Its errors carry EC2's
// codes.
type Networks interface {
	// Network is the network of this moment, and a channel that is closed when it changes.
	Network() (reach.Network, <-chan struct{})
	// Authorize and Revoke change the rules of a security group, all of those named or none, and return them.
	Authorize(region, groupID string, ingress bool, rules []topology.SecurityGroupRule) ([]topology.SecurityGroupRule, error)
	Revoke(region, groupID string, ingress bool, rules []topology.SecurityGroupRule, ids []string) ([]topology.SecurityGroupRule, error)
	CreateRoute(region, tableID string, route topology.Route) error
	ReplaceRoute(region, tableID string, route topology.Route) error
	DeleteRoute(region, tableID, cidr string) error
}

// The inputs and outputs of EC2 are types of this package and not the SDK's: the SDK's package for this one service is
// larger than all of this program, for a dozen actions. Field names are the names on the wire, beginning with a capital
// letter in a request and with a small one in an answer.

func (e *Endpoint) ec2Service() *service {
	s := &service{
		id: "ec2", protocols: []protocol{query}, namespace: "http://ec2.amazonaws.com/doc/2016-11-15/", version: "2016-11-15",
		style: wire.Style{LowerCamelXML: true, ListElement: "item"}, ec2: true,
		missing: mustContain, invalid: invalidWith("InvalidParameterValue"),
	}
	if e.options.Networks == nil {
		return s
	}
	s.operations = operations(
		op("DescribeVpcs", e.describeVpcs),
		op("DescribeSubnets", e.describeSubnets),
		op("DescribeRouteTables", e.describeRouteTables),
		op("DescribeVpcPeeringConnections", e.describePeerings),
		op("DescribeVpcEndpoints", e.describeVpcEndpoints),
		op("DescribeNatGateways", e.describeNatGateways),
		op("DescribeAvailabilityZones", e.describeZones),
		op("DescribeSecurityGroups", e.describeSecurityGroups),
		op("DescribeSecurityGroupRules", e.describeSecurityGroupRules),
		op("AuthorizeSecurityGroupIngress", e.authorize(true), "GroupId"),
		op("AuthorizeSecurityGroupEgress", e.authorize(false), "GroupId"),
		op("RevokeSecurityGroupIngress", e.revoke(true), "GroupId"),
		op("RevokeSecurityGroupEgress", e.revoke(false), "GroupId"),
		op("CreateRoute", e.createRoute, "RouteTableId", "DestinationCidrBlock"),
		op("ReplaceRoute", e.replaceRoute, "RouteTableId", "DestinationCidrBlock"),
		op("DeleteRoute", e.deleteRoute, "RouteTableId", "DestinationCidrBlock"),
	)
	return s
}

type ec2Filter struct {
	Name  string
	Value []string
}

// ec2Query is what the describing actions have in common.
type ec2Query struct {
	Filter     []ec2Filter
	MaxResults *int32
	NextToken  string
}

// listing is how one kind of resource is found.
type listing[T any] struct {
	id func(T) string
	// notFound and what make the error for an unknown identifier.
	notFound, what string
	// filters gives the values of a resource that a filter looks at.
	filters map[string]func(T) []string
}

// ec2PageLimit is the most that EC2 gives at once.
const ec2PageLimit = 1000

// find gives the resources with the identifiers that match all filters, one page of them.
func (l listing[T]) find(all []T, ids []string, q ec2Query) (page []T, next *string, err error) {
	found, missing := pick(all, ids, func(v T) []string { return []string{l.id(v)} })
	if len(missing) > 0 {
		return nil, nil, fail(l.notFound, "The %s '%s' does not exist", l.what, missing[0])
	}
	for _, f := range q.Filter {
		values := l.filters[f.Name]
		switch {
		case strings.HasPrefix(f.Name, "tag:") || strings.HasPrefix(f.Name, "tag-"):
			return nil, nil, fail("InvalidParameterValue", "The filter '%s' is invalid: the twin keeps no tags", f.Name)
		case values == nil:
			return nil, nil, fail("InvalidParameterValue", "The filter '%s' is invalid", f.Name)
		}
		found = slices.DeleteFunc(slices.Clone(found), func(v T) bool {
			return !slices.ContainsFunc(values(v), func(value string) bool {
				return slices.ContainsFunc(f.Value, func(pattern string) bool { return wildcard(pattern, value) })
			})
		})
	}
	limit := ec2PageLimit
	if q.MaxResults != nil {
		if limit = int(*q.MaxResults); limit < 5 || limit > ec2PageLimit {
			return nil, nil, fail("InvalidParameterValue", "Value ( %d ) for parameter maxResults is invalid. Expecting a value between 5 and %d.", limit, ec2PageLimit)
		}
	}
	page, token, ok := pageAfter(found, l.id, q.NextToken, limit)
	if !ok {
		return nil, nil, fail("InvalidParameterValue", "The token '%s' is invalid", q.NextToken)
	}
	return page, optional(token), nil
}

// wildcard matches * and ? as EC2's filters do.
func wildcard(pattern, value string) bool {
	if !strings.ContainsAny(pattern, "*?") {
		return pattern == value
	}
	expression := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	matched, err := regexp.MatchString("^(?s:"+expression+")$", value)
	return err == nil && matched
}

func one[T any](f func(T) string) func(T) []string {
	return func(v T) []string { return []string{f(v)} }
}

// networksIn lists a region's VPCs.
func (e *Endpoint) networksIn(region string) ([]topology.Network, reach.Network) {
	n, _ := e.options.Networks.Network()
	return inRegionOf(n.VPCs, region, func(v topology.Network) string { return v.Region }), n
}

type ec2Done struct{ Return bool }

// ec2Dry is DryRun's answer.
func ec2Dry(dry bool) error {
	if !dry {
		return nil
	}
	return &Error{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: 412}
}

type ec2RouteInput struct {
	RouteTableId, DestinationCidrBlock              string
	GatewayId, NatGatewayId, VpcPeeringConnectionId string
	DryRun                                          bool
}

func (in ec2RouteInput) route() (topology.Route, error) {
	r := topology.Route{DestinationCIDR: in.DestinationCidrBlock}
	for kind, id := range map[string]string{"igw": in.GatewayId, "nat": in.NatGatewayId, "pcx": in.VpcPeeringConnectionId} {
		if id == "" {
			continue
		}
		if r.TargetID != "" {
			return r, fail("InvalidParameterCombination", "A route leads to exactly one target")
		}
		r.TargetKind, r.TargetID = kind, id
	}
	if r.TargetID == "" {
		return r, fail("MissingParameter", "The request must contain exactly one of gatewayId, natGatewayId, vpcPeeringConnectionId")
	}
	return r, checkCIDR(in.DestinationCidrBlock)
}

func (e *Endpoint) createRoute(_ context.Context, r request, in *ec2RouteInput) (*ec2Done, error) {
	route, err := in.route()
	if err == nil {
		err = ec2Dry(in.DryRun)
	}
	if err == nil {
		err = e.options.Networks.CreateRoute(r.region, in.RouteTableId, route)
	}
	return &ec2Done{true}, err
}

func (e *Endpoint) deleteRoute(_ context.Context, r request, in *ec2RouteInput) (*ec2Done, error) {
	err := ec2Dry(in.DryRun)
	if err == nil {
		err = e.options.Networks.DeleteRoute(r.region, in.RouteTableId, in.DestinationCidrBlock)
	}
	return &ec2Done{true}, err
}

// replaceRoute leads an existing route elsewhere.
func (e *Endpoint) replaceRoute(_ context.Context, r request, in *ec2RouteInput) (*ec2Done, error) {
	route, err := in.route()
	if err == nil {
		err = ec2Dry(in.DryRun)
	}
	if err == nil {
		err = e.options.Networks.ReplaceRoute(r.region, in.RouteTableId, route)
	}
	return &ec2Done{true}, err
}
