package reach

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast/internal/topology"
)

// world is two VPCs in two Regions that are peered, each with a public and a private subnet, and one more VPC beside the first.
func world() topology.Topology {
	table := func(id, subnet, cidr string, more ...topology.Route) topology.RouteTable {
		local := topology.Route{DestinationCIDR: cidr, TargetKind: "local", TargetID: "local"}
		return topology.RouteTable{ID: id, SubnetIDs: []string{subnet}, Routes: append([]topology.Route{local}, more...)}
	}
	route := func(cidr, kind, id string) topology.Route {
		return topology.Route{DestinationCIDR: cidr, TargetKind: kind, TargetID: id}
	}
	tcp := func(port int, set func(*topology.SecurityGroupRule)) topology.SecurityGroupRule {
		r := topology.SecurityGroupRule{Protocol: "tcp", FromPort: port, ToPort: port}
		set(&r)
		return r
	}
	cidr := func(c string) func(*topology.SecurityGroupRule) {
		return func(r *topology.SecurityGroupRule) { r.CIDR = c }
	}
	group := func(id string) func(*topology.SecurityGroupRule) {
		return func(r *topology.SecurityGroupRule) { r.PeerSecurityGroupID = id }
	}
	return topology.Topology{
		Networks: []topology.Network{
			{
				Region: "east", ID: "vpc-1", CIDR: "10.0.0.0/16",
				Subnets: []topology.Subnet{{ID: "pub", CIDR: "10.0.1.0/24", AvailabilityZone: "a"}, {ID: "priv", CIDR: "10.0.2.0/24", AvailabilityZone: "a"}},
				Routes: []topology.RouteTable{
					table("rtb-pub", "pub", "10.0.0.0/16", route("0.0.0.0/0", "igw", "igw-1")),
					table("rtb-priv", "priv", "10.0.0.0/16", route("0.0.0.0/0", "nat", "nat-1"), route("10.1.0.0/16", "pcx", "pcx-1"), route("10.2.0.0/16", "pcx", "pcx-2")),
				},
				NATGateways: []topology.NATGateway{{ID: "nat-1", SubnetID: "pub", PublicIP: "198.51.100.77"}},
				Endpoints: []topology.VPCEndpoint{
					{ID: "vpce-ecs", Service: "ecs", Kind: "Interface", SubnetIDs: []string{"priv"}, SecurityGroupIDs: []string{"sg-endpoints"}, PrivateDNS: true},
					{ID: "vpce-ddb", Service: "dynamodb", Kind: "Gateway", RouteTableIDs: []string{"rtb-priv"}, PrefixListID: "pl-ddb"},
				},
			},
			{
				Region: "west", ID: "vpc-2", CIDR: "10.1.0.0/16",
				Subnets: []topology.Subnet{{ID: "west", CIDR: "10.1.2.0/24"}, {ID: "west-public", CIDR: "10.1.3.0/24"}},
				Routes: []topology.RouteTable{
					table("rtb-west", "west", "10.1.0.0/16", route("10.0.0.0/16", "pcx", "pcx-1")),
					table("rtb-west-public", "west-public", "10.1.0.0/16", route("0.0.0.0/0", "igw", "igw-2")),
				},
			},
			{
				Region: "east", ID: "vpc-3", CIDR: "10.2.0.0/16",
				Subnets: []topology.Subnet{{ID: "beside", CIDR: "10.2.2.0/24"}},
				Routes:  []topology.RouteTable{table("rtb-beside", "beside", "10.2.0.0/16", route("10.0.0.0/16", "pcx", "pcx-2"))},
			},
		},
		Peerings:    []topology.Peering{{ID: "pcx-1", VPCID: "vpc-1", PeerVPCID: "vpc-2"}, {ID: "pcx-2", VPCID: "vpc-3", PeerVPCID: "vpc-1"}},
		PrefixLists: []topology.PrefixList{{ID: "pl-office", CIDRs: []string{"192.0.2.0/24"}}},
		SecurityGroups: []topology.SecurityGroup{
			{ID: "sg-lb", Name: "balancer", VPCID: "vpc-1", Ingress: []topology.SecurityGroupRule{tcp(80, cidr("203.0.113.0/24")), tcp(80, cidr("198.51.100.77/32")), {Protocol: "tcp", FromPort: 80, ToPort: 80, PrefixListID: "pl-office"}}, Egress: []topology.SecurityGroupRule{tcp(8080, group("sg-app"))}},
			{
				ID: "sg-app", Name: "app", VPCID: "vpc-1", Ingress: []topology.SecurityGroupRule{{Protocol: "tcp", FromPort: 8000, ToPort: 8100, PeerSecurityGroupID: "sg-lb"}},
				Egress: []topology.SecurityGroupRule{tcp(443, cidr("0.0.0.0/0")), tcp(80, cidr("0.0.0.0/0")), tcp(5432, cidr("10.0.0.0/8")), tcp(5433, group("sg-west"))},
			},
			{ID: "sg-db", VPCID: "vpc-1", Ingress: []topology.SecurityGroupRule{tcp(5432, group("sg-app"))}},
			{ID: "sg-west", VPCID: "vpc-2", Ingress: []topology.SecurityGroupRule{tcp(5432, cidr("10.0.0.0/16")), tcp(5433, group("sg-app"))}},
			{ID: "sg-beside", VPCID: "vpc-3", Ingress: []topology.SecurityGroupRule{tcp(5432, group("sg-app"))}},
			{ID: "sg-endpoints", VPCID: "vpc-1", Ingress: []topology.SecurityGroupRule{tcp(443, group("sg-app"))}},
			{ID: "sg-list", VPCID: "vpc-1", Egress: []topology.SecurityGroupRule{{Protocol: "-1", PrefixListID: "pl-ddb"}}},
			{ID: "sg-open", VPCID: "vpc-1", Ingress: []topology.SecurityGroupRule{{Protocol: "-1", CIDR: "0.0.0.0/0"}}, Egress: []topology.SecurityGroupRule{{Protocol: "-1", CIDR: "0.0.0.0/0"}}},
		},
	}
}

