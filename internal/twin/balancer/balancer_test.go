package balancer

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	region = "us-east-1"
	lbARN  = "arn:lb"
	appARN = "arn:tg/app"
	wdnARN = "arn:tg/warden"
)

// testTopology has one load balancer on ports 80 and 443; /healthz goes to the warden's group.
func testTopology() topology.Topology {
	check := topology.TargetHealthCheck{
		Path: "/readyz", Port: "traffic-port", Protocol: "HTTP", Interval: 20 * time.Millisecond, Timeout: 200 * time.Millisecond,
		HealthyThreshold: 3, UnhealthyThreshold: 2, Matcher: "200-204",
	}
	return topology.Topology{
		DNSName: "app.example.com",
		LoadBalancers: []topology.LoadBalancer{{
			Region: region, Name: "lb", ARN: lbARN, DNSName: "lb-1.us-east-1.elb.amazonaws.com", IdleTimeout: 2 * time.Second,
			ClientKeepAlive: time.Hour,
		}},
		TargetGroups: []topology.TargetGroup{
			{Region: region, Name: "app", ARN: appARN, Port: 8080, Protocol: "HTTP", DeregistrationDelay: 10 * time.Second, HealthCheck: check},
			{Region: region, Name: "warden", ARN: wdnARN, Port: 9100, Protocol: "HTTP", DeregistrationDelay: time.Second, HealthCheck: check},
			{Region: region, Name: "spare", ARN: "arn:tg/spare", Port: 1, Protocol: "HTTP", HealthCheck: check},
		},
		Listeners: []topology.Listener{
			{
				Region: region, ARN: "arn:l80", LoadBalancerARN: lbARN, Port: 80, Protocol: "HTTP",
				Default: topology.Action{Type: "forward", TargetGroupARN: appARN},
				Rules: []topology.ListenerRule{
					{Priority: 30, PathPatterns: []string{"/healthz*"}, Action: topology.Action{Type: "fixed-response", StatusCode: 418}},
					{Priority: 10, PathPatterns: []string{"/healthz"}, Action: topology.Action{Type: "forward", TargetGroupARN: wdnARN}},
					{
						Priority: 20, HostHeaders: []string{"*.Admin.example.com"}, PathPatterns: []string{"/a?/*"},
						Action: topology.Action{Type: "fixed-response", StatusCode: 403, ContentType: "text/plain", Body: "no"},
					},
					{Priority: 40, PathPatterns: []string{"/old/*"}, Action: topology.Action{Type: "redirect", StatusCode: 301, RedirectProtocol: "HTTPS", RedirectPort: "443"}},
				},
			},
			{Region: region, ARN: "arn:l443", LoadBalancerARN: lbARN, Port: 443, Protocol: "HTTPS", Default: topology.Action{Type: "forward", TargetGroupARN: appARN}},
		},
	}
}

type rig struct {
	*Balancer
	fabric *network.Fabric
	client *http.Client
	url    string
}

func newRig(t *testing.T, change func(*topology.Topology), speed float64) *rig {
	t.Helper()
	f, err := network.New(network.Options{Regions: []string{region}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	top := testTopology()
	if change != nil {
		change(&top)
	}
	b, err := New(Options{Topology: top, Fabric: f, Speed: speed})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(region); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{
		Transport: transport, Timeout: 15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &rig{b, f, client, "http://" + network.HostPort(b.Address(lbARN), 8080)}
}

// program is a target with a switchable readiness.
type program struct {
	*httptest.Server
	ip    netip.Addr
	port  int
	ready atomic.Bool
	calls atomic.Int64
}

func (r *rig) program(t *testing.T, name string, handle http.HandlerFunc) *program {
	t.Helper()
	p := &program{}
	p.ready.Store(true)
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/readyz" {
			if !p.ready.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		p.calls.Add(1)
		w.Header().Set("Program", name)
		if handle != nil {
			handle(w, req)
		}
	}))
	p.Server.Listener.Close()
	listener, err := net.Listen("tcp4", network.HostPort(r.fabric.Allocate(region, name), 0))
	if err != nil {
		t.Fatal(err)
	}
	p.Server.Listener = listener
	p.Start()
	t.Cleanup(p.Close)
	address := listener.Addr().(*net.TCPAddr).AddrPort()
	p.ip, p.port = address.Addr(), int(address.Port())
	return p
}

