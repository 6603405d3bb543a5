package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

// Options says what is balanced.
type Options struct {
	Topology topology.Topology
	Fabric   *network.Fabric
	// Speed divides every configured duration; 0 means 1.
	Speed float64
	// OnTargetHealth, if set, is told of every change of a target's state. It must not block.
	OnTargetHealth func(TargetHealthChange)
	// Admit, if set, returns when the networks let a connection between two addresses through, or an error that is a
	// time-out when ctx ends. The port is the deployment's, before [network.Port] maps it.
	Admit  func(ctx context.Context, from, to netip.Addr, port int) error
	Logger *slog.Logger
}

// TargetHealth is one target as DescribeTargetHealth shows it.
type TargetHealth struct {
	IP   netip.Addr
	Port int
	// State is "initial", "healthy", "unhealthy", "draining" or "unused"; Reason and Description are AWS's, and empty for
	// a healthy target.
	State       string
	Reason      string
	Description string
	// Since is when the target came into this state.
	Since time.Time
}

// TargetHealthChange is a change of a target's state.
type TargetHealthChange struct {
	TargetGroupARN string
	From           string
	Target         TargetHealth
}

// The states of a target.
const (
	StateInitial   = "initial"
	StateHealthy   = "healthy"
	StateUnhealthy = "unhealthy"
	StateDraining  = "draining"
	StateUnused    = "unused"
)

// LoadBalancerCounts are a load balancer's counters since New.
type LoadBalancerCounts struct {
	// Requests is every request that got an answer; ELB5XX those that the load balancer itself answered with 502, 503 or
	// 504; ELB4XX those it refused.
	Requests, ELB4XX, ELB5XX int64
	// ActiveConnections is how many client connections are open now.
	ActiveConnections int64
}

// TargetGroupCounts are a target group's counters since New.
type TargetGroupCounts struct {
	Requests int64
	// Target2XX to Target5XX count the targets' own answers by class.
	Target2XX, Target3XX, Target4XX, Target5XX int64
	// ConnectionErrors counts the targets that could not be reached or broke off.
	ConnectionErrors int64
	// ResponseTime is the sum of the times to the targets' response headers, ResponseTimeMax the longest of them.
	ResponseTime, ResponseTimeMax time.Duration
	// ResponseTimes says how they were spread.
	ResponseTimes Histogram
	// HealthyHosts and UnHealthyHosts are how many targets are so now.
	HealthyHosts, UnHealthyHosts int
}

// Balancer runs all load balancers of a topology. Its methods are safe for concurrent use.
type Balancer struct {
	opts   Options
	logger *slog.Logger

	groups    map[string]*group
	balancers []*loadBalancer

	// life serializes Start, Stop and Close; mu guards running.
	life    sync.Mutex
	mu      sync.Mutex
	running map[string]bool
}

// New prepares the load balancers and gives each one its address; nothing listens before Start.
func New(opts Options) (*Balancer, error) {
	if opts.Speed <= 0 {
		opts.Speed = 1
	}
	b := &Balancer{opts: opts, logger: opts.Logger, groups: map[string]*group{}, running: map[string]bool{}}
	if b.logger == nil {
		b.logger = slog.Default()
	}
	for _, tg := range opts.Topology.TargetGroups {
		g, err := newGroup(b, tg)
		if err != nil {
			return nil, fmt.Errorf("target group %s: %w", tg.Name, err)
		}
		b.groups[tg.ARN] = g
	}
	for _, lb := range opts.Topology.LoadBalancers {
		l, err := newLoadBalancer(b, lb)
		if err != nil {
			return nil, fmt.Errorf("load balancer %s: %w", lb.Name, err)
		}
		b.balancers = append(b.balancers, l)
	}
	return b, nil
}

