package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/twin/network"
)

// TestDroppedByTheNetwork: where the network drops what a balancer sends to a target, the health checks time out, and so
// do clients that the network does not let in.
func TestDroppedByTheNetwork(t *testing.T) {
	f, err := network.New(network.Options{Regions: []string{region}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	var target atomic.Pointer[program]
	var toTarget, toBalancer atomic.Bool
	toTarget.Store(true)
	toBalancer.Store(true)
	r := &rig{fabric: f}
	r.Balancer, err = New(Options{
		Topology: testTopology(), Fabric: f,
		Admit: func(ctx context.Context, from, to netip.Addr, port int) error {
			pass := &toBalancer
			if p := target.Load(); p != nil && to == p.ip {
				pass = &toTarget
				if from != r.Address(lbARN) || port != p.port {
					return fmt.Errorf("asked about %s to %s:%d", from, to, port)
				}
			} else if port != 80 && port != 443 {
				return fmt.Errorf("asked about port %d of the balancer", port)
			}
			if pass.Load() {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(region); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	r.url = "http://" + network.HostPort(r.Address(lbARN), 8080)
	r.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second}

	p := r.program(t, "app-1", nil)
	target.Store(p)
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, StateHealthy)
	if resp, _ := r.get(t, "/", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	toTarget.Store(false)
	r.await(t, p, "unhealthy Target.Timeout")
	if h, _ := r.TargetState(appARN, p.ip, p.port); h.Description != "Request timed out" {
		t.Errorf("description %q", h.Description)
	}
	toTarget.Store(true)
	r.await(t, p, StateHealthy)

	toBalancer.Store(false)
	conn, err := net.Dial("tcp", r.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a client that the network does not let in got %d bytes, %v", n, err)
	}
}
