package network

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const testDelay = 40 * time.Millisecond

// rig is an echo-less server in us-west-2 behind a relay in us-east-1.
type rig struct {
	fabric *Fabric
	proxy  *Proxy
	server chan *net.TCPConn
	up     atomic.Bool
}

func newRig(t *testing.T) *rig {
	t.Helper()
	f := newFabric(t)
	f.SetLink("us-east-1", "us-west-2", LinkState{OneWayDelay: testDelay})
	listener, err := net.Listen("tcp4", HostPort(f.Allocate("us-west-2", "server"), 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	r := &rig{fabric: f, server: make(chan *net.TCPConn, 16)}
	r.up.Store(true)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				close(r.server)
				return
			}
			r.server <- conn.(*net.TCPConn)
		}
	}()
	r.proxy, err = f.Proxy(ProxyConfig{
		FromRegion: "us-east-1", ListenAddr: HostPort(f.Allocate("us-east-1", "relay"), 0), ToRegion: "us-west-2",
		Target: func() (string, bool) { return listener.Addr().String(), r.up.Load() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.proxy.Close)
	return r
}

func (r *rig) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp4", r.proxy.Addr(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn.(*net.TCPConn)
}

func (r *rig) accept(t *testing.T) *net.TCPConn {
	t.Helper()
	select {
	case conn := <-r.server:
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		return conn
	case <-time.After(10 * time.Second):
		t.Fatal("no connection arrived")
		return nil
	}
}

func (r *rig) pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	client = r.dial(t)
	return client, r.accept(t)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("reading %q: %v", text, err)
	}
	if string(got) != text {
		t.Fatalf("read %q, want %q", got, text)
	}
}

func TestRelayDelaysEachDirection(t *testing.T) {
	r := newRig(t)
	started := time.Now()
	client, server := r.pair(t)
	if took := time.Since(started); took < 2*testDelay {
		t.Errorf("the handshake took %s, less than a round trip", took)
	}
	for range 3 {
		started = time.Now()
		send(t, client, "question")
		expect(t, server, "question")
		if took := time.Since(started); took < testDelay {
			t.Errorf("forth in %s", took)
		}
		started = time.Now()
		send(t, server, "answer")
		expect(t, client, "answer")
		if took := time.Since(started); took < testDelay {
			t.Errorf("back in %s", took)
		}
	}
}

// Stop-and-wait would need one delay per segment: 64 MiB in segments of 32 KiB at 40 ms is 80 s.
func TestRelayIsPipelinedAndLosesNothing(t *testing.T) {
	r := newRig(t)
	client, server := r.pair(t)
	data := make([]byte, 64<<20)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(data)
	want := sha256.Sum256(data)
	started := time.Now()
	go func() {
		_, _ = client.Write(data)
		_ = client.CloseWrite()
	}()
	hash := sha256.New()
	if n, err := io.Copy(hash, server); err != nil || n != int64(len(data)) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if !bytes.Equal(hash.Sum(nil), want[:]) {
		t.Error("the bytes changed on the way")
	}
	if took := time.Since(started); took > 15*time.Second {
		t.Errorf("64 MiB took %s", took)
	}
}

func TestRelayPushesBackWhenTheReceiverDoesNotRead(t *testing.T) {
	r := newRig(t)
	client, _ := r.pair(t)
	_ = client.SetWriteDeadline(time.Now().Add(2 * time.Second))
	total := 0
	chunk := make([]byte, 1<<20)
	for {
		n, err := client.Write(chunk)
		total += n
		if err != nil {
			break
		}
		if total > 256<<20 {
			t.Fatal("took 256 MiB that nobody read")
		}
	}
	if total < bufferLimit {
		t.Errorf("took only %d bytes", total)
	}
}

