package topology

import (
	"cmp"
	"slices"
)

// prefixListType is read as a data source too: that is how a configuration gets at AWS's own lists.
const prefixListType = "aws_ec2_managed_prefix_list"

func (p *parser) readPrefixLists() {
	for _, r := range p.byType[prefixListType] {
		list := PrefixList{ID: r.text("id"), Name: r.optional("name")}
		for _, b := range append(r.blocks("entries"), r.blocks("entry")...) {
			list.CIDRs = append(list.CIDRs, b.text("cidr"))
		}
		slices.Sort(list.CIDRs)
		if !slices.ContainsFunc(p.t.PrefixLists, func(other PrefixList) bool { return other.ID == list.ID }) {
			p.t.PrefixLists = append(p.t.PrefixLists, list)
		}
	}
}

// readSecurityGroups reads groups with their rules, whether inline or as resources of their own. IPv6 rules are left
// out: the twin's addresses are IPv4.
func (p *parser) readSecurityGroups() {
	p.readPrefixLists()
	groups := map[string]*SecurityGroup{}
	for _, r := range p.byType["aws_security_group"] {
		g := &SecurityGroup{ID: r.text("id"), Name: r.text("name"), VPCID: r.text("vpc_id")}
		_, g.Region = r.home("arn")
		p.define(kindSecurityGroup, g.ID, r.object)
		p.want(kindVPC, g.VPCID, r.object, "vpc_id")
		for _, b := range r.blocks("ingress") {
			g.Ingress = append(g.Ingress, p.inlineRules(b, g.ID, "security_groups")...)
		}
		for _, b := range r.blocks("egress") {
			g.Egress = append(g.Egress, p.inlineRules(b, g.ID, "security_groups")...)
		}
		groups[g.ID] = g
	}
	p.readSeparateRules(groups)
	for _, g := range groups {
		g.Ingress, g.Egress = orderRules(g.Ingress), orderRules(g.Egress)
		p.t.SecurityGroups = append(p.t.SecurityGroups, *g)
	}
}

func (p *parser) readSeparateRules(groups map[string]*SecurityGroup) {
	add := func(r *resource, ingress bool, rules ...SecurityGroupRule) {
		id := r.text("security_group_id")
		p.want(kindSecurityGroup, id, r.object, "security_group_id")
		g := groups[id]
		switch {
		case g == nil:
		case ingress:
			g.Ingress = append(g.Ingress, rules...)
		default:
			g.Egress = append(g.Egress, rules...)
		}
	}
	for _, r := range p.byType["aws_vpc_security_group_ingress_rule"] {
		add(r, true, p.singleRule(r)...)
	}
	for _, r := range p.byType["aws_vpc_security_group_egress_rule"] {
		add(r, false, p.singleRule(r)...)
	}
	for _, r := range p.byType["aws_security_group_rule"] {
		direction := r.text("type")
		if direction != "ingress" && direction != "egress" {
			r.problem("type", "is neither ingress nor egress", "correct it in the Terraform")
		}
		rules := p.inlineRules(r.object, r.optional("security_group_id"), "source_security_group_id")
		add(r, direction == "ingress", rules...)
	}
}

// inlineRules reads a rule with many peers, one rule for each.
func (p *parser) inlineRules(o object, self, peersField string) []SecurityGroupRule {
	base, ok := ruleBase(o, "protocol")
	if !ok {
		return nil
	}
	var rules []SecurityGroupRule
	with := func(set func(*SecurityGroupRule)) {
		rule := base
		set(&rule)
		rules = append(rules, rule)
	}
	for _, cidr := range o.texts("cidr_blocks") {
		with(func(r *SecurityGroupRule) { r.CIDR = cidr })
	}
	for _, id := range o.texts("prefix_list_ids") {
		with(func(r *SecurityGroupRule) { r.PrefixListID = id })
	}
	var peers []string
	if _, single := o.fields[peersField].(string); single {
		peers = []string{o.optional(peersField)}
	} else {
		peers = o.texts(peersField)
	}
	if o.truth("self") {
		peers = append(peers, self)
	}
	for _, id := range peers {
		p.want(kindSecurityGroup, id, o, peersField)
		with(func(r *SecurityGroupRule) { r.PeerSecurityGroupID = id })
	}
	if len(rules) == 0 && len(o.texts("ipv6_cidr_blocks")) == 0 {
		o.problem("cidr_blocks", "and the other peers are all empty", "name the rule's peer")
	}
	return rules
}

// singleRule reads a rule with exactly one peer.
func (p *parser) singleRule(r *resource) []SecurityGroupRule {
	rule, ok := ruleBase(r.object, "ip_protocol")
	if !ok {
		return nil
	}
	rule.ID = r.optional("security_group_rule_id")
	rule.CIDR = r.optional("cidr_ipv4")
	rule.PeerSecurityGroupID = r.optional("referenced_security_group_id")
	rule.PrefixListID = r.optional("prefix_list_id")
	p.want(kindSecurityGroup, rule.PeerSecurityGroupID, r.object, "referenced_security_group_id")
	switch {
	case rule.CIDR != "":
		r.prefix("cidr_ipv4")
	case rule.PeerSecurityGroupID == "" && rule.PrefixListID == "":
		if r.optional("cidr_ipv6") == "" {
			r.problem("cidr_ipv4", "and the other peers are all empty", "name the rule's peer")
		}
		return nil
	}
	return []SecurityGroupRule{rule}
}

// ruleBase reads protocol and ports. Ports mean nothing, and may be missing, when the protocol is -1.
func ruleBase(o object, protocolField string) (SecurityGroupRule, bool) {
	rule := SecurityGroupRule{Protocol: o.text(protocolField)}
	switch rule.Protocol {
	case "-1", "all":
		rule.Protocol = "-1"
		return rule, true
	case "6":
		rule.Protocol = "tcp"
	case "17":
		rule.Protocol = "udp"
	case "1":
		rule.Protocol = "icmp"
	case "tcp", "udp", "icmp":
	case "icmpv6", "58":
		return rule, false
	default:
		o.problem(protocolField, "is not understood", "use tcp, udp, icmp or -1")
		return rule, false
	}
	rule.FromPort = o.integer("from_port", -1, 65535)
	rule.ToPort = o.integer("to_port", -1, 65535)
	return rule, true
}

// orderRules sorts and drops repetitions: a refreshed state shows separate rules in their group as well. Of two that say
// the same, the one with an identifier stays.
func orderRules(rules []SecurityGroupRule) []SecurityGroupRule {
	slices.SortFunc(rules, func(a, b SecurityGroupRule) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.FromPort, b.FromPort), cmp.Compare(a.ToPort, b.ToPort),
			cmp.Compare(a.CIDR, b.CIDR), cmp.Compare(a.PeerSecurityGroupID, b.PeerSecurityGroupID), cmp.Compare(a.PrefixListID, b.PrefixListID), cmp.Compare(b.ID, a.ID))
	})
	return slices.CompactFunc(rules, func(a, b SecurityGroupRule) bool {
		a.ID, b.ID = "", ""
		return a == b
	})
}
