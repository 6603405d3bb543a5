package vpc

import (
	"slices"

	"holdfast/internal/reach"
	"holdfast/internal/topology"
)

// edit changes the routes of one table.
func (v *VPC) edit(region, tableID string, f func(vpc topology.Network, routes []topology.Route) ([]topology.Route, error)) error {
	return v.change(func(n *reach.Network) error {
		for i := range n.VPCs {
			if n.VPCs[i].Region != region {
				continue
			}
			for j, t := range n.VPCs[i].Routes {
				if t.ID != tableID {
					continue
				}
				routes, err := f(n.VPCs[i], slices.Clone(t.Routes))
				if err != nil {
					return err
				}
				n.VPCs[i].Routes = slices.Clone(n.VPCs[i].Routes)
				n.VPCs[i].Routes[j].Routes = routes
				return nil
			}
		}
		return refuse("InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist", tableID)
	})
}

// DeleteRoute takes the route to a destination out of a table. Errors are of type [*Error].
func (v *VPC) DeleteRoute(region, tableID, cidr string) error {
	return v.edit(region, tableID, func(_ topology.Network, routes []topology.Route) ([]topology.Route, error) {
		i := slices.IndexFunc(routes, func(r topology.Route) bool { return r.DestinationCIDR == cidr })
		switch {
		case i < 0:
			return nil, refuse("InvalidRoute.NotFound", "no route with destination-cidr-block %s in route table %s", cidr, tableID)
		case routes[i].TargetKind == "local":
			return nil, refuse("InvalidParameterValue", "cannot remove local route %s in route table %s", cidr, tableID)
		}
		return slices.Delete(routes, i, i+1), nil
	})
}

// CreateRoute adds a route to a table. Its target must be there: the error is of type [*Error].
func (v *VPC) CreateRoute(region, tableID string, route topology.Route) error {
	return v.edit(region, tableID, func(vpc topology.Network, routes []topology.Route) ([]topology.Route, error) {
		if slices.ContainsFunc(routes, func(r topology.Route) bool { return r.DestinationCIDR == route.DestinationCIDR }) {
			return nil, refuse("RouteAlreadyExists", "The route identified by %s already exists.", route.DestinationCIDR)
		}
		if err := v.target(vpc, route); err != nil {
			return nil, err
		}
		return append(routes, route), nil
	})
}

// ReplaceRoute leads the route to a destination elsewhere. Errors are of type [*Error].
func (v *VPC) ReplaceRoute(region, tableID string, route topology.Route) error {
	return v.edit(region, tableID, func(vpc topology.Network, routes []topology.Route) ([]topology.Route, error) {
		i := slices.IndexFunc(routes, func(r topology.Route) bool { return r.DestinationCIDR == route.DestinationCIDR })
		switch {
		case i < 0:
			return nil, refuse("InvalidRoute.NotFound", "no route with destination-cidr-block %s in route table %s", route.DestinationCIDR, tableID)
		case routes[i].TargetKind == "local":
			return nil, refuse("InvalidParameterValue", "cannot replace local route %s in route table %s", route.DestinationCIDR, tableID)
		}
		if err := v.target(vpc, route); err != nil {
			return nil, err
		}
		routes[i] = route
		return routes, nil
	})
}

// target checks that a route leads to something of its VPC. The caller holds the lock.
func (v *VPC) target(vpc topology.Network, route topology.Route) error {
	known, code := false, ""
	switch route.TargetKind {
	case "pcx":
		code = "InvalidVpcPeeringConnectionID.NotFound"
		known = slices.ContainsFunc(v.network.Peerings, func(p topology.Peering) bool {
			return p.ID == route.TargetID && (p.VPCID == vpc.ID || p.PeerVPCID == vpc.ID)
		})
	case "nat":
		code = "NatGatewayNotFound"
		known = slices.ContainsFunc(vpc.NATGateways, func(g topology.NATGateway) bool { return g.ID == route.TargetID })
	case "igw":
		code = "InvalidInternetGatewayID.NotFound"
		// Of the internet gateways the topology has those that a route leads to.
		for _, t := range vpc.Routes {
			known = known || slices.ContainsFunc(t.Routes, func(r topology.Route) bool { return r.TargetKind == "igw" && r.TargetID == route.TargetID })
		}
	}
	if !known {
		return refuse(code, "The target '%s' does not exist in %s", route.TargetID, vpc.ID)
	}
	return nil
}
