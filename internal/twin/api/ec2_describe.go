package api

import (
	"context"
	"maps"
	"slices"
	"strings"

	"holdfast/internal/topology"
)

type ec2VpcsInput struct {
	ec2Query
	VpcId []string
}

type ec2Vpc struct {
	VpcId, OwnerId, State, CidrBlock string
	IsDefault                        bool
	CidrBlockAssociationSet          []ec2CidrAssociation
}

type ec2CidrAssociation struct {
	CidrBlock      string
	CidrBlockState struct{ State string }
}

type ec2VpcsOutput struct {
	VpcSet    []ec2Vpc
	NextToken *string
}

func (e *Endpoint) describeVpcs(_ context.Context, r request, in *ec2VpcsInput) (*ec2VpcsOutput, error) {
	all, _ := e.networksIn(r.region)
	page, next, err := listing[topology.Network]{
		id: func(n topology.Network) string { return n.ID }, notFound: "InvalidVpcID.NotFound", what: "vpc ID",
		filters: map[string]func(topology.Network) []string{
			"vpc-id": one(func(n topology.Network) string { return n.ID }), "cidr": one(func(n topology.Network) string { return n.CIDR }),
			"cidr-block": one(func(n topology.Network) string { return n.CIDR }), "is-default": one(func(topology.Network) string { return "false" }),
			"state": one(func(topology.Network) string { return "available" }),
		},
	}.find(all, in.VpcId, in.ec2Query)
	if err != nil {
		return nil, err
	}
	out := &ec2VpcsOutput{VpcSet: []ec2Vpc{}, NextToken: next}
	for _, n := range page {
		v := ec2Vpc{VpcId: n.ID, OwnerId: e.options.Topology.AccountID, State: "available", CidrBlock: n.CIDR}
		association := ec2CidrAssociation{CidrBlock: n.CIDR}
		association.CidrBlockState.State = "associated"
		v.CidrBlockAssociationSet = []ec2CidrAssociation{association}
		out.VpcSet = append(out.VpcSet, v)
	}
	return out, nil
}

type ec2SubnetsInput struct {
	ec2Query
	SubnetId []string
}

type ec2Subnet struct {
	SubnetId, SubnetArn, OwnerId, State, VpcId, CidrBlock, AvailabilityZone string
	DefaultForAz, MapPublicIpOnLaunch                                       bool
}

type ec2SubnetsOutput struct {
	SubnetSet []ec2Subnet
	NextToken *string
}

func (e *Endpoint) describeSubnets(_ context.Context, r request, in *ec2SubnetsInput) (*ec2SubnetsOutput, error) {
	networks, _ := e.networksIn(r.region)
	account := e.options.Topology.AccountID
	var all []ec2Subnet
	for _, n := range networks {
		for _, s := range n.Subnets {
			all = append(all, ec2Subnet{
				SubnetId: s.ID, SubnetArn: "arn:aws:ec2:" + r.region + ":" + account + ":subnet/" + s.ID, OwnerId: account, State: "available",
				VpcId: n.ID, CidrBlock: s.CIDR, AvailabilityZone: s.AvailabilityZone,
			})
		}
	}
	page, next, err := listing[ec2Subnet]{
		id: func(s ec2Subnet) string { return s.SubnetId }, notFound: "InvalidSubnetID.NotFound", what: "subnet ID",
		filters: map[string]func(ec2Subnet) []string{
			"subnet-id": one(func(s ec2Subnet) string { return s.SubnetId }), "vpc-id": one(func(s ec2Subnet) string { return s.VpcId }),
			"availability-zone": one(func(s ec2Subnet) string { return s.AvailabilityZone }), "cidr-block": one(func(s ec2Subnet) string { return s.CidrBlock }),
			"state": one(func(s ec2Subnet) string { return s.State }),
		},
	}.find(all, in.SubnetId, in.ec2Query)
	return &ec2SubnetsOutput{SubnetSet: notNil(page), NextToken: next}, err
}

// notNil makes an empty list an empty element instead of none.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

type ec2RouteTablesInput struct {
	ec2Query
	RouteTableId []string
}

