package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
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
//
// Admit is for servers of clients, which also hear nothing from the outside while their region's link to it is partitioned.
// It, if not nil, is asked about every new connection by the client's address: it returns when the network lets the
// connection through, or an error when ctx ends. Until then the client waits in silence.
func (f *Fabric) Listen(region, address string, admit func(ctx context.Context, from netip.Addr) error) (net.Listener, error) {
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", describe(region), err)
	}
	return &regionListener{Listener: listener, fabric: f, region: region, admit: admit, closed: make(chan struct{})}, nil
}

type regionListener struct {
	net.Listener
	fabric *Fabric
	region string
	admit  func(ctx context.Context, from netip.Addr) error
	once   sync.Once
	closed chan struct{}
}

// Accept leaves connections of a frozen region to the kernel: the client sees them established.
func (l *regionListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.fabric.awaitThaw(l.closed, l.region)
	c := &regionConn{Conn: conn, fabric: l.fabric, region: l.region}
	c.open, c.end = context.WithCancel(context.Background())
	if l.admit != nil {
		c.admitted = sync.OnceValue(func() error { return c.wait(l.admit) })
	}
	return c, nil
}

func (l *regionListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// regionConn is a connection of a server in a region. It does not embed the TCP connection: its ReadFrom and WriteTo
// would go past Read and Write.
type regionConn struct {
	net.Conn
	fabric *Fabric
	region string
	// admitted waits, the first time, until the network has let the client through; nil if nobody asks.
	admitted func() error
	// open ends with Close.
	open context.Context
	end  context.CancelFunc
}

// wait asks whether the client may connect, for as long as a client tries. It runs with the server's first read, so that
// one client's silence does not keep others from being accepted.
func (c *regionConn) wait(admit func(ctx context.Context, from netip.Addr) error) error {
	ctx, cancel := context.WithTimeout(c.open, holdLimit)
	defer cancel()
	began := time.Now()
	if err := admit(ctx, hostOf(c.RemoteAddr().String())); err != nil {
		return err
	}
	if time.Since(began) > dropped && gone(c.Conn.(*net.TCPConn)) { // as in Proxy.connect
		return io.EOF
	}
	return nil
}

func (c *regionConn) Read(p []byte) (int, error) {
	if c.admitted != nil {
		if err := c.admitted(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	c.await()
	return n, err
}

func (c *regionConn) Write(p []byte) (int, error) {
	c.await()
	return c.Conn.Write(p)
}

func (c *regionConn) Close() error {
	c.end()
	return c.Conn.Close()
}

// CloseWrite ends one direction, as an upgraded connection does.
func (c *regionConn) CloseWrite() error {
	c.await()
	return c.Conn.(*net.TCPConn).CloseWrite()
}

// SetLinger lets a server make its close a reset.
func (c *regionConn) SetLinger(seconds int) error { return c.Conn.(*net.TCPConn).SetLinger(seconds) }
