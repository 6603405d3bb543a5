package balancer

import (
	"errors"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// TestFrozenRegion: the balancer of a frozen region accepts connections and says nothing, judges no target, and answers
// what it was asked once it is thawed.
func TestFrozenRegion(t *testing.T) {
	r := newRig(t, nil, 1)
	p := r.program(t, "app-1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, StateHealthy)
	r.fabric.SetFrozen(region, true)
	p.ready.Store(false)
	conn, err := net.Dial("tcp", r.url[len("http://"):])
	if err != nil {
		t.Fatalf("a frozen host's kernel still takes connections: %v", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	// Ten intervals of the health check, and more than two failures of it.
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a frozen balancer answered: %d bytes, %v", n, err)
	}
	if h, _ := r.TargetState(appARN, p.ip, p.port); h.State != StateHealthy {
		t.Errorf("a frozen balancer judged a target: %+v", h)
	}
	p.ready.Store(true)
	r.fabric.SetFrozen(region, false)
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	answer := make([]byte, len("HTTP/1.1 200"))
	if _, err := conn.Read(answer); err != nil || string(answer) != "HTTP/1.1 200" {
		t.Errorf("after the thaw: %q, %v", answer, err)
	}
}
