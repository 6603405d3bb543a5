package balancer

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdfast/internal/topology"
)

// AWS's reason codes and descriptions.
const (
	reasonRegistration    = "Elb.RegistrationInProgress"
	textRegistration      = "Target registration is in progress"
	reasonInitialChecking = "Elb.InitialHealthChecking"
	textInitialChecking   = "Initial health checks in progress"
	reasonNotInUse        = "Target.NotInUse"
	textNotInUse          = "Target group is not configured to receive traffic from the load balancer"
	reasonDraining        = "Target.DeregistrationInProgress"
	textDraining          = "Target deregistration is in progress"
	reasonTimeout         = "Target.Timeout"
	textTimeout           = "Request timed out"
	reasonFailed          = "Target.FailedHealthChecks"
	textFailed            = "Health checks failed"
	reasonMismatch        = "Target.ResponseCodeMismatch"
)

type endpoint struct {
	ip   netip.Addr
	port int
}

// target is one registered target. Its group's lock guards it.
type target struct {
	endpoint
	view TargetHealth
	// inFlight is how many requests are with the target now; served how many it ever got.
	inFlight int
	// passes and fails are the lengths of the current run of checks.
	passes, fails int
	// stopChecks ends the health checks; nil if none run.
	stopChecks context.CancelFunc
	// drained is closed when a draining target is done; drainTimer is the end of the deregistration delay.
	drained    chan struct{}
	drainTimer *time.Timer
}

// group is one target group.
type group struct {
	owner  *Balancer
	config topology.TargetGroup
	accept matcher
	// used says that some listener forwards to the group.
	used bool

	mu      sync.Mutex
	targets map[endpoint]*target
	// order is the round-robin order; next the position in it.
	order  []*target
	next   int
	tally  TargetGroupCounts
	checks sync.WaitGroup
}

func newGroup(b *Balancer, config topology.TargetGroup) (*group, error) {
	config.HealthCheck = withDefaults(config.HealthCheck)
	accept, err := parseMatcher(config.HealthCheck.Matcher)
	if err != nil {
		return nil, err
	}
	g := &group{owner: b, config: config, accept: accept, targets: map[endpoint]*target{}}
	for _, l := range b.opts.Topology.Listeners {
		for _, a := range actions(l) {
			// A weight of zero is enough: the targets are checked, so that they are known when the weight changes.
			g.used = g.used || a.TargetGroupARN == config.ARN || slices.ContainsFunc(a.TargetGroups, func(w topology.WeightedTargetGroup) bool {
				return w.TargetGroupARN == config.ARN
			})
		}
	}
	return g, nil
}

// withDefaults fills in what AWS assumes for an ALB's target group.
func withDefaults(c topology.TargetHealthCheck) topology.TargetHealthCheck {
	c.Path = cmp.Or(c.Path, "/")
	c.Port = cmp.Or(c.Port, "traffic-port")
	c.Protocol = cmp.Or(c.Protocol, "HTTP")
	c.Interval = cmp.Or(c.Interval, 30*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.HealthyThreshold = cmp.Or(c.HealthyThreshold, 5)
	c.UnhealthyThreshold = cmp.Or(c.UnhealthyThreshold, 2)
	c.Matcher = cmp.Or(c.Matcher, "200")
	return c
}

// set changes a target's state and returns the change to tell, if there is one. The caller holds the lock.
func (g *group) set(t *target, state, reason, text string) []TargetHealthChange {
	from := t.view.State
	if from == state && t.view.Reason == reason && t.view.Description == text {
		return nil
	}
	t.view.Reason, t.view.Description = reason, text
	if from == state {
		return nil
	}
	t.view.State, t.view.Since = state, time.Now()
	return []TargetHealthChange{{TargetGroupARN: g.config.ARN, From: from, Target: t.view}}
}

// tell passes changes on. It is called without the lock, because the hook may ask for the targets' health.
func (g *group) tell(changes []TargetHealthChange) {
	for _, c := range changes {
		g.owner.logger.Debug("target health", "target_group", g.config.Name, "target", c.Target.IP, "from", c.From,
			"to", c.Target.State, "reason", c.Target.Reason)
		if hook := g.owner.opts.OnTargetHealth; hook != nil {
			hook(c)
		}
	}
}

func (g *group) register(ip netip.Addr, port int, running bool) {
	if port == 0 {
		port = g.config.Port
	}
	key := endpoint{ip, port}
	g.mu.Lock()
	t := g.targets[key]
	if t != nil && t.drained == nil {
		g.mu.Unlock()
		return
	}
	if t != nil { // taken back while draining
		g.endDrain(t)
	}
	t = &target{endpoint: key, view: TargetHealth{IP: ip, Port: port}}
	g.targets[key] = t
	g.order = append(g.order, t)
	changes := g.begin(t, running)
	g.mu.Unlock()
	g.tell(changes)
}

// begin puts a target into its first state and starts its checks. The caller holds the lock.
func (g *group) begin(t *target, running bool) []TargetHealthChange {
	if !g.used {
		return g.set(t, StateUnused, reasonNotInUse, textNotInUse)
	}
	changes := g.set(t, StateInitial, reasonRegistration, textRegistration)
	t.passes, t.fails = 0, 0
	if running && t.stopChecks == nil {
		ctx, cancel := context.WithCancel(context.Background())
		t.stopChecks = cancel
		g.checks.Go(func() { g.check(ctx, t) })
	}
	return changes
}

func (g *group) deregister(ip netip.Addr, port int) <-chan struct{} {
	if port == 0 {
		port = g.config.Port
	}
	g.mu.Lock()
	t := g.targets[endpoint{ip, port}]
	if t == nil {
		g.mu.Unlock()
		drained := make(chan struct{})
		close(drained)
		return drained
	}
	if t.drained != nil {
		defer g.mu.Unlock()
		return t.drained
	}
	t.drained = make(chan struct{})
	drained := t.drained
	g.order = slices.DeleteFunc(g.order, func(o *target) bool { return o == t })
	g.endChecks(t)
	changes := g.set(t, StateDraining, reasonDraining, textDraining)
	if t.inFlight == 0 || !g.owner.isRunning(g.config.Region) {
		g.endDrain(t)
	} else {
		t.drainTimer = time.AfterFunc(g.owner.scaled(g.config.DeregistrationDelay), func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.endDrain(t)
		})
	}
	g.mu.Unlock()
	g.tell(changes)
	return drained
}