func (r *rig) state(p *program) string {
	for _, arn := range []string{appARN, wdnARN, "arn:tg/spare"} {
		if t, ok := r.TargetState(arn, p.ip, p.port); ok {
			return t.State + " " + t.Reason
		}
	}
	return "gone"
}

func (r *rig) await(t *testing.T, p *program, state string) {
	t.Helper()
	eventually(t, "target is "+state, func() error {
		if got := strings.TrimSpace(r.state(p)); got != state {
			return errors.New(got)
		}
		return nil
	})
}

func (r *rig) get(t *testing.T, path, host string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	return r.do(t, req)
}

func (r *rig) do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s: %v", what, err)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func TestRules(t *testing.T) {
	r := newRig(t, nil, 1)
	app, warden := r.program(t, "app", nil), r.program(t, "warden", nil)
	r.Register(appARN, app.ip, app.port)
	r.Register(wdnARN, warden.ip, warden.port)
	r.await(t, app, "healthy")
	r.await(t, warden, "healthy")
	for _, c := range []struct {
		path, host string
		status     int
		program    string
	}{
		{"/", "app.example.com", 200, "app"},
		{"/healthz", "app.example.com", 200, "warden"},
		{"/healthz/x", "app.example.com", 418, ""},
		{"/ab/c", "x.admin.EXAMPLE.com:80", 403, ""},
		{"/abc/c", "x.admin.example.com", 200, "app"},
		{"/ab/c", "admin.example.com", 200, "app"},
	} {
		resp, body := r.get(t, c.path, c.host)
		if resp.StatusCode != c.status || resp.Header.Get("Program") != c.program {
			t.Errorf("%s%s: %d from %q, want %d from %q", c.host, c.path, resp.StatusCode, resp.Header.Get("Program"), c.status, c.program)
		}
		if c.status == 403 && (body != "no" || resp.Header.Get("Content-Type") != "text/plain") {
			t.Errorf("fixed response: %q as %q", body, resp.Header.Get("Content-Type"))
		}
	}
	resp, _ := r.get(t, "/old/x?y=1", "app.example.com")
	if got := resp.Header.Get("Location"); resp.StatusCode != 301 || got != "https://app.example.com:8443/old/x?y=1" {
		t.Errorf("redirect: %d to %q", resp.StatusCode, got)
	}
	r.url = strings.Replace(strings.Replace(r.url, "http", "https", 1), "8080", "8443", 1)
	if resp, _ := r.get(t, "/healthz", ""); resp.Header.Get("Program") != "app" {
		t.Errorf("over TLS: %d from %q", resp.StatusCode, resp.Header.Get("Program"))
	}
}

func TestWeightsDivideTheRequests(t *testing.T) {
	r := newRig(t, nil, 1)
	app, other := r.program(t, "app", nil), r.program(t, "warden", nil)
	r.Register(appARN, app.ip, app.port)
	r.Register(wdnARN, other.ip, other.port)
	r.await(t, app, "healthy")
	r.await(t, other, "healthy")
	for _, c := range []struct{ app, warden int }{{1, 0}, {0, 7}, {1, 1}} {
		err := r.SetDefault("arn:l80", []topology.WeightedTargetGroup{{TargetGroupARN: appARN, Weight: c.app}, {TargetGroupARN: wdnARN, Weight: c.warden}})
		if err != nil {
			t.Fatal(err)
		}
		before := [2]int64{app.calls.Load(), other.calls.Load()}
		for range 200 {
			if resp, _ := r.get(t, "/v1/x", ""); resp.StatusCode != http.StatusOK {
				t.Fatalf("weights %+v: %s", c, resp.Status)
			}
		}
		got := [2]int64{app.calls.Load() - before[0], other.calls.Load() - before[1]}
		// 200 fair coins show fewer than 50 heads once in 10^13 times.
		if c.app == 0 && got[0] > 0 || c.warden == 0 && got[1] > 0 || c.app > 0 && c.warden > 0 && min(got[0], got[1]) < 50 {
			t.Errorf("weights %+v gave %v requests", c, got)
		}
	}
	if err := r.SetDefault("arn:l80", []topology.WeightedTargetGroup{{TargetGroupARN: appARN}}); err != nil {
		t.Fatal(err)
	}
	if resp, _ := r.get(t, "/v1/x", ""); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without any weight: %s", resp.Status)
	}
	if err := r.SetDefault("arn:l80", []topology.WeightedTargetGroup{{TargetGroupARN: "arn:nobody", Weight: 1}}); !errors.Is(err, ErrNoTargetGroup) {
		t.Errorf("an unknown target group gives %v", err)
	}
	if err := r.SetDefault("arn:nobody", nil); !errors.Is(err, ErrNoListener) {
		t.Errorf("an unknown listener gives %v", err)
	}
}