// dialer connects from one of the load balancers to targets.
func (b *Balancer) dialer(from netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	plain := &net.Dialer{}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		if target, err := netip.ParseAddrPort(address); err == nil && b.opts.Admit != nil {
			if err := b.opts.Admit(ctx, from, target.Addr(), int(target.Port())); err != nil {
				return nil, err
			}
		}
		return plain.DialContext(ctx, network, address)
	}
}

// admission asks the networks about the clients of one listener, nil if nobody has to be asked.
func (b *Balancer) admission(to netip.Addr, port int) func(ctx context.Context, from netip.Addr) error {
	if b.opts.Admit == nil {
		return nil
	}
	return func(ctx context.Context, from netip.Addr) error { return b.opts.Admit(ctx, from, to, port) }
}

// scaled divides a configured duration by the speed.
func (b *Balancer) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / b.opts.Speed)
}

// Start brings the load balancers of a region up: listeners and health checks. Targets that are registered already
// begin as new ones.
func (b *Balancer) Start(region string) error {
	b.life.Lock()
	defer b.life.Unlock()
	if b.isRunning(region) {
		return nil
	}
	var started []*loadBalancer
	for _, l := range b.balancers {
		if l.config.Region != region {
			continue
		}
		if err := l.start(); err != nil {
			for _, s := range started {
				s.stop()
			}
			return fmt.Errorf("load balancer %s in %s: %w", l.config.Name, region, err)
		}
		started = append(started, l)
	}
	b.setRunning(region, true)
	for _, g := range b.groups {
		if g.config.Region == region {
			g.start()
		}
	}
	return nil
}

// Stop takes the load balancers of a region away at once, as when the region is lost: listeners and every connection
// are closed, health checks end, and what drains counts as drained.
func (b *Balancer) Stop(region string) {
	b.life.Lock()
	defer b.life.Unlock()
	if !b.isRunning(region) {
		return
	}
	b.setRunning(region, false)
	for _, l := range b.balancers {
		if l.config.Region == region {
			l.stop()
		}
	}
	for _, g := range b.groups {
		if g.config.Region == region {
			g.stop()
		}
	}
}

// Close stops every region.
func (b *Balancer) Close() {
	b.mu.Lock()
	var regions []string
	for region, up := range b.running {
		if up {
			regions = append(regions, region)
		}
	}
	b.mu.Unlock()
	for _, region := range regions {
		b.Stop(region)
	}
}

func (b *Balancer) isRunning(region string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running[region]
}

func (b *Balancer) setRunning(region string, up bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running[region] = up
}

// Register adds a target; a draining one is taken back. Port 0 is the target group's own port.
func (b *Balancer) Register(targetGroupARN string, ip netip.Addr, port int) {
	g := b.groups[targetGroupARN]
	if g == nil {
		b.logger.Warn("register a target in a target group that does not exist", "target_group", targetGroupARN, "target", ip)
		return
	}
	g.register(ip, port, b.isRunning(g.config.Region))
}

// Deregister takes a target out: it gets no new request, those under way may finish within the deregistration delay,
// then the returned channel is closed. It is closed at once for a target that is not registered.
func (b *Balancer) Deregister(targetGroupARN string, ip netip.Addr, port int) <-chan struct{} {
	g := b.groups[targetGroupARN]
	if g == nil {
		drained := make(chan struct{})
		close(drained)
		return drained
	}
	return g.deregister(ip, port)
}

// TargetHealth lists a group's targets, sorted by address and port; nil for an unknown group.
func (b *Balancer) TargetHealth(targetGroupARN string) []TargetHealth {
	g := b.groups[targetGroupARN]
	if g == nil {
		return nil
	}
	return g.health()
}

// TargetState is the state and reason of one target; false if it is not registered.
func (b *Balancer) TargetState(targetGroupARN string, ip netip.Addr, port int) (TargetHealth, bool) {
	for _, t := range b.TargetHealth(targetGroupARN) {
		if t.IP == ip && t.Port == port {
			return t, true
		}
	}
	return TargetHealth{}, false
}

