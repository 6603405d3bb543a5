package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"holdfast/internal/reach"
	"holdfast/internal/topology"
	"holdfast/internal/twin/vpc"
)

// ec2Rig is an endpoint with networks that can be changed.
type ec2Rig struct {
	topology topology.Topology
	networks *vpc.VPC
	url      string
}

func newEC2(t *testing.T) *ec2Rig {
	t.Helper()
	b := newBackends(t)
	networks := vpc.New(b.topology)
	e := newEndpoint(t, b, func(o *Options) { o.Networks = networks })
	return &ec2Rig{b.topology, networks, serve(t, e, "")}
}

// call sends one action and returns the status and the body.
func (r *ec2Rig) call(t *testing.T, region, action string, parameters ...string) (int, string) {
	t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for i := 0; i < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	body := form.Encode()
	req, err := http.NewRequest(http.MethodPost, r.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	credentials := aws.Credentials{AccessKeyID: AccessKeyID, SecretAccessKey: SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, req, hex.EncodeToString(sum[:]), "ec2", region, time.Now()); err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// group finds a security group of a region by the end of its name.
func (r *ec2Rig) group(t *testing.T, region, suffix string) topology.SecurityGroup {
	t.Helper()
	n, _ := r.networks.Network()
	for _, g := range n.Groups {
		if g.Region == region && strings.HasSuffix(g.Name, suffix) {
			return g
		}
	}
	t.Fatalf("no group %s in %s", suffix, region)
	return topology.SecurityGroup{}
}

// fromBalancer is whether a balancer of the region may connect to a task of its payment service.
func (r *ec2Rig) fromBalancer(t *testing.T, region string) reach.Verdict {
	t.Helper()
	n, _ := r.networks.Network()
	for _, lb := range r.topology.LoadBalancers {
		for _, s := range r.topology.Services {
			if lb.Region == region && s.Region == region && strings.HasPrefix(s.Name, "payment-") {
				return n.Connect(reach.LoadBalancer(r.topology, lb), reach.Task(r.topology, s, s.SubnetIDs[0], 0), "tcp", 8080)
			}
		}
	}
	t.Fatal("no balancer, or no service")
	return reach.Verdict{}
}

func TestEC2RulesComeAndGo(t *testing.T) {
	r := newEC2(t)
	app, balancer := r.group(t, east, "-app"), r.group(t, east, "-balancer")
	rule := []string{
		"GroupId", app.ID, "IpPermissions.1.IpProtocol", "tcp", "IpPermissions.1.FromPort", "8080", "IpPermissions.1.ToPort", "8080",
		"IpPermissions.1.Groups.1.GroupId", balancer.ID,
	}
	step := func(status int, want, region, action string, parameters ...string) {
		t.Helper()
		got, body := r.call(t, region, action, parameters...)
		if got != status || !strings.Contains(body, want) {
			t.Fatalf("%s: %d %s\nwant %d with %q", action, got, body, status, want)
		}
	}
	open := func(want bool) {
		t.Helper()
		if v := r.fromBalancer(t, east); v.OK != want {
			t.Fatalf("the balancer reaches the tasks: %+v, want %t", v, want)
		}
	}
	open(true)
	step(412, "<Code>DryRunOperation</Code>", east, "RevokeSecurityGroupIngress", append(rule, "DryRun", "true")...)
	step(200, "<revokedSecurityGroupRuleSet><item><securityGroupRuleId>sgr-", east, "RevokeSecurityGroupIngress", rule...)
	open(false)
	step(400, "<Response><Errors><Error><Code>InvalidPermission.NotFound</Code><Message>The specified rule does not exist in this security group.</Message>", east, "RevokeSecurityGroupIngress", rule...)
	step(200, "<return>true</return><securityGroupRuleSet><item><securityGroupRuleId>sgr-", east, "AuthorizeSecurityGroupIngress", rule...)
	open(true)
	step(400, "<Code>InvalidPermission.Duplicate</Code>", east, "AuthorizeSecurityGroupIngress", rule...)
	step(400, "<Code>InvalidGroup.NotFound</Code><Message>The security group &#39;"+app.ID+"&#39; does not exist</Message>", west, "RevokeSecurityGroupIngress", rule...)
	step(400, "The request must contain the parameter GroupId", east, "RevokeSecurityGroupIngress")
	step(400, "The request must contain the parameter ipPermissions", east, "AuthorizeSecurityGroupEgress", "GroupId", app.ID)
	step(400, "CIDR block 10.0.0/8 is malformed", east, "AuthorizeSecurityGroupIngress", "GroupId", app.ID, "IpProtocol", "tcp", "FromPort", "1", "ToPort", "2", "CidrIp", "10.0.0/8")
	step(400, "<Code>InvalidParameterValue</Code>", east, "AuthorizeSecurityGroupIngress", "GroupId", app.ID, "IpProtocol", "tcp", "FromPort", "3", "ToPort", "2", "CidrIp", "10.0.0.0/8")

	// By the rule's identifier.
	n := r.group(t, east, "-app")
	step(200, n.Ingress[0].ID, east, "RevokeSecurityGroupIngress", "GroupId", app.ID, "SecurityGroupRuleId.1", n.Ingress[0].ID)
	open(false)
	step(400, "<Code>InvalidSecurityGroupRuleId.NotFound</Code>", east, "RevokeSecurityGroupIngress", "GroupId", app.ID, "SecurityGroupRuleId.1", n.Ingress[0].ID)
	// An address range that holds the balancer's nodes does as well.
	step(200, "<cidrIpv4>10.0.0.0/16</cidrIpv4>", east, "AuthorizeSecurityGroupIngress", "GroupId", app.ID, "IpPermissions.1.IpProtocol", "-1", "IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/16")
	open(true)
	// What the source may send counts too.
	step(200, "<isEgress>true</isEgress>", east, "RevokeSecurityGroupEgress", "GroupId", balancer.ID, "IpPermissions.1.IpProtocol", "tcp",
		"IpPermissions.1.FromPort", "8080", "IpPermissions.1.ToPort", "8080", "IpPermissions.1.Groups.1.GroupId", app.ID)
	open(false)
	if v := r.fromBalancer(t, west); !v.OK {
		t.Errorf("the other region was changed too: %+v", v)
	}
}

func TestEC2Routes(t *testing.T) {
	r := newEC2(t)
	peering := r.topology.Peerings[0]
	_, body := r.call(t, east, "DescribeRouteTables", "Filter.1.Name", "route.vpc-peering-connection-id", "Filter.1.Value.1", peering.ID)
	_, after, _ := strings.Cut(body, "<routeTableId>")
	table, _, _ := strings.Cut(after, "<")
	if !strings.HasPrefix(table, "rtb-") {
		t.Fatalf("no table with a route over the peering: %s", body)
	}
	route := []string{"RouteTableId", table, "DestinationCidrBlock", "10.1.0.0/16"}
	for _, s := range []struct {
		action, want string
		status       int
		more         []string
	}{
		{"DeleteRoute", "<return>true</return>", 200, nil},
		{"DeleteRoute", "<Code>InvalidRoute.NotFound</Code>", 400, nil},
		{"ReplaceRoute", "<Code>InvalidRoute.NotFound</Code>", 400, []string{"VpcPeeringConnectionId", peering.ID}},
		{"CreateRoute", "<Code>MissingParameter</Code>", 400, nil},
		{"CreateRoute", "<Code>InvalidVpcPeeringConnectionID.NotFound</Code>", 400, []string{"VpcPeeringConnectionId", "pcx-0"}},
		{"CreateRoute", "<return>true</return>", 200, []string{"VpcPeeringConnectionId", peering.ID}},
		{"CreateRoute", "<Code>RouteAlreadyExists</Code>", 400, []string{"VpcPeeringConnectionId", peering.ID}},
		{"ReplaceRoute", "<return>true</return>", 200, []string{"VpcPeeringConnectionId", peering.ID}},
	} {
		if status, body := r.call(t, east, s.action, append(route, s.more...)...); status != s.status || !strings.Contains(body, s.want) {
			t.Errorf("%s %q: %d %s, want %s", s.action, s.more, status, body, s.want)
		}
	}
	if _, body := r.call(t, east, "DeleteRoute", "RouteTableId", table, "DestinationCidrBlock", "10.0.0.0/16"); !strings.Contains(body, "cannot remove local route") {
		t.Errorf("the local route: %s", body)
	}
	if _, body := r.call(t, west, "DeleteRoute", route...); !strings.Contains(body, "InvalidRouteTableID.NotFound") {
		t.Errorf("a table of another region: %s", body)
	}
}

func TestEC2Describes(t *testing.T) {
	r := newEC2(t)
	east1 := inRegionOf(r.topology.Networks, east, func(n topology.Network) string { return n.Region })[0]
	inZone, gateways := 0, 0
	for _, s := range east1.Subnets {
		if s.AvailabilityZone == "us-east-1b" {
			inZone++
		}
	}
	for _, v := range east1.Endpoints {
		gateways += len(v.RouteTableIDs)
	}
	if inZone == 0 || gateways == 0 {
		t.Fatal("the embedded topology has no subnet in us-east-1b, or no gateway endpoint")
	}
	for _, tt := range []struct {
		action string
		// count is how many times what occurs in the answer.
		what  string
		count int
		more  []string
	}{
		{"DescribeVpcs", "<cidrBlock>10.0.0.0/16</cidrBlock>", 2, nil}, // its association shows it again
		{"DescribeVpcs", "<item>", 0, []string{"Filter.1.Name", "cidr", "Filter.1.Value.1", "10.9.*"}},
		{"DescribeVpcs", "<Code>InvalidVpcID.NotFound</Code><Message>The vpc ID &#39;vpc-0&#39; does not exist", 1, []string{"VpcId.1", "vpc-0"}},
		{"DescribeVpcs", "The filter &#39;nonsense&#39; is invalid", 1, []string{"Filter.1.Name", "nonsense", "Filter.1.Value.1", "x"}},
		{"DescribeVpcs", "the twin keeps no tags", 1, []string{"Filter.1.Name", "tag:Name", "Filter.1.Value.1", "x"}},
		{"DescribeSubnets", "<subnetId>", len(east1.Subnets), nil},
		{"DescribeSubnets", "<subnetId>", inZone, []string{"Filter.1.Name", "availability-zone", "Filter.1.Value.1", "us-east-1b"}},
		{"DescribeSubnets", "<subnetId>", 5, []string{"MaxResults", "5"}},
		{"DescribeSubnets", "<nextToken>", 1, []string{"MaxResults", "5"}},
		{"DescribeRouteTables", "<associationSet>", len(east1.Routes), []string{"Filter.1.Name", "vpc-id", "Filter.1.Value.1", east1.ID}},
		{"DescribeRouteTables", "<destinationPrefixListId>", gateways, nil},
		{"DescribeVpcPeeringConnections", "<code>active</code>", 1, nil},
		{"DescribeVpcEndpoints", "<vpcEndpointType>Gateway</vpcEndpointType>", 2, nil},
		{"DescribeNatGateways", "<natGatewayId>", len(east1.NATGateways), nil},
		{"DescribeAvailabilityZones", "<zoneName>us-east-1", 3, nil},
		{"DescribeSecurityGroups", "<groupName>payment-primary-twin-app</groupName>", 1, []string{"Filter.1.Name", "group-name", "Filter.1.Value.1", "*-app"}},
		{"DescribeSecurityGroupRules", "<isEgress>true</isEgress>", 0, []string{"Filter.1.Name", "group-id", "Filter.1.Value.1", r.group(t, east, "-database").ID}},
		{"DescribeInstances", "<Code>InvalidAction</Code>", 1, nil},
	} {
		_, body := r.call(t, east, tt.action, tt.more...)
		if got := strings.Count(body, tt.what); got != tt.count {
			t.Errorf("%s %q: %q occurs %d times, want %d:\n%s", tt.action, tt.more, tt.what, got, tt.count, body)
		}
	}
}

// TestStockCommandEC2 changes a rule with the stock aws command. Tried with aws-cli/1.45.11 (botocore 1.43.11).
func TestStockCommandEC2(t *testing.T) {
	if testing.Short() {
		t.Skip("the aws command takes a second each time")
	}
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("SKIPPED: the aws command is not installed, so nothing shows that it works against the twin")
	}
	r := newEC2(t)
	if version, err := awsCLI(t, r.url, "--version"); err != nil {
		t.Skipf("SKIPPED: the aws command does not run here: %s", version)
	}
	app, balancer := r.group(t, east, "-app").ID, r.group(t, east, "-balancer").ID
	rule := " --group-id " + app + " --protocol tcp --port 8080 --source-group " + balancer
	for _, c := range []struct{ args, want string }{
		{"describe-security-groups --filters Name=group-name,Values=*-app --query SecurityGroups[].IpPermissions[].UserIdGroupPairs[].GroupId", balancer},
		{"revoke-security-group-ingress" + rule, `"Return": true`},
		{"revoke-security-group-ingress" + rule, "(InvalidPermission.NotFound)"},
		{"authorize-security-group-ingress" + rule, `"ReferencedGroupInfo"`},
		{"describe-security-group-rules --filters Name=group-id,Values=" + app + " --query SecurityGroupRules[?!IsEgress].FromPort", "8080"},
		{"delete-route --route-table-id rtb-0 --destination-cidr-block 10.1.0.0/16", "(InvalidRouteTableID.NotFound)"},
	} {
		out, err := awsCLI(t, r.url, append([]string{"ec2"}, strings.Fields(c.args)...)...)
		if !strings.Contains(out, c.want) || (err != nil) != strings.HasPrefix(c.want, "(") {
			t.Errorf("aws ec2 %s: %v\n%s\nwant %q", c.args, err, out, c.want)
		}
	}
}

// TestDroppedCallGetsNoAnswer: a caller whose network does not lead to a service waits in silence, and is answered as
// soon as it does.
func TestDroppedCallGetsNoAnswer(t *testing.T) {
	b := newBackends(t)
	admit := make(chan struct{})
	asked := make(chan string, 4)
	e := newEndpoint(t, b, func(o *Options) {
		o.Admit = func(ctx context.Context, from netip.Addr, region, service string) error {
			asked <- from.String() + " " + region + " " + service
			select {
			case <-admit:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		o.Networks = vpc.New(b.topology)
	})
	r := &ec2Rig{b.topology, nil, serve(t, e, east)}
	answered := make(chan int, 1)
	go func() {
		status, _ := r.call(t, west, "DescribeVpcs")
		answered <- status
	}()
	if got := <-asked; got != "127.0.0.1 us-west-2 ec2" {
		t.Errorf("asked about %q", got)
	}
	select {
	case status := <-answered:
		t.Fatalf("answered with %d though the network drops it", status)
	case <-time.After(50 * time.Millisecond):
	}
	close(admit)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("answered with %d", status)
	}
}
