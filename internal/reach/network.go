package reach

import (
	"fmt"
	"net/netip"
	"slices"

	"holdfast/internal/topology"
)

// Network is what decides: the rules of one moment. It is read, never changed, by this package.
type Network struct {
	VPCs     []topology.Network
	Peerings []topology.Peering
	Groups   []topology.SecurityGroup
	Lists    []topology.PrefixList
}

// New is a topology's network.
func New(t topology.Topology) Network {
	return Network{VPCs: t.Networks, Peerings: t.Peerings, Groups: t.SecurityGroups, Lists: t.PrefixLists}
}

// Verdict is an answer.
type Verdict struct {
	OK bool
	// Via is the way that a connection takes, as in "local" and "pcx-1"; empty if there is none.
	Via string
	// Reason says why not.
	Reason string
}

func refuse(format string, a ...any) Verdict {
	return Verdict{Reason: fmt.Sprintf(format, a...) + "; a connection would time out"}
}

// way is how packets of one connection travel: the addresses that each side sees of the other.
type way struct {
	via string
	// source and destination are the ends' interfaces, nil for an end on the internet.
	source, destination *Interface
	// seen is the source's address as the destination sees it; asked is the address that the source connects to.
	seen, asked netip.Addr
	// groups says that a rule may name the other end's security groups.
	groups bool
	// list is the prefix list that the asked address is in, empty for none.
	list string
}

// Connect says whether from may open a connection to a port of to. Protocol is "tcp", "udp" or "icmp".
func (n Network) Connect(from, to Endpoint, protocol string, port int) Verdict {
	return n.judge(from, to, func(w way) Verdict {
		if v := n.allows(w, false, protocol, port); !v.OK {
			return v
		}
		return n.allows(w, true, protocol, port)
	})
}

// Carry says whether packets get from one end to the other and back, whatever security groups say: what an established
// connection needs, because those follow connections and look at new ones only.
func (n Network) Carry(from, to Endpoint) Verdict {
	return n.judge(from, to, func(w way) Verdict { return Verdict{OK: true, Via: w.via} })
}

// judge tries the interfaces of both ends until one pair connects; if none does, the first pair's refusal stands.
func (n Network) judge(from, to Endpoint, check func(way) Verdict) Verdict {
	var first Verdict
	for _, s := range ends(from) {
		for _, d := range n.destinations(s, to) {
			w, v := n.way(s, d, from, to)
			if v.OK {
				v = check(w)
			}
			if v.OK {
				return v
			}
			if first.Reason == "" {
				first = v
			}
		}
	}
	return first
}

// ends lists an endpoint's interfaces, nil for the one of an endpoint on the internet.
func ends(e Endpoint) []*Interface {
	if len(e.Interfaces) == 0 {
		return []*Interface{nil}
	}
	list := make([]*Interface, len(e.Interfaces))
	for i := range e.Interfaces {
		list[i] = &e.Interfaces[i]
	}
	return list
}

// destinations lists what a name leads a source to: for an AWS service the interface endpoint in the source's VPC.
func (n Network) destinations(source *Interface, to Endpoint) []*Interface {
	if to.Service == "" || source == nil {
		return ends(to)
	}
	_, vpc, ok := subnetOf(n.VPCs, source.SubnetID)
	if !ok || vpc.Region != to.Region {
		return ends(to)
	}
	for _, e := range vpc.Endpoints {
		if e.Kind != "Interface" || e.Service != to.Service || !e.PrivateDNS {
			continue
		}
		var list []*Interface
		for i, id := range e.SubnetIDs {
			in := &Interface{SubnetID: id, SecurityGroupIDs: e.SecurityGroupIDs}
			in.Address = addressIn(topology.Topology{Networks: n.VPCs}, id, 10+i)
			list = append(list, in)
		}
		if len(list) > 0 {
			return list
		}
	}
	return ends(to)
}

// way finds how packets get from one end to the other, and that answers get back.
func (n Network) way(s, d *Interface, from, to Endpoint) (way, Verdict) {
	w := way{source: s, destination: d, asked: to.Address, seen: from.Address}
	if d != nil {
		w.asked = d.Address
		if to.Public {
			w.asked = d.PublicAddress
		}
	}
	var v Verdict
	switch {
	case s == nil && d == nil:
		w.via, v = "internet", Verdict{OK: true}
	case s == nil:
		if !to.Public || !d.PublicAddress.IsValid() {
			return w, refuse("%s has no public address", to.Name)
		}
		w.via, v = n.answers(d, to, w.seen)
	case d != nil && !to.Public:
		w.seen = s.Address
		w.groups = true
		w.via, v = n.private(&w, from, to)
	default:
		w.via, v = n.outward(&w, from, to)
	}
	return w, v
}