// Address is the address of a load balancer, the zero Addr for an unknown one.
func (b *Balancer) Address(loadBalancerARN string) netip.Addr {
	for _, l := range b.balancers {
		if l.config.ARN == loadBalancerARN {
			return l.address
		}
	}
	return netip.Addr{}
}

// Errors of [Balancer.SetDefault].
var (
	ErrNoListener    = errors.New("no such listener")
	ErrNoTargetGroup = errors.New("no such target group")
)

// SetDefault changes a listener's default action to one that forwards, as ModifyListener does; from now on, new requests
// follow it. Errors are [ErrNoListener] and [ErrNoTargetGroup].
func (b *Balancer) SetDefault(listenerARN string, groups []topology.WeightedTargetGroup) error {
	l, listener, err := b.listener(listenerARN)
	if err != nil {
		return err
	}
	action := topology.Action{Type: "forward", TargetGroups: groups}
	weight := -1
	for _, w := range groups {
		g := b.groups[w.TargetGroupARN]
		if g == nil || g.config.Region != l.config.Region {
			return fmt.Errorf("%w in %s: %s", ErrNoTargetGroup, l.config.Region, w.TargetGroupARN)
		}
		if w.Weight > weight {
			action.TargetGroupARN, weight = w.TargetGroupARN, w.Weight
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed[listener.ARN] = action
	return nil
}

// Default is a listener's default action of this moment. The error is [ErrNoListener].
func (b *Balancer) Default(listenerARN string) (topology.Action, error) {
	l, listener, err := b.listener(listenerARN)
	if err != nil {
		return topology.Action{}, err
	}
	return l.current(listener).Default, nil
}

func (b *Balancer) listener(arn string) (*loadBalancer, topology.Listener, error) {
	for _, l := range b.balancers {
		for _, listener := range l.listeners {
			if listener.ARN == arn {
				return l, listener, nil
			}
		}
	}
	return nil, topology.Listener{}, fmt.Errorf("%w: %s", ErrNoListener, arn)
}

// AddressOf is the address of the load balancer with a DNS name; a trailing dot, upper case and the prefix "dualstack."
// make no difference.
func (b *Balancer) AddressOf(dnsName string) (netip.Addr, bool) {
	if l := b.named(dnsName); l != nil {
		return l.address, true
	}
	return netip.Addr{}, false
}

// Evaluate says whether an alias to a load balancer with evaluate_target_health counts as healthy: every target group
// with targets has at least one healthy one, and there is such a group. A lost region's is not.
func (b *Balancer) Evaluate(dnsName string) bool {
	l := b.named(dnsName)
	if l == nil || !b.isRunning(l.config.Region) {
		return false
	}
	populated := 0
	for _, arn := range l.targetGroups() {
		counts := b.TargetGroupCounts(arn)
		if len(b.TargetHealth(arn)) == 0 {
			continue
		}
		populated++
		if counts.HealthyHosts == 0 {
			return false
		}
	}
	return populated > 0
}

func (b *Balancer) named(dnsName string) *loadBalancer {
	i := slices.IndexFunc(b.balancers, func(l *loadBalancer) bool { return sameName(l.config.DNSName, dnsName) })
	if i < 0 {
		return nil
	}
	return b.balancers[i]
}

// LoadBalancerCounts are the counters of a load balancer, zero for an unknown one.
func (b *Balancer) LoadBalancerCounts(loadBalancerARN string) LoadBalancerCounts {
	for _, l := range b.balancers {
		if l.config.ARN == loadBalancerARN {
			return l.counters.view()
		}
	}
	return LoadBalancerCounts{}
}

// TargetGroupCounts are the counters of a target group, zero for an unknown one.
func (b *Balancer) TargetGroupCounts(targetGroupARN string) TargetGroupCounts {
	if g := b.groups[targetGroupARN]; g != nil {
		return g.counts()
	}
	return TargetGroupCounts{}
}