// at is one host in a subnet.
func at(t topology.Topology, name, subnet string, groups ...string) Endpoint {
	return Endpoint{Name: name, Interfaces: []Interface{{SubnetID: subnet, SecurityGroupIDs: groups, Address: addressIn(t, subnet, 5)}}}
}

func TestConnect(t *testing.T) {
	w := world()
	lb := LoadBalancer(w, topology.LoadBalancer{Name: "lb", ARN: "arn:lb", SubnetIDs: []string{"pub"}, SecurityGroupIDs: []string{"sg-lb"}})
	app, db := at(w, "app", "priv", "sg-app"), at(w, "db", "priv", "sg-db")
	west, beside := at(w, "west", "west", "sg-west"), at(w, "beside", "beside", "sg-beside")
	client := Host("client", netip.Addr{})
	open := at(w, "open", "pub", "sg-open")
	withPublic := at(w, "public", "pub", "sg-open")
	withPublic.Interfaces[0].PublicAddress = netip.MustParseAddr("198.51.100.5")
	tests := []struct {
		name     string
		from, to Endpoint
		port     int
		// via is the way of a connection that is let through, "" for none; reason is a part of why not.
		via, reason string
	}{
		{"client to balancer", client, lb, 80, "igw-1", ""},
		{"client to another port", client, lb, 443, "", "no inbound rule of sg-lb (balancer) allows tcp 443 from 203.0.113.10; a connection would time out"},
		{"a stranger", Host("x", netip.MustParseAddr("192.0.3.1")), lb, 80, "", "from 192.0.3.1"},
		{"a client of a prefix list", Host("x", netip.MustParseAddr("192.0.2.9")), lb, 80, "igw-1", ""},
		{"client to a private host", client, app, 8080, "", "app has no public address"},
		{"balancer to app, by group and port range", lb, app, 8080, "local", ""},
		{"balancer to app, port that it may not send to", lb, app, 8081, "", "no outbound rule of sg-lb"},
		{"app to balancer privately: by its public name", app, lb, 80, "nat-1, igw-1, igw-1", ""},
		{"app to database", app, db, 5432, "local", ""},
		{"database calls nobody", db, app, 8080, "", "no outbound rule of sg-db"},
		{"balancer to database", at(w, "x", "pub", "sg-open"), db, 5432, "", "no inbound rule of sg-db allows tcp 5432 from sg-open"},
		{"over the peering, by address", app, west, 5432, "pcx-1", ""},
		{"over the peering, a group of another Region means nobody", app, west, 5433, "", "no outbound rule of sg-app"},
		{"over a peering inside the Region, by group", app, beside, 5432, "pcx-2", ""},
		{"no route to the peering", open, west, 5432, "", "rtb-pub sends 10.1.2.9 (west) to igw-1"},
		{"no way back", app, at(w, "far", "west-public", "sg-west"), 5432, "", "answers find no way back: rtb-west-public sends 10.0.2.9 (app) to igw-2"},
		{"out through NAT", app, client, 443, "nat-1, igw-1", ""},
		{"out through NAT, a port that is not open", app, client, 25, "", "no outbound rule of sg-app (app) allows tcp 25 to 203.0.113.10"},
		{"public subnet without a public address", open, client, 443, "", "serves only who has a public address"},
		{"public address", withPublic, client, 443, "igw-1", ""},
		{"nothing leads out", west, client, 443, "", "rtb-west sends 203.0.113.10 (client) to nowhere"},
		{"interface endpoint", app, Service("east", "ecs"), 443, "local", ""},
		{"interface endpoint that does not let in", at(w, "x", "priv", "sg-open"), Service("east", "ecs"), 443, "", "no inbound rule of sg-endpoints"},
		{"service of another Region", app, Service("west", "ecs"), 443, "nat-1, igw-1", ""},
		{"service without an endpoint", app, Service("east", "sts"), 443, "nat-1, igw-1", ""},
		{"gateway endpoint", app, Service("east", "dynamodb"), 443, "vpce-ddb", ""},
		{"gateway endpoint, by prefix list", at(w, "x", "priv", "sg-list"), Service("east", "dynamodb"), 443, "vpce-ddb", ""},
		{"prefix list elsewhere", at(w, "x", "priv", "sg-list"), Service("east", "sts"), 443, "", "no outbound rule of sg-list"},
		{"default group, member", at(w, "x", "priv"), at(w, "y", "priv"), 1, "local", ""},
		{"default group, stranger", app, at(w, "y", "priv"), 443, "", "default security group"},
		{"on the internet", client, Host("x", netip.Addr{}), 1, "internet", ""},
		{"from outside to a service", client, Service("east", "ecs"), 443, "internet", ""},
	}
	n := New(w)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := n.Connect(tt.from, tt.to, "tcp", tt.port)
			if v.OK != (tt.via != "") || v.Via != tt.via && v.OK || !strings.Contains(v.Reason, tt.reason) {
				t.Errorf("got %+v, want via %q, reason %q", v, tt.via, tt.reason)
			}
		})
	}
}