type ec2Route struct {
	DestinationCidrBlock, DestinationPrefixListId   string
	GatewayId, NatGatewayId, VpcPeeringConnectionId string
	State, Origin                                   string
}

type ec2Association struct {
	RouteTableAssociationId, RouteTableId, SubnetId string
	Main                                            bool
	AssociationState                                struct{ State string }
}

type ec2RouteTable struct {
	RouteTableId, VpcId, OwnerId string
	RouteSet                     []ec2Route
	AssociationSet               []ec2Association
}

type ec2RouteTablesOutput struct {
	RouteTableSet []ec2RouteTable
	NextToken     *string
}

func (e *Endpoint) describeRouteTables(_ context.Context, r request, in *ec2RouteTablesInput) (*ec2RouteTablesOutput, error) {
	networks, _ := e.networksIn(r.region)
	var all []ec2RouteTable
	for _, n := range networks {
		for _, t := range n.Routes {
			all = append(all, e.routeTable(n, t))
		}
	}
	routes := func(value func(ec2Route) string) func(ec2RouteTable) []string {
		return func(t ec2RouteTable) (list []string) {
			for _, r := range t.RouteSet {
				list = append(list, value(r))
			}
			return list
		}
	}
	page, next, err := listing[ec2RouteTable]{
		id: func(t ec2RouteTable) string { return t.RouteTableId }, notFound: "InvalidRouteTableID.NotFound", what: "routeTable ID",
		filters: map[string]func(ec2RouteTable) []string{
			"route-table-id": one(func(t ec2RouteTable) string { return t.RouteTableId }), "vpc-id": one(func(t ec2RouteTable) string { return t.VpcId }),
			"association.subnet-id": func(t ec2RouteTable) (list []string) {
				for _, a := range t.AssociationSet {
					list = append(list, a.SubnetId)
				}
				return list
			},
			"route.destination-cidr-block":    routes(func(r ec2Route) string { return r.DestinationCidrBlock }),
			"route.gateway-id":                routes(func(r ec2Route) string { return r.GatewayId }),
			"route.nat-gateway-id":            routes(func(r ec2Route) string { return r.NatGatewayId }),
			"route.vpc-peering-connection-id": routes(func(r ec2Route) string { return r.VpcPeeringConnectionId }),
		},
	}.find(all, in.RouteTableId, in.ec2Query)
	return &ec2RouteTablesOutput{RouteTableSet: notNil(page), NextToken: next}, err
}

func (e *Endpoint) routeTable(n topology.Network, t topology.RouteTable) ec2RouteTable {
	out := ec2RouteTable{RouteTableId: t.ID, VpcId: n.ID, OwnerId: e.options.Topology.AccountID, AssociationSet: []ec2Association{}}
	for _, r := range t.Routes {
		route := ec2Route{DestinationCidrBlock: r.DestinationCIDR, State: "active", Origin: "CreateRoute"}
		switch r.TargetKind {
		case "nat":
			route.NatGatewayId = r.TargetID
		case "pcx":
			route.VpcPeeringConnectionId = r.TargetID
		default:
			route.GatewayId = r.TargetID
			if r.TargetKind == "local" {
				route.Origin = "CreateRouteTable"
			}
		}
		out.RouteSet = append(out.RouteSet, route)
	}
	for _, endpoint := range n.Endpoints { // gateway endpoints put a route of their own into the tables
		if slices.Contains(endpoint.RouteTableIDs, t.ID) {
			out.RouteSet = append(out.RouteSet, ec2Route{
				DestinationPrefixListId: endpoint.PrefixListID, GatewayId: endpoint.ID, State: "active", Origin: "CreateRoute",
			})
		}
	}
	for _, id := range t.SubnetIDs {
		a := ec2Association{RouteTableAssociationId: "rtbassoc-" + strings.TrimPrefix(id, "subnet-"), RouteTableId: t.ID, SubnetId: id}
		a.AssociationState.State = "associated"
		out.AssociationSet = append(out.AssociationSet, a)
	}
	return out
}

type ec2PeeringsInput struct {
	ec2Query
	VpcPeeringConnectionId []string
}

type ec2PeeringVpc struct{ VpcId, OwnerId, CidrBlock, Region string }