func TestRoundRobinAndForwardedHeaders(t *testing.T) {
	r := newRig(t, nil, 1)
	var mu sync.Mutex
	var last http.Header
	var host, query string
	record := func(_ http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		last, host, query = req.Header.Clone(), req.Host, req.URL.RawQuery
	}
	programs := []*program{r.program(t, "a", record), r.program(t, "b", record), r.program(t, "c", record)}
	for _, p := range programs {
		r.Register(appARN, p.ip, p.port)
		r.Register(appARN, p.ip, p.port) // twice is once
	}
	for _, p := range programs {
		r.await(t, p, "healthy")
	}
	for range 30 {
		r.get(t, "/x?a=1;b=2", "app.example.com")
	}
	for _, p := range programs {
		if n := p.calls.Load(); n != 10 {
			t.Errorf("one of three targets got %d of 30 requests", n)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if host != "app.example.com" || query != "a=1;b=2" {
		t.Errorf("host %q, query %q", host, query)
	}
	if last.Get("X-Forwarded-For") == "" || last.Get("X-Forwarded-Proto") != "http" || last.Get("X-Forwarded-Port") != "80" ||
		!strings.HasPrefix(last.Get("X-Amzn-Trace-Id"), "Root=1-") {
		t.Errorf("headers: %v", last)
	}
	counts := r.TargetGroupCounts(appARN)
	if counts.Requests != 30 || counts.Target2XX != 30 || counts.HealthyHosts != 3 || counts.ResponseTime <= 0 || counts.ResponseTimeMax <= 0 {
		t.Errorf("counts: %+v", counts)
	}
}

func TestHealthFollowsTheThresholds(t *testing.T) {
	r := newRig(t, nil, 1)
	p, other := r.program(t, "p", nil), r.program(t, "other", nil)
	p.ready.Store(false)
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, "unhealthy Target.ResponseCodeMismatch")
	r.Register(appARN, other.ip, other.port)
	r.await(t, other, "healthy")
	for range 6 {
		if resp, _ := r.get(t, "/", ""); resp.Header.Get("Program") != "other" {
			t.Error("an unhealthy target got a request while another one was healthy")
		}
	}
	p.ready.Store(true)
	r.await(t, p, "healthy")
	other.Server.Close()
	r.await(t, other, "unhealthy Target.FailedHealthChecks")
	spare := r.program(t, "spare", nil)
	r.Register("arn:tg/spare", spare.ip, spare.port)
	r.await(t, spare, "unused Target.NotInUse")
}

func TestThresholdsCountRuns(t *testing.T) {
	r := newRig(t, nil, 1)
	g := r.groups[appARN]
	tg := &target{view: TargetHealth{State: StateInitial}}
	ctx := context.Background()
	pass, fail := verdict{}, verdict{reasonTimeout, textTimeout}
	for i, step := range []struct {
		v    verdict
		want string
	}{
		{fail, StateInitial},
		{pass, StateHealthy},
		{fail, StateHealthy},
		{pass, StateHealthy},
		{fail, StateHealthy},
		{fail, StateUnhealthy},
		{pass, StateUnhealthy},
		{pass, StateUnhealthy},
		{fail, StateUnhealthy},
		{pass, StateUnhealthy},
		{pass, StateUnhealthy},
		{pass, StateHealthy},
	} {
		g.judge(ctx, tg, step.v)
		if tg.view.State != step.want {
			t.Fatalf("step %d: %s, want %s", i, tg.view.State, step.want)
		}
	}
}

func TestSlowHealthCheckIsATimeout(t *testing.T) {
	r := newRig(t, func(top *topology.Topology) { top.TargetGroups[0].HealthCheck.Path = "/slow" }, 1)
	p := r.program(t, "slow", func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, "unhealthy Target.Timeout")
}

func TestFailOpenAndNoTargets(t *testing.T) {
	r := newRig(t, nil, 1)
	resp, body := r.get(t, "/", "")
	if resp.StatusCode != 503 || !strings.Contains(body, "503 Service Temporarily Unavailable") {
		t.Errorf("without targets: %d %q", resp.StatusCode, body)
	}
	p := r.program(t, "p", nil)
	p.ready.Store(false)
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, "unhealthy Target.ResponseCodeMismatch")
	if resp, _ := r.get(t, "/", ""); resp.StatusCode != 200 {
		t.Errorf("all unhealthy: %d, want the target's own answer", resp.StatusCode)
	}
	if r.Evaluate("DUALSTACK.lb-1.us-east-1.elb.amazonaws.com.") {
		t.Error("counts as healthy for an alias with no healthy target")
	}
	p.ready.Store(true)
	r.await(t, p, "healthy")
	if !r.Evaluate("lb-1.us-east-1.elb.amazonaws.com") {
		t.Error("does not count as healthy with a healthy target")
	}
	if c := r.LoadBalancerCounts(lbARN); c.ELB5XX != 1 || c.Requests != 2 {
		t.Errorf("counts: %+v", c)
	}
}

