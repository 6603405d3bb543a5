package topology

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// readNetworks reads VPCs, subnets, route tables and what routes lead to. IPv6 routes are left out: the twin's
// addresses are IPv4.
func (p *parser) readNetworks() {
	byID := map[string]*Network{}
	for _, r := range p.byType["aws_vpc"] {
		n := &Network{ID: r.text("id"), CIDR: r.prefix("cidr_block")}
		_, n.Region = r.home("arn")
		p.define(kindVPC, n.ID, r.object)
		byID[n.ID] = n
	}
	p.readGateways()
	for _, r := range p.byType["aws_subnet"] {
		s := Subnet{ID: r.text("id"), CIDR: r.prefix("cidr_block"), AvailabilityZone: r.text("availability_zone")}
		p.define(kindSubnet, s.ID, r.object)
		if n := p.network(byID, r.object); n != nil {
			n.Subnets = append(n.Subnets, s)
		}
	}
	p.readRouteTables(byID)
	p.readWaysOut(byID)
	for _, n := range byID {
		markPublic(n)
		p.t.Networks = append(p.t.Networks, *n)
	}
}

// readWaysOut reads VPC endpoints and NAT gateways.
func (p *parser) readWaysOut(byID map[string]*Network) {
	for _, r := range p.byType["aws_vpc_endpoint"] {
		n := p.network(byID, r.object)
		if n == nil {
			continue
		}
		e := VPCEndpoint{
			ID: r.text("id"), Service: r.text("service_name"), Kind: cmp.Or(r.optional("vpc_endpoint_type"), "Gateway"),
			SubnetIDs: slices.Sorted(slices.Values(r.texts("subnet_ids"))), PrivateDNS: r.truth("private_dns_enabled"),
			SecurityGroupIDs: slices.Sorted(slices.Values(r.texts("security_group_ids"))),
			RouteTableIDs:    slices.Sorted(slices.Values(r.texts("route_table_ids"))), PrefixListID: r.optional("prefix_list_id"),
		}
		// Services of others have no such prefix, and nobody here asks for them.
		e.Service = strings.TrimPrefix(e.Service, "com.amazonaws."+n.Region+".")
		p.wantAll(kindSubnet, e.SubnetIDs, r.object, "subnet_ids")
		p.wantAll(kindSecurityGroup, e.SecurityGroupIDs, r.object, "security_group_ids")
		p.wantAll(kindRouteTable, e.RouteTableIDs, r.object, "route_table_ids")
		n.Endpoints = append(n.Endpoints, e)
	}
	// The associations may be resources of their own, or seen by the endpoint only after a refresh.
	for _, r := range p.byType["aws_vpc_endpoint_route_table_association"] {
		id, table := r.text("vpc_endpoint_id"), r.text("route_table_id")
		p.want(kindVPCEndpoint, id, r.object, "vpc_endpoint_id")
		p.want(kindRouteTable, table, r.object, "route_table_id")
		for _, n := range byID {
			for i := range n.Endpoints {
				if e := &n.Endpoints[i]; e.ID == id && !slices.Contains(e.RouteTableIDs, table) {
					e.RouteTableIDs = append(e.RouteTableIDs, table)
					slices.Sort(e.RouteTableIDs)
				}
			}
		}
	}
	for _, r := range p.byType["aws_nat_gateway"] {
		gateway := NATGateway{ID: r.text("id"), SubnetID: r.text("subnet_id")}
		if ip, err := netip.ParseAddr(r.optional("public_ip")); err == nil && ip.Is4() {
			gateway.PublicIP = ip.String()
		}
		for _, n := range byID {
			if slices.ContainsFunc(n.Subnets, func(s Subnet) bool { return s.ID == gateway.SubnetID }) {
				n.NATGateways = append(n.NATGateways, gateway)
			}
		}
	}
}

// network is the VPC that the object's vpc_id names, nil (and reported) if there is none.
func (p *parser) network(byID map[string]*Network, o object) *Network {
	id := o.text("vpc_id")
	p.want(kindVPC, id, o, "vpc_id")
	return byID[id]
}

// prefix is a field that holds an IPv4 prefix.
func (o object) prefix(field string) string {
	s := o.text(field)
	if s == "" {
		return ""
	}
	if prefix, err := netip.ParsePrefix(s); err != nil || !prefix.Addr().Is4() {
		o.problem(field, "is not an IPv4 prefix such as 10.0.0.0/16", "correct it in the Terraform")
	}
	return s
}

