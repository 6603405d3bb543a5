package api

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"holdfast/internal/topology"
)

type ec2Range struct {
	CidrIp      string
	Description *string
}

type ec2Pair struct {
	UserId, GroupId, GroupName string
	Description                *string
}

type ec2ListID struct {
	PrefixListId string
	Description  *string
}

// ec2Permission is rules in a request: every peer makes one.
type ec2Permission struct {
	IpProtocol       string
	FromPort, ToPort *int32
	IpRanges         []ec2Range
	Ipv6Ranges       []struct{ CidrIpv6 string }
	PrefixListIds    []ec2ListID
	Groups           []ec2Pair
}

// ec2PermissionView is the same in an answer.
type ec2PermissionView struct {
	IpProtocol       string
	FromPort, ToPort *int32
	Groups           []ec2Pair
	IpRanges         []ec2Range
	Ipv6Ranges       []ec2Range
	PrefixListIds    []ec2ListID
}

type ec2GroupsInput struct {
	ec2Query
	GroupId, GroupName []string
}

type ec2Group struct {
	OwnerId, GroupId, GroupName, GroupDescription, VpcId string
	IpPermissions, IpPermissionsEgress                   []ec2PermissionView
}

type ec2GroupsOutput struct {
	SecurityGroupInfo []ec2Group
	NextToken         *string
}

func (e *Endpoint) describeSecurityGroups(_ context.Context, r request, in *ec2GroupsInput) (*ec2GroupsOutput, error) {
	if len(in.GroupName) > 0 {
		return nil, fail("VPCIdNotSpecified", "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.")
	}
	page, next, err := listing[topology.SecurityGroup]{
		id: func(g topology.SecurityGroup) string { return g.ID }, notFound: "InvalidGroup.NotFound", what: "security group",
		filters: map[string]func(topology.SecurityGroup) []string{
			"group-id": one(func(g topology.SecurityGroup) string { return g.ID }), "group-name": one(func(g topology.SecurityGroup) string { return g.Name }),
			"vpc-id": one(func(g topology.SecurityGroup) string { return g.VPCID }),
			"ip-permission.group-id": func(g topology.SecurityGroup) (list []string) {
				for _, rule := range g.Ingress {
					list = append(list, rule.PeerSecurityGroupID)
				}
				return list
			},
			"ip-permission.cidr": func(g topology.SecurityGroup) (list []string) {
				for _, rule := range g.Ingress {
					list = append(list, rule.CIDR)
				}
				return list
			},
		},
	}.find(e.groupsIn(r.region), in.GroupId, in.ec2Query)
	if err != nil {
		return nil, err
	}
	out := &ec2GroupsOutput{SecurityGroupInfo: []ec2Group{}, NextToken: next}
	for _, g := range page {
		account := e.options.Topology.AccountID
		out.SecurityGroupInfo = append(out.SecurityGroupInfo, ec2Group{
			// Descriptions are in no topology; AWS wants one, so the name stands for it.
			OwnerId: account, GroupId: g.ID, GroupName: g.Name, GroupDescription: g.Name, VpcId: g.VPCID,
			IpPermissions: permissions(g.Ingress, account), IpPermissionsEgress: permissions(g.Egress, account),
		})
	}
	return out, nil
}

func (e *Endpoint) groupsIn(region string) []topology.SecurityGroup {
	n, _ := e.options.Networks.Network()
	return inRegionOf(n.Groups, region, func(g topology.SecurityGroup) string { return g.Region })
}

// permissions gathers rules of the same protocol and ports, as EC2 shows them.
func permissions(rules []topology.SecurityGroupRule, account string) []ec2PermissionView {
	out := []ec2PermissionView{}
	index := map[string]int{}
	for _, r := range rules {
		key := fmt.Sprintf("%s/%d/%d", r.Protocol, r.FromPort, r.ToPort)
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			p := ec2PermissionView{IpProtocol: r.Protocol, Groups: []ec2Pair{}, IpRanges: []ec2Range{}, Ipv6Ranges: []ec2Range{}, PrefixListIds: []ec2ListID{}}
			p.FromPort, p.ToPort = portRange(r)
			out = append(out, p)
		}
		switch {
		case r.CIDR != "":
			out[i].IpRanges = append(out[i].IpRanges, ec2Range{CidrIp: r.CIDR})
		case r.PeerSecurityGroupID != "":
			out[i].Groups = append(out[i].Groups, ec2Pair{UserId: account, GroupId: r.PeerSecurityGroupID})
		default:
			out[i].PrefixListIds = append(out[i].PrefixListIds, ec2ListID{PrefixListId: r.PrefixListID})
		}
	}
	return out
}

