package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// holdLimit is how long a connection to somewhere unreachable is held in silence before it is reset: what Linux
	// does by default (tcp_syn_retries = 6).
	holdLimit = 127 * time.Second
	// dialLimit bounds the connection from a relay to its target, which is on the same machine.
	dialLimit = 5 * time.Second
)

// ProxyConfig describes one relay.
type ProxyConfig struct {
	// FromRegion is where the listening address is and where its clients are.
	FromRegion string
	// ListenAddr is host:port.
	ListenAddr string
	// ToRegion is where the target is.
	ToRegion string
	// Target is asked for every new connection; false refuses it (on loopback: accepted, then reset).
	Target func() (addr string, ok bool)
	// Filter, if set, is what the rules of the networks on the way say.
	Filter Filter
}

// Filter decides what a relay may carry. It must be safe for concurrent use.
type Filter interface {
	// Open returns when a connection to an address may be made, or an error when ctx ends first.
	Open(ctx context.Context, address netip.Addr) error
	// Carries says whether packets of an open connection find their way right now, and gives a channel that is closed
	// when that may change.
	Carries(address netip.Addr) (ok bool, changed <-chan struct{})
}

// Proxy relays TCP connections over one link.
type Proxy struct {
	config   ProxyConfig
	fabric   *Fabric
	listener net.Listener

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu    sync.Mutex
	conns map[*relay]struct{}
}

// Proxy starts a relay. Every byte arrives one one-way delay after it was sent, in order and pipelined: the delay does
// not limit the throughput, the buffer of 4 MiB per direction does. A partition stalls the bytes without a reset.
// Losing one of the two regions resets its connections at once; new connections to a lost region hang for as long as
// Linux would try (127 s), new ones in a lost region are reset.
func (f *Fabric) Proxy(config ProxyConfig) (*Proxy, error) {
	if config.Target == nil {
		return nil, fmt.Errorf("relay on %s: no target", config.ListenAddr)
	}
	listener, err := net.Listen("tcp4", config.ListenAddr)
	if err != nil {
		return nil, fmt.Errorf("relay from %s to %s: %w", describe(config.FromRegion), describe(config.ToRegion), err)
	}
	p := &Proxy{config: config, fabric: f, listener: listener, conns: map[*relay]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	f.mu.Lock()
	closed := f.closed
	if !closed {
		f.proxies[p] = struct{}{}
	}
	f.mu.Unlock()
	if closed {
		p.cancel()
		_ = listener.Close()
		return nil, fmt.Errorf("relay on %s: the network is closed", config.ListenAddr)
	}
	p.group.Go(p.accept)
	return p, nil
}

// Addr is the listening address.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Connections is how many connections are open or waiting for their target.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// BreakConnections resets every connection that is open now, as when what stands behind the address changes; new ones
// are accepted as before.
func (p *Proxy) BreakConnections() { p.breakConnections() }

// Close stops listening, resets every connection and waits until all is over.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.listener.Close()
	p.breakConnections()
	p.group.Wait()
	p.fabric.mu.Lock()
	delete(p.fabric.proxies, p)
	p.fabric.mu.Unlock()
}

func (p *Proxy) breakConnections() {
	p.mu.Lock()
	conns := make([]*relay, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.cancel()
	}
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || p.ctx.Err() != nil {
				return
			}
			// Out of file descriptors and the like: give others the time to end.
			slog.Warn("relay cannot accept a connection", "listen", p.config.ListenAddr, "error", err)
			if wait(p.ctx, 50*time.Millisecond) != nil {
				return
			}
			continue
		}
		p.group.Go(func() { p.serve(conn.(*net.TCPConn)) })
	}
}

// serve connects one client to the target and relays until both directions have ended.
func (p *Proxy) serve(client *net.TCPConn) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	r := &relay{cancel: cancel}
	p.mu.Lock()
	p.conns[r] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, r)
		p.mu.Unlock()
	}()
	// Asked after the registration, so that a region lost in between is noticed either here or by the cancellation.
	if !p.fabric.Up(p.config.FromRegion) {
		reset(client)
		return
	}
	target, err := p.connect(ctx, client)
	if err != nil {
		reset(client)
		return
	}
	p.relay(ctx, cancel, client, target)
}

// connect takes the handshake's round trip and dials the target.
func (p *Proxy) connect(ctx context.Context, client *net.TCPConn) (*net.TCPConn, error) {
	hold, cancel := context.WithTimeout(ctx, holdLimit)
	defer cancel()
	held := !p.fabric.Reachable(p.config.FromRegion, p.config.ToRegion)
	err := p.fabric.Traverse(hold, p.config.FromRegion, p.config.ToRegion)
	if err != nil {
		return nil, err
	}
	// A client that gave up while its handshake was unanswered has sent nothing on a real network. Here the kernel took
	// its request in already; delivering that after the healing would invent a message.
	if held && gone(client) {
		return nil, errors.New("the client gave up")
	}
	address, ok := p.config.Target()
	if !ok {
		return nil, errors.New("refused")
	}
	if p.config.Filter != nil {
		if address, err = p.pass(hold, client, address); err != nil {
			return nil, err
		}
	}
	// The target sees the relay's own address as the peer, so that it knows which region the connection came from.
	dialer := net.Dialer{Timeout: dialLimit}
	if local, isTCP := p.listener.Addr().(*net.TCPAddr); isTCP {
		dialer.LocalAddr = &net.TCPAddr{IP: local.IP}
	}
	conn, err := dialer.DialContext(ctx, "tcp4", address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// pass waits until the filter lets a connection to the target through, and returns the target of that moment.
func (p *Proxy) pass(ctx context.Context, client *net.TCPConn, address string) (string, error) {
	began := time.Now()
	for {
		if err := p.config.Filter.Open(ctx, hostOf(address)); err != nil {
			return "", err
		}
		now, ok := p.config.Target()
		switch {
		case !ok:
			return "", errors.New("refused")
		case time.Since(began) > dropped && gone(client): // as in connect
			return "", errors.New("the client gave up")
		case now == address:
			return now, nil
		}
		address = now
	}
}

// dropped is longer than a filter takes that has nothing against a connection.
const dropped = 10 * time.Millisecond

func hostOf(address string) netip.Addr {
	parsed, _ := netip.ParseAddrPort(address) // targets are addresses of this fabric
	return parsed.Addr()
}

// gone reports whether the peer has closed its end, even if there are bytes left to read.
func gone(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		closed = err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return err != nil || closed
}

// reset closes a connection with RST instead of FIN.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
