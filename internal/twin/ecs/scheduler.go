package ecs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/topology"
)

const (
	// reconcileEvery is how often a service is compared with what runs; changes also wake the loop at once.
	reconcileEvery = 50 * time.Millisecond
	// settleTime is how long a task without a target group must run to count as healthy, at speed 1 and at least.
	settleTime    = 10 * time.Second
	minimumSettle = 250 * time.Millisecond
	// minimumStopTimeout is what no speed takes from a task between SIGTERM and SIGKILL.
	minimumStopTimeout = 2 * time.Second
	// minimumGrace is what no speed takes from a grace period: a program needs that long to start on a busy machine.
	minimumGrace = 2 * time.Second
	// What is remembered of the past.
	maxEvents   = 100
	maxStopped  = 100
	keepStopped = time.Hour
)

// Scheduler runs the services of all regions. Its methods are safe for concurrent use.
type Scheduler struct {
	opts   Options
	logger *slog.Logger

	// life serializes Start, LoseRegion, ReturnRegion and Stop.
	life sync.Mutex

	mu          sync.Mutex
	regions     map[string]*region
	services    []*service
	standalone  []*service // one for each task outside services
	definitions []topology.TaskDefinition
	// queue holds events until they can be told without the lock.
	queue []Event
	// telling keeps the events in order.
	telling sync.Mutex
}

// region is one region's scheduler while it runs.
type region struct {
	name   string
	up     bool
	frozen bool
	cancel context.CancelFunc
	loop   chan struct{}
	// lostZones are the availability zones that are lost.
	lostZones map[string]bool
	// wake asks for a comparison at once.
	wake  chan struct{}
	tasks sync.WaitGroup
}

// New checks that every service has its task definition and every image its program.
func New(opts Options) (*Scheduler, error) {
	if opts.Speed <= 0 {
		opts.Speed = 1
	}
	if opts.Supervisor == nil || opts.Fabric == nil {
		return nil, errors.New("ecs: a supervisor and a fabric are needed")
	}
	s := &Scheduler{opts: opts, logger: opts.Logger, regions: map[string]*region{}, definitions: slices.Clone(opts.Topology.TaskDefinitions)}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	for _, def := range opts.Topology.Services {
		if !slices.ContainsFunc(opts.Topology.ECSClusters, func(c topology.ECSCluster) bool { return c.Region == def.Region && c.Name == def.ClusterName }) {
			return nil, fmt.Errorf("service %s: %w: %s in %s", def.Name, ErrClusterNotFound, def.ClusterName, def.Region)
		}
		td, err := s.definition(def.Region, def.TaskDefinitionARN)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", def.Name, err)
		}
		if err := s.opts.checkImages(def.Name, td); err != nil {
			return nil, err
		}
		svc := &service{Service: def, created: time.Now()}
		first := svc.deploy(def.TaskDefinitionARN)
		first.complete()
		svc.lastGood = first
		s.services = append(s.services, svc)
	}
	return s, nil
}

func (s *Scheduler) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.opts.Speed)
}

// grace is a service's health check grace period, divided by the speed.
func (s *Scheduler) grace(d time.Duration) time.Duration {
	return max(s.scaled(d), min(d, minimumGrace))
}

// Start starts the services of a region. It returns when their first tasks are started, not when they are healthy.
func (s *Scheduler) Start(ctx context.Context, name string) error {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	if r := s.regions[name]; r != nil && r.up {
		s.mu.Unlock()
		return nil
	}
	// The loop lives until the region is lost or stopped, not until the end of the start's context.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &region{name: name, up: true, cancel: cancel, loop: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.regions[name] = r
	for _, svc := range s.services {
		if svc.Region == name {
			svc.failures, svc.nextStart, svc.steady = 0, time.Time{}, false
		}
	}
	s.mu.Unlock()
	s.reconcile(r)
	go s.loop(run, r)
	return s.awaitStarted(ctx, name)
}

// awaitStarted waits until every task of a region is past PENDING.
func (s *Scheduler) awaitStarted(ctx context.Context, name string) error {
	s.mu.Lock()
	var pending []chan struct{}
	for _, t := range s.tasksOf(name) {
		pending = append(pending, t.begun)
	}
	s.mu.Unlock()
	for _, begun := range pending {
		select {
		case <-begun:
		case <-ctx.Done():
			return fmt.Errorf("start the services of %s: %w", name, ctx.Err())
		}
	}
	return nil
}

// tasksOf lists the tasks of a region that have not stopped. The caller holds the lock.
func (s *Scheduler) tasksOf(name string) []*taskState {
	var list []*taskState
	for _, svc := range s.everything() {
		if svc.Region == name {
			list = append(list, svc.tasks...)
		}
	}
	return list
}

func (s *Scheduler) loop(ctx context.Context, r *region) {
	defer close(r.loop)
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wake:
		}
		s.reconcile(r)
	}
}