func (p *parser) readGateways() {
	for _, k := range []kind{kindInternetGateway, kindNATGateway, kindPeering, kindVPCEndpoint} {
		for _, r := range p.byType[k.typ] {
			p.define(k, r.text("id"), r.object)
		}
	}
	for _, r := range p.byType["aws_nat_gateway"] {
		p.want(kindSubnet, r.text("subnet_id"), r.object, "subnet_id")
	}
	for _, r := range p.byType["aws_vpc_peering_connection"] {
		c := Peering{ID: r.text("id"), VPCID: r.text("vpc_id"), PeerVPCID: r.text("peer_vpc_id")}
		p.want(kindVPC, c.VPCID, r.object, "vpc_id")
		p.want(kindVPC, c.PeerVPCID, r.object, "peer_vpc_id")
		p.t.Peerings = append(p.t.Peerings, c)
	}
}

func (p *parser) readRouteTables(byID map[string]*Network) {
	tables := map[string]*RouteTable{}
	owner := map[string]*Network{}
	var order []string
	for _, r := range p.byType["aws_route_table"] {
		n := p.network(byID, r.object)
		table := &RouteTable{ID: r.text("id")}
		p.define(kindRouteTable, table.ID, r.object)
		if n == nil || table.ID == "" {
			continue
		}
		// Every table has this route; neither AWS nor Terraform lets anybody leave it out.
		table.Routes = []Route{{DestinationCIDR: n.CIDR, TargetKind: "local", TargetID: "local"}}
		for _, route := range r.blocks("route") {
			p.readRoute(table, route, "cidr_block")
		}
		tables[table.ID], owner[table.ID] = table, n
		order = append(order, table.ID)
	}
	for _, r := range p.byType["aws_route"] {
		id := r.text("route_table_id")
		p.want(kindRouteTable, id, r.object, "route_table_id")
		if table := tables[id]; table != nil {
			p.readRoute(table, r.object, "destination_cidr_block")
		}
	}
	for _, r := range p.byType["aws_route_table_association"] {
		id, subnet := r.text("route_table_id"), r.optional("subnet_id")
		p.want(kindRouteTable, id, r.object, "route_table_id")
		p.want(kindSubnet, subnet, r.object, "subnet_id")
		if table := tables[id]; table != nil && subnet != "" {
			table.SubnetIDs = append(table.SubnetIDs, subnet)
		}
	}
	for _, id := range order {
		table := tables[id]
		slices.Sort(table.SubnetIDs)
		sortBy(table.Routes, func(r Route) string { return r.DestinationCIDR + " " + r.TargetKind + " " + r.TargetID })
		table.Routes = slices.Compact(table.Routes)
		owner[id].Routes = append(owner[id].Routes, *table)
	}
}

// readRoute adds a route. A state that was refreshed shows routes of aws_route resources in their table too.
func (p *parser) readRoute(table *RouteTable, o object, destination string) {
	cidr := o.optional(destination)
	if cidr == "" {
		// A route to a prefix list (a gateway endpoint's) or to IPv6.
		return
	}
	o.prefix(destination)
	route := Route{DestinationCIDR: cidr}
	gateway := o.optional("gateway_id")
	switch {
	case gateway == "local":
		route.TargetKind, route.TargetID = "local", "local"
	case gateway != "":
		route.TargetKind, route.TargetID = "igw", gateway
		p.want(kindInternetGateway, gateway, o, "gateway_id")
	case o.optional("nat_gateway_id") != "":
		route.TargetKind, route.TargetID = "nat", o.optional("nat_gateway_id")
		p.want(kindNATGateway, route.TargetID, o, "nat_gateway_id")
	case o.optional("vpc_peering_connection_id") != "":
		route.TargetKind, route.TargetID = "pcx", o.optional("vpc_peering_connection_id")
		p.want(kindPeering, route.TargetID, o, "vpc_peering_connection_id")
	case o.optional("vpc_endpoint_id") != "":
		route.TargetKind, route.TargetID = "vpce", o.optional("vpc_endpoint_id")
		p.want(kindVPCEndpoint, route.TargetID, o, "vpc_endpoint_id")
	default:
		o.problem(destination, "leads to a target that is not understood",
			"route it to an internet gateway, a NAT gateway, a peering connection or a VPC endpoint")
		return
	}
	table.Routes = append(table.Routes, route)
}

// markPublic marks the subnets whose table leads to an internet gateway, which is what makes a subnet public.
func markPublic(n *Network) {
	for _, table := range n.Routes {
		if !slices.ContainsFunc(table.Routes, func(r Route) bool { return r.TargetKind == "igw" }) {
			continue
		}
		for i := range n.Subnets {
			if slices.Contains(table.SubnetIDs, n.Subnets[i].ID) {
				n.Subnets[i].Public = true
			}
		}
	}
}
