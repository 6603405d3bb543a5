package reach

import (
	"net/netip"
	"slices"

	"holdfast/internal/topology"
)

// Endpoint is one end of a connection.
type Endpoint struct {
	// Name says what it is, for a person.
	Name string
	// Interfaces are its network interfaces in a VPC; none means that it is on the internet.
	Interfaces []Interface
	// Public says that its name leads to its interfaces' public addresses, even for a neighbour in the VPC.
	Public bool
	// Address is its address on the internet.
	Address netip.Addr
	// Service and Region are set for the endpoint of an AWS service, as in "dynamodb" and us-east-1.
	Service, Region string
}

// Interface is a network interface.
type Interface struct {
	SubnetID         string
	SecurityGroupIDs []string
	Address          netip.Addr
	// PublicAddress is invalid for an interface without one.
	PublicAddress netip.Addr
}

// The addresses of what has none in a state come from blocks that are reserved for examples (RFC 5737), and those of
// the AWS services from a block of AWS's own.
var (
	clientAddress  = netip.MustParseAddr("203.0.113.10")
	serviceAddress = netip.MustParseAddr("52.94.5.10")
	publicBlock    = netip.MustParsePrefix("198.51.100.0/24")
)

// Host is something with an address on the internet; an invalid address gives it one.
func Host(name string, address netip.Addr) Endpoint {
	if !address.IsValid() {
		address = clientAddress
	}
	return Endpoint{Name: name, Address: address}
}

// Client is somebody on the internet whom the deployment means to serve: with an address that most of its listeners let
// in. Anybody will do where they let in everybody; where they name addresses, it is one of those.
func Client(t topology.Topology) Endpoint {
	n := New(t)
	candidates := []netip.Addr{clientAddress}
	for _, lb := range t.LoadBalancers {
		for _, g := range t.SecurityGroups {
			if slices.Contains(lb.SecurityGroupIDs, g.ID) {
				candidates = append(candidates, n.addresses(g.Ingress)...)
			}
		}
	}
	best, most := clientAddress, -1
	for _, address := range candidates {
		open := 0
		for _, l := range t.Listeners {
			lb, _ := balancerOf(t, l.LoadBalancerARN)
			if !lb.Internal && n.Connect(Host("a client", address), LoadBalancer(t, lb), "tcp", l.Port).OK {
				open++
			}
		}
		if open > most {
			best, most = address, open
		}
	}
	return Host("a client", best)
}

// addresses is one address of each prefix that rules name.
func (n Network) addresses(rules []topology.SecurityGroupRule) []netip.Addr {
	var cidrs []string
	for _, r := range rules {
		cidrs = append(cidrs, r.CIDR)
		for _, l := range n.Lists {
			if l.ID == r.PrefixListID {
				cidrs = append(cidrs, l.CIDRs...)
			}
		}
	}
	var list []netip.Addr
	for _, cidr := range cidrs {
		if prefix, err := netip.ParsePrefix(cidr); err == nil && prefix.Addr().Is4() {
			list = append(list, prefix.Masked().Addr())
		}
	}
	return list
}

// Service is the endpoint of an AWS service in a Region, under its usual name.
func Service(region, service string) Endpoint {
	return Endpoint{Name: service + " in " + region, Service: service, Region: region, Address: serviceAddress}
}

// LoadBalancer is a load balancer with a node in each of its subnets.
func LoadBalancer(t topology.Topology, lb topology.LoadBalancer) Endpoint {
	e := Endpoint{Name: "load balancer " + lb.Name, Public: !lb.Internal}
	for i, id := range lb.SubnetIDs {
		in := Interface{SubnetID: id, SecurityGroupIDs: lb.SecurityGroupIDs, Address: addressIn(t, id, i)}
		if !lb.Internal {
			in.PublicAddress = nth(publicBlock, hash(lb.ARN+id))
		}
		e.Interfaces = append(e.Interfaces, in)
	}
	return e
}

// Task is the n-th task of a service in a subnet.
func Task(t topology.Topology, s topology.Service, subnetID string, n int) Endpoint {
	in := Interface{SubnetID: subnetID, SecurityGroupIDs: s.SecurityGroupIDs, Address: addressIn(t, subnetID, 20+n)}
	if s.AssignPublicIP {
		in.PublicAddress = nth(publicBlock, hash(s.ARN)+n)
	}
	return Endpoint{Name: "task of " + s.Name, Interfaces: []Interface{in}}
}

// Database is a database instance; without its availability zone, all places where it may be.
func Database(t topology.Topology, c topology.DBCluster, in topology.DBInstance) Endpoint {
	e := Endpoint{Name: "database " + in.Identifier}
	for _, id := range c.SubnetIDs {
		zone := ""
		if s, _, ok := subnetOf(t.Networks, id); ok {
			zone = s.AvailabilityZone
		}
		if in.AvailabilityZone == "" || zone == in.AvailabilityZone {
			e.Interfaces = append(e.Interfaces, Interface{SubnetID: id, SecurityGroupIDs: c.SecurityGroupIDs, Address: addressIn(t, id, hash(in.Identifier)%200)})
		}
	}
	return e
}

func subnetOf(networks []topology.Network, id string) (topology.Subnet, topology.Network, bool) {
	for _, n := range networks {
		if i := slices.IndexFunc(n.Subnets, func(s topology.Subnet) bool { return s.ID == id }); i >= 0 {
			return n.Subnets[i], n, true
		}
	}
	return topology.Subnet{}, topology.Network{}, false
}

// addressIn is the n-th address of a subnet that AWS would give out: it keeps the first four and the last.
func addressIn(t topology.Topology, subnetID string, n int) netip.Addr {
	s, _, ok := subnetOf(t.Networks, subnetID)
	prefix, err := netip.ParsePrefix(s.CIDR)
	if !ok || err != nil {
		return netip.Addr{}
	}
	return nth(prefix, n)
}

func nth(prefix netip.Prefix, n int) netip.Addr {
	usable := max(1, 1<<(32-prefix.Bits())-5)
	offset := 4 + uint32(n%usable)
	b := prefix.Masked().Addr().As4()
	value := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	value += offset
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)})
}

func hash(s string) int {
	h := 0
	for _, r := range s {
		h = (h*31 + int(r)) & 0xffff
	}
	return h
}