// portRange is a rule's ports; a rule for every protocol has none.
func portRange(r topology.SecurityGroupRule) (from, to *int32) {
	if r.Protocol == "-1" {
		return nil, nil
	}
	low, high := int32(r.FromPort), int32(r.ToPort)
	return &low, &high
}

type ec2RulesInput struct {
	ec2Query
	SecurityGroupRuleId []string
}

type ec2ReferencedGroup struct{ GroupId, UserId string }

type ec2Rule struct {
	SecurityGroupRuleId, GroupId, GroupOwnerId string
	IsEgress                                   bool
	IpProtocol                                 string
	FromPort, ToPort                           int32
	CidrIpv4, PrefixListId                     *string
	ReferencedGroupInfo                        *ec2ReferencedGroup
}

type ec2RulesOutput struct {
	SecurityGroupRuleSet []ec2Rule
	NextToken            *string
}

func (e *Endpoint) describeSecurityGroupRules(_ context.Context, r request, in *ec2RulesInput) (*ec2RulesOutput, error) {
	var all []ec2Rule
	for _, g := range e.groupsIn(r.region) {
		all = append(all, e.rules(g.ID, false, g.Ingress)...)
		all = append(all, e.rules(g.ID, true, g.Egress)...)
	}
	page, next, err := listing[ec2Rule]{
		id: func(r ec2Rule) string { return r.SecurityGroupRuleId }, notFound: "InvalidSecurityGroupRuleId.NotFound", what: "security group rule ID",
		filters: map[string]func(ec2Rule) []string{
			"group-id":               one(func(r ec2Rule) string { return r.GroupId }),
			"security-group-rule-id": one(func(r ec2Rule) string { return r.SecurityGroupRuleId }),
		},
	}.find(all, in.SecurityGroupRuleId, in.ec2Query)
	return &ec2RulesOutput{SecurityGroupRuleSet: notNil(page), NextToken: next}, err
}

func (e *Endpoint) rules(group string, egress bool, rules []topology.SecurityGroupRule) []ec2Rule {
	out := []ec2Rule{}
	account := e.options.Topology.AccountID
	for _, r := range rules {
		view := ec2Rule{
			SecurityGroupRuleId: r.ID, GroupId: group, GroupOwnerId: account, IsEgress: egress, IpProtocol: r.Protocol,
			FromPort: int32(r.FromPort), ToPort: int32(r.ToPort), CidrIpv4: optional(r.CIDR), PrefixListId: optional(r.PrefixListID),
		}
		if r.Protocol == "-1" {
			view.FromPort, view.ToPort = -1, -1
		}
		if r.PeerSecurityGroupID != "" {
			view.ReferencedGroupInfo = &ec2ReferencedGroup{GroupId: r.PeerSecurityGroupID, UserId: account}
		}
		out = append(out, view)
	}
	return out
}

type ec2ChangeInput struct {
	GroupId             string
	GroupName           string
	IpPermissions       []ec2Permission
	SecurityGroupRuleId []string
	// The older way of naming one rule.
	IpProtocol       string
	FromPort, ToPort *int32
	CidrIp           string
	DryRun           bool
}

type ec2AuthorizeOutput struct {
	Return               bool
	SecurityGroupRuleSet []ec2Rule
}

type ec2RevokeOutput struct {
	Return                      bool
	RevokedSecurityGroupRuleSet []ec2Rule
}