// private is the way between two private addresses: inside the VPC or over a peering connection.
func (n Network) private(w *way, from, to Endpoint) (string, Verdict) {
	_, here, ok := subnetOf(n.VPCs, w.source.SubnetID)
	_, there, known := subnetOf(n.VPCs, w.destination.SubnetID)
	switch {
	case !ok:
		return "", refuse("%s is in no subnet that is known", from.Name)
	case !known:
		return "", refuse("%s is in no subnet that is known", to.Name)
	case here.ID == there.ID:
		return "local", Verdict{OK: true}
	}
	forth, table := n.route(w.source.SubnetID, w.asked)
	if forth.TargetKind != "pcx" {
		return "", refuse("%s sends %s (%s) to %s, which does not lead to %s", table, w.asked, to.Name, target(forth), there.ID)
	}
	if !slices.ContainsFunc(n.Peerings, func(p topology.Peering) bool {
		return p.ID == forth.TargetID && (p.VPCID == here.ID && p.PeerVPCID == there.ID || p.VPCID == there.ID && p.PeerVPCID == here.ID)
	}) {
		return "", refuse("%s does not join %s and %s", forth.TargetID, here.ID, there.ID)
	}
	back, table := n.route(w.destination.SubnetID, w.seen)
	if back.TargetKind != "pcx" || back.TargetID != forth.TargetID {
		return "", refuse("answers find no way back: %s sends %s (%s) to %s", table, w.seen, from.Name, target(back))
	}
	w.groups = here.Region == there.Region
	return forth.TargetID, Verdict{OK: true}
}

// outward is the way from a VPC to a public address: through a gateway endpoint, a NAT gateway or an internet gateway.
func (n Network) outward(w *way, from, to Endpoint) (string, Verdict) {
	_, here, ok := subnetOf(n.VPCs, w.source.SubnetID)
	if !ok {
		return "", refuse("%s is in no subnet that is known", from.Name)
	}
	table := n.table(w.source.SubnetID)
	for _, e := range here.Endpoints {
		if e.Kind == "Gateway" && e.Service == to.Service && here.Region == to.Region && slices.Contains(e.RouteTableIDs, table.ID) {
			w.list = e.PrefixListID
			return e.ID, Verdict{OK: true}
		}
	}
	route, name := n.route(w.source.SubnetID, w.asked)
	via := route.TargetID
	switch route.TargetKind {
	case "igw":
		if !w.source.PublicAddress.IsValid() {
			return "", refuse("%s leads to %s, which serves only who has a public address, and %s has none", name, route.TargetID, from.Name)
		}
		w.seen = w.source.PublicAddress
	case "nat":
		i := slices.IndexFunc(here.NATGateways, func(g topology.NATGateway) bool { return g.ID == route.TargetID })
		if i < 0 {
			return "", refuse("%s leads to %s, which is not there", name, route.TargetID)
		}
		gateway := here.NATGateways[i]
		out, outName := n.route(gateway.SubnetID, w.asked)
		if out.TargetKind != "igw" {
			return "", refuse("%s stands in %s, where %s sends %s to %s and not to the internet", gateway.ID, gateway.SubnetID, outName, w.asked, target(out))
		}
		w.seen = publicAddress(gateway)
		via += ", " + out.TargetID
	default:
		return "", refuse("%s sends %s (%s) to %s, which does not lead to the internet", name, w.asked, to.Name, target(route))
	}
	if w.destination == nil {
		return via, Verdict{OK: true}
	}
	back, v := n.answers(w.destination, to, w.seen)
	return via + ", " + back, v
}

func publicAddress(g topology.NATGateway) netip.Addr {
	if ip, err := netip.ParseAddr(g.PublicIP); err == nil {
		return ip
	}
	return nth(publicBlock, hash(g.ID))
}

// answers says whether an interface with a public address can answer to the internet.
func (n Network) answers(d *Interface, to Endpoint, seen netip.Addr) (string, Verdict) {
	route, name := n.route(d.SubnetID, seen)
	if route.TargetKind != "igw" {
		return "", refuse("%s answers nobody on the internet: %s sends %s to %s", to.Name, name, seen, target(route))
	}
	return route.TargetID, Verdict{OK: true}
}

// table is a subnet's route table; one without an ID has the local route only.
func (n Network) table(subnetID string) topology.RouteTable {
	_, vpc, _ := subnetOf(n.VPCs, subnetID)
	for _, t := range vpc.Routes {
		if slices.Contains(t.SubnetIDs, subnetID) {
			return t
		}
	}
	return topology.RouteTable{Routes: []topology.Route{{DestinationCIDR: vpc.CIDR, TargetKind: "local", TargetID: "local"}}}
}

// route is the most specific route for an address, zero if there is none, and words for its table.
func (n Network) route(subnetID string, to netip.Addr) (best topology.Route, table string) {
	t := n.table(subnetID)
	length := -1
	for _, r := range t.Routes {
		if prefix, err := netip.ParsePrefix(r.DestinationCIDR); err == nil && prefix.Contains(to) && prefix.Bits() > length {
			best, length = r, prefix.Bits()
		}
	}
	if t.ID == "" {
		return best, "the main route table of " + subnetID
	}
	return best, t.ID
}

func target(r topology.Route) string {
	if r.TargetID == "" {
		return "nowhere"
	}
	return r.TargetID
}