// A payment that a target took and did not answer must not be sent to anybody again.
func TestNothingIsSentTwice(t *testing.T) {
	r := newRig(t, nil, 1)
	drop := atomic.Bool{}
	handle := func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		if !drop.Load() {
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}
	a, b := r.program(t, "a", handle), r.program(t, "b", handle)
	for _, p := range []*program{a, b} {
		r.Register(appARN, p.ip, p.port)
		r.await(t, p, "healthy")
	}
	total := func() int64 { return a.calls.Load() + b.calls.Load() }
	for _, c := range []struct{ method, body string }{{"POST", "pay"}, {"POST", ""}, {"GET", ""}, {"PUT", "x"}, {"DELETE", ""}} {
		request := func() *http.Request {
			req, err := http.NewRequest(c.method, r.url+"/v1/payments", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Idempotency-Key", "k")
			return req
		}
		// First so that the connections to the targets are reused ones, which http.Transport would try again.
		drop.Store(false)
		for range 4 {
			r.do(t, request())
		}
		drop.Store(true)
		before := total()
		resp, _ := r.do(t, request())
		if resp.StatusCode != 502 {
			t.Errorf("%s %q: a target that broke off gave %d", c.method, c.body, resp.StatusCode)
		}
		if n := total() - before; n != 1 {
			t.Errorf("%s %q was sent %d times", c.method, c.body, n)
		}
	}
	if c := r.LoadBalancerCounts(lbARN); c.ELB5XX != 5 {
		t.Errorf("counts: %+v", c)
	}
}

func TestGatewayTimeout(t *testing.T) {
	r := newRig(t, nil, 1)
	p := r.program(t, "silent", func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/half" {
			_, _ = w.Write([]byte("half"))
			_ = http.NewResponseController(w).Flush()
		}
		<-req.Context().Done()
	})
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, "healthy")
	started := time.Now()
	if resp, _ := r.get(t, "/", ""); resp.StatusCode != 504 {
		t.Errorf("a silent target gave %d", resp.StatusCode)
	}
	if took := time.Since(started); took < 2*time.Second {
		t.Errorf("after %s, the idle timeout is 2 s", took)
	}
	resp, err := r.client.Get(r.url + "/half")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("an answer that stopped in the middle looks complete: %q", body)
	}
}

