package dns

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

const (
	connectLimit    = 4 * time.Second
	tcpConnectLimit = 10 * time.Second
	responseLimit   = 2 * time.Second
	// minimumLimit is what no speed shortens: a busy machine takes that long to answer at all.
	minimumLimit = 500 * time.Millisecond
	// healthyShare is the share of checkers, in percent, above which a health check is healthy.
	healthyShare = 18
	// bodyLimit is what a checker reads of an answer.
	bodyLimit = 5120
)

// checkerRegions are where Route 53's checkers stand, with an address of each as it shows in observations.
var checkerRegions = []struct{ region, ip string }{
	{"ap-northeast-1", "15.177.62.21"},
	{"ap-southeast-1", "15.177.58.21"},
	{"ap-southeast-2", "15.177.66.21"},
	{"eu-west-1", "15.177.10.21"},
	{"sa-east-1", "15.177.46.21"},
	{"us-east-1", "15.177.2.21"},
	{"us-west-1", "15.177.14.21"},
	{"us-west-2", "15.177.18.21"},
}

// Checker is one place that health checks come from.
type Checker struct {
	Region string
	// IPAddress is its address on the internet, Source the one that it connects from on this machine.
	IPAddress, Source netip.Addr
}

// Checkers lists where health checks come from.
func (s *Server) Checkers() []Checker {
	var list []Checker
	for i, place := range checkerRegions {
		list = append(list, Checker{place.region, netip.MustParseAddr(place.ip), s.sources[i]})
	}
	return list
}

// What Route 53 says.
const (
	statusTimedOut = "Failure: Connection timed out. The endpoint or the internet connection is down, or requests are being blocked by your firewall. " +
		"See Configuring router and firewall rules for Amazon Route 53 health checks."
	statusRefused     = "Failure: Connection refused. The endpoint is down or does not accept connections on the port."
	statusNoResponse  = "Failure: The health checker connected to the endpoint but got no response within the timeout limit."
	statusNoSuchName  = "Failure: DNS resolution failed: Rcode NXDomain(3)"
	statusBroken      = "Failure: The endpoint closed the connection without a valid response."
	statusTCPSuccess  = "Success: TCP connection established"
	prefixHTTPSuccess = "Success"
	prefixHTTPFailure = "Failure"
)

// Observation is one checker's last word on a health check.
type Observation struct {
	// Region and IPAddress name the checker, as in us-west-1 and 15.177.14.21.
	Region    string
	IPAddress string
	// CheckedAt is when the last check ended; zero before the first.
	CheckedAt time.Time
	// Status is Route 53's sentence, as in "Success: HTTP Status Code 200, OK".
	Status string
	// Passing is the checker's own verdict after the failure threshold.
	Passing bool
}

// check is one health check with its checkers.
type check struct {
	config topology.HealthCheck

	mu       sync.Mutex
	checkers []checker
	healthy  bool
	// lastFailure is the newest observation of a failure.
	lastFailure Observation
}

// checker is one of the eight. run counts the results in a row that contradict its verdict.
type checker struct {
	Observation
	run int
}

func (s *Server) newCheck(config topology.HealthCheck) (*check, error) {
	switch config.Type {
	case "HTTP", "HTTPS", "TCP":
	default:
		return nil, fmt.Errorf("type %q is not one of HTTP, HTTPS, TCP", config.Type)
	}
	if config.FQDN == "" {
		return nil, errors.New("it has no fqdn")
	}
	if config.Port == 0 {
		config.Port = map[string]int{"HTTP": 80, "HTTPS": 443}[config.Type]
	}
	if config.Port == 0 {
		return nil, errors.New("it has no port")
	}
	if config.Interval <= 0 {
		config.Interval = 30 * time.Second
	}
	if config.FailureThreshold <= 0 {
		config.FailureThreshold = 3
	}
	if !strings.HasPrefix(config.Path, "/") {
		config.Path = "/" + config.Path
	}
	c := &check{config: config, healthy: true}
	for _, place := range checkerRegions {
		c.checkers = append(c.checkers, checker{Observation: Observation{Region: place.region, IPAddress: place.ip, Passing: true}})
	}
	return c, nil
}

// Healthy is the verdict over all checkers: more than 18 % pass. False for an unknown check.
func (s *Server) Healthy(id string) bool {
	c := s.checks[id]
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.healthy
}

// HealthCheckStatus lists what each checker saw last, without those that have not checked yet; nil for an unknown check.
func (s *Server) HealthCheckStatus(id string) []Observation {
	c := s.checks[id]
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []Observation{}
	for _, k := range c.checkers {
		if !k.CheckedAt.IsZero() {
			list = append(list, k.Observation)
		}
	}
	return list
}