// TestProtocols: a rule for TCP allows neither UDP nor ICMP, a rule for everything allows all.
func TestProtocols(t *testing.T) {
	w := world()
	n := New(w)
	open := at(w, "open", "priv", "sg-open")
	for _, protocol := range []string{"tcp", "udp", "icmp"} {
		if v := n.Connect(open, open, protocol, 53); !v.OK {
			t.Errorf("%s between open hosts: %+v", protocol, v)
		}
		if v := n.Connect(at(w, "app", "priv", "sg-app"), open, protocol, 443); v.OK != (protocol == "tcp") {
			t.Errorf("%s from the application: %+v", protocol, v)
		}
	}
}

// TestCarryLooksAtRoutesOnly: what an established connection needs.
func TestCarryLooksAtRoutesOnly(t *testing.T) {
	w := world()
	app, west := at(w, "app", "priv", "sg-app"), at(w, "west", "west", "sg-west")
	n := New(w)
	n.Groups = nil
	if v := n.Carry(app, west); !v.OK {
		t.Errorf("without a rule: %+v", v)
	}
	n.VPCs[1].Routes[0].Routes = n.VPCs[1].Routes[0].Routes[:1]
	if v := n.Carry(app, west); v.OK {
		t.Error("carried although answers have no route")
	}
}

