package metrics

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/balancer"
	"holdfast/internal/twin/dns"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/postgres"
	"holdfast/internal/twin/task"
)

const (
	// minute is how often the services publish, before the speed.
	minute = time.Minute
	// looks is how many times a minute a state that comes and goes is looked at.
	looks = 6
)

// Databases is what the collector asks the databases; *postgres.Aurora is one.
type Databases interface {
	Instances(region string) []postgres.Instance
	Clusters(region string) []postgres.Cluster
	ReplicationLagMilliseconds(region string) (milliseconds float64, ok bool)
}

// Figures is what servers say of themselves; *postgres.Meter is one.
type Figures interface {
	Read(ctx context.Context, region string) map[string]postgres.Figures
}

// Containers is what the collector asks about tasks; *ecs.Scheduler is one.
type Containers interface {
	Tasks(region, cluster, service string) ([]ecs.Task, error)
	TaskDefinitions(region string) []topology.TaskDefinition
}

// Balancers has the load balancers' counters; *balancer.Balancer is one.
type Balancers interface {
	TargetHealth(targetGroupARN string) []balancer.TargetHealth
	TargetGroupCounts(targetGroupARN string) balancer.TargetGroupCounts
	LoadBalancerCounts(loadBalancerARN string) balancer.LoadBalancerCounts
}

// HealthChecks is what Route 53's checkers say; *dns.Server is one.
type HealthChecks interface {
	Healthy(id string) bool
	HealthCheckStatus(id string) []dns.Observation
}

// Sink is where metrics go; *alarms.Metrics is one.
type Sink interface {
	Put(region, namespace string, data ...alarms.Datum)
}

// Options say what a [Collector] measures. A part that is nil is not measured.
type Options struct {
	Topology topology.Topology
	Sink     Sink
	// Speed divides the period; 0 means 1.
	Speed float64
	// Up reports whether a region is there and not frozen; nil means always.
	Up func(region string) bool

	Databases    Databases
	Figures      Figures
	Containers   Containers
	Balancers    Balancers
	HealthChecks HealthChecks
	Table        *Table

	// Usage reads what a process takes; nil is task.UsageOf.
	Usage  func(pid int) (task.ProcessUsage, error)
	Now    func() time.Time
	Logger *slog.Logger
}

// Collector measures and publishes, from Start to Stop.
type Collector struct {
	options Options
	minute  time.Duration
	cancel  context.CancelFunc
	done    chan struct{}

	// What the last look saw, to measure what came since. Only the loop uses it.
	instances map[string]instanceState
	tasks     map[string]time.Duration
	groups    map[string]balancer.TargetGroupCounts
	balancers map[string]balancer.LoadBalancerCounts
}

// New returns a collector that does not run yet.
func New(options Options) (*Collector, error) {
	if options.Sink == nil {
		return nil, errors.New("metrics: no sink given")
	}
	if options.Speed <= 0 {
		options.Speed = 1
	}
	if options.Up == nil {
		options.Up = func(string) bool { return true }
	}
	if options.Usage == nil {
		options.Usage = task.UsageOf
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Collector{
		options: options, minute: time.Duration(float64(minute) / options.Speed),
		instances: map[string]instanceState{}, tasks: map[string]time.Duration{},
		groups: map[string]balancer.TargetGroupCounts{}, balancers: map[string]balancer.LoadBalancerCounts{},
	}, nil
}

// Start begins to measure, until ctx ends or Stop. It must be called once.
func (c *Collector) Start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.done = make(chan struct{})
	go func() {
		defer close(c.done)
		c.loop(ctx)
	}()
}

// Stop ends the measuring and waits for it.
func (c *Collector) Stop() {
	if c.cancel != nil {
		c.cancel()
		<-c.done
	}
}

// span is the time that rates are measured over.
type span struct {
	// at is the start of the minute that the data belong to.
	at time.Time
	// length is how long it really was.
	length time.Duration
}

func (c *Collector) loop(ctx context.Context) {
	begun := c.options.Now()
	last := begun
	c.measure(ctx, span{at: begun}, nil) // the state that the first minute is measured against
	for {
		next := startOf(last, c.look()).Add(c.look())
		timer := time.NewTimer(next.Sub(c.options.Now()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		now := c.options.Now()
		if started := startOf(now, c.minute); started.After(startOf(last, c.minute)) {
			c.measure(ctx, span{at: started.Add(-c.minute), length: now.Sub(begun)}, c.options.Sink)
			begun = now
		}
		last = now
		c.watch(now)
	}
}

func (c *Collector) look() time.Duration { return c.minute / looks }

// startOf is the start of the period that holds an instant, as CloudWatch counts periods.
func startOf(t time.Time, period time.Duration) time.Time {
	return time.Unix(0, t.UnixNano()-t.UnixNano()%int64(period))
}

// regions are those that have anything to publish.
func (c *Collector) regions() []string {
	var list []string
	for _, s := range c.options.Topology.Sites {
		if c.options.Up(s.Region) {
			list = append(list, s.Region)
		}
	}
	return list
}

// measure publishes a minute's rates. Without a sink it only takes the state to measure the next minute against.
func (c *Collector) measure(ctx context.Context, s span, sink Sink) {
	if sink == nil {
		sink = nowhere{}
	}
	for _, region := range c.regions() {
		c.measureInstances(ctx, region, s, sink)
		c.measureServices(region, s, sink)
		c.measureBalancers(region, s, sink)
		c.measureTable(region, s, sink)
	}
}

// watch publishes states as they are now.
func (c *Collector) watch(now time.Time) {
	for _, region := range c.regions() {
		c.watchLag(region, now)
		c.watchTargets(region, now)
		if region == healthCheckRegion {
			c.watchHealthChecks(now)
		}
	}
}

// nowhere is a sink for data that are not wanted.
type nowhere struct{}

func (nowhere) Put(string, string, ...alarms.Datum) {}

// stamped gives data their time.
func stamped(at time.Time, data ...alarms.Datum) []alarms.Datum {
	for i := range data {
		data[i].At = at
	}
	return data
}
