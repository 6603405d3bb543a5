package merchant

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testName = "app.payments.test"

// names is a DNS server with one name, which can be moved.
type names struct {
	mu      sync.Mutex
	address string
	ttl     uint32
	rcode   int
	asked   int
	server  *dns.Server
}

func startNames(t *testing.T, address string, ttl uint32) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{address: address, ttl: ttl}
	ready := make(chan struct{})
	n.server = &dns.Server{PacketConn: conn, Handler: n, NotifyStartedFunc: func() { close(ready) }}
	go func() { _ = n.server.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() { _ = n.server.Shutdown() })
	return n
}

func (n *names) addr() string { return n.server.PacketConn.LocalAddr().String() }

func (n *names) move(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.address = address
}

func (n *names) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	m := new(dns.Msg)
	m.SetRcode(q, n.rcode)
	if n.address != "" && q.Question[0].Name == dns.Fqdn(testName) {
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: n.ttl}, A: net.ParseIP(n.address),
		})
	}
	_ = w.WriteMsg(m)
}

// shop is a payment service: it remembers keys, and answers as it is told.
type shop struct {
	mu     sync.Mutex
	keys   map[string]int
	bodies map[string]request
	answer func(key string, attempt int, w http.ResponseWriter)
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	var q request
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || key == "" || r.URL.Path != "/v1/payments" || r.Method != http.MethodPost {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.keys[key]++
	attempt := s.keys[key]
	if known, ok := s.bodies[key]; ok && known != q {
		s.mu.Unlock()
		http.Error(w, "another body", http.StatusUnprocessableEntity)
		return
	}
	s.bodies[key] = q
	answer := s.answer
	s.mu.Unlock()
	answer(key, attempt, w)
}

func approve(key string, _ int, w http.ResponseWriter) {
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"id":"pay_%s","status":"approved"}`, key)
}

// startShop serves at the host on the port, 0 for any.
func startShop(t *testing.T, s *shop, host string, port int) (*http.Server, int) {
	t.Helper()
	s.keys, s.bodies = map[string]int{}, map[string]request{}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return server, listener.Addr().(*net.TCPAddr).Port
}

func startFleet(t *testing.T, o Options) *Fleet {
	t.Helper()
	o.Name = testName
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.Start(t.Context())
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = f.Drain(ctx)
	})
	return f
}

func waitFor(t *testing.T, what string, f *Fleet, holds func(Counts) bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds(f.Counts()) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s in vain: %+v", what, f.Counts())
		}
		<-time.After(5 * time.Millisecond)
	}
}

func drain(t *testing.T, f *Fleet) []Payment {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	return f.Record()
}

func TestMerchantsFollowTheNameWhenItMoves(t *testing.T) {
	first, second := &shop{answer: approve}, &shop{answer: approve}
	server, port := startShop(t, first, "127.0.0.2", 0)
	startShop(t, second, "127.0.0.3", port)
	resolver := startNames(t, "127.0.0.2", 1)
	f := startFleet(t, Options{Resolver: resolver.addr(), Port: port, Speed: 20, Merchants: 3, Rate: 100, Seed: 1})
	waitFor(t, "payments at the first address", f, func(c Counts) bool { return c.Acknowledged >= 20 })

	began := time.Now()
	_ = server.Close()
	resolver.move("127.0.0.3")
	before := len(f.Acknowledgements(0))
	deadline := time.Now().Add(20 * time.Second)
	for {
		acks := f.Acknowledgements(before)
		if len(acks) > 0 && acks[len(acks)-1].Address == "127.0.0.3" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no payment reached the second address: %+v", f.Counts())
		}
		<-time.After(5 * time.Millisecond)
	}
	waitFor(t, "nothing under way but what is new", f, func(c Counts) bool { return c.Acknowledged >= 60 })
	record := drain(t, f)

	for _, p := range record {
		if p.Outcome != Acknowledged || p.PaymentID != "pay_"+p.Key {
			t.Errorf("payment %+v was not acknowledged", p)
		}
	}
	for key, n := range first.keys {
		if second.keys[key] > 0 && first.bodies[key] != second.bodies[key] {
			t.Errorf("key %s came with another body after %d attempts", key, n)
		}
	}
	resolver.mu.Lock()
	defer resolver.mu.Unlock()
	// Three merchants may each ask once per second, and once more at either end.
	if most := 3 * (int(time.Since(began).Seconds()) + 3); resolver.asked > most {
		t.Errorf("the name was resolved %d times, want at most %d: the TTL is not honoured", resolver.asked, most)
	}
}

func TestRetriesKeepTheKeyAndTheBody(t *testing.T) {
	s := &shop{}
	s.answer = func(key string, attempt int, w http.ResponseWriter) {
		switch attempt {
		case 1:
			w.Header().Set("Retry-After", "0")
			http.Error(w, `{"title":"no lease","status":503,"retryable":true}`, http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			approve(key, attempt, w)
		}
	}
	_, port := startShop(t, s, "127.0.0.2", 0)
	f := startFleet(t, Options{Resolver: startNames(t, "127.0.0.2", 60).addr(), Port: port, Speed: 20, Rate: 200, Seed: 2})
	waitFor(t, "acknowledgements", f, func(c Counts) bool { return c.Acknowledged >= 20 })
	plain := 0
	for _, p := range drain(t, f) {
		// On a busy machine an attempt may time out on top of the failures that the shop makes.
		if p.Outcome != Acknowledged || len(p.Attempts) < 3 || s.keys[p.Key] > len(p.Attempts) {
			t.Errorf("payment %s: %s after %d attempts, %d at the shop; want acknowledged after 3 on record",
				p.Order, p.Outcome, len(p.Attempts), s.keys[p.Key])
			continue
		}
		for i, a := range p.Attempts {
			if a.Ended < a.Began || i > 0 && a.Began < p.Attempts[i-1].Ended {
				t.Errorf("payment %s: attempts overlap or run backwards: %+v", p.Order, p.Attempts)
			}
		}
		first, second, third := p.Attempts[0], p.Attempts[1], p.Attempts[2]
		if first.Status == 503 && strings.Contains(first.Error, "no lease") && second.Status == 0 && second.Error != "" && third.Status == 201 {
			plain++
		}
	}
	if plain == 0 {
		t.Error("no payment has the shop's refusal, the broken connection and the success on record")
	}
}

func TestMerchantThatGivesUpKnowsNothing(t *testing.T) {
	s := &shop{answer: func(_ string, _ int, w http.ResponseWriter) { http.Error(w, "", http.StatusBadGateway) }}
	_, port := startShop(t, s, "127.0.0.2", 0)
	f := startFleet(t, Options{Resolver: startNames(t, "127.0.0.2", 60).addr(), Port: port, Speed: 20, Rate: 200, Seed: 3, Patience: 300 * time.Millisecond})
	waitFor(t, "a merchant to give up", f, func(c Counts) bool { return c.Unknown >= 5 })
	for _, p := range drain(t, f) {
		if p.Outcome != Unknown || len(p.Attempts) == 0 || p.Ended == 0 {
			t.Errorf("payment %s: %s with %d attempts, want unknown", p.Order, p.Outcome, len(p.Attempts))
		}
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	s := &shop{answer: func(_ string, _ int, w http.ResponseWriter) { http.Error(w, "", http.StatusBadGateway) }}
	_, port := startShop(t, s, "127.0.0.2", 0)
	f := startFleet(t, Options{Resolver: startNames(t, "127.0.0.2", 60).addr(), Port: port, Speed: 100, Rate: 200, Seed: 3, MaxAttempts: 3})
	waitFor(t, "a merchant to give up", f, func(c Counts) bool { return c.Unknown >= 5 })
	for _, p := range drain(t, f) {
		if p.Outcome != Unknown || len(p.Attempts) != 3 {
			t.Errorf("payment %s: %s after %d attempts, want unknown after 3", p.Order, p.Outcome, len(p.Attempts))
		}
	}
}

func TestArrivalsDoNotWaitForAnswersAndAreBounded(t *testing.T) {
	release := make(chan struct{})
	s := &shop{answer: func(key string, n int, w http.ResponseWriter) { <-release; approve(key, n, w) }}
	_, port := startShop(t, s, "127.0.0.2", 0)
	f := startFleet(t, Options{Resolver: startNames(t, "127.0.0.2", 60).addr(), Port: port, Rate: 400, Seed: 4, MaxPending: 30})
	waitFor(t, "the bound", f, func(c Counts) bool { return c.Pending == 30 && c.Shed >= 5 })
	close(release)
	record := drain(t, f)
	counts := f.Counts()
	if counts.Pending != 0 || counts.Attempted != len(record) || counts.Acknowledged != len(record) {
		t.Errorf("after the drain %+v for %d payments", counts, len(record))
	}
}

func TestDrainThatEndsGivesUpTheRest(t *testing.T) {
	s := &shop{answer: func(_ string, _ int, w http.ResponseWriter) { http.Error(w, "", http.StatusBadGateway) }}
	_, port := startShop(t, s, "127.0.0.2", 0)
	f := startFleet(t, Options{Resolver: startNames(t, "127.0.0.2", 60).addr(), Port: port, Rate: 200, Seed: 5})
	waitFor(t, "something under way", f, func(c Counts) bool { return c.Pending >= 5 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Drain(ctx); err == nil || !strings.Contains(err.Error(), "still under way") {
		t.Errorf("Drain = %v, want an error that says how many were under way", err)
	}
	if counts := f.Counts(); counts.Pending != 0 || counts.Unknown == 0 {
		t.Errorf("after giving up: %+v", counts)
	}
}

func TestUnresolvedNameIsAnAttemptWithoutAnAddress(t *testing.T) {
	resolver := startNames(t, "", 60)
	f := startFleet(t, Options{Resolver: resolver.addr(), Port: 9, Speed: 20, Rate: 100, Seed: 6, Patience: 200 * time.Millisecond})
	waitFor(t, "a merchant to give up", f, func(c Counts) bool { return c.Unknown >= 2 })
	p := drain(t, f)[0]
	if p.Attempts[0].Address != "" || !strings.Contains(p.Attempts[0].Error, "no address") {
		t.Errorf("attempt = %+v, want no address", p.Attempts[0])
	}
}

func TestSeedGivesTheSamePayments(t *testing.T) {
	orders := func(seed uint64) (drawn []string) {
		s := &shop{answer: approve}
		_, port := startShop(t, s, "127.0.0.2", 0)
		f := startFleet(t, Options{Resolver: startNames(t, "127.0.0.2", 60).addr(), Port: port, Rate: 300, Seed: seed})
		waitFor(t, "payments", f, func(c Counts) bool { return c.Attempted >= 40 })
		for _, p := range drain(t, f)[:40] {
			drawn = append(drawn, fmt.Sprint(p.Merchant, p.Order, p.Key, p.Amount, p.Currency, p.PaymentMethod))
		}
		return drawn
	}
	one, again, other := orders(1), orders(1), orders(2)
	if fmt.Sprint(one) != fmt.Sprint(again) {
		t.Error("the same seed gave other payments")
	}
	keys := map[string]bool{}
	for i := range one {
		if one[i] == other[i] {
			t.Errorf("seeds 1 and 2 gave the same payment %s", one[i])
		}
		if keys[one[i]] {
			t.Errorf("payment %s was drawn twice", one[i])
		}
		keys[one[i]] = true
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   Outcome
	}{
		{201, `{"id":"p","status":"approved"}`, Acknowledged},
		{200, `{"id":"p","status":"approved"}`, Acknowledged},
		{201, `{"id":"p","status":"declined"}`, Declined},
		{402, `{}`, Declined},
		{201, `{"id":"p","status":"pending"}`, Pending},
		{201, `{"id":"","status":"approved"}`, Pending},
		{202, `{"id":"p","status":"approved"}`, Pending},
		{200, `<html>`, Pending},
		{301, ``, Pending},
		{400, `{"title":"bad","status":400}`, Refused},
		{404, ``, Refused},
		{409, `{"title":"in flight","status":409}`, Pending},
		{422, `{"title":"quarantined","status":422}`, Refused},
		{429, ``, Pending},
		{500, `{"id":"p","status":"approved"}`, Pending},
		{503, `{"title":"standby","status":503}`, Pending},
	} {
		if got := classify(c.status, []byte(c.body)); got.outcome != c.want {
			t.Errorf("classify(%d, %s) = %s, want %s", c.status, c.body, got.outcome, c.want)
		}
	}
}

func TestNewWantsANameAResolverAndAPort(t *testing.T) {
	if _, err := New(Options{Name: testName, Resolver: "127.0.0.1:53"}); err == nil {
		t.Error("a fleet without a port was accepted")
	}
}
