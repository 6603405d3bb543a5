package infratest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestRangesDoNotOverlap(t *testing.T) {
	s := protectedState(t)
	vpcs := s.some(t, "aws_vpc")
	if len(vpcs) != 2 {
		t.Fatalf("%d VPCs, want one per site", len(vpcs))
	}
	ranges := map[string]netip.Prefix{}
	for _, v := range vpcs {
		ranges[v.text("id")] = prefix(t, v, "cidr_block")
	}
	wantDisjoint(t, vpcs)
	subnets := s.some(t, "aws_subnet")
	if len(subnets) != 18 {
		t.Errorf("%d subnets, want three private, three public and three for wardens in each site", len(subnets))
	}
	wantDisjoint(t, subnets)
	for _, subnet := range subnets {
		p, vpc := prefix(t, subnet, "cidr_block"), ranges[subnet.text("vpc_id")]
		if !vpc.Contains(p.Addr()) || p.Bits() < vpc.Bits() {
			t.Errorf("%s: %s is not inside its VPC's %s", subnet.Address, p, vpc)
		}
	}
}

func wantDisjoint(t *testing.T, all []resource) {
	t.Helper()
	for i, a := range all {
		for _, b := range all[i+1:] {
			if prefix(t, a, "cidr_block").Overlaps(prefix(t, b, "cidr_block")) {
				t.Errorf("%s and %s overlap", a.Address, b.Address)
			}
		}
	}
}

func prefix(t *testing.T, r resource, name string) netip.Prefix {
	t.Helper()
	p, err := netip.ParsePrefix(r.text(name))
	if err != nil {
		t.Fatalf("%s: %s: %v", r.Address, name, err)
	}
	return p
}

// rule is a security group rule, whichever way it points.
type rule struct {
	address, group, peer, protocol string
	cidr                           netip.Prefix
	from, to                       int
}

func (r rule) allows(port int) bool {
	return r.protocol == "-1" || r.protocol == "tcp" && r.from <= port && port <= r.to
}

func rules(t *testing.T, s state, kind string) []rule {
	t.Helper()
	var all []rule
	for _, r := range s.some(t, kind) {
		one := rule{
			address: r.Address, group: r.text("security_group_id"), peer: r.text("referenced_security_group_id"),
			protocol: r.text("ip_protocol"), from: r.number("from_port"), to: r.number("to_port"),
		}
		if r.text("cidr_ipv4") != "" {
			one.cidr = prefix(t, r, "cidr_ipv4")
		}
		if r.text("cidr_ipv6") != "" || r.text("prefix_list_id") != "" {
			t.Fatalf("%s: this test knows no IPv6 and no prefix lists: teach it", r.Address)
		}
		all = append(all, one)
	}
	for _, g := range s.of("aws_security_group", "aws_default_security_group") {
		if len(g.list("ingress"))+len(g.list("egress")) > 0 && g.Type == "aws_default_security_group" {
			t.Fatalf("%s has rules", g.Address)
		}
	}
	return all
}

func (r resource) list(name string) []any {
	list, _ := r.Values[name].([]any)
	return list
}

// A range admits whatever has an address in it. So a path is what has both a security group with the right rules and an
// address in the right subnets; a group alone proves nothing across regions, where rules can name ranges only.
func TestOnlyTasksAndWardensReachADatabase(t *testing.T) {
	s := protectedState(t)
	ingress := rules(t, s, "aws_vpc_security_group_ingress_rule")
	egress := rules(t, s, "aws_vpc_security_group_egress_rule")
	places := attachments(t, s)
	for _, cluster := range s.some(t, "aws_rds_cluster") {
		port := cluster.number("port")
		var admitted []string
		for _, from := range places {
			for _, to := range places {
				if to.owner == cluster.Address && reaches(ingress, egress, from, to, port) {
					admitted = append(admitted, strings.TrimPrefix(from.owner, "module."))
				}
			}
		}
		slices.Sort(admitted)
		admitted = slices.Compact(admitted)
		site := cluster.site()
		peer := map[string]string{"primary": "dr", "dr": "primary"}[site]
		want := []string{
			"ecs_" + site + ".aws_ecs_service.app",
			"warden_" + site + ".aws_ecs_service.this",
			// The wardens of the other site read the tail that never reached them (protocol, P20 and P22; ADR 0012).
			"warden_" + peer + ".aws_ecs_service.this",
		}
		slices.Sort(want)
		if !slices.Equal(admitted, want) {
			t.Errorf("port %d of %s is reached from\n%s\nwant\n%s", port, cluster.text("cluster_identifier"), strings.Join(admitted, "\n"), strings.Join(want, "\n"))
		}
	}
}