func TestDeregistrationDrains(t *testing.T) {
	r := newRig(t, nil, 1)
	inside, finish := make(chan struct{}), make(chan struct{})
	p := r.program(t, "p", func(http.ResponseWriter, *http.Request) {
		close(inside)
		<-finish
	})
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, "healthy")
	status := make(chan int, 1)
	go func() {
		resp, err := r.client.Get(r.url)
		if err != nil {
			status <- 0
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	<-inside
	drained := r.Deregister(appARN, p.ip, p.port)
	if got := r.state(p); got != "draining Target.DeregistrationInProgress" {
		t.Errorf("state %q", got)
	}
	if resp, _ := r.get(t, "/", ""); resp.StatusCode != 503 {
		t.Errorf("a new request during the draining: %d", resp.StatusCode)
	}
	select {
	case <-drained:
		t.Error("drained with a request under way")
	default:
	}
	close(finish)
	if got := <-status; got != 200 {
		t.Errorf("the request under way got %d", got)
	}
	awaitClosed(t, drained)
	if got := r.state(p); got != "gone" {
		t.Errorf("state %q after the draining", got)
	}
	awaitClosed(t, r.Deregister(appARN, p.ip, p.port))
	awaitClosed(t, r.Deregister("arn:unknown", p.ip, p.port))
}

func TestDeregistrationDelayEnds(t *testing.T) {
	r := newRig(t, nil, 200) // 10 s / 200 = 50 ms
	inside, finish := make(chan struct{}), make(chan struct{})
	p := r.program(t, "p", func(http.ResponseWriter, *http.Request) {
		close(inside)
		<-finish
	})
	defer close(finish)
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, "healthy")
	go func() {
		if resp, err := r.client.Get(r.url); err == nil {
			resp.Body.Close()
		}
	}()
	<-inside
	awaitClosed(t, r.Deregister(appARN, p.ip, p.port))
}

func awaitClosed(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(5 * time.Second):
		t.Fatal("not drained")
	}
}

func TestRegisterDuringDrainingTakesItBack(t *testing.T) {
	r := newRig(t, nil, 1)
	inside, finish := make(chan struct{}, 9), make(chan struct{})
	p := r.program(t, "p", func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-finish
	})
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, "healthy")
	go func() {
		if resp, err := r.client.Get(r.url); err == nil {
			resp.Body.Close()
		}
	}()
	<-inside
	drained := r.Deregister(appARN, p.ip, p.port)
	r.Register(appARN, p.ip, p.port)
	awaitClosed(t, drained)
	r.await(t, p, "healthy")
	close(finish)
}

func TestLostRegion(t *testing.T) {
	r := newRig(t, nil, 1)
	inside := make(chan struct{})
	p := r.program(t, "p", func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/hang" {
			close(inside)
			<-req.Context().Done()
		}
	})
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, "healthy")
	address := network.HostPort(r.Address(lbARN), 8080)
	idle, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	_, _ = io.WriteString(idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	reader := bufio.NewReader(idle)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
	hanging := make(chan error, 1)
	go func() {
		resp, err := r.client.Get(r.url + "/hang")
		if err == nil {
			resp.Body.Close()
		}
		hanging <- err
	}()
	<-inside
	r.Stop(region)
	if err := <-hanging; err == nil {
		t.Error("a request in a lost region got an answer")
	}
	_ = idle.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := reader.ReadByte(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an idle connection still stands: %v", err)
	}
	if conn, err := net.Dial("tcp4", address); err == nil {
		conn.Close()
		t.Error("a lost region's load balancer accepts connections")
	}
	if r.Evaluate("lb-1.us-east-1.elb.amazonaws.com") {
		t.Error("a lost region's load balancer counts as healthy")
	}
	if c := r.LoadBalancerCounts(lbARN); c.ActiveConnections != 0 {
		t.Errorf("%d connections are open", c.ActiveConnections)
	}
	if err := r.Start(region); err != nil {
		t.Fatal(err)
	}
	r.await(t, p, "healthy")
	if resp, _ := r.get(t, "/", ""); resp.StatusCode != 200 {
		t.Errorf("after the return: %d", resp.StatusCode)
	}
}

func TestUpgradedConnectionsPassAndEndWithTheRegion(t *testing.T) {
	r := newRig(t, nil, 1)
	p := r.program(t, "p", func(w http.ResponseWriter, req *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(conn, rw)
	})
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, "healthy")
	conn, err := net.Dial("tcp4", network.HostPort(r.Address(lbARN), 8080))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	_, _ = io.WriteString(conn, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(reader, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q %v", got, err)
	}
	r.Stop(region)
	if _, err := reader.ReadByte(); err == nil {
		t.Error("an upgraded connection survived its region")
	}
}