type ec2Peering struct {
	VpcPeeringConnectionId            string
	RequesterVpcInfo, AccepterVpcInfo ec2PeeringVpc
	Status                            struct{ Code, Message string }
}

type ec2PeeringsOutput struct {
	VpcPeeringConnectionSet []ec2Peering
	NextToken               *string
}

func (e *Endpoint) describePeerings(_ context.Context, r request, in *ec2PeeringsInput) (*ec2PeeringsOutput, error) {
	_, network := e.networksIn(r.region)
	side := func(id string) ec2PeeringVpc {
		for _, n := range network.VPCs {
			if n.ID == id {
				return ec2PeeringVpc{VpcId: id, OwnerId: e.options.Topology.AccountID, CidrBlock: n.CIDR, Region: n.Region}
			}
		}
		return ec2PeeringVpc{VpcId: id}
	}
	var all []ec2Peering
	for _, p := range network.Peerings {
		view := ec2Peering{VpcPeeringConnectionId: p.ID, RequesterVpcInfo: side(p.VPCID), AccepterVpcInfo: side(p.PeerVPCID)}
		view.Status.Code, view.Status.Message = "active", "Active"
		if view.RequesterVpcInfo.Region == r.region || view.AccepterVpcInfo.Region == r.region {
			all = append(all, view)
		}
	}
	page, next, err := listing[ec2Peering]{
		id: func(p ec2Peering) string { return p.VpcPeeringConnectionId }, notFound: "InvalidVpcPeeringConnectionID.NotFound", what: "vpcPeeringConnection ID",
		filters: map[string]func(ec2Peering) []string{
			"vpc-peering-connection-id": one(func(p ec2Peering) string { return p.VpcPeeringConnectionId }),
			"requester-vpc-info.vpc-id": one(func(p ec2Peering) string { return p.RequesterVpcInfo.VpcId }),
			"accepter-vpc-info.vpc-id":  one(func(p ec2Peering) string { return p.AccepterVpcInfo.VpcId }),
			"status-code":               one(func(p ec2Peering) string { return p.Status.Code }),
		},
	}.find(all, in.VpcPeeringConnectionId, in.ec2Query)
	return &ec2PeeringsOutput{VpcPeeringConnectionSet: notNil(page), NextToken: next}, err
}

type ec2EndpointsInput struct {
	ec2Query
	VpcEndpointId []string
}

type ec2GroupIdentifier struct{ GroupId, GroupName string }

type ec2VpcEndpoint struct {
	VpcEndpointId, VpcEndpointType, VpcId, ServiceName, State, OwnerId string
	PrivateDnsEnabled                                                  bool
	RouteTableIdSet, SubnetIdSet                                       []string
	GroupSet                                                           []ec2GroupIdentifier
}

type ec2EndpointsOutput struct {
	VpcEndpointSet []ec2VpcEndpoint
	NextToken      *string
}

func (e *Endpoint) describeVpcEndpoints(_ context.Context, r request, in *ec2EndpointsInput) (*ec2EndpointsOutput, error) {
	networks, network := e.networksIn(r.region)
	var all []ec2VpcEndpoint
	for _, n := range networks {
		for _, v := range n.Endpoints {
			view := ec2VpcEndpoint{
				VpcEndpointId: v.ID, VpcEndpointType: v.Kind, VpcId: n.ID, ServiceName: "com.amazonaws." + r.region + "." + v.Service, State: "available",
				OwnerId: e.options.Topology.AccountID, PrivateDnsEnabled: v.PrivateDNS, RouteTableIdSet: notNil(v.RouteTableIDs), SubnetIdSet: notNil(v.SubnetIDs),
				GroupSet: []ec2GroupIdentifier{},
			}
			for _, g := range network.Groups {
				if slices.Contains(v.SecurityGroupIDs, g.ID) {
					view.GroupSet = append(view.GroupSet, ec2GroupIdentifier{g.ID, g.Name})
				}
			}
			all = append(all, view)
		}
	}
	page, next, err := listing[ec2VpcEndpoint]{
		id: func(v ec2VpcEndpoint) string { return v.VpcEndpointId }, notFound: "InvalidVpcEndpointId.NotFound", what: "Vpc Endpoint Id",
		filters: map[string]func(ec2VpcEndpoint) []string{
			"vpc-endpoint-id": one(func(v ec2VpcEndpoint) string { return v.VpcEndpointId }), "vpc-id": one(func(v ec2VpcEndpoint) string { return v.VpcId }),
			"service-name": one(func(v ec2VpcEndpoint) string { return v.ServiceName }), "vpc-endpoint-type": one(func(v ec2VpcEndpoint) string { return v.VpcEndpointType }),
		},
	}.find(all, in.VpcEndpointId, in.ec2Query)
	return &ec2EndpointsOutput{VpcEndpointSet: notNil(page), NextToken: next}, err
}

