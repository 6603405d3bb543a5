package autoscaling

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
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/ecs"
)

// ErrNoService: a resource id names no service of the region.
var ErrNoService = errors.New("ECS service doesn't exist")

// Services is what scaling asks and tells ECS; *ecs.Scheduler is one.
type Services interface {
	Services(region, cluster string) ([]ecs.Service, error)
	UpdateService(ctx context.Context, region, cluster, service string, u ecs.Update) (ecs.Service, error)
}

// Metrics is CloudWatch's memory; *alarms.Metrics is one.
type Metrics interface {
	Windows(region string, metric alarms.Metric, end time.Time, length time.Duration, count int) []*alarms.Aggregate
}

// Options say what is scaled.
type Options struct {
	Topology topology.Topology
	Services Services
	Metrics  Metrics
	// Speed divides periods and cool-downs; 0 means 1.
	Speed  float64
	Now    func() time.Time
	Logger *slog.Logger
}

// Scaler holds the scalable targets and carries the policies out. Its methods may be called from many goroutines.
type Scaler struct {
	options Options

	mu         sync.Mutex
	targets    []*target
	activities []Activity // oldest first
}

// target is one scalable target and what was done to it last.
type target struct {
	topology.ScalableTarget
	// lastOut and lastIn are when it was scaled last; outBase is the count that the scale-out began from.
	lastOut, lastIn time.Time
	outBase         int
}

// New takes the topology's targets and checks its policies.
func New(options Options) (*Scaler, error) {
	if options.Speed <= 0 {
		options.Speed = 1
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Scaler{options: options}
	for _, t := range options.Topology.ScalableTargets {
		if _, _, err := split(t.ResourceID); err != nil {
			return nil, fmt.Errorf("scalable target %s in %s: %w", t.ResourceID, t.Region, err)
		}
		s.targets = append(s.targets, &target{ScalableTarget: t})
	}
	for _, p := range options.Topology.ScalingPolicies {
		if err := s.check(p); err != nil {
			return nil, fmt.Errorf("scaling policy %s in %s: %w", p.Name, p.Region, err)
		}
	}
	return s, nil
}

// split reads service/<cluster>/<service>.
func split(resourceID string) (cluster, service string, err error) {
	parts := strings.Split(resourceID, "/")
	if len(parts) != 3 || parts[0] != "service" {
		return "", "", fmt.Errorf("%w: %s", ErrNoService, resourceID)
	}
	return parts[1], parts[2], nil
}

func (s *Scaler) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.options.Speed)
}

// Targets returns a region's scalable targets.
func (s *Scaler) Targets(region string) []topology.ScalableTarget {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []topology.ScalableTarget
	for _, t := range s.targets {
		if t.Region == region {
			out = append(out, t.ScalableTarget)
		}
	}
	return out
}

func (s *Scaler) find(region, resourceID string) *target {
	i := slices.IndexFunc(s.targets, func(t *target) bool { return t.Region == region && t.ResourceID == resourceID })
	if i < 0 {
		return nil
	}
	return s.targets[i]
}

// Register adds a target or changes its bounds, and brings the service's desired count within them at once. Errors are
// those of package ecs, or [ErrNoService].
func (s *Scaler) Register(ctx context.Context, t topology.ScalableTarget) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	service, err := s.service(t.Region, t.ResourceID)
	if err != nil {
		return err
	}
	known := s.find(t.Region, t.ResourceID)
	if known == nil {
		known = &target{}
		s.targets = append(s.targets, known)
	}
	known.ScalableTarget = t
	switch {
	case service.DesiredCount < t.Min:
		return s.set(ctx, t, service, t.Min, fmt.Sprintf("minimum capacity was set to %d", t.Min))
	case service.DesiredCount > t.Max:
		return s.set(ctx, t, service, t.Max, fmt.Sprintf("maximum capacity was set to %d", t.Max))
	}
	return nil
}

// service is the service that a resource id names. The caller holds the lock.
func (s *Scaler) service(region, resourceID string) (ecs.Service, error) {
	cluster, name, err := split(resourceID)
	if err != nil {
		return ecs.Service{}, err
	}
	list, err := s.options.Services.Services(region, cluster)
	if err != nil {
		return ecs.Service{}, fmt.Errorf("%w: %s: %w", ErrNoService, resourceID, err)
	}
	i := slices.IndexFunc(list, func(v ecs.Service) bool { return v.Name == name })
	if i < 0 {
		return ecs.Service{}, fmt.Errorf("%w: %s", ErrNoService, resourceID)
	}
	return list[i], nil
}