func TestClientKeepAliveEnds(t *testing.T) {
	r := newRig(t, func(top *topology.Topology) { top.LoadBalancers[0].ClientKeepAlive = time.Nanosecond }, 1)
	if resp, _ := r.get(t, "/", ""); !resp.Close {
		t.Error("the connection is kept past the client keep-alive")
	}
	r = newRig(t, nil, 1)
	if resp, _ := r.get(t, "/", ""); resp.Close {
		t.Error("the connection is not kept")
	}
}

func TestBodiesPassAndAreBounded(t *testing.T) {
	r := newRig(t, nil, 1)
	p := r.program(t, "p", func(w http.ResponseWriter, req *http.Request) {
		n, _ := io.Copy(io.Discard, req.Body)
		_, _ = fmt.Fprint(w, n)
	})
	r.Register(appARN, p.ip, p.port)
	r.await(t, p, "healthy")
	for _, chunked := range []bool{false, true} {
		var body io.Reader = strings.NewReader(strings.Repeat("x", 3<<20))
		if chunked {
			body = io.MultiReader(body)
		}
		req, err := http.NewRequest(http.MethodPost, r.url, body)
		if err != nil {
			t.Fatal(err)
		}
		if resp, got := r.do(t, req); resp.StatusCode != 200 || got != fmt.Sprint(3<<20) {
			t.Errorf("chunked %t: %d %s", chunked, resp.StatusCode, got)
		}
	}
	conn, err := net.Dial("tcp4", network.HostPort(r.Address(lbARN), 8080))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", bodyLimit+1)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
}

func TestBadTopologies(t *testing.T) {
	f, err := network.New(network.Options{Regions: []string{region}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, change := range map[string]func(*topology.Topology){
		"matcher":       func(top *topology.Topology) { top.TargetGroups[0].HealthCheck.Matcher = "2xx" },
		"target group":  func(top *topology.Topology) { top.Listeners[0].Default.TargetGroupARN = "arn:none" },
		"action":        func(top *topology.Topology) { top.Listeners[0].Default.Type = "authenticate-oidc" },
		"region":        func(top *topology.Topology) { top.LoadBalancers[0].Region = "mars-1" },
		"redirect code": func(top *topology.Topology) { top.Listeners[0].Default = topology.Action{Type: "redirect"} },
	} {
		top := testTopology()
		change(&top)
		if _, err := New(Options{Topology: top, Fabric: f}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPortInUse(t *testing.T) {
	r := newRig(t, nil, 1)
	r.Stop(region)
	squatter, err := net.Listen("tcp4", network.HostPort(r.Address(lbARN), 8443))
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	if err := r.Start(region); err == nil || !strings.Contains(err.Error(), "8443") {
		t.Errorf("got %v", err)
	}
	squatter.Close()
	if err := r.Start(region); err != nil {
		t.Errorf("after the port was free: %v", err)
	}
}

func TestHooksTell(t *testing.T) {
	f, err := network.New(network.Options{Regions: []string{region}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	changes := make(chan TargetHealthChange, 16)
	b, err := New(Options{Topology: testTopology(), Fabric: f, OnTargetHealth: func(c TargetHealthChange) { changes <- c }})
	if err != nil {
		t.Fatal(err)
	}
	b.Register(appARN, netip.MustParseAddr("127.0.0.1"), 0)
	if c := <-changes; c.From != "" || c.Target.State != StateInitial || c.Target.Port != 8080 || c.TargetGroupARN != appARN {
		t.Errorf("got %+v", c)
	}
	b.Deregister(appARN, netip.MustParseAddr("127.0.0.1"), 0)
	if c := <-changes; c.From != StateInitial || c.Target.State != StateDraining {
		t.Errorf("got %+v", c)
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"/healthz", "/healthz", true},
		{"/healthz", "/healthz/", false},
		{"*", "", true},
		{"/v?/*", "/v1/x/y", true},
		{"/v?/*", "/v12/x", false},
		{"*.example.com", "example.com", false},
		{"*a*b*c", "xxaxxbxxc", true},
		{"*a*b*c", "xxaxxbxx", false},
		{strings.Repeat("*a", 30), strings.Repeat("a", 200), true},
		{strings.Repeat("*a", 30) + "b", strings.Repeat("a", 200), false},
	} {
		if got := glob(c.pattern, c.text); got != c.want {
			t.Errorf("glob(%q, %q) = %t", c.pattern, c.text, got)
		}
	}
}
