package vpc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast/internal/reach"
	"holdfast/internal/topology"
)

const (
	east = "us-east-1"
	west = "us-west-2"
)

// rig is the embedded deployment's networks with one of everything placed.
type rig struct {
	*VPC
	balancer, task, warden, database, peer netip.Addr
	// app and lb are security groups, tables the route tables of the east.
	app, lb string
	tables  []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddr
	r := &rig{New(topo), address("127.9.1.1"), address("127.9.1.2"), address("127.9.1.3"), address("127.9.1.4"), address("127.9.2.4"), "", "", nil}
	for _, lb := range topo.LoadBalancers {
		if lb.Region == east {
			r.Place(r.balancer, reach.LoadBalancer(topo, lb))
			r.lb = lb.SecurityGroupIDs[0]
		}
	}
	for _, s := range topo.Services {
		switch {
		case s.Region != east:
		case strings.HasPrefix(s.Name, "payment-"):
			r.Place(r.task, reach.Task(topo, s, s.SubnetIDs[0], 0))
			r.app = s.SecurityGroupIDs[0]
		default:
			r.Place(r.warden, reach.Task(topo, s, s.SubnetIDs[0], 0))
		}
	}
	for _, c := range topo.DBClusters {
		for _, in := range topo.DBInstances {
			if in.ClusterIdentifier == c.Identifier {
				r.Place(map[string]netip.Addr{east: r.database, west: r.peer}[c.Region], reach.Database(topo, c, in))
			}
		}
	}
	for _, n := range topo.Networks {
		for _, table := range n.Routes {
			if n.Region == east {
				r.tables = append(r.tables, table.ID)
			}
		}
	}
	return r
}

// now asks without waiting.
func (r *rig) now(from, to netip.Addr, port int) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return r.AdmitTo(ctx, from, to, port)
}

func fromBalancer(r *rig) []topology.SecurityGroupRule {
	return []topology.SecurityGroupRule{{Protocol: "tcp", FromPort: 8080, ToPort: 8080, PeerSecurityGroupID: r.lb}}
}

func TestWhoMayConnect(t *testing.T) {
	r := newRig(t)
	client := netip.MustParseAddr("127.0.0.1")
	for _, c := range []struct {
		from, to netip.Addr
		port     int
		ok       bool
	}{
		{client, r.balancer, 80, true},
		{client, r.balancer, 22, false},
		{client, r.task, 8080, false},
		{client, r.database, 5432, false},
		{r.balancer, r.task, 8080, true},
		{r.balancer, r.task, 22, false},
		{r.task, r.database, 5432, true},
		{r.balancer, r.database, 5432, false},
		{r.task, r.peer, 5432, false},
		{r.warden, r.peer, 5432, true},
		{r.warden, r.task, 8080, false},
	} {
		err := r.now(c.from, c.to, c.port)
		if (err == nil) != c.ok {
			t.Errorf("%s to %s, port %d: %v", r.At(c.from).Name, r.At(c.to).Name, c.port, err)
		}
		var timeout net.Error
		if err != nil && (!errors.As(err, &timeout) || !timeout.Timeout() || !strings.HasSuffix(err.Error(), "would time out")) {
			t.Errorf("the refusal is no time-out with a reason: %v", err)
		}
	}
	r.Clear(r.balancer)
	if got := r.At(r.balancer).Name; got != "a client" {
		t.Errorf("at a cleared address stands %q", got)
	}
}

// TestAdmitWaitsForTheRule: a connection that is dropped goes through as soon as a rule allows it.
func TestAdmitWaitsForTheRule(t *testing.T) {
	r := newRig(t)
	gone, err := r.Revoke(east, r.app, true, fromBalancer(r), nil)
	if err != nil || len(gone) != 1 || gone[0].ID == "" {
		t.Fatalf("revoked %+v, %v", gone, err)
	}
	if err := r.now(r.balancer, r.task, 8080); err == nil {
		t.Fatal("open without its rule")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.AdmitTo(ctx, r.balancer, r.task, 8080) }()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if _, err := r.Authorize(east, r.app, true, fromBalancer(r)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("not let through after the rule came back: %v", err)
	}
}

// TestAllOrNothing: a change that is refused changes nothing.
func TestAllOrNothing(t *testing.T) {
	r := newRig(t)
	more := append(fromBalancer(r), topology.SecurityGroupRule{Protocol: "tcp", FromPort: 1, ToPort: 1, CIDR: "10.0.0.0/8"})
	wantCode(t, "InvalidPermission.NotFound", func() error { _, err := r.Revoke(east, r.app, true, more, nil); return err })
	if err := r.now(r.balancer, r.task, 8080); err != nil {
		t.Errorf("half of a refused revocation took effect: %v", err)
	}
	wantCode(t, "InvalidPermission.Duplicate", func() error { _, err := r.Authorize(east, r.app, true, more); return err })
	if _, err := r.Authorize(east, r.app, true, more[1:]); err != nil {
		t.Errorf("half of a refused authorization took effect: %v", err)
	}
	wantCode(t, "InvalidGroup.NotFound", func() error {
		_, err := r.Authorize(east, r.app, true, []topology.SecurityGroupRule{{Protocol: "-1", PeerSecurityGroupID: "sg-0"}})
		return err
	})
}

func wantCode(t *testing.T, code string, f func() error) {
	t.Helper()
	var refused *Error
	if err := f(); !errors.As(err, &refused) || refused.ErrorCode() != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// TestPath: security groups decide over new connections only, routes over open ones too.
func TestPath(t *testing.T) {
	r := newRig(t)
	path := r.PathTo(r.At(r.warden), 5432)
	carries := func() bool {
		ok, _ := path.Carries(r.peer)
		return ok
	}
	open := func() bool {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return path.Open(ctx, r.peer) == nil
	}
	if !open() || !carries() {
		t.Fatal("the warden does not reach the other site's database")
	}
	n, _ := r.Network()
	for _, g := range n.Groups {
		if g.Region == east && len(g.Egress) > 0 {
			if _, err := r.Revoke(east, g.ID, false, g.Egress, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if open() || !carries() {
		t.Errorf("without outbound rules: open %t, want false; an open connection is carried %t, want true", open(), carries())
	}
	_, changed := path.Carries(r.peer)
	deleted := 0
	for _, table := range r.tables {
		if err := r.DeleteRoute(east, table, "10.1.0.0/16"); err == nil {
			deleted++
		}
	}
	if deleted == 0 || carries() {
		t.Errorf("%d routes over the peering are gone and an open connection is carried %t", deleted, carries())
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the change")
	}
}
