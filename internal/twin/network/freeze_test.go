package network

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// echo serves a frozen-able echo in a region until the test ends and returns its address.
func echo(t *testing.T, f *Fabric, region string) string {
	t.Helper()
	listener, err := f.Listen(region, HostPort(f.Allocate(region, "echo"), 7007), nil)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

// silent says that nothing can be read for a while.
func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a frozen region answered: %d bytes, %v", n, err)
	}
	_ = conn.SetReadDeadline(time.Time{})
}

func TestFrozenRegion(t *testing.T) {
	f := newFabric(t)
	address := echo(t, f, "us-east-1")
	f.SetFrozen("us-east-1", true)
	if !f.Frozen("us-east-1") || f.Frozen("us-west-2") {
		t.Error("the wrong region is frozen")
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("a frozen host's kernel still takes connections: %v", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("one")); err != nil {
		t.Fatal(err)
	}
	silent(t, conn)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, way := range [][2]string{{Outside, "us-east-1"}, {"us-east-1", "us-west-2"}, {"us-east-1", "us-east-1"}} {
		if err := f.Traverse(ctx, way[0], way[1]); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("from %q to %q while frozen: %v", way[0], way[1], err)
		}
	}
	if err := f.Traverse(t.Context(), Outside, "us-west-2"); err != nil {
		t.Errorf("past the frozen region: %v", err)
	}
	f.SetFrozen("us-east-1", false)
	got := make([]byte, 3)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "one" {
		t.Errorf("after the thaw: %q, %v", got, err)
	}
	// Frozen in the middle of a connection.
	f.SetFrozen("us-east-1", true)
	_, _ = conn.Write([]byte("two"))
	silent(t, conn)
	f.SetFrozen("us-east-1", false)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "two" {
		t.Errorf("after the second thaw: %q, %v", got, err)
	}
}

// TestLostWhileFrozen: a region that is lost is not frozen when it comes back, and a lost one can't be frozen.
func TestLostWhileFrozen(t *testing.T) {
	f := newFabric(t)
	f.SetFrozen("us-east-1", true)
	f.SetRegion("us-east-1", false)
	f.SetFrozen("us-east-1", true)
	f.SetRegion("us-east-1", true)
	if err := f.AwaitThaw(t.Context(), "us-east-1"); err != nil || f.Frozen("us-east-1") {
		t.Errorf("still frozen after the loss: %v", err)
	}
}
