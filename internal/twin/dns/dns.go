package dns

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

// Options says what is served.
type Options struct {
	Topology topology.Topology
	Fabric   *network.Fabric
	// Speed divides intervals, time limits and TTLs; 0 means 1.
	Speed float64
	// AliasAddress gives the address of an alias target, usually balancer.AddressOf.
	AliasAddress func(dnsName string) (netip.Addr, bool)
	// AliasHealthy says whether an alias target is healthy for records with evaluate_target_health, usually
	// balancer.Evaluate; nil means always.
	AliasHealthy func(dnsName string) bool
	Logger       *slog.Logger
}

// Observation is one checker's last word on a health check.
type Observation struct {
	// Region and IPAddress name the checker, as in us-west-1 and 15.177.10.7.
	Region    string
	IPAddress string
	CheckedAt time.Time
	// Status is Route 53's sentence, as in "Success: HTTP Status Code 200, OK".
	Status string
	// Passing is the checker's own verdict after the failure threshold.
	Passing bool
}

// Change is a change of what a name with failover records is answered with. From and To are set identifiers.
type Change = func(name, from, to string, at time.Time)

// Server is the authoritative DNS server with the health checkers behind it.
type Server struct{ opts Options }

// New checks the zones and records.
func New(opts Options) (*Server, error) { return &Server{opts: opts}, nil }

// Start listens on UDP and TCP and starts the health checkers.
func (s *Server) Start(ctx context.Context) error { return nil }

// Stop ends everything and waits for it.
func (s *Server) Stop() {}

// Addr is host:port of the server.
func (s *Server) Addr() string { return "" }

// HealthCheckStatus lists what each checker saw last; nil for an unknown check.
func (s *Server) HealthCheckStatus(id string) []Observation { return nil }

// Healthy is the verdict over all checkers: more than 18 % pass. False for an unknown check.
func (s *Server) Healthy(id string) bool { return false }

// SetOnChange sets the hook for changed answers. It must not block.
func (s *Server) SetOnChange(hook Change) {}

// SetOnHealth sets the hook for changed verdicts of health checks. It must not block.
func (s *Server) SetOnHealth(hook func(id string, healthy bool, at time.Time)) {}

// Active is the set identifier that a name with failover records is answered with now.
func (s *Server) Active(name string) (setIdentifier string, ok bool) { return "", false }