func (e *Endpoint) authorize(ingress bool) func(context.Context, request, *ec2ChangeInput) (*ec2AuthorizeOutput, error) {
	return func(_ context.Context, r request, in *ec2ChangeInput) (*ec2AuthorizeOutput, error) {
		rules, err := in.rules()
		if err == nil && len(rules) == 0 {
			err = mustContain("ipPermissions")
		}
		if err == nil {
			err = ec2Dry(in.DryRun)
		}
		if err != nil {
			return nil, err
		}
		added, err := e.options.Networks.Authorize(r.region, in.GroupId, ingress, rules)
		return &ec2AuthorizeOutput{true, e.rules(in.GroupId, !ingress, added)}, err
	}
}

func (e *Endpoint) revoke(ingress bool) func(context.Context, request, *ec2ChangeInput) (*ec2RevokeOutput, error) {
	return func(_ context.Context, r request, in *ec2ChangeInput) (*ec2RevokeOutput, error) {
		rules, err := in.rules()
		if err == nil && len(rules)+len(in.SecurityGroupRuleId) == 0 {
			err = mustContain("ipPermissions")
		}
		if err == nil {
			err = ec2Dry(in.DryRun)
		}
		if err != nil {
			return nil, err
		}
		gone, err := e.options.Networks.Revoke(r.region, in.GroupId, ingress, rules, in.SecurityGroupRuleId)
		return &ec2RevokeOutput{true, e.rules(in.GroupId, !ingress, gone)}, err
	}
}

// rules are those that a request names, one for each peer.
func (in *ec2ChangeInput) rules() ([]topology.SecurityGroupRule, error) {
	all := in.IpPermissions
	if in.IpProtocol != "" || in.CidrIp != "" {
		all = append(slices.Clone(all), ec2Permission{
			IpProtocol: in.IpProtocol, FromPort: in.FromPort, ToPort: in.ToPort, IpRanges: []ec2Range{{CidrIp: in.CidrIp}},
		})
	}
	var rules []topology.SecurityGroupRule
	for _, p := range all {
		base, err := p.base()
		if err != nil {
			return nil, err
		}
		before := len(rules)
		for _, x := range p.IpRanges {
			if err := checkCIDR(x.CidrIp); err != nil {
				return nil, err
			}
			rule := base
			rule.CIDR = x.CidrIp
			rules = append(rules, rule)
		}
		for _, x := range p.Groups {
			rule := base
			rule.PeerSecurityGroupID = x.GroupId
			rules = append(rules, rule)
		}
		for _, x := range p.PrefixListIds {
			rule := base
			rule.PrefixListID = x.PrefixListId
			rules = append(rules, rule)
		}
		switch {
		case len(p.Ipv6Ranges) > 0:
			return nil, fail("InvalidParameterValue", "The twin has no IPv6")
		case len(rules) == before:
			return nil, fail("InvalidParameterValue", "A rule names at least one address range, security group or prefix list")
		}
	}
	return rules, nil
}

// maximumPort is TCP's and UDP's.
const maximumPort = 65535

// base is a permission's protocol and ports.
func (p ec2Permission) base() (topology.SecurityGroupRule, error) {
	r := topology.SecurityGroupRule{Protocol: strings.ToLower(p.IpProtocol)}
	switch r.Protocol {
	case "6":
		r.Protocol = "tcp"
	case "17":
		r.Protocol = "udp"
	case "1":
		r.Protocol = "icmp"
	case "tcp", "udp", "icmp":
	case "-1", "all":
		r.Protocol = "-1"
		return r, nil
	default:
		return r, fail("InvalidPermission.Malformed", "Unsupported IP protocol %q", p.IpProtocol)
	}
	if p.FromPort == nil || p.ToPort == nil {
		return r, fail("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
	}
	r.FromPort, r.ToPort = int(*p.FromPort), int(*p.ToPort)
	if r.FromPort == -1 && r.Protocol != "icmp" {
		r.FromPort, r.ToPort = 0, maximumPort
	}
	if r.Protocol != "icmp" && (r.FromPort < 0 || r.ToPort > maximumPort || r.FromPort > r.ToPort) {
		return r, fail("InvalidParameterValue", "Invalid value '%d' for portRange.", r.FromPort)
	}
	return r, nil
}

func checkCIDR(cidr string) error {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil || !prefix.Addr().Is4() {
		return fail("InvalidParameterValue", "CIDR block %s is malformed", cidr)
	}
	return nil
}
