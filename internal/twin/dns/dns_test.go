package dns

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	appName   = "app.payment-dr-test.example.com"
	primaryLB = "primary-1.us-east-1.elb.amazonaws.com"
	drLB      = "dr-1.us-west-2.elb.amazonaws.com"
	checkID   = "hc-primary"
)

func testTopology() topology.Topology {
	record := func(name, rtype string, values ...string) topology.Record {
		return topology.Record{ZoneID: "Z1", Name: name, Type: rtype, TTL: 300 * time.Second, Values: values}
	}
	alias := func(role, id, target, check string) topology.Record {
		return topology.Record{ZoneID: "Z1", Name: appName, Type: "A", Failover: role, SetIdentifier: id, AliasName: target, HealthCheckID: check}
	}
	return topology.Topology{
		DNSName: appName,
		Zones:   []topology.Zone{{ID: "Z1", Name: "payment-dr-test.example.com"}, {ID: "Z2", Name: "inner.local", Private: true}},
		Records: []topology.Record{
			alias("PRIMARY", "primary", primaryLB, checkID), alias("SECONDARY", "dr", drLB, ""),
			record("www.payment-dr-test.example.com", "CNAME", appName),
			record("away.payment-dr-test.example.com", "CNAME", "elsewhere.example.org"),
			record("lost.payment-dr-test.example.com", "CNAME", "nobody.payment-dr-test.example.com"),
			record("many.payment-dr-test.example.com", "TXT", `"v=one"`, `"two words"`),
			record("deep.er.payment-dr-test.example.com", "A", "192.0.2.7"),
			record("*.wild.payment-dr-test.example.com", "A", "192.0.2.8"),
			record("child.payment-dr-test.example.com", "NS", "ns.child.example.org."),
			{ZoneID: "Z1", Name: "same.payment-dr-test.example.com", Type: "A", AliasName: "deep.er.payment-dr-test.example.com"},
			{ZoneID: "Z2", Name: "db.inner.local", Type: "A", Values: []string{"10.0.0.1"}},
		},
		HealthChecks: []topology.HealthCheck{{
			ID: checkID, Type: "HTTP", FQDN: primaryLB, Port: 80, Path: "/healthz", Interval: 40 * time.Millisecond, FailureThreshold: 3,
		}},
	}
}

type rig struct {
	*Server
	fabric  *network.Fabric
	primary netip.Addr
	dr      netip.Addr
	// status is what the primary's load balancer answers to /healthz.
	status atomic.Int64
	hosts  sync.Map
	delay  atomic.Int64
}