type ec2NatInput struct {
	ec2Query
	NatGatewayId []string
}

type ec2NatAddress struct{ PublicIp string }

type ec2NatGateway struct {
	NatGatewayId, SubnetId, VpcId, State, ConnectivityType string
	NatGatewayAddressSet                                   []ec2NatAddress
}

type ec2NatOutput struct {
	NatGatewaySet []ec2NatGateway
	NextToken     *string
}

func (e *Endpoint) describeNatGateways(_ context.Context, r request, in *ec2NatInput) (*ec2NatOutput, error) {
	networks, _ := e.networksIn(r.region)
	var all []ec2NatGateway
	for _, n := range networks {
		for _, g := range n.NATGateways {
			view := ec2NatGateway{NatGatewayId: g.ID, SubnetId: g.SubnetID, VpcId: n.ID, State: "available", ConnectivityType: "public", NatGatewayAddressSet: []ec2NatAddress{}}
			if g.PublicIP != "" {
				view.NatGatewayAddressSet = append(view.NatGatewayAddressSet, ec2NatAddress{g.PublicIP})
			}
			all = append(all, view)
		}
	}
	page, next, err := listing[ec2NatGateway]{
		id: func(g ec2NatGateway) string { return g.NatGatewayId }, notFound: "NatGatewayNotFound", what: "Nat Gateway",
		filters: map[string]func(ec2NatGateway) []string{
			"nat-gateway-id": one(func(g ec2NatGateway) string { return g.NatGatewayId }), "vpc-id": one(func(g ec2NatGateway) string { return g.VpcId }),
			"subnet-id": one(func(g ec2NatGateway) string { return g.SubnetId }), "state": one(func(g ec2NatGateway) string { return g.State }),
		},
	}.find(all, in.NatGatewayId, in.ec2Query)
	return &ec2NatOutput{NatGatewaySet: notNil(page), NextToken: next}, err
}

type ec2ZonesInput struct {
	ec2Query
	ZoneName []string
}

type ec2Zone struct {
	ZoneName, ZoneState, RegionName, ZoneType, OptInStatus string
}

type ec2ZonesOutput struct{ AvailabilityZoneInfo []ec2Zone }

// describeZones lists the availability zones that the deployment uses: the twin knows of no others.
func (e *Endpoint) describeZones(_ context.Context, r request, in *ec2ZonesInput) (*ec2ZonesOutput, error) {
	networks, _ := e.networksIn(r.region)
	names := map[string]bool{}
	for _, n := range networks {
		for _, s := range n.Subnets {
			names[s.AvailabilityZone] = true
		}
	}
	var all []ec2Zone
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, ec2Zone{ZoneName: name, ZoneState: "available", RegionName: r.region, ZoneType: "availability-zone", OptInStatus: "opt-in-not-required"})
	}
	page, _, err := listing[ec2Zone]{
		id: func(z ec2Zone) string { return z.ZoneName }, notFound: "InvalidParameterValue", what: "availability zone",
		filters: map[string]func(ec2Zone) []string{
			"zone-name": one(func(z ec2Zone) string { return z.ZoneName }), "region-name": one(func(z ec2Zone) string { return z.RegionName }),
			"state": one(func(z ec2Zone) string { return z.ZoneState }), "zone-type": one(func(z ec2Zone) string { return z.ZoneType }),
		},
	}.find(all, in.ZoneName, in.ec2Query)
	return &ec2ZonesOutput{AvailabilityZoneInfo: notNil(page)}, err
}
