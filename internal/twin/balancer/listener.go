package balancer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

const (
	// headerLimit is ALB's bound on a request's header.
	headerLimit = 64 << 10
	// bodyLimit bounds a request's body. ALB has no bound of its own; the twin has one, so that a runaway client ends.
	bodyLimit = 128 << 20
	// defaultIdleTimeout and defaultClientKeepAlive are AWS's.
	defaultIdleTimeout     = 60 * time.Second
	defaultClientKeepAlive = 3600 * time.Second
	// minimumIdleTimeout keeps a high speed from cutting requests that real programs need real time for.
	minimumIdleTimeout = 2 * time.Second
)

type acceptedKey struct{}

// loadBalancer is one load balancer; it has a server per listener while its region runs.
type loadBalancer struct {
	owner     *Balancer
	config    topology.LoadBalancer
	listeners []topology.Listener
	address   netip.Addr
	idle      time.Duration
	keepAlive time.Duration
	counters  counters
	tls       *tls.Config

	// pooled reuses connections to targets, fresh makes a new one for each request.
	pooled, fresh *http.Transport
	// cancel ends what the server does not know any more: connections that were upgraded.
	cancel  context.CancelFunc
	servers []*http.Server
	serving sync.WaitGroup

	mu sync.Mutex
	// changed holds the default actions that were changed since the topology was read, by the listener's ARN.
	changed  map[string]topology.Action
	conns    map[net.Conn]struct{}
	handling int
	stopping bool
	// idleNow is told when handling falls to zero and when a connection is closed.
	idleNow sync.Cond
}

type counters struct {
	requests, elb4xx, elb5xx, active atomic.Int64
}

func (c *counters) view() LoadBalancerCounts {
	return LoadBalancerCounts{Requests: c.requests.Load(), ELB4XX: c.elb4xx.Load(), ELB5XX: c.elb5xx.Load(), ActiveConnections: c.active.Load()}
}

func newLoadBalancer(b *Balancer, config topology.LoadBalancer) (*loadBalancer, error) {
	l := &loadBalancer{
		owner: b, config: config, conns: map[net.Conn]struct{}{}, changed: map[string]topology.Action{},
		idle:      max(b.scaled(orDefault(config.IdleTimeout, defaultIdleTimeout)), minimumIdleTimeout),
		keepAlive: b.scaled(orDefault(config.ClientKeepAlive, defaultClientKeepAlive)),
	}
	l.idleNow.L = &l.mu
	l.address = b.opts.Fabric.Allocate(config.Region, "load-balancer/"+config.Name)
	if !l.address.IsValid() {
		return nil, fmt.Errorf("no address in region %q", config.Region)
	}
	for _, listener := range b.opts.Topology.Listeners {
		if listener.LoadBalancerARN != config.ARN {
			continue
		}
		if err := checkActions(listener, b.groups); err != nil {
			return nil, err
		}
		if listener.Protocol == "HTTPS" && l.tls == nil {
			certificate, err := selfSigned(l.address, config.DNSName, b.opts.Topology.DNSName)
			if err != nil {
				return nil, fmt.Errorf("make a certificate: %w", err)
			}
			l.tls = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		}
		// The topology promises the order; a hand-made one may not keep it.
		listener.Rules = slices.Clone(listener.Rules)
		slices.SortStableFunc(listener.Rules, func(x, y topology.ListenerRule) int { return x.Priority - y.Priority })
		l.listeners = append(l.listeners, listener)
	}
	return l, nil
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}

// current is a listener with its default action of this moment.
func (l *loadBalancer) current(listener topology.Listener) topology.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.changed[listener.ARN]; ok {
		listener.Default = a
	}
	return listener
}

// targetGroups lists the groups that the load balancer forwards to.
func (l *loadBalancer) targetGroups() []string {
	var list []string
	for _, listener := range l.listeners {
		for _, a := range actions(l.current(listener)) {
			if a.Type != "forward" {
				continue
			}
			for _, w := range weights(a) {
				if !slices.Contains(list, w.TargetGroupARN) {
					list = append(list, w.TargetGroupARN)
				}
			}
		}
	}
	return list
}