func newRig(t *testing.T, change func(*topology.Topology), options func(*Options)) *rig {
	t.Helper()
	f, err := network.New(network.Options{Regions: []string{"us-east-1", "us-west-2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	r := &rig{fabric: f, primary: f.Allocate("us-east-1", "lb"), dr: f.Allocate("us-west-2", "lb")}
	r.status.Store(200)
	listener, err := net.Listen("tcp4", network.HostPort(r.primary, 8080))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.hosts.Store(req.Host+" "+req.URL.Path, true)
		if d := r.delay.Load(); d > 0 {
			select {
			case <-time.After(time.Duration(d)):
			case <-req.Context().Done():
			}
		}
		w.WriteHeader(int(r.status.Load()))
	}))
	web.Listener.Close()
	web.Listener = listener
	web.Start()
	t.Cleanup(web.Close)
	top := testTopology()
	if change != nil {
		change(&top)
	}
	opts := Options{Topology: top, Fabric: f, AliasAddress: func(name string) (netip.Addr, bool) {
		switch strings.TrimSuffix(strings.ToLower(name), ".") {
		case primaryLB:
			return r.primary, true
		case drLB:
			return r.dr, true
		}
		return netip.Addr{}, false
	}}
	if options != nil {
		options(&opts)
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	return r
}

func (r *rig) start(t *testing.T) {
	t.Helper()
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
}

func (r *rig) ask(t *testing.T, transport, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	return r.exchange(t, transport, m)
}

func (r *rig) exchange(t *testing.T, transport string, m *dns.Msg) *dns.Msg {
	t.Helper()
	client := &dns.Client{Net: transport, Timeout: 5 * time.Second}
	reply, _, err := client.Exchange(m, r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// text is an answer in one line: rcode, flags, answers, and the types in the authority section.
func text(m *dns.Msg) string {
	parts := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		parts = append(parts, "aa")
	}
	for _, rr := range m.Answer {
		fields := strings.Fields(rr.String())
		parts = append(parts, strings.Join(append([]string{fields[1]}, fields[3:]...), " "))
	}
	for _, rr := range m.Ns {
		parts = append(parts, "auth:"+dns.TypeToString[rr.Header().Rrtype])
	}
	return strings.Join(parts, "|")
}

func TestAnswers(t *testing.T) {
	r := newRig(t, nil, func(o *Options) {
		o.ServiceAddress = func(name string) (netip.Addr, time.Duration, bool) {
			return netip.MustParseAddr("192.0.2.9"), 5 * time.Second, name == "writer.cluster.rds.amazonaws.com"
		}
	})
	r.start(t)
	const zone = "payment-dr-test.example.com"
	for _, c := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{appName, dns.TypeA, "NOERROR|aa|60 A " + r.primary.String()},
		{appName, dns.TypeAAAA, "NOERROR|aa|auth:SOA"},
		{"www." + zone, dns.TypeA, "NOERROR|aa|300 CNAME " + appName + ".|60 A " + r.primary.String()},
		{"www." + zone, dns.TypeCNAME, "NOERROR|aa|300 CNAME " + appName + "."},
		{"away." + zone, dns.TypeA, "NOERROR|aa|300 CNAME elsewhere.example.org."},
		{"lost." + zone, dns.TypeA, "NXDOMAIN|aa|300 CNAME nobody." + zone + ".|auth:SOA"},
		{"nobody." + zone, dns.TypeA, "NXDOMAIN|aa|auth:SOA"},
		{"er." + zone, dns.TypeA, "NOERROR|aa|auth:SOA"},
		{"deep.er." + zone, dns.TypeA, "NOERROR|aa|300 A 192.0.2.7"},
		{"same." + zone, dns.TypeA, "NOERROR|aa|300 A 192.0.2.7"},
		{"any.wild." + zone, dns.TypeA, "NOERROR|aa|300 A 192.0.2.8"},
		{"a.b.wild." + zone, dns.TypeA, "NOERROR|aa|300 A 192.0.2.8"},
		{"any.wild." + zone, dns.TypeTXT, "NOERROR|aa|auth:SOA"},
		{"wild." + zone, dns.TypeA, "NOERROR|aa|auth:SOA"},
		{"x.child." + zone, dns.TypeA, "NOERROR|auth:NS"},
		{zone, dns.TypeSOA, "NOERROR|aa|900 SOA ns-1.awsdns-00.com. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"},
		{appName, dns.TypeANY, `NOERROR|aa|60 HINFO "RFC8482" ""`},
		{"db.inner.local", dns.TypeA, "REFUSED"},
		{"example.com", dns.TypeA, "REFUSED"},
		{"Writer.cluster.rds.amazonaws.com", dns.TypeA, "NOERROR|5 A 192.0.2.9"},
		{"writer.cluster.rds.amazonaws.com", dns.TypeAAAA, "NOERROR"},
		{"other.cluster.rds.amazonaws.com", dns.TypeA, "REFUSED"},
	} {
		for _, transport := range []string{"udp", "tcp"} {
			if got := text(r.ask(t, transport, c.name, c.qtype)); got != c.want {
				t.Errorf("%s %s over %s:\n got %s\nwant %s", c.name, dns.TypeToString[c.qtype], transport, got, c.want)
			}
		}
	}
	if got := len(r.ask(t, "udp", zone, dns.TypeNS).Answer); got != 4 {
		t.Errorf("%d name servers", got)
	}
	if got := r.ask(t, "udp", "many."+zone, dns.TypeTXT).Answer; len(got) != 2 || got[1].(*dns.TXT).Txt[0] != "two words" {
		t.Errorf("TXT: %v", got)
	}
}

func TestProtocol(t *testing.T) {
	r := newRig(t, nil, nil)
	r.start(t)
	m := new(dns.Msg)
	m.SetQuestion("aPP.Payment-DR-test.EXAMPLE.com.", dns.TypeA)
	m.SetEdns0(4096, true)
	reply := r.exchange(t, "udp", m)
	if len(reply.Answer) != 1 || reply.Answer[0].Header().Name != "aPP.Payment-DR-test.EXAMPLE.com." {
		t.Errorf("mixed case: %s", reply)
	}
	if opt := reply.IsEdns0(); opt == nil || opt.UDPSize() != udpLimit {
		t.Errorf("EDNS: %v", reply.IsEdns0())
	}
	m = new(dns.Msg)
	m.SetQuestion(appName+".", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().SetVersion(1)
	if reply := r.reply(m); reply.Rcode != dns.RcodeBadVers {
		t.Errorf("EDNS version 1: %s", dns.RcodeToString[reply.Rcode])
	}
	for want, change := range map[int]func(*dns.Msg){
		dns.RcodeNotImplemented: func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate },
		dns.RcodeFormatError:    func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		dns.RcodeRefused:        func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
	} {
		m := new(dns.Msg)
		m.SetQuestion(appName+".", dns.TypeA)
		change(m)
		if got := r.reply(m).Rcode; got != want {
			t.Errorf("got %s, want %s", dns.RcodeToString[got], dns.RcodeToString[want])
		}
	}
}

func TestLongAnswersAreTruncatedOverUDP(t *testing.T) {
	r := newRig(t, func(top *topology.Topology) {
		rec := topology.Record{ZoneID: "Z1", Name: "long.payment-dr-test.example.com", Type: "TXT", TTL: time.Minute}
		for i := range 20 {
			rec.Values = append(rec.Values, fmt.Sprintf(`"%d %s"`, i, strings.Repeat("x", 200)))
		}
		top.Records = append(top.Records, rec)
	}, nil)
	r.start(t)
	if m := r.ask(t, "udp", "long.payment-dr-test.example.com", dns.TypeTXT); !m.Truncated {
		t.Error("a long answer over UDP is not marked as truncated")
	}
	if m := r.ask(t, "tcp", "long.payment-dr-test.example.com", dns.TypeTXT); m.Truncated || len(m.Answer) != 20 {
		t.Errorf("over TCP: %d answers", len(m.Answer))
	}
}

func TestTTLsFollowTheSpeed(t *testing.T) {
	r := newRig(t, nil, func(o *Options) { o.Speed = 10 })
	m := new(dns.Msg)
	m.SetQuestion("www.payment-dr-test.example.com.", dns.TypeA)
	answer := r.reply(m).Answer
	if answer[0].Header().Ttl != 30 || answer[1].Header().Ttl != 6 {
		t.Errorf("got %v", answer)
	}
	r = newRig(t, nil, func(o *Options) { o.Speed = 1000 })
	if got := r.reply(m).Answer[1].Header().Ttl; got != 1 {
		t.Errorf("TTL %d at speed 1000", got)
	}
}

func TestFailoverLogic(t *testing.T) {
	for _, c := range []struct {
		primary, secondary string // healthy, unhealthy, unchecked
		want               string
	}{
		{"healthy", "unchecked", "primary"},
		{"unhealthy", "unchecked", "dr"},
		{"healthy", "healthy", "primary"},
		{"unhealthy", "healthy", "dr"},
		{"healthy", "unhealthy", "primary"},
		{"unhealthy", "unhealthy", "primary"},
		{"unchecked", "unhealthy", "primary"},
	} {
		r := newRig(t, func(top *topology.Topology) {
			top.HealthChecks = append(top.HealthChecks, top.HealthChecks[0])
			top.HealthChecks[1].ID = "hc-dr"
			top.Records[0].HealthCheckID = map[bool]string{true: checkID}[c.primary != "unchecked"]
			top.Records[1].HealthCheckID = map[bool]string{true: "hc-dr"}[c.secondary != "unchecked"]
		}, nil)
		r.checks[checkID].healthy = c.primary == "healthy"
		r.checks["hc-dr"].healthy = c.secondary == "healthy"
		if got, ok := r.Active(strings.ToUpper(appName)); got != c.want || !ok {
			t.Errorf("primary %s, secondary %s: %q", c.primary, c.secondary, got)
		}
	}
}

func TestEvaluateTargetHealth(t *testing.T) {
	healthy := map[string]bool{primaryLB: false, drLB: true}
	r := newRig(t, func(top *topology.Topology) {
		top.Records[0].HealthCheckID = ""
		top.Records[0].EvaluateTargetHealth = true
		top.Records[1].EvaluateTargetHealth = true
	}, func(o *Options) { o.AliasHealthy = func(name string) bool { return healthy[name] } })
	if got, _ := r.Active(appName); got != "dr" {
		t.Errorf("with the primary's targets unhealthy: %q", got)
	}
	healthy[drLB] = false
	if got, _ := r.Active(appName); got != "primary" {
		t.Errorf("with both unhealthy: %q", got)
	}
}

func TestMoreThanEighteenPercent(t *testing.T) {
	r := newRig(t, nil, nil)
	c := r.checks[checkID]
	now := time.Now()
	// All but two checkers fail often enough; the seventh failure tips it, and it takes three in a row.
	for i := range 6 {
		for range 3 {
			r.observe(c, i, false, statusTimedOut, now)
		}
	}
	for range 2 {
		r.observe(c, 6, false, statusTimedOut, now)
	}
	if !r.Healthy(checkID) {
		t.Fatal("unhealthy while two of eight checkers pass")
	}
	r.observe(c, 6, true, "", now) // the run is broken
	for range 2 {
		r.observe(c, 6, false, statusTimedOut, now)
	}
	if !r.Healthy(checkID) {
		t.Fatal("two failures in a row were enough for a threshold of three")
	}
	r.observe(c, 6, false, statusTimedOut, now)
	if r.Healthy(checkID) {
		t.Fatal("healthy while one of eight checkers passes")
	}
	for range 3 {
		r.observe(c, 0, true, "", now)
	}
	if !r.Healthy(checkID) {
		t.Fatal("two of eight pass again")
	}
}

type event struct{ what, from, to string }

// hooked collects what the hooks tell.
func hooked(r *rig) chan event {
	events := make(chan event, 64)
	r.SetOnChange(func(name, from, to string, at time.Time) { events <- event{name, from, to} })
	r.SetOnHealth(func(id string, healthy bool, at time.Time) { events <- event{id, "", fmt.Sprint(healthy)} })
	return events
}

func expect(t *testing.T, events chan event, want ...event) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-events:
			if got != w {
				t.Fatalf("got %v, want %v", got, w)
			}
		case <-time.After(15 * time.Second):
			t.Fatalf("%v never came", w)
		}
	}
}