// attachment is an address range in which something has network interfaces, with the groups that these are in.
type attachment struct {
	owner  string
	groups []string
	subnet netip.Prefix
}

// attachments lists everything in the state that has network interfaces, subnet by subnet.
func attachments(t *testing.T, s state) []attachment {
	t.Helper()
	ranges := map[string]netip.Prefix{}
	for _, subnet := range s.some(t, "aws_subnet") {
		ranges[subnet.text("id")] = prefix(t, subnet, "cidr_block")
	}
	subnetGroups := map[string][]string{}
	for _, g := range s.some(t, "aws_db_subnet_group") {
		subnetGroups[g.Module+g.text("name")] = g.texts("subnet_ids")
	}
	var all []attachment
	owners := map[string]bool{}
	for _, r := range s.resources {
		groups := slices.Concat(r.texts("security_groups"), r.texts("security_group_ids"), r.texts("vpc_security_group_ids"),
			texts(r.block("network_configuration")["security_groups"]))
		subnets := subnetsOf(r)
		switch r.Type {
		case "aws_rds_cluster":
			subnets = subnetGroups[r.Module+r.text("db_subnet_group_name")]
		case "aws_db_subnet_group", "aws_route_table_association", "aws_nat_gateway":
			continue // these have subnets, and nothing in them that opens connections
		}
		if len(groups) == 0 && len(subnets) == 0 {
			continue
		}
		if len(groups) == 0 || len(subnets) == 0 {
			t.Errorf("%s has security groups %v and subnets %v: this test cannot place it", r.Address, groups, subnets)
		}
		for _, id := range subnets {
			all = append(all, attachment{owner: r.Address, groups: groups, subnet: ranges[id]})
			owners[r.Type] = true
		}
	}
	for _, kind := range []string{"aws_ecs_service", "aws_rds_cluster", "aws_lb", "aws_vpc_endpoint", "aws_efs_mount_target"} {
		if !owners[kind] {
			t.Fatalf("no %s has a place in the network: this test looks at less than it says", kind)
		}
	}
	return all
}

func reaches(ingress, egress []rule, from, to attachment, port int) bool {
	sends := slices.ContainsFunc(egress, func(r rule) bool {
		return slices.Contains(from.groups, r.group) && r.allows(port) &&
			(slices.Contains(to.groups, r.peer) || r.cidr.IsValid() && r.cidr.Overlaps(to.subnet))
	})
	accepts := slices.ContainsFunc(ingress, func(r rule) bool {
		return slices.Contains(to.groups, r.group) && r.allows(port) &&
			(slices.Contains(from.groups, r.peer) || r.cidr.IsValid() && r.cidr.Overlaps(from.subnet))
	})
	return sends && accepts
}

// The one range that a database admits must hold the other site's wardens and nothing else, whatever rules other things
// there may have or get: no subnet but theirs overlaps it, and nothing but their service lives in these.
func TestRangesThatADatabaseAdmitsHoldWardensOnly(t *testing.T) {
	s := protectedState(t)
	admitted := 0
	for _, r := range rules(t, s, "aws_vpc_security_group_ingress_rule") {
		if !strings.Contains(r.address, ".database_") || !r.cidr.IsValid() {
			continue
		}
		admitted++
		peer := map[bool]string{true: "dr", false: "primary"}[strings.HasPrefix(r.address, "module.vpc_primary.")]
		for _, subnet := range s.some(t, "aws_subnet") {
			if wardens := subnet.site() == peer && subnet.Name == "warden"; r.cidr.Overlaps(prefix(t, subnet, "cidr_block")) != wardens {
				t.Errorf("%s admits %s; overlaps %s: %v, want %v", r.address, r.cidr, subnet.Address, !wardens, wardens)
			}
		}
		for _, a := range attachments(t, s) {
			if r.cidr.Overlaps(a.subnet) && a.owner != "module.warden_"+peer+".aws_ecs_service.this" {
				t.Errorf("%s admits %s, where %s lives", r.address, r.cidr, a.owner)
			}
		}
	}
	if admitted != 2 {
		t.Errorf("%d rules of databases name a range, want one in each site", admitted)
	}
}

