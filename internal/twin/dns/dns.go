package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

const (
	// dnsPort is mapped by the fabric.
	dnsPort = 53
	// udpLimit is the largest answer over UDP, the size that fits through every usual network (dnsflagday.net/2020).
	udpLimit = 1232
	// readTimeout and idleTimeout bound a client over TCP, tcpQueries the queries on one connection.
	readTimeout = 5 * time.Second
	idleTimeout = 10 * time.Second
	tcpQueries  = 256
	// shutdownLimit bounds the answers under way at the end.
	shutdownLimit = 2 * time.Second
)

// Options says what is served.
type Options struct {
	Topology topology.Topology
	Fabric   *network.Fabric
	// Speed divides intervals, time limits and TTLs; 0 means 1.
	Speed float64
	// AliasAddress gives the address of an alias target or of a health check's host, usually balancer.AddressOf.
	AliasAddress func(dnsName string) (netip.Addr, bool)
	// AliasHealthy says whether an alias target is healthy for records with evaluate_target_health, usually
	// balancer.Evaluate; nil means always.
	AliasHealthy func(dnsName string) bool
	// ServiceAddress finds the address and TTL of a name that is in no zone of the deployment but in one of AWS's own: a
	// load balancer's, a database endpoint's. Resolvers answer those, too. nil knows none.
	ServiceAddress func(dnsName string) (address netip.Addr, ttl time.Duration, ok bool)
	// Admit, if set, returns when the networks let a health checker's connection through, or an error when ctx ends.
	// The port is the deployment's, before [network.Port] maps it.
	Admit  func(ctx context.Context, from, to netip.Addr, port int) error
	Logger *slog.Logger
}

// Change is a change of what a name with failover records is answered with. From and to are set identifiers.
type Change = func(name, from, to string, at time.Time)

// Server is the authoritative DNS server with the health checkers behind it. Its methods are safe for concurrent use.
type Server struct {
	opts   Options
	logger *slog.Logger
	zones  []*zone
	checks map[string]*check
	// failovers lists the names whose answer depends on health, in the order of the topology.
	failovers []*failover
	address   string
	// sources are the checkers' own addresses on this machine, in the order of checkerRegions.
	sources []netip.Addr

	life    sync.Mutex
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex
	onChange Change
	onHealth func(id string, healthy bool, at time.Time)
	// reviewing serializes the hooks, so that they hear of changes in their order.
	reviewing sync.Mutex
}

// New reads the zones, records and health checks. The error names what can't be served.
func New(opts Options) (*Server, error) {
	if opts.Speed <= 0 {
		opts.Speed = 1
	}
	s := &Server{opts: opts, logger: opts.Logger, checks: map[string]*check{}}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if opts.AliasAddress == nil {
		s.opts.AliasAddress = func(string) (netip.Addr, bool) { return netip.Addr{}, false }
	}
	if opts.AliasHealthy == nil {
		s.opts.AliasHealthy = func(string) bool { return true }
	}
	if opts.ServiceAddress == nil {
		s.opts.ServiceAddress = func(string) (netip.Addr, time.Duration, bool) { return netip.Addr{}, 0, false }
	}
	for _, hc := range opts.Topology.HealthChecks {
		c, err := s.newCheck(hc)
		if err != nil {
			return nil, fmt.Errorf("health check %s: %w", hc.ID, err)
		}
		s.checks[hc.ID] = c
	}
	if err := s.load(opts.Topology); err != nil {
		return nil, err
	}
	ip := opts.Fabric.Allocate(network.Outside, "dns")
	if !ip.IsValid() {
		return nil, errors.New("no address is left for the DNS server")
	}
	for _, place := range checkerRegions {
		source := opts.Fabric.Allocate(network.Outside, "health-checker/"+place.region)
		if !source.IsValid() {
			return nil, errors.New("no address is left for the health checkers")
		}
		s.sources = append(s.sources, source)
	}
	s.address = network.HostPort(ip, opts.Fabric.Port(dnsPort))
	s.review(time.Now())
	return s, nil
}

func (s *Server) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.opts.Speed)
}

// seconds is a TTL in whole seconds, divided by the speed and at least one.
func (s *Server) seconds(d time.Duration) uint32 {
	return uint32(max(1, s.scaled(d).Round(time.Second)/time.Second))
}

// Start listens on UDP and TCP and starts the health checkers. ctx bounds the start only; Stop ends what it started.
func (s *Server) Start(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.cancel != nil {
		return errors.New("the DNS server runs already")
	}
	var config net.ListenConfig
	udp, err := config.ListenPacket(ctx, "udp4", s.address)
	if err != nil {
		return fmt.Errorf("DNS server: %w", err)
	}
	tcp, err := config.Listen(ctx, "tcp4", s.address)
	if err != nil {
		_ = udp.Close()
		return fmt.Errorf("DNS server: %w", err)
	}
	run, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	handler := dns.HandlerFunc(s.serve)
	for _, server := range []*dns.Server{
		{PacketConn: udp, Handler: handler, UDPSize: dns.DefaultMsgSize, ReadTimeout: readTimeout},
		{Listener: tcp, Handler: handler, ReadTimeout: readTimeout, MaxTCPQueries: tcpQueries, IdleTimeout: func() time.Duration { return idleTimeout }},
	} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		s.workers.Go(func() {
			if err := server.ActivateAndServe(); err != nil && run.Err() == nil {
				s.logger.Error("DNS server ended", "error", err)
			}
		})
		s.workers.Go(func() {
			<-run.Done()
			<-started
			// It also ends the reads of clients that keep a connection open.
			ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
			defer cancel()
			_ = server.ShutdownContext(ctx)
		})
	}
	for _, c := range s.checks {
		for i := range c.checkers {
			s.workers.Go(func() { s.watch(run, c, i) })
		}
	}
	return nil
}

// Stop ends everything and waits for it.
func (s *Server) Stop() {
	s.life.Lock()
	defer s.life.Unlock()
	if s.cancel == nil {
		return
	}
	s.cancel()
	s.workers.Wait()
	s.cancel = nil
}

// Addr is host:port of the server, UDP and TCP.
func (s *Server) Addr() string { return s.address }

// SetOnChange sets the hook for changed answers of names with failover records. It must not block.
func (s *Server) SetOnChange(hook Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onChange = hook
}

// SetOnHealth sets the hook for changed verdicts of health checks. It must not block.
func (s *Server) SetOnHealth(hook func(id string, healthy bool, at time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onHealth = hook
}