func TestFailoverAndBack(t *testing.T) {
	r := newRig(t, nil, nil)
	events := hooked(r)
	r.start(t)
	eventually(t, "all checkers report success", func() error { return statuses(r, "Success: HTTP Status Code 200, OK") })
	if _, ok := r.hosts.Load(primaryLB + " /healthz"); !ok {
		t.Error("the request does not carry the host and path of the check")
	}
	r.status.Store(503)
	expect(t, events, event{checkID, "", "false"}, event{appName, "primary", "dr"})
	if got := text(r.ask(t, "udp", appName, dns.TypeA)); got != "NOERROR|aa|60 A "+r.dr.String() {
		t.Errorf("after the failure: %s", got)
	}
	eventually(t, "all checkers report the code", func() error { return statuses(r, "Failure: HTTP Status Code 503, Service Unavailable") })
	if f, ok := r.LastFailure(checkID); !ok || !strings.HasPrefix(f.Status, "Failure: HTTP Status Code 503") {
		t.Errorf("last failure: %+v", f)
	}
	r.status.Store(302) // a redirect counts as healthy
	expect(t, events, event{checkID, "", "true"}, event{appName, "dr", "primary"})
}

// A lost region answers nothing, so the checkers wait out their limit instead of being refused.
func TestRegionLost(t *testing.T) {
	r := newRig(t, nil, func(o *Options) { o.Speed = 1000 })
	events := hooked(r)
	r.start(t)
	r.fabric.SetRegion("us-east-1", false)
	expect(t, events, event{checkID, "", "false"}, event{appName, "primary", "dr"})
	eventually(t, "all checkers report it", func() error { return statuses(r, statusTimedOut) })
	r.fabric.SetRegion("us-east-1", true)
	expect(t, events, event{checkID, "", "true"}, event{appName, "dr", "primary"})
}

