package network

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// A region that is cut off from the outside keeps its clients' connections open and says nothing to them, until the link
// is healed; a server that is not for clients does not notice.
func TestClientsAreCutOff(t *testing.T) {
	f := newFabric(t)
	admit := func(context.Context, netip.Addr) error { return nil }
	for _, forClients := range []bool{true, false} {
		name, asked := "private", admit
		if forClients {
			name = "public"
		} else {
			asked = nil
		}
		listener, err := f.Listen("us-east-1", HostPort(f.Allocate("us-east-1", name), 7008), asked)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		say := func() {
			t.Helper()
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
		}
		hear := func() {
			t.Helper()
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		say()
		hear()
		before := f.Link(Outside, "us-east-1")
		f.SetLink(Outside, "us-east-1", LinkState{Partitioned: true})
		say()
		if forClients {
			silent(t, conn)
		} else {
			hear()
		}
		f.SetLink(Outside, "us-east-1", before)
		if forClients {
			hear()
		}
		_ = conn.Close()
		<-served
	}
}
