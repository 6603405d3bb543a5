package network

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// SetFrozen says that everything in a region stands still, as when its machines hang, or goes on again. Unlike a lost
// region's, its connections stay open: what is under way from or to it waits, new connections to it are established by
// the kernel and then stay silent, and what its servers behind [Fabric.Listen] had to say they say after the thaw. A
// region that is lost is no longer frozen.
func (f *Fabric) SetFrozen(region string, frozen bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen[region] == frozen || frozen && f.down[region] {
		return
	}
	f.setFrozen(region, frozen)
	f.broadcast()
}

// setFrozen notes it. The caller holds the lock.
func (f *Fabric) setFrozen(region string, frozen bool) {
	if frozen {
		f.frozen[region] = true
	} else {
		delete(f.frozen, region)
	}
	f.anyFrozen.Store(len(f.frozen) > 0)
}

// Frozen reports whether a region stands still.
func (f *Fabric) Frozen(region string) bool {
	if !f.anyFrozen.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.frozen[region]
}

// AwaitThaw returns when a region is not frozen, or ctx's error if that ends first.
func (f *Fabric) AwaitThaw(ctx context.Context, region string) error {
	f.awaitThaw(ctx.Done(), region)
	return ctx.Err()
}

func (f *Fabric) awaitThaw(over <-chan struct{}, region string) {
	for f.anyFrozen.Load() {
		f.mu.Lock()
		frozen, changed := f.frozen[region], f.changed
		f.mu.Unlock()
		if !frozen {
			return
		}
		select {
		case <-changed:
		case <-over:
			return
		}
	}
}

// Listen listens for a server of a region that runs in this process. While the region is frozen the server hears
// nothing and nothing of it is heard, as if it were a process that is stopped.
func (f *Fabric) Listen(region, address string) (net.Listener, error) {
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", describe(region), err)
	}
	return &freezableListener{Listener: listener, fabric: f, region: region, closed: make(chan struct{})}, nil
}

type freezableListener struct {
	net.Listener
	fabric *Fabric
	region string
	once   sync.Once
	closed chan struct{}
}

// Accept leaves connections of a frozen region to the kernel: the client sees them established.
func (l *freezableListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.fabric.awaitThaw(l.closed, l.region)
	return &freezableConn{Conn: conn, fabric: l.fabric, region: l.region, closed: make(chan struct{})}, nil
}

func (l *freezableListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// freezableConn is a connection of a server that may be frozen. It does not embed the TCP connection: its ReadFrom and
// WriteTo would go past Read and Write.
type freezableConn struct {
	net.Conn
	fabric *Fabric
	region string
	once   sync.Once
	closed chan struct{}
}

func (c *freezableConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.fabric.awaitThaw(c.closed, c.region)
	return n, err
}

func (c *freezableConn) Write(p []byte) (int, error) {
	c.fabric.awaitThaw(c.closed, c.region)
	return c.Conn.Write(p)
}

func (c *freezableConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// CloseWrite ends one direction, as an upgraded connection does.
func (c *freezableConn) CloseWrite() error {
	c.fabric.awaitThaw(c.closed, c.region)
	return c.Conn.(*net.TCPConn).CloseWrite()
}

// SetLinger lets a server make its close a reset.
func (c *freezableConn) SetLinger(seconds int) error { return c.Conn.(*net.TCPConn).SetLinger(seconds) }