func TestSlowAnswerFails(t *testing.T) {
	r := newRig(t, nil, func(o *Options) { o.Speed = 1000 })
	r.delay.Store(int64(5 * time.Second))
	passed, status := r.probe(context.Background(), r.checks[checkID].config, r.sources[0])
	if passed || status != statusNoResponse {
		t.Errorf("%t %q", passed, status)
	}
}

func TestProbeOtherKinds(t *testing.T) {
	r := newRig(t, nil, nil)
	config := r.checks[checkID].config
	for _, c := range []struct {
		change func(*topology.HealthCheck)
		want   string
	}{
		{func(h *topology.HealthCheck) { h.Type = "TCP" }, statusTCPSuccess},
		{func(h *topology.HealthCheck) { h.Port = 81 }, statusRefused},
		{func(h *topology.HealthCheck) { h.FQDN = "nobody.example.org" }, statusNoSuchName},
		{func(h *topology.HealthCheck) { h.FQDN = appName }, "Success: HTTP Status Code 200, OK"},
		{func(h *topology.HealthCheck) { h.FQDN = r.primary.String() }, "Success: HTTP Status Code 200, OK"},
		{func(h *topology.HealthCheck) { h.Type, h.Port = "HTTPS", 80 }, statusBroken},
	} {
		probe := config
		c.change(&probe)
		passed, status := r.probe(context.Background(), probe, r.sources[0])
		if status != c.want || passed != strings.HasPrefix(status, "Success") {
			t.Errorf("%+v: %t %q, want %q", probe, passed, status, c.want)
		}
	}
}