// TestDefaultFlows: the embedded deployment's network lets through everything that the deployment itself says it needs,
// and each rule is there for something: without it a flow is refused.
func TestDefaultFlows(t *testing.T) {
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	flows := Flows(topo)
	seen := map[string]int{}
	for _, f := range flows {
		seen[f.Why]++
		if !f.OK {
			t.Error(f)
		}
	}
	for _, why := range []string{"listener", "target group", "DB_WRITER_HOST", "HOLDFAST_PEER_DB_HOST", "PAYD_ACQUIRER_URL", "start of the task"} {
		if seen[why] == 0 {
			t.Errorf("no flow because of %s was looked at", why)
		}
	}
	for i, g := range topo.SecurityGroups {
		for r, rule := range g.Ingress {
			if rule.FromPort == 2049 || rule.FromPort >= 9101 { // file systems are none of the flows, nor is what wardens forward
				continue
			}
			changed := topo
			changed.SecurityGroups = slices.Clone(topo.SecurityGroups)
			changed.SecurityGroups[i].Ingress = slices.Delete(slices.Clone(g.Ingress), r, r+1)
			if !slices.ContainsFunc(Flows(changed), func(f Flow) bool { return !f.OK }) {
				t.Errorf("%s: nothing needs the inbound rule %+v", g.Name, rule)
			}
		}
	}
}

// TestClientIsOneOfThoseMeant: where a balancer names whom it lets in, the client is one of them.
func TestClientIsOneOfThoseMeant(t *testing.T) {
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	if c := Client(topo); c.Address != clientAddress {
		t.Errorf("the client of a public deployment is %s", c.Address)
	}
	topo.PrefixLists = []topology.PrefixList{{ID: "pl-1", CIDRs: []string{"192.0.2.64/26"}}}
	for i := range topo.SecurityGroups {
		ingress := slices.Clone(topo.SecurityGroups[i].Ingress)
		for r := range ingress {
			if ingress[r].CIDR == "0.0.0.0/0" {
				ingress[r].CIDR, ingress[r].PrefixListID = "", "pl-1"
			}
		}
		topo.SecurityGroups[i].Ingress = ingress
	}
	if c := Client(topo); c.Address != netip.MustParseAddr("192.0.2.64") {
		t.Errorf("the client of a deployment for the list's addresses is %s", c.Address)
	}
}

// TestMoreRulesNeverCloseAnything: rules only allow, so adding one opens or changes nothing, and taking one away closes
// or changes nothing.
func TestMoreRulesNeverCloseAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := world()
		subnets := []string{"pub", "priv", "west", "beside"}
		var groups []string
		for _, g := range w.SecurityGroups {
			groups = append(groups, g.ID)
		}
		pick := func(label string) Endpoint {
			return at(w, label, rapid.SampledFrom(subnets).Draw(t, label+" subnet"), rapid.SampledFrom(groups).Draw(t, label+" group"))
		}
		from, to := pick("from"), pick("to")
		port := rapid.SampledFrom([]int{80, 443, 5432, 5433, 8080}).Draw(t, "port")
		before := New(w).Connect(from, to, "tcp", port)
		i := rapid.IntRange(0, len(groups)-1).Draw(t, "group")
		rule := topology.SecurityGroupRule{Protocol: "tcp", FromPort: rapid.IntRange(0, 9000).Draw(t, "from"), ToPort: 9000}
		if rapid.Bool().Draw(t, "by address") {
			rule.CIDR = "10.0.0.0/8"
		} else {
			rule.PeerSecurityGroupID = rapid.SampledFrom(groups).Draw(t, "peer")
		}
		if rapid.Bool().Draw(t, "inbound") {
			w.SecurityGroups[i].Ingress = append(w.SecurityGroups[i].Ingress, rule)
		} else {
			w.SecurityGroups[i].Egress = append(w.SecurityGroups[i].Egress, rule)
		}
		if after := New(w).Connect(from, to, "tcp", port); before.OK && !after.OK {
			t.Fatalf("one more rule closed %s to %s: %s", from.Name, to.Name, after.Reason)
		}
		w.SecurityGroups = nil
		if v := New(w).Connect(from, to, "tcp", port); v.OK {
			t.Fatalf("open without any rule: %+v", v)
		}
	})
}