// LastFailure is the newest failure that any checker saw; false if there was none.
func (s *Server) LastFailure(id string) (Observation, bool) {
	c := s.checks[id]
	if c == nil {
		return Observation{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastFailure, c.lastFailure.Status != ""
}

// watch is one checker's life. The checkers' phases are spread evenly over the interval, which on AWS they are on average.
func (s *Server) watch(ctx context.Context, c *check, index int) {
	interval := max(s.scaled(c.config.Interval), time.Millisecond)
	phase := time.NewTimer(interval * time.Duration(index) / time.Duration(len(c.checkers)))
	defer phase.Stop()
	select {
	case <-phase.C:
	case <-ctx.Done():
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		passed, status := s.probe(ctx, c.config, s.sources[index])
		if ctx.Err() != nil {
			return
		}
		s.observe(c, index, passed, status, time.Now())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// observe takes one result into account and tells the hooks what it changed, one result at a time, so that they hear of
// a health check before they hear of what follows from it.
func (s *Server) observe(c *check, index int, passed bool, status string, at time.Time) {
	s.reviewing.Lock()
	defer s.reviewing.Unlock()
	before, after := c.record(index, passed, status, at)
	if before != after {
		s.logger.Info("health check", "id", c.config.ID, "host", c.config.FQDN, "healthy", after, "status", status)
		s.mu.Lock()
		hook := s.onHealth
		s.mu.Unlock()
		if hook != nil {
			hook(c.config.ID, after, at)
		}
	}
	s.review(at)
}

// record keeps one result and gives the check's verdict before and after it.
func (c *check) record(index int, passed bool, status string, at time.Time) (before, after bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.checkers[index]
	k.CheckedAt, k.Status = at, status
	if !passed {
		c.lastFailure = k.Observation
	}
	if passed == k.Passing {
		k.run = 0
	} else if k.run++; k.run >= c.config.FailureThreshold {
		k.Passing, k.run = passed, 0
	}
	passing := 0
	for _, other := range c.checkers {
		if other.Passing {
			passing++
		}
	}
	before = c.healthy
	c.healthy = passing*100 > healthyShare*len(c.checkers)
	return before, c.healthy
}

// limit is a time limit divided by the speed.
func (s *Server) limit(d time.Duration) time.Duration { return max(s.scaled(d), min(d, minimumLimit)) }

// resolveHost finds the address that a health check's host stands for.
func (s *Server) resolveHost(host string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip, true
	}
	if ip, ok := s.opts.AliasAddress(host); ok {
		return ip, true
	}
	zn := s.zoneOf(host)
	if zn == nil {
		return netip.Addr{}, false
	}
	m := new(dns.Msg)
	s.resolve(m, zn, dns.CanonicalName(host), dns.TypeA, 0)
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			return netip.AddrFromSlice(a.A.To4())
		}
	}
	return netip.Addr{}, false
}

// probe makes one check, from outside all regions.
func (s *Server) probe(ctx context.Context, config topology.HealthCheck, source netip.Addr) (passed bool, status string) {
	ip, ok := s.resolveHost(config.FQDN)
	if !ok {
		return false, statusNoSuchName
	}
	limit := s.limit(connectLimit)
	if config.Type == "TCP" {
		limit = s.limit(tcpConnectLimit)
	}
	connecting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// A lost region answers nothing, while a closed port on loopback refuses at once.
	if region, known := s.opts.Fabric.RegionOf(ip); known {
		if err := s.opts.Fabric.Traverse(connecting, network.Outside, region); err != nil {
			return false, statusTimedOut
		}
	}
	if s.opts.Admit != nil {
		if err := s.opts.Admit(connecting, source, ip, config.Port); err != nil {
			return false, statusTimedOut
		}
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: source.AsSlice()}}
	conn, err := dialer.DialContext(connecting, "tcp", network.HostPort(ip, s.opts.Fabric.Port(config.Port)))
	if err != nil {
		var netErr net.Error
		if errors.As(err, &netErr) && netErr.Timeout() {
			return false, statusTimedOut
		}
		return false, statusRefused
	}
	defer conn.Close()
	if config.Type == "TCP" {
		return true, statusTCPSuccess
	}
	return s.request(ctx, conn, config)
}

// request asks over a connection and judges the answer.
func (s *Server) request(ctx context.Context, conn net.Conn, config topology.HealthCheck) (passed bool, status string) {
	answering, cancel := context.WithTimeout(ctx, s.limit(responseLimit))
	defer cancel()
	used := false
	dial := func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, errors.New("the connection was used up")
		}
		used = true
		return conn, nil
	}
	transport := &http.Transport{
		DialContext: dial, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: config.FQDN}, // Route 53 does not validate certificates
	}
	url := strings.ToLower(config.Type) + "://" + config.FQDN + config.Path
	req, err := http.NewRequestWithContext(answering, http.MethodGet, url, nil)
	if err != nil {
		return false, statusBroken
	}
	req.Header.Set("User-Agent", "Amazon-Route53-Health-Check-Service (ref "+config.ID+"; report http://amzn.to/1vsZADi)")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		if answering.Err() != nil {
			return false, statusNoResponse
		}
		return false, statusBroken
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, bodyLimit))
	prefix := prefixHTTPFailure
	if passed = resp.StatusCode >= 200 && resp.StatusCode < 400; passed {
		prefix = prefixHTTPSuccess
	}
	_, phrase, _ := strings.Cut(resp.Status, " ")
	return passed, fmt.Sprintf("%s: HTTP Status Code %d, %s", prefix, resp.StatusCode, phrase)
}
