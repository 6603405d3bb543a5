package warden

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"sync"
	"time"
)

// spareLife is how long a spare connection is good for: half of the silence after which a balancer closes one by default.
const spareLife = forwardIdle / 2

// spare dials the other site's balancer, and keeps one connection ready while requests wait for that site: a handshake across
// regions takes as long as two more requests would, and those who wait have waited long enough.
type spare struct {
	dialer tls.Dialer
	peer   *url.URL
	wanted chan struct{}

	mu   sync.Mutex
	conn net.Conn
	made time.Time
}

func newSpare(peer *url.URL, config *tls.Config) *spare {
	return &spare{
		// The dialer's timeout covers the handshake too.
		dialer: tls.Dialer{NetDialer: &net.Dialer{Timeout: forwardDial}, Config: config},
		peer:   peer, wanted: make(chan struct{}, 1),
	}
}

// want asks for a connection to be made, if the other site speaks TLS: without, there is little to be saved.
func (s *spare) want() {
	if s.peer.Scheme == "https" {
		signal(s.wanted)
	}
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
		conn, err := s.dialer.DialContext(ctx, "tcp", s.address())
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
	return s.dialer.DialContext(ctx, network, address)
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
