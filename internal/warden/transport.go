package warden

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// forwardTransport sends requests to the other site's balancer, over HTTP/2 where that has a certificate: one connection across the
// regions, and one handshake, for all. What asks to go over to another protocol (a WebSocket) can do so from HTTP/1.1 only.
type forwardTransport struct {
	spare *spare
	both  http.Transport
	older http.Transport
}

func newForwardTransport(peer *url.URL, name string) *forwardTransport {
	// The other balancer's certificate is for the name that the clients use.
	config := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	t := &forwardTransport{spare: newSpare(peer, config)}
	for _, transport := range []*http.Transport{&t.both, &t.older} {
		transport.DialContext = t.spare.plain.DialContext
		transport.TLSClientConfig, transport.TLSHandshakeTimeout = config.Clone(), forwardDial
		transport.ResponseHeaderTimeout, transport.IdleConnTimeout = forwardIdle, forwardIdle
		transport.MaxIdleConnsPerHost, transport.MaxResponseHeaderBytes = forwardConns, forwardHeaders
		transport.DisableCompression = true
	}
	t.both.ForceAttemptHTTP2 = true
	// A connection that carries everybody's requests must not be waited for when its other end is gone, and an answer that
	// nobody reads is not to be kept here.
	t.both.HTTP2 = &http.HTTP2Config{SendPingTimeout: forwardDial, PingTimeout: forwardDial, MaxReceiveBufferPerStream: forwardBuffer}
	if peer.Scheme == "https" {
		t.both.DialTLSContext = t.spare.dial
	} else {
		t.both.DialContext = t.spare.dial
	}
	return t
}

// RoundTrip implements [http.RoundTripper].
func (t *forwardTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Upgrade") != "" {
		return t.older.RoundTrip(r)
	}
	return t.both.RoundTrip(r)
}

// CloseIdleConnections closes what no request uses.
func (t *forwardTransport) CloseIdleConnections() {
	t.both.CloseIdleConnections()
	t.older.CloseIdleConnections()
}

// spareLife is how long a spare connection is good for: less than anybody waits for a connection's first request, and most of
// what a request may wait for the other site. While requests wait, another takes its place.
const spareLife = 2 * time.Second

// spare dials the other site's balancer, and keeps one connection ready while requests wait for that site: a connection across
// regions takes as long as a request, and one with TLS as long as two.
type spare struct {
	plain  net.Dialer
	secure tls.Dialer
	peer   *url.URL
	wanted chan struct{}

	mu   sync.Mutex
	conn net.Conn
	made time.Time
}

func newSpare(peer *url.URL, config *tls.Config) *spare {
	config = config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	s := &spare{plain: net.Dialer{Timeout: forwardDial}, peer: peer, wanted: make(chan struct{}, 1)}
	s.secure = tls.Dialer{NetDialer: &s.plain, Config: config} // the timeout covers the handshake too
	return s
}

// want asks for a connection to be made.
func (s *spare) want() { signal(s.wanted) }

func (s *spare) anew(ctx context.Context, network, address string) (net.Conn, error) {
	if s.peer.Scheme == "https" {
		return s.secure.DialContext(ctx, network, address)
	}
	return s.plain.DialContext(ctx, network, address)
}

// address is where [net/http.Transport] dials for a URL of the other site.
func (s *spare) address() string {
	return net.JoinHostPort(s.peer.Hostname(), cmp.Or(s.peer.Port(), s.peer.Scheme))
}

// run makes a connection whenever one is wanted and none is there, until ctx ends.
func (s *spare) run(ctx context.Context) {
	defer s.drop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wanted:
		}
		if s.fresh() {
			continue
		}
		s.drop()
		conn, err := s.anew(ctx, "tcp", s.address())
		if err != nil {
			continue // who sends a request dials again, and hears of it
		}
		s.mu.Lock()
		s.conn, s.made = conn, time.Now()
		s.mu.Unlock()
	}
}

// dial is for [net/http.Transport].
func (s *spare) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if s.fresh() {
		if conn := s.take(); conn != nil {
			return conn, nil
		}
	}
	return s.anew(ctx, network, address)
}

func (s *spare) fresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil && time.Since(s.made) < spareLife
}

func (s *spare) take() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn := s.conn
	s.conn = nil
	return conn
}

func (s *spare) drop() {
	if conn := s.take(); conn != nil {
		_ = conn.Close() // nothing was sent over it
	}
}
