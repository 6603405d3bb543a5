package twin_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/jackc/pgx/v5"

	"holdfast/internal/topology"
	"holdfast/internal/twin"
	"holdfast/internal/twin/api"
)

// networked is a twin whose networks are changed by the EC2 API.
type networked struct {
	*testing.T
	tw   *twin.Twin
	topo topology.Topology
	ctx  context.Context
}

// TestNetworksDecide takes routes and rules of a running deployment away and gives them back, one after the other, and
// looks at what stops and goes on.
func TestNetworksDecide(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tw := bringUp(ctx, t, 10)
	n := &networked{t, tw, tw.Topology(), ctx}
	n.peeringWithoutRoutes()
	n.taskWithoutItsSecrets()
	n.balancerWithoutItsRule()
}

// ec2 sends an action and wants it to succeed.
func (n *networked) ec2(region, action string, parameters ...string) {
	n.Helper()
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for i := 0; i < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	body := form.Encode()
	req, err := http.NewRequestWithContext(n.ctx, http.MethodPost, n.tw.Endpoint(), strings.NewReader(body))
	if err != nil {
		n.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	req.Close = true
	sum := sha256.Sum256([]byte(body))
	key := aws.Credentials{AccessKeyID: api.AccessKeyID, SecretAccessKey: api.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(n.ctx, key, req, hex.EncodeToString(sum[:]), "ec2", region, time.Now()); err != nil {
		n.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		n.Fatalf("%s %q: %d %s, %v", action, parameters, resp.StatusCode, answer, err)
	}
}

// until waits for a condition; found is what to say if it never comes.
func (n *networked) until(what string, ok func() (bool, any)) {
	n.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(90 * time.Second)
	defer limit.Stop()
	for {
		came, found := ok()
		if came {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			n.Fatalf("never came true: %s: %v", what, found)
		}
	}
}

// peeringWithoutRoutes: a warden of the standby site reads the other site's database over the peering connection. Without
// its route an open connection stalls and a new one is not answered; with the route both go on.
func (n *networked) peeringWithoutRoutes() {
	first, second := n.tw.Sites()[0], n.tw.Sites()[1]
	way := ""
	for _, c := range n.topo.DBClusters {
		if c.Identifier == first.DBClusterIdentifier {
			way = n.tw.WayFrom(second.WardenService, c.Endpoint)
		}
	}
	dsn, err := url.Parse(n.tw.DatabaseDSN(first.Name))
	if err != nil || way == "" {
		n.Fatalf("no way from %s to the other site's database: %q, %v", second.WardenService, way, err)
	}
	dsn.Host = way + ":" + dsn.Port()
	connect := func(limit time.Duration) (*pgx.Conn, error) {
		ctx, cancel := context.WithTimeout(n.ctx, limit)
		defer cancel()
		return pgx.Connect(ctx, dsn.String())
	}
	open, err := connect(30 * time.Second)
	if err != nil {
		n.Fatalf("over the peering: %v", err)
	}
	defer open.Close(context.Background())

	var tables []string
	for _, v := range n.topo.Networks {
		for _, table := range v.Routes {
			for _, r := range table.Routes {
				if v.Region == second.Region && r.TargetKind == "pcx" {
					tables = append(tables, table.ID)
					n.ec2(v.Region, "DeleteRoute", "RouteTableId", table.ID, "DestinationCidrBlock", r.DestinationCIDR)
				}
			}
		}
	}
	if len(tables) == 0 {
		n.Fatal("no route leads over the peering connection")
	}
	answered := make(chan error, 1)
	go func() {
		_, err := open.Exec(n.ctx, "select 1")
		answered <- err
	}()
	if conn, err := connect(500 * time.Millisecond); err == nil {
		_ = conn.Close(n.ctx)
		n.Error("a new connection over the peering without a route")
	}
	select {
	case err := <-answered:
		n.Errorf("an open connection without a route was answered: %v", err)
	default:
	}
	for _, v := range n.topo.Networks {
		for _, table := range v.Routes {
			for _, r := range table.Routes {
				if slices.Contains(tables, table.ID) && r.TargetKind == "pcx" {
					n.ec2(v.Region, "CreateRoute", "RouteTableId", table.ID, "DestinationCidrBlock", r.DestinationCIDR, "VpcPeeringConnectionId", r.TargetID)
				}
			}
		}
	}
	if err := <-answered; err != nil {
		n.Errorf("the open connection after the route came back: %v", err)
	}
	if conn, err := connect(30 * time.Second); err != nil {
		n.Errorf("a new connection after the route came back: %v", err)
	} else {
		_ = conn.Close(n.ctx)
	}
}

// ingress finds the inbound rule of a group that lets another one in, as parameters of EC2.
func (n *networked) ingress(groupID, peerID string) []string {
	for _, g := range n.topo.SecurityGroups {
		for _, r := range g.Ingress {
			if g.ID == groupID && r.PeerSecurityGroupID == peerID {
				return []string{
					"GroupId", g.ID, "IpPermissions.1.IpProtocol", r.Protocol, "IpPermissions.1.FromPort", fmt.Sprint(r.FromPort),
					"IpPermissions.1.ToPort", fmt.Sprint(r.ToPort), "IpPermissions.1.Groups.1.GroupId", peerID,
				}
			}
		}
	}
	n.Fatalf("no inbound rule of %s lets %s in", groupID, peerID)
	return nil
}

func (n *networked) service(region, name string) topology.Service {
	for _, s := range n.topo.Services {
		if s.Region == region && s.Name == name {
			return s
		}
	}
	n.Fatalf("no service %s", name)
	return topology.Service{}
}

// taskWithoutItsSecrets: without the rule from the tasks to the endpoint of Secrets Manager, a task that is to start stops
// with ECS's words for it, and with the rule the service gets its tasks back.
func (n *networked) taskWithoutItsSecrets() {
	site := n.tw.Sites()[1]
	s := n.service(site.Region, site.AppService)
	endpoint := ""
	for _, v := range n.topo.Networks {
		for _, e := range v.Endpoints {
			if v.Region == site.Region && e.Service == "secretsmanager" && len(e.SecurityGroupIDs) > 0 {
				endpoint = e.SecurityGroupIDs[0]
			}
		}
	}
	rule := n.ingress(endpoint, s.SecurityGroupIDs[0])
	n.ec2(site.Region, "RevokeSecurityGroupIngress", rule...)
	if err := n.tw.ReplaceTasks(n.ctx, site.Region, s.ClusterName, s.Name); err != nil {
		n.Fatal(err)
	}
	n.until("a task stops for want of its secrets", func() (bool, any) {
		reasons := n.tw.StopReasons(site.Region, s.Name)
		return slices.ContainsFunc(reasons, func(reason string) bool {
			return strings.HasPrefix(reason, "ResourceInitializationError: unable to pull secrets or registry auth")
		}), reasons
	})
	n.ec2(site.Region, "AuthorizeSecurityGroupIngress", rule...)
}

// balancerWithoutItsRule: without the rule from the balancer to the tasks its targets turn unhealthy with a time-out, and
// the site stops serving; with the rule they are healthy again.
func (n *networked) balancerWithoutItsRule() {
	site := n.tw.Sites()[0]
	if !n.tw.Serves(n.ctx, site.Name) {
		n.Fatalf("%s does not serve to begin with", site.Name)
	}
	s := n.service(site.Region, site.AppService)
	balancer := ""
	for _, lb := range n.topo.LoadBalancers {
		if lb.ARN == site.LoadBalancerARN {
			balancer = lb.SecurityGroupIDs[0]
		}
	}
	rule := n.ingress(s.SecurityGroupIDs[0], balancer)
	n.ec2(site.Region, "RevokeSecurityGroupIngress", rule...)
	n.until("the targets time out", func() (bool, any) {
		states := n.tw.Targets(site.AppTargetGroupARN)
		return slices.Contains(states, "unhealthy Target.Timeout Request timed out") && !slices.Contains(states, "healthy"), states
	})
	n.until("the site stops serving", func() (bool, any) { return !n.tw.Serves(n.ctx, site.Name), "it serves" })
	n.ec2(site.Region, "AuthorizeSecurityGroupIngress", rule...)
	n.until("the targets are healthy again", func() (bool, any) {
		states := n.tw.Targets(site.AppTargetGroupARN)
		return slices.Contains(states, "healthy"), states
	})
}
