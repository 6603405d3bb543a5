package api

import (
	"log/slog"
	"net/http"
	"time"

	"holdfast/internal/topology"
)

// AccessKeyID and SecretAccessKey are the only credentials that the endpoint accepts. They are no secret and open
// nothing: they show that a request was meant for the twin.
const (
	AccessKeyID     = "HOLDFASTTWIN"
	SecretAccessKey = "holdfast-twin"
)

// Options say what the endpoint serves. The calls of a backend that is nil are answered as unknown actions. Logs are read
// from the files of the tasks that Containers lists.
type Options struct {
	Topology topology.Topology
	Network  Network

	Databases    Databases
	Containers   Containers
	Balancers    Balancers
	HealthChecks HealthChecks
	Tables       Tables
	Metrics      Metrics
	Alarms       Alarms
	Secrets      Secrets
	Scaling      Scaling

	// OnCall is called for every call after it ended, from many goroutines; nil means nobody listens.
	OnCall func(Call)
	// Now is the wall clock; time.Now if nil.
	Now    func() time.Time
	Logger *slog.Logger
	Limits Limits
}

// Limits bound what clients can do to the endpoint. A zero field takes its default.
type Limits struct {
	// BodyBytes is the largest request body, 1 MiB by default.
	BodyBytes int64
	// Concurrent is how many requests run at a time, 256 by default; one more is throttled.
	Concurrent int
	// Hanging is how many requests to lost regions wait at a time, 1024 by default; one more is cut off at once.
	Hanging int
	// Hang is how long a request that gets no answer is held, 30 s by default.
	Hang time.Duration
	// Read and Write are the server's time limits for a request and for an answer, 10 s and 60 s by default.
	Read, Write time.Duration
	// Calls is how many calls the access log keeps, 20000 by default.
	Calls int
}

// Endpoint answers AWS requests.
type Endpoint struct {
	options Options
}

// Call is one line of the access log.
type Call struct {
	At time.Time `json:"at"`
	// CallerRegion is where the request came from, empty for the world outside.
	CallerRegion string `json:"caller_region"`
	// Service is the SDK's name for the service ("rds", "route53", ...); Region is the region that the request was sent
	// to, us-east-1 for Route 53.
	Service   string `json:"service"`
	Region    string `json:"region"`
	Operation string `json:"operation"`
	// Status is the HTTP status, 0 if the client got no answer.
	Status int `json:"status"`
	// Code is AWS's error code, empty after a success.
	Code     string        `json:"code,omitempty"`
	Duration time.Duration `json:"duration_ns"`
	// RequestID is the id in the answer.
	RequestID string `json:"request_id"`
}

// New returns an endpoint.
func New(options Options) (*Endpoint, error) { return &Endpoint{options: options}, nil }

// Handler returns the handler for callers in a region, "" for callers outside.
func (e *Endpoint) Handler(callerRegion string) http.Handler { return http.NotFoundHandler() }

// NewServer returns a server with the endpoint's limits around Handler; the caller listens, serves and shuts down.
func (e *Endpoint) NewServer(callerRegion string) *http.Server {
	return &http.Server{Handler: e.Handler(callerRegion), ReadTimeout: e.options.Limits.Read}
}

// Calls returns the calls that the access log still holds, oldest first.
func (e *Endpoint) Calls() []Call { return nil }
