package vpc

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/reach"
	"holdfast/internal/topology"
)

// identified gives rules without an identifier one of their own, always the same one for the same rule.
func identified(group string, ingress bool, rules []topology.SecurityGroupRule) []topology.SecurityGroupRule {
	rules = slices.Clone(rules)
	for i, r := range rules {
		if r.ID == "" {
			sum := sha256.Sum256(fmt.Appendf(nil, "%s %v %+v", group, ingress, r))
			rules[i].ID = "sgr-0" + hex.EncodeToString(sum[:8])
		}
	}
	return rules
}

// same says whether two rules allow the same.
func same(a, b topology.SecurityGroupRule) bool {
	a.ID, b.ID = "", ""
	if a.Protocol == "-1" && b.Protocol == "-1" { // ports mean nothing then
		a.FromPort, a.ToPort, b.FromPort, b.ToPort = 0, 0, 0, 0
	}
	return a == b
}

// describe is a rule as EC2's errors show it.
func describe(r topology.SecurityGroupRule) string {
	peer := cmp.Or(r.CIDR, r.PeerSecurityGroupID, r.PrefixListID)
	if r.Protocol == "-1" {
		return fmt.Sprintf("peer: %s, ALL, ALLOW", peer)
	}
	return fmt.Sprintf("peer: %s, %s, from port: %d, to port: %d, ALLOW", peer, strings.ToUpper(r.Protocol), r.FromPort, r.ToPort)
}

func group(n *reach.Network, region, id string) (*topology.SecurityGroup, error) {
	for i := range n.Groups {
		if n.Groups[i].ID == id && n.Groups[i].Region == region {
			return &n.Groups[i], nil
		}
	}
	return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", id)
}

func direction(g *topology.SecurityGroup, ingress bool) *[]topology.SecurityGroupRule {
	if ingress {
		return &g.Ingress
	}
	return &g.Egress
}

// Authorize adds rules to a group, all or none, and returns them with their identifiers. Errors are of type [*Error].
func (v *VPC) Authorize(region, groupID string, ingress bool, rules []topology.SecurityGroupRule) ([]topology.SecurityGroupRule, error) {
	rules = identified(groupID, ingress, rules)
	err := v.change(func(n *reach.Network) error {
		g, err := group(n, region, groupID)
		if err != nil {
			return err
		}
		list := direction(g, ingress)
		added := slices.Clone(*list)
		for _, r := range rules {
			if r.PeerSecurityGroupID != "" && !slices.ContainsFunc(n.Groups, func(other topology.SecurityGroup) bool {
				return other.ID == r.PeerSecurityGroupID && other.Region == region
			}) {
				return refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", r.PeerSecurityGroupID)
			}
			if slices.ContainsFunc(added, func(other topology.SecurityGroupRule) bool { return same(r, other) }) {
				return refuse("InvalidPermission.Duplicate", "the specified rule %q already exists", describe(r))
			}
			added = append(added, r)
		}
		*list = added
		return nil
	})
	return rules, err
}

// Revoke takes rules out of a group, by what they say and by their identifiers, all or none, and returns those that are
// gone. Errors are of type [*Error].
func (v *VPC) Revoke(region, groupID string, ingress bool, rules []topology.SecurityGroupRule, ids []string) ([]topology.SecurityGroupRule, error) {
	var gone []topology.SecurityGroupRule
	err := v.change(func(n *reach.Network) error {
		g, err := group(n, region, groupID)
		if err != nil {
			return err
		}
		list := direction(g, ingress)
		left := slices.Clone(*list)
		take := func(which func(topology.SecurityGroupRule) bool) bool {
			i := slices.IndexFunc(left, which)
			if i >= 0 {
				gone = append(gone, left[i])
				left = slices.Delete(left, i, i+1)
			}
			return i >= 0
		}
		for _, id := range ids {
			if !take(func(r topology.SecurityGroupRule) bool { return r.ID == id }) {
				return refuse("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", id)
			}
		}
		for _, want := range rules {
			if !take(func(r topology.SecurityGroupRule) bool { return same(r, want) }) {
				return refuse("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}
		}
		*list = left
		return nil
	})
	return gone, err
}
