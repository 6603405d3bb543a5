package warden

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/term"
)

// secureSite is another site that speaks TLS and HTTP/2, as a balancer does, and counts its connections.
func secureSite(t *testing.T) (site *httptest.Server, opened *atomic.Int64) {
	t.Helper()
	opened = new(atomic.Int64)
	site = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			rw.Header().Set("Connection", "Upgrade")
			rw.Header().Set("Upgrade", "echo")
			rw.WriteHeader(http.StatusSwitchingProtocols)
			conn, stream, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			line, _ := stream.ReadString('\n')
			_, _ = stream.WriteString(line)
			_ = stream.Flush()
			return
		}
		if r.ProtoMajor != 2 {
			t.Errorf("forwarded over %s", r.Proto)
		}
		rw.WriteHeader(http.StatusCreated)
	}))
	site.EnableHTTP2 = true
	site.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	site.StartTLS()
	t.Cleanup(site.Close)
	return site, opened
}

// trust makes the forwarder accept the test server's certificate.
func trust(f *forwarder, site *httptest.Server) {
	for _, config := range []*tls.Config{f.transport.spare.secure.Config, f.transport.older.TLSClientConfig} {
		config.RootCAs, config.ServerName = site.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, "example.com"
	}
}

// TestForwardLetsARequestGoOverToAnotherProtocol: HTTP/2 has no Upgrade.
func TestForwardLetsARequestGoOverToAnotherProtocol(t *testing.T) {
	site, _ := secureSite(t)
	w, _ := movedSite(t, site.URL, true)
	f := newTestForwarder(t, w)
	trust(f, site)
	front := httptest.NewServer(f)
	defer front.Close()
	client, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(client, "GET /socket HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(client)
	response, err := http.ReadResponse(answer, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", response, err)
	}
	if _, err := io.WriteString(client, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := answer.ReadString('\n'); line != "hello\n" {
		t.Errorf("the other side says %q, %v", line, err)
	}
}

// TestForwardHasAConnectionReady: while a request waits for the other site the connection to it is made, and then carries it
// and those after it.
func TestForwardHasAConnectionReady(t *testing.T) {
	site, opened := secureSite(t)
	w, store := movedSite(t, site.URL, false)
	f := newTestForwarder(t, w)
	trust(f, site)
	f.hold = patience
	answered := waiting(t, f)
	eventually(t, "a connection is ready", func() error {
		if !f.transport.spare.fresh() {
			return errors.New("none is made")
		}
		return nil
	})
	store.Edit(func(r *term.Record) { r.Version, r.ServedTerm = r.Version+1, r.Term })
	w.observe(t.Context())
	w.tellNews()
	if code := <-answered; code != http.StatusCreated {
		t.Fatalf("answered %d", code)
	}
	for range 3 {
		if code := pay(f, nil).Code; code != http.StatusCreated {
			t.Fatalf("answered %d", code)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections were opened", n)
	}
}

func TestSpareConnectionIsNotUsedOld(t *testing.T) {
	site, _ := secureSite(t)
	peer, err := url.Parse(site.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := newSpare(peer, &tls.Config{InsecureSkipVerify: true})
	stopped := make(chan struct{})
	go func() {
		s.run(t.Context())
		close(stopped)
	}()
	s.want()
	eventually(t, "a connection is ready", func() error {
		if !s.fresh() {
			return errors.New("none is made")
		}
		return nil
	})
	s.mu.Lock()
	old := s.conn
	s.made = s.made.Add(-spareLife)
	s.mu.Unlock()
	conn, err := s.dial(t.Context(), "tcp", s.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn == old {
		t.Error("a connection that the other side may have closed was used")
	}
	s.want()
	eventually(t, "a new connection is ready", func() error {
		if !s.fresh() {
			return errors.New("none is made")
		}
		return nil
	})
	if err := old.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the old connection is still open: %v", err)
	}
}

func TestSpareDialsWhereTheTransportDoes(t *testing.T) {
	for given, want := range map[string]string{
		"https://app.example.com": "app.example.com:https", "https://app.example.com:8443": "app.example.com:8443", "https://[::1]": "[::1]:https",
	} {
		peer, err := url.Parse(given)
		if err != nil {
			t.Fatal(err)
		}
		if got := newSpare(peer, &tls.Config{}).address(); got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
}
