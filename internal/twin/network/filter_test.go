package network

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// gate is a filter with two switches.
type gate struct {
	mu            sync.Mutex
	open, carries bool
	changed       chan struct{}
}

func newGate() *gate { return &gate{open: true, carries: true, changed: make(chan struct{})} }

func (g *gate) set(open, carries bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open, g.carries = open, carries
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) Open(ctx context.Context, _ netip.Addr) error {
	for {
		g.mu.Lock()
		open, changed := g.open, g.changed
		g.mu.Unlock()
		if open {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *gate) Carries(netip.Addr) (bool, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.carries, g.changed
}

// filtered is an echo in us-west-2 behind a relay in us-east-1 that a gate guards.
func filtered(t *testing.T) (*gate, *Proxy) {
	t.Helper()
	f := newFabric(t)
	g := newGate()
	to := echo(t, f, "us-west-2")
	p, err := f.Proxy(ProxyConfig{
		FromRegion: "us-east-1", ListenAddr: HostPort(f.Allocate("us-east-1", "relay"), 0), ToRegion: "us-west-2",
		Target: func() (string, bool) { return to, true }, Filter: g,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return g, p
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp4", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestFilterHoldsNewConnections: what the rules do not let through waits in silence until they do; what is open goes on.
func TestFilterHoldsNewConnections(t *testing.T) {
	g, p := filtered(t)
	before := dial(t, p.Addr())
	send(t, before, "one")
	expect(t, before, "one")
	g.set(false, true)
	send(t, before, "two")
	expect(t, before, "two")
	after := dial(t, p.Addr())
	send(t, after, "three")
	silent(t, after)
	gaveUp := dial(t, p.Addr())
	send(t, gaveUp, "never")
	silent(t, gaveUp)
	_ = gaveUp.Close()
	g.set(true, true)
	expect(t, after, "three")
	eventually(t, "the connection that was given up ends", func() bool { return p.Connections() == 2 })
}

// TestFilterStallsWithoutARoute: open connections stall when their packets find no way, and go on when they do.
func TestFilterStallsWithoutARoute(t *testing.T) {
	g, p := filtered(t)
	conn := dial(t, p.Addr())
	send(t, conn, "one")
	expect(t, conn, "one")
	g.set(true, false)
	send(t, conn, "two")
	silent(t, conn)
	g.set(true, true)
	expect(t, conn, "two")
}

// TestAdmission: a server's listener lets a client be heard once the network admits it.
func TestAdmission(t *testing.T) {
	f := newFabric(t)
	g := newGate()
	g.set(false, true)
	asked := make(chan netip.Addr, 4)
	listener, err := f.Listen("us-east-1", HostPort(f.Allocate("us-east-1", "server"), 0), func(ctx context.Context, from netip.Addr) error {
		asked <- from
		return g.Open(ctx, from)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	heard := make(chan string, 4)
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				buffer := make([]byte, 8)
				n, err := conn.Read(buffer)
				if err != nil {
					heard <- "nothing"
					return
				}
				heard <- string(buffer[:n])
			})
		}
	})
	defer listener.Close()
	patient := dial(t, listener.Addr().String())
	send(t, patient, "hello")
	if from := <-asked; from != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("asked about %s", from)
	}
	impatient := dial(t, listener.Addr().String())
	send(t, impatient, "bye")
	<-asked
	_ = impatient.Close()
	select {
	case text := <-heard:
		t.Fatalf("heard %q before it was admitted", text)
	case <-time.After(50 * time.Millisecond):
	}
	g.set(true, true)
	got := map[string]bool{<-heard: true, <-heard: true}
	if !got["hello"] || !got["nothing"] {
		t.Errorf("heard %v, want hello of the one that waited and nothing of the one that gave up", got)
	}
}