// endDrain forgets a draining target. The caller holds the lock.
func (g *group) endDrain(t *target) {
	select {
	case <-t.drained:
		return
	default:
	}
	close(t.drained)
	if t.drainTimer != nil {
		t.drainTimer.Stop()
	}
	if g.targets[t.endpoint] == t {
		delete(g.targets, t.endpoint)
	}
}

func (g *group) endChecks(t *target) {
	if t.stopChecks != nil {
		t.stopChecks()
		t.stopChecks = nil
	}
}

// start begins the checks of what is registered, anew.
func (g *group) start() {
	g.mu.Lock()
	var changes []TargetHealthChange
	for _, t := range g.order {
		changes = append(changes, g.begin(t, true)...)
	}
	g.mu.Unlock()
	g.tell(changes)
}

// stop ends the checks and what drains, and waits for the checks.
func (g *group) stop() {
	g.mu.Lock()
	for _, t := range g.targets {
		g.endChecks(t)
		if t.drained != nil {
			g.endDrain(t)
		}
	}
	g.mu.Unlock()
	g.checks.Wait()
}

func (g *group) health() []TargetHealth {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]TargetHealth, 0, len(g.targets))
	for _, t := range g.targets {
		list = append(list, t.view)
	}
	slices.SortFunc(list, func(a, b TargetHealth) int {
		return cmp.Or(a.IP.Compare(b.IP), cmp.Compare(a.Port, b.Port))
	})
	return list
}

// pick chooses the next target by round robin: a healthy one or, if there is none, any registered one (fail open). The
// caller gives it back with release. Nil if there is none.
func (g *group) pick() *target {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.order) == 0 {
		return nil
	}
	anyHealthy := slices.ContainsFunc(g.order, func(t *target) bool { return t.view.State == StateHealthy })
	for i := range g.order {
		at := (g.next + i) % len(g.order)
		t := g.order[at]
		if anyHealthy && t.view.State != StateHealthy {
			continue
		}
		g.next = at + 1
		t.inFlight++
		return t
	}
	return nil
}

func (g *group) release(t *target) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.inFlight--
	if t.inFlight == 0 && t.drained != nil {
		g.endDrain(t)
	}
}

// count adds one answered request; status 0 is a target that did not answer.
func (g *group) count(status int, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tally.Requests++
	if status == 0 {
		g.tally.ConnectionErrors++
		return
	}
	g.tally.ResponseTime += took
	g.tally.ResponseTimeMax = max(g.tally.ResponseTimeMax, took)
	g.tally.ResponseTimes.add(took)
	switch status / 100 {
	case 2:
		g.tally.Target2XX++
	case 3:
		g.tally.Target3XX++
	case 4:
		g.tally.Target4XX++
	case 5:
		g.tally.Target5XX++
	}
}

func (g *group) counts() TargetGroupCounts {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.tally
	for _, t := range g.order {
		switch t.view.State {
		case StateHealthy:
			c.HealthyHosts++
		case StateUnhealthy:
			c.UnHealthyHosts++
		}
	}
	return c
}