func statuses(r *rig, want string) error {
	list := r.HealthCheckStatus(checkID)
	if len(list) != 8 {
		return fmt.Errorf("%d observations", len(list))
	}
	for _, o := range list {
		if o.Status != want || o.Region == "" || o.IPAddress == "" {
			return fmt.Errorf("%+v", o)
		}
	}
	return nil
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s: %v", what, err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestUnknownChecks(t *testing.T) {
	r := newRig(t, nil, nil)
	if r.Healthy("x") || r.HealthCheckStatus("x") != nil {
		t.Error("an unknown check has a status")
	}
	if got := r.HealthCheckStatus(checkID); got == nil || len(got) != 0 {
		t.Errorf("before the first check: %v", got)
	}
	if !r.Healthy(checkID) {
		t.Error("a new check does not start healthy")
	}
	if _, ok := r.Active("nobody.example.com"); ok {
		t.Error("a name without failover has an active record")
	}
}

func TestBadTopologies(t *testing.T) {
	f, err := network.New(network.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, change := range map[string]func(*topology.Topology){
		"zone":         func(top *topology.Topology) { top.Records[2].ZoneID = "Z9" },
		"outside":      func(top *topology.Topology) { top.Records[2].Name = "www.example.org" },
		"type":         func(top *topology.Topology) { top.Records[2].Type = "WEB" },
		"value":        func(top *topology.Topology) { top.Records[6].Values = []string{"not an address"} },
		"nothing":      func(top *topology.Topology) { top.Records[6].Values = nil },
		"health check": func(top *topology.Topology) { top.Records[0].HealthCheckID = "hc-9" },
		"two primary":  func(top *topology.Topology) { top.Records[1].Failover = "PRIMARY" },
		"no primary":   func(top *topology.Topology) { top.Records = top.Records[1:] },
		"check type":   func(top *topology.Topology) { top.HealthChecks[0].Type = "CALCULATED" },
	} {
		top := testTopology()
		change(&top)
		if _, err := New(Options{Topology: top, Fabric: f}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestStartTwiceAndPortInUse(t *testing.T) {
	r := newRig(t, nil, nil)
	squatter, err := net.Listen("tcp4", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "DNS server") {
		t.Errorf("port in use: %v", err)
	}
	squatter.Close()
	r.start(t)
	if err := r.Start(context.Background()); err == nil {
		t.Error("started twice")
	}
	r.Stop()
	r.Stop()
	r.start(t)
	if got := r.ask(t, "tcp", appName, dns.TypeA); len(got.Answer) != 1 {
		t.Errorf("after a restart: %s", got)
	}
}

// TestDroppedByTheNetwork: a checker whose connection the network drops sees a time-out, and the network is asked about
// that checker's own address and the deployment's own port.
func TestDroppedByTheNetwork(t *testing.T) {
	var admitted atomic.Bool
	admitted.Store(true)
	asked := make(chan string, 2)
	r := newRig(t, nil, func(o *Options) {
		o.Speed = 100
		o.Admit = func(ctx context.Context, from, to netip.Addr, port int) error {
			asked <- fmt.Sprintf("%s %s %d", from, to, port)
			if admitted.Load() {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
	})
	config := r.checks[checkID].config
	source := r.Checkers()[2].Source
	if passed, status := r.probe(context.Background(), config, source); !passed {
		t.Errorf("admitted: %s", status)
	}
	if got, want := <-asked, fmt.Sprintf("%s %s %d", source, r.primary, config.Port); got != want {
		t.Errorf("asked about %q, want %q", got, want)
	}
	admitted.Store(false)
	if passed, status := r.probe(context.Background(), config, source); passed || status != statusTimedOut {
		t.Errorf("dropped: %t %q", passed, status)
	}
}