// start listens on every listener's port, or on none if one of them fails.
func (l *loadBalancer) start() error {
	l.pooled, l.fresh = l.newTransport(), l.newTransport()
	l.fresh.DisableKeepAlives = true
	l.mu.Lock()
	l.stopping = false
	l.mu.Unlock()
	var sockets []net.Listener
	for _, listener := range l.listeners {
		address := network.HostPort(l.address, l.owner.opts.Fabric.Port(listener.Port))
		socket, err := l.owner.opts.Fabric.Listen(l.config.Region, address, l.owner.admission(l.address, listener.Port))
		if err != nil {
			for _, s := range sockets {
				_ = s.Close()
			}
			return fmt.Errorf("listen for port %d: %w (does another program listen on that port of all addresses?)", listener.Port, err)
		}
		sockets = append(sockets, socket)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for i, listener := range l.listeners {
		server := l.newServer(ctx, listener)
		l.servers = append(l.servers, server)
		l.serving.Go(func() { l.serve(server, sockets[i], listener.Protocol == "HTTPS") })
	}
	return nil
}

func (l *loadBalancer) serve(server *http.Server, socket net.Listener, secure bool) {
	var err error
	if secure {
		err = server.ServeTLS(socket, "", "")
	} else {
		err = server.Serve(socket)
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		l.owner.logger.Error("load balancer listener ended", "load_balancer", l.config.Name, "error", err)
	}
}

func (l *loadBalancer) newServer(ctx context.Context, listener topology.Listener) *http.Server {
	server := &http.Server{
		Handler:           l.handler(listener),
		ReadHeaderTimeout: l.idle,
		IdleTimeout:       l.idle,
		MaxHeaderBytes:    headerLimit,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, acceptedKey{}, time.Now())
		},
		ConnState: l.connState,
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	if l.tls != nil {
		server.TLSConfig = l.tls.Clone()
	}
	if l.owner.logger.Enabled(context.Background(), slog.LevelDebug) {
		server.ErrorLog = slog.NewLogLogger(l.owner.logger.Handler(), slog.LevelDebug)
	}
	return server
}

func (l *loadBalancer) connState(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateNew:
		l.conns[conn] = struct{}{}
		l.counters.active.Add(1)
		if l.stopping { // accepted in the moment of the stop, too late for the server to close it
			_ = conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		if _, ok := l.conns[conn]; ok {
			delete(l.conns, conn)
			l.counters.active.Add(-1)
			l.idleNow.Broadcast()
		}
	}
}

// stop closes the listeners and resets every connection at once, and waits until no request is being handled.
func (l *loadBalancer) stop() {
	l.mu.Lock()
	l.stopping = true
	for conn := range l.conns {
		if secure, ok := conn.(*tls.Conn); ok {
			conn = secure.NetConn()
		}
		if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
			_ = tcp.SetLinger(0) // the close becomes a reset
		}
	}
	l.mu.Unlock()
	for _, server := range l.servers {
		_ = server.Close()
	}
	l.servers = nil
	l.cancel()
	l.serving.Wait()
	l.mu.Lock()
	for l.handling > 0 || len(l.conns) > 0 {
		l.idleNow.Wait()
	}
	l.mu.Unlock()
	l.pooled.CloseIdleConnections()
	l.fresh.CloseIdleConnections()
}

// enter counts a request in; false if the load balancer is stopping.
func (l *loadBalancer) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping {
		return false
	}
	l.handling++
	return true
}

func (l *loadBalancer) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handling--
	if l.handling == 0 {
		l.idleNow.Broadcast()
	}
}

// selfSigned makes a certificate for the load balancer's names and address.
func selfSigned(address netip.Addr, names ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return tls.Certificate{}, err
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "holdfast twin"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(30 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     names,
		IPAddresses:  []net.IP{address.AsSlice()},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