func TestHalfCloseAndEnd(t *testing.T) {
	r := newRig(t)
	client, server := r.pair(t)
	send(t, client, "all")
	_ = client.CloseWrite()
	if got, err := io.ReadAll(server); err != nil || string(got) != "all" {
		t.Fatalf("%q, %v", got, err)
	}
	send(t, server, "late answer")
	_ = server.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "late answer" {
		t.Fatalf("%q, %v", got, err)
	}
	eventually(t, "the relay forgets the connection", func() bool { return r.proxy.Connections() == 0 })
}

func TestResetTravels(t *testing.T) {
	r := newRig(t)
	client, server := r.pair(t)
	send(t, server, "last words")
	expect(t, client, "last words")
	_ = server.SetLinger(0)
	_ = server.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v", err)
	}
	eventually(t, "the relay forgets the connection", func() bool { return r.proxy.Connections() == 0 })
}

func TestPartitionStallsWithoutReset(t *testing.T) {
	r := newRig(t)
	client, server := r.pair(t)
	r.fabric.SetLink("us-west-2", "us-east-1", LinkState{OneWayDelay: testDelay, Partitioned: true})
	send(t, client, "held")
	_ = server.SetReadDeadline(time.Now().Add(4 * testDelay))
	if n, err := server.Read(make([]byte, 8)); err == nil {
		t.Fatalf("%d bytes crossed the partition", n)
	} else if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		t.Fatalf("the partition broke the connection: %v", err)
	}
	_ = server.SetReadDeadline(time.Now().Add(10 * time.Second))
	r.fabric.SetLink("us-west-2", "us-east-1", LinkState{OneWayDelay: testDelay})
	expect(t, server, "held")
	send(t, server, "answer")
	expect(t, client, "answer")
}

func TestConnectionBegunInAPartition(t *testing.T) {
	r := newRig(t)
	r.fabric.SetLink("us-west-2", "us-east-1", LinkState{Partitioned: true})
	gaveUp, patient := r.dial(t), r.dial(t)
	send(t, gaveUp, "never sent")
	send(t, patient, "in the end")
	gaveUp.Close()
	eventually(t, "both are held", func() bool { return r.proxy.Connections() == 2 })
	r.fabric.SetLink("us-west-2", "us-east-1", LinkState{OneWayDelay: time.Millisecond})
	expect(t, r.accept(t), "in the end")
	eventually(t, "the one that gave up is forgotten", func() bool { return r.proxy.Connections() == 1 })
	select {
	case <-r.server:
		t.Error("a request whose sender had given up was delivered")
	default:
	}
}

func TestLostRegionBreaksItsConnections(t *testing.T) {
	for _, region := range []string{"us-east-1", "us-west-2"} {
		t.Run(region, func(t *testing.T) {
			r := newRig(t)
			client, server := r.pair(t)
			r.fabric.SetRegion(region, false)
			for name, conn := range map[string]net.Conn{"client": client, "server": server} {
				if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
					t.Errorf("the %s's connection still stands: %v", name, err)
				}
			}
		})
	}
}

func TestNewConnectionToALostRegionHangs(t *testing.T) {
	r := newRig(t)
	r.fabric.SetRegion("us-west-2", false)
	client := r.dial(t)
	_ = client.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := client.Read(make([]byte, 1)); !isTimeout(err) {
		t.Fatalf("a lost region answered: %v", err)
	}
	r.fabric.SetRegion("us-west-2", true)
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	send(t, r.accept(t), "back")
	expect(t, client, "back")
}

func TestRefusal(t *testing.T) {
	r := newRig(t)
	r.up.Store(false)
	client := r.dial(t)
	if _, err := client.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("not refused: %v", err)
	}
}

func TestProxyOnATakenPort(t *testing.T) {
	r := newRig(t)
	if p, err := r.fabric.Proxy(ProxyConfig{ListenAddr: r.proxy.Addr(), Target: func() (string, bool) { return "", false }}); err == nil {
		p.Close()
		t.Error("two relays on one address")
	} else if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