// publicSubnets are the subnets whose route table leads to an internet gateway.
func publicSubnets(t *testing.T, s state) []string {
	t.Helper()
	tables := map[string]bool{}
	for _, r := range s.some(t, "aws_route") {
		if r.text("gateway_id") != "" {
			tables[r.text("route_table_id")] = true
		}
	}
	var ids []string
	for _, a := range s.some(t, "aws_route_table_association") {
		if tables[a.text("route_table_id")] {
			ids = append(ids, a.text("subnet_id"))
		}
	}
	if len(ids) != 6 {
		t.Fatalf("%d public subnets, want three in each site", len(ids))
	}
	return ids
}

func TestNothingButBalancersIsReachableFromTheInternet(t *testing.T) {
	s := protectedState(t)
	balancers := map[string]bool{}
	for _, lb := range s.some(t, "aws_lb") {
		for _, g := range lb.texts("security_groups") {
			balancers[g] = true
		}
	}
	for _, r := range rules(t, s, "aws_vpc_security_group_ingress_rule") {
		private := !r.cidr.IsValid() || r.cidr.Addr().IsPrivate() && r.cidr.Bits() >= 8
		if !private && !balancers[r.group] {
			t.Errorf("%s admits %s", r.address, r.cidr)
		}
		if !private && r.from != 80 && r.from != 443 {
			t.Errorf("%s opens port %d to %s", r.address, r.from, r.cidr)
		}
	}

	public := publicSubnets(t, s)
	for _, r := range s.resources {
		for _, subnet := range subnetsOf(r) {
			if !slices.Contains(public, subnet) {
				continue
			}
			if r.Type != "aws_lb" && r.Type != "aws_nat_gateway" && r.Type != "aws_route_table_association" {
				t.Errorf("%s lives in a public subnet", r.Address)
			}
		}
	}
	for _, r := range s.some(t, "aws_rds_cluster_instance") {
		if r.Values["publicly_accessible"] != false {
			t.Errorf("%s is publicly accessible", r.Address)
		}
	}
	for _, r := range s.some(t, "aws_ecs_service") {
		if r.block("network_configuration")["assign_public_ip"] != false {
			t.Errorf("%s gives its tasks public addresses", r.Address)
		}
		for _, g := range texts(r.block("network_configuration")["security_groups"]) {
			if balancers[g] {
				t.Errorf("%s shares the balancer's security group", r.Address)
			}
		}
	}
}

func subnetsOf(r resource) []string {
	ids := append(r.texts("subnet_ids"), r.texts("subnets")...)
	ids = append(ids, texts(r.block("network_configuration")["subnets"])...)
	if id := r.text("subnet_id"); id != "" {
		ids = append(ids, id)
	}
	return ids
}

// A private subnet leads out through NAT, into the other site through the peering connection, and nowhere else.
func TestPrivateRoutes(t *testing.T) {
	s := protectedState(t)
	public := publicSubnets(t, s)
	cidrs := map[string]string{}
	for _, v := range s.some(t, "aws_vpc") {
		cidrs[v.text("id")] = v.text("cidr_block")
	}
	vpcOf := map[string]string{}
	for _, table := range s.some(t, "aws_route_table") {
		vpcOf[table.text("id")] = table.text("vpc_id")
	}
	private := map[string]bool{}
	for _, a := range s.some(t, "aws_route_table_association") {
		if !slices.Contains(public, a.text("subnet_id")) {
			private[a.text("route_table_id")] = true
		}
	}
	if len(private) != 6 {
		t.Fatalf("%d private route tables, want one per zone and site", len(private))
	}
	for table := range private {
		var peerCIDR string
		for vpc, cidr := range cidrs {
			if vpc != vpcOf[table] {
				peerCIDR = cidr
			}
		}
		var got []string
		for _, r := range s.of("aws_route") {
			if r.text("route_table_id") == table {
				got = append(got, routeTarget(r))
			}
		}
		slices.Sort(got)
		if want := []string{"0.0.0.0/0 nat", peerCIDR + " peering"}; !slices.Equal(got, want) {
			t.Errorf("route table %s of %s has %v, want %v", table, vpcOf[table], got, want)
		}
	}
}

func routeTarget(r resource) string {
	kind := "unknown"
	switch {
	case r.text("nat_gateway_id") != "":
		kind = "nat"
	case r.text("vpc_peering_connection_id") != "":
		kind = "peering"
	case r.text("gateway_id") != "":
		kind = "internet"
	}
	return fmt.Sprintf("%s %s", r.text("destination_cidr_block"), kind)
}
