package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
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
	Networks     Networks
	Runner       TaskRunner
	Images       Images

	// Admit, if set, returns when the networks let a caller at an address reach a service in a region, or an error when
	// ctx ends, and then the caller gets no answer.
	Admit func(ctx context.Context, from netip.Addr, region, service string) error

	// Around, if set, is given every call that was understood, and makes it by calling call. What it returns is answered;
	// with ErrLost the client gets no answer, whether the call was made or not.
	Around func(ctx context.Context, a Arrival, call func() (any, error)) (any, error)
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
	// Concurrent is how many requests run at a time in one service of one region, 256 by default; one more is throttled.
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

// Endpoint answers AWS requests. Its methods may be called from many goroutines.
type Endpoint struct {
	options  Options
	services map[string]*service // by the service name in a credential scope
	calls    *callLog
	// travelling is a semaphore; running has one for each service and region, so that a service that hangs takes no other
	// with it.
	travelling chan struct{}
	running    map[place]chan struct{}
	// streams are the logs seen so far.
	streams streamList
	// created is when the twin made its resources.
	created time.Time
	// base ends with Close.
	base  context.Context
	close context.CancelFunc
}

// New returns an endpoint. Close it.
func New(options Options) (*Endpoint, error) {
	if options.Network == nil {
		return nil, errors.New("twin api: no network given")
	}
	if len(options.Topology.Sites) == 0 {
		return nil, errors.New("twin api: the topology has no sites")
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	options.Limits = options.Limits.withDefaults()
	e := &Endpoint{
		options: options, calls: newCallLog(options.Limits.Calls, options.OnCall),
		travelling: make(chan struct{}, options.Limits.Hanging),
	}
	e.created = options.Now()
	e.base, e.close = context.WithCancel(context.Background())
	e.register()
	e.running = e.places()
	return e, nil
}

// place is a service in a region; the region is "" for all those that the twin does not have.
type place struct{ service, region string }

func (e *Endpoint) places() map[place]chan struct{} {
	regions := append([]string{"", e.options.Topology.TermTable.WitnessRegion}, e.options.Topology.TermTable.ReplicaRegions...)
	for _, s := range e.options.Topology.Sites {
		regions = append(regions, s.Region)
	}
	all := map[place]chan struct{}{}
	for service := range e.services {
		for _, region := range regions {
			all[place{service, region}] = make(chan struct{}, e.options.Limits.Concurrent)
		}
	}
	return all
}

func (l Limits) withDefaults() Limits {
	return Limits{
		BodyBytes: cmp.Or(l.BodyBytes, 1<<20), Concurrent: cmp.Or(l.Concurrent, 256), Hanging: cmp.Or(l.Hanging, 1024),
		Hang: cmp.Or(l.Hang, 30*time.Second), Read: cmp.Or(l.Read, 10*time.Second), Write: cmp.Or(l.Write, 60*time.Second),
		Calls: cmp.Or(l.Calls, 20000),
	}
}

// Close ends all requests that wait, without an answer. Requests that come later are cut off at once.
func (e *Endpoint) Close() { e.close() }

// NewServer returns a server with the endpoint's limits around Handler; the caller listens, serves and shuts down.
func (e *Endpoint) NewServer(callerRegion string) *http.Server {
	return &http.Server{
		Handler:           e.Handler(callerRegion),
		ReadHeaderTimeout: e.options.Limits.Read,
		ReadTimeout:       e.options.Limits.Read,
		WriteTimeout:      e.options.Limits.Write,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(e.options.Logger.Handler(), slog.LevelDebug),
	}
}

// Calls returns the calls that the access log still holds, oldest first.
func (e *Endpoint) Calls() []Call { return e.calls.list() }

// regions are those that a request may name.
func (e *Endpoint) knownRegion(region string) bool {
	t := e.options.Topology
	if region == t.TermTable.WitnessRegion || slices.Contains(t.TermTable.ReplicaRegions, region) {
		return region != ""
	}
	return slices.ContainsFunc(t.Sites, func(s topology.Site) bool { return s.Region == region })
}