func (r *region) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// LoseRegion kills every task of a region at once and switches its scheduler off. It returns when nothing is left.
func (s *Scheduler) LoseRegion(name string) {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	r := s.regions[name]
	if r == nil || !r.up {
		s.mu.Unlock()
		return
	}
	r.up = false
	for _, t := range s.tasksOf(name) {
		t.lose("The region was lost.")
	}
	s.mu.Unlock()
	s.opts.Supervisor.KillRegion(name)
	r.cancel()
	<-r.loop
	r.tasks.Wait()
	s.tell()
}

// ReturnRegion starts the services of a lost region again, at their desired counts.
func (s *Scheduler) ReturnRegion(ctx context.Context, name string) error { return s.Start(ctx, name) }

// Stop stops every task in order (drain, SIGTERM, SIGKILL) and all schedulers. When ctx ends first it kills.
func (s *Scheduler) Stop(ctx context.Context) {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	var running []*region
	for _, r := range s.regions {
		if r.up {
			r.up = false
			running = append(running, r)
		}
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	for _, r := range running {
		r.cancel()
		<-r.loop
		s.mu.Lock()
		for _, t := range s.tasksOf(r.name) {
			t.stop("ServiceSchedulerInitiated", "The twin was stopped.")
		}
		s.mu.Unlock()
	}
	go func() {
		defer close(ended)
		for _, r := range running {
			r.tasks.Wait()
		}
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		s.mu.Lock()
		for _, r := range running {
			for _, t := range s.tasksOf(r.name) {
				t.lose("The twin was stopped.")
			}
		}
		s.mu.Unlock()
		<-ended
	}
	s.tell()
}

// FreezeService stops every task of a service (SIGSTOP); ThawService lets them go on.
func (s *Scheduler) FreezeService(regionName, serviceName string) error {
	return s.pause(regionName, serviceName, true)
}

// ThawService is the end of FreezeService.
func (s *Scheduler) ThawService(regionName, serviceName string) error {
	return s.pause(regionName, serviceName, false)
}

// FreezeRegion freezes every task of a region and its scheduler: nothing is replaced until ThawRegion.
func (s *Scheduler) FreezeRegion(name string) error {
	s.mu.Lock()
	if r := s.regions[name]; r != nil {
		r.frozen = true
	}
	s.mu.Unlock()
	return s.pause(name, "", true)
}

// ThawRegion is the end of FreezeRegion.
func (s *Scheduler) ThawRegion(name string) error {
	err := s.pause(name, "", false)
	s.mu.Lock()
	if r := s.regions[name]; r != nil {
		r.frozen = false
		r.poke()
	}
	s.mu.Unlock()
	return err
}

// pause freezes or thaws the processes of a region, of one service or of all.
func (s *Scheduler) pause(regionName, serviceName string, freeze bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := serviceName == ""
	var errs []error
	for _, svc := range s.everything() {
		if svc.Region != regionName || serviceName != "" && !named(serviceName, svc.Name, svc.ARN) {
			continue
		}
		found = true
		for _, t := range svc.tasks {
			errs = append(errs, t.pause(freeze))
		}
	}
	if !found {
		return fmt.Errorf("%w: %s in %s", ErrServiceNotFound, serviceName, regionName)
	}
	return errors.Join(errs...)
}

// definition finds a task definition by ARN, "family:revision" or "family". The caller holds the lock, or is alone.
func (s *Scheduler) definition(regionName, name string) (topology.TaskDefinition, error) {
	best := -1
	for i, td := range s.definitions {
		if td.Region != regionName {
			continue
		}
		if td.ARN == name || fmt.Sprintf("%s:%d", td.Family, td.Revision) == name {
			return td, nil
		}
		if (td.Family == name || strings.HasSuffix(name, "/"+td.Family)) && (best < 0 || td.Revision > s.definitions[best].Revision) {
			best = i
		}
	}
	if best < 0 {
		return topology.TaskDefinition{}, fmt.Errorf("%w %q in %s", ErrTaskDefinitionNotFound, name, regionName)
	}
	return s.definitions[best], nil
}

// named compares a name or ARN that a caller gave, empty counting as none.
func named(given, name, arn string) bool { return given == name || given == arn && arn != "" }

// emit adds an event to a service's list and queues it for the hook. The caller holds the lock.
func (s *Scheduler) emit(svc *service, taskARN, format string, args ...any) {
	e := Event{At: time.Now(), Region: svc.Region, Cluster: svc.ClusterName, Service: svc.Name, TaskARN: taskARN, Message: fmt.Sprintf(format, args...)}
	if taskARN == "" {
		svc.events = slices.Insert(svc.events, 0, ServiceEvent{ID: newUUID(), At: e.At, Message: e.Message})
		svc.events = svc.events[:min(len(svc.events), maxEvents)]
	}
	s.queue = append(s.queue, e)
}

// tell gives the queued events to the hook. The caller does not hold the lock.
func (s *Scheduler) tell() {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	events := s.queue
	s.queue = nil
	s.mu.Unlock()
	for _, e := range events {
		s.logger.Debug("ecs", "region", e.Region, "service", e.Service, "task", e.TaskARN, "event", e.Message)
		if s.opts.Events != nil {
			s.opts.Events(e)
		}
	}
}
