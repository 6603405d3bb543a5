package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"holdfast/internal/topology"
)

// allows asks the security groups of one end of a way.
func (n Network) allows(w way, inbound bool, protocol string, port int) Verdict {
	own, other, address, list := w.source, w.destination, w.asked, w.list
	if inbound {
		own, other, address, list = w.destination, w.source, w.seen, ""
	}
	if own == nil {
		return Verdict{OK: true, Via: w.via}
	}
	var peers []string
	if w.groups && other != nil {
		peers = other.SecurityGroupIDs
	}
	if len(own.SecurityGroupIDs) == 0 { // the VPC's default group: everything out, its own members in
		if !inbound || w.groups && other != nil && len(peers) == 0 {
			return Verdict{OK: true, Via: w.via}
		}
		return refuse("the default security group allows %s %d from its own members only", protocol, port)
	}
	for _, id := range own.SecurityGroupIDs {
		i := slices.IndexFunc(n.Groups, func(g topology.SecurityGroup) bool { return g.ID == id })
		if i < 0 {
			continue
		}
		rules := n.Groups[i].Egress
		if inbound {
			rules = n.Groups[i].Ingress
		}
		for _, r := range rules {
			if n.matches(r, protocol, port, address, peers, list) {
				return Verdict{OK: true, Via: w.via}
			}
		}
	}
	direction := "outbound rule of %s allows %s to %s"
	if inbound {
		direction = "inbound rule of %s allows %s from %s"
	}
	return refuse("no "+direction, n.names(own.SecurityGroupIDs), portWords(protocol, port), n.peerWords(address, peers, list))
}

// matches says whether a rule covers a connection: its protocol and port, and one of its peer's names.
func (n Network) matches(r topology.SecurityGroupRule, protocol string, port int, address netip.Addr, peers []string, list string) bool {
	if r.Protocol != "-1" {
		if r.Protocol != protocol || protocol != "icmp" && (port < r.FromPort || port > r.ToPort) {
			return false
		}
	}
	switch {
	case r.CIDR != "":
		prefix, err := netip.ParsePrefix(r.CIDR)
		return err == nil && prefix.Contains(address)
	case r.PeerSecurityGroupID != "":
		return slices.Contains(peers, r.PeerSecurityGroupID)
	default:
		return list != "" && r.PrefixListID == list || n.listed(r.PrefixListID, address)
	}
}

// listed says whether a prefix list has an address.
func (n Network) listed(id string, address netip.Addr) bool {
	i := slices.IndexFunc(n.Lists, func(l topology.PrefixList) bool { return l.ID == id })
	return i >= 0 && slices.ContainsFunc(n.Lists[i].CIDRs, func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		return err == nil && prefix.Contains(address)
	})
}

func portWords(protocol string, port int) string {
	if protocol == "icmp" {
		return protocol
	}
	return fmt.Sprintf("%s %d", protocol, port)
}

func (n Network) peerWords(address netip.Addr, peers []string, list string) string {
	switch {
	case len(peers) > 0:
		return n.names(peers) + " at " + address.String()
	case list != "":
		return list + " at " + address.String()
	}
	return address.String()
}

// names lists groups with the names that people gave them.
func (n Network) names(ids []string) string {
	var list []string
	for _, id := range ids {
		if i := slices.IndexFunc(n.Groups, func(g topology.SecurityGroup) bool { return g.ID == id }); i >= 0 && n.Groups[i].Name != "" {
			id += " (" + n.Groups[i].Name + ")"
		}
		list = append(list, id)
	}
	return strings.Join(list, ", ")
}
