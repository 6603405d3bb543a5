package autoscaling

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/ecs"
)

const (
	region   = "us-east-1"
	resource = "service/pay/payapp"
)

// services is an ECS whose tasks follow the desired count at once.
type services struct {
	mu      sync.Mutex
	desired int
	refuse  error
}

func (s *services) Services(_, cluster string) ([]ecs.Service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cluster != "pay" {
		return nil, ecs.ErrClusterNotFound
	}
	v := ecs.Service{Service: topology.Service{Name: "payapp", DesiredCount: s.desired}, RunningCount: s.desired}
	return []ecs.Service{v}, nil
}

func (s *services) UpdateService(_ context.Context, _, _, _ string, u ecs.Update) (ecs.Service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return ecs.Service{}, s.refuse
	}
	s.desired = *u.DesiredCount
	return ecs.Service{}, nil
}

func (s *services) set(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.desired = n
}

func (s *services) want(t *testing.T, n int, when string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.desired != n {
		t.Fatalf("%s the desired count is %d, want %d", when, s.desired, n)
	}
}

func scaled() topology.Topology {
	return topology.Topology{
		AccountID:       "123456789012",
		ScalableTargets: []topology.ScalableTarget{{Region: region, ResourceID: resource, Min: 2, Max: 10}},
		ScalingPolicies: []topology.ScalingPolicy{{
			Region: region, Name: "cpu", ResourceID: resource, Metric: "ECSServiceAverageCPUUtilization", TargetValue: 60,
			ScaleInCooldown: 5 * time.Minute, ScaleOutCooldown: time.Minute,
		}},
	}
}

// rig is a scaler with the evaluator of its alarms, at speed 1 on a virtual clock.
type rig struct {
	*Scaler
	services *services
	metrics  *alarms.Metrics
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{services: &services{desired: 2}, metrics: alarms.NewMetrics(nil)}
	var err error
	if r.Scaler, err = New(Options{Topology: scaled(), Services: r.services, Metrics: r.metrics}); err != nil {
		t.Fatal(err)
	}
	e, err := alarms.NewEvaluator(alarms.Options{Extra: r.Alarms(), Metrics: r.metrics, Notify: r.Act})
	if err != nil {
		t.Fatal(err)
	}
	e.Start(t.Context())
	t.Cleanup(e.Stop)
	pass(t, 12*time.Second) // past the moment of judgement in the minute
	return r
}

// minutes lets time pass while the tasks' CPU is what load says for a count of tasks.
func (r *rig) minutes(t *testing.T, n int, load func(tasks int) float64) {
	t.Helper()
	for range n {
		r.services.mu.Lock()
		tasks := r.services.desired
		r.services.mu.Unlock()
		if tasks > 0 { // no task, no data
			r.metrics.Put(region, "AWS/ECS", alarms.One("CPUUtilization", load(tasks), "Percent", map[string]string{"ClusterName": "pay", "ServiceName": "payapp"}))
		}
		pass(t, time.Minute)
	}
}

func pass(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
	synctest.Wait()
}

// spread is a load that tasks share, in percent of one task, with at most 100 each.
func spread(total float64) func(int) float64 {
	return func(tasks int) float64 { return min(100, total/float64(tasks)) }
}

// TestBurstAndQuiet: three minutes above the target scale out, until the tasks carry the load; fifteen below it scale in,
// to the minimum and no further.
func TestBurstAndQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.minutes(t, 2, spread(300))
		r.services.want(t, 2, "after two minutes of a burst")
		r.minutes(t, 1, spread(300))
		r.services.want(t, 4, "after three minutes of a burst") // ceil(2 × 100 % / 60 %)
		r.minutes(t, 3, spread(300))
		r.services.want(t, 5, "when 4 tasks have 75 % each") // ceil(4 × 75 / 60), then 60 % is not above the target
		r.minutes(t, 10, spread(300))
		r.services.want(t, 5, "while the load is carried")
		r.minutes(t, 14, spread(20))
		r.services.want(t, 5, "after fourteen quiet minutes")
		r.minutes(t, 3, spread(20))
		r.services.want(t, 2, "after fifteen quiet minutes")
		r.minutes(t, 20, spread(20))
		r.services.want(t, 2, "at the minimum")
		list := r.Activities(region)
		if len(list) != 3 || list[0].Description != "Setting desired count to 2." || list[0].Status != Successful ||
			!strings.Contains(list[2].Cause, "monitor alarm TargetTracking-service/pay/payapp-AlarmHigh-") ||
			!strings.Contains(list[0].Cause, "-AlarmLow-") || list[1].To != 5 {
			t.Errorf("activities = %+v", list)
		}
	})
}

// TestCooldowns: in the cool-down of a scale-out only a larger one from the same beginning counts; scale-ins wait for the
// one before, and a scale-out in between ends that wait.
func TestCooldowns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		policy := PolicyARN("123456789012", scaled().ScalingPolicies[0])
		act := func(high bool, cpu float64) {
			t.Helper()
			r.metrics.Put(region, "AWS/ECS", alarms.One("CPUUtilization", cpu, "Percent", map[string]string{"ClusterName": "pay", "ServiceName": "payapp"}))
			pass(t, time.Minute)
			n := alarms.Notification{To: alarms.Alarm, Alarm: r.Alarms()[1]}
			if high {
				n.Alarm = r.Alarms()[0]
			}
			if err := r.Act(t.Context(), policy, n); err != nil {
				t.Fatal(err)
			}
		}
		r.mu.Lock()
		r.options.Topology.ScalingPolicies[0].ScaleOutCooldown = 10 * time.Minute
		r.mu.Unlock()
		act(true, 90)
		r.services.want(t, 3, "after a scale-out")
		act(true, 80)
		r.services.want(t, 3, "in its cool-down, with less load") // ceil(2 × 80 / 60) is no more than 3
		act(true, 180)
		r.services.want(t, 6, "in its cool-down, with more load") // ceil(2 × 180 / 60), not of 3
		act(false, 45)
		r.services.want(t, 5, "after a scale-in")
		act(false, 10)
		r.services.want(t, 5, "in the cool-down of the scale-in")
		pass(t, 10*time.Minute)
		act(true, 72)
		r.services.want(t, 6, "after another scale-out")
		act(false, 40)
		r.services.want(t, 4, "when a scale-out has ended the scale-in's cool-down")
		pass(t, 10*time.Minute)
		act(true, 1000)
		r.services.want(t, 10, "at the maximum")
	})
}

// TestWithoutTasksNothingScales: an operator who stops a service finds it stopped.
func TestWithoutTasksNothingScales(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.minutes(t, 20, spread(20)) // the low alarm is in ALARM
		r.services.set(0)
		r.minutes(t, 30, spread(20))
		r.services.want(t, 0, "after an operator stopped it")
	})
}

func TestBoundsTakeEffectAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		register := func(low, high int) error {
			return r.Register(t.Context(), topology.ScalableTarget{Region: region, ResourceID: resource, Min: low, Max: high})
		}
		if err := register(6, 10); err != nil {
			t.Fatal(err)
		}
		r.services.want(t, 6, "after the minimum was raised")
		if a := r.Activities(region)[0]; a.Cause != "minimum capacity was set to 6" || a.Status != Successful {
			t.Errorf("activity = %+v", a)
		}
		r.minutes(t, 20, spread(20))
		r.services.want(t, 6, "at the raised minimum, although it is quiet")
		if err := register(1, 4); err != nil {
			t.Fatal(err)
		}
		r.services.want(t, 4, "after the maximum was lowered")
		if targets := r.Targets(region); len(targets) != 1 || targets[0].Max != 4 {
			t.Errorf("targets = %+v", targets)
		}
		r.services.refuse = ecs.ErrRegionDown
		if err := register(9, 10); !errors.Is(err, ecs.ErrRegionDown) || r.Activities(region)[0].Status != Failed {
			t.Errorf("a service that can't be changed: %v, %+v", err, r.Activities(region)[0])
		}
		for _, id := range []string{"service/pay/nobody", "service/nowhere/payapp", "payapp"} {
			if err := r.Register(t.Context(), topology.ScalableTarget{Region: region, ResourceID: id, Max: 1}); !errors.Is(err, ErrNoService) {
				t.Errorf("%s: %v", id, err)
			}
		}
	})
}

func TestPoliciesThatCannotBeTracked(t *testing.T) {
	for want, change := range map[string]func(*topology.Topology){
		"does not track the metric": func(x *topology.Topology) { x.ScalingPolicies[0].Metric = "ALBRequestCountPerTarget" },
		"is not positive":           func(x *topology.Topology) { x.ScalingPolicies[0].TargetValue = 0 },
		"no scalable target":        func(x *topology.Topology) { x.ScalableTargets = nil },
		"doesn't exist":             func(x *topology.Topology) { x.ScalableTargets[0].ResourceID = "table/x" },
	} {
		topo := scaled()
		change(&topo)
		if _, err := New(Options{Topology: topo}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	r := &rig{services: &services{}, metrics: alarms.NewMetrics(nil)}
	s, err := New(Options{Topology: scaled(), Services: r.services, Metrics: r.metrics})
	if err != nil {
		t.Fatal(err)
	}
	n := alarms.Notification{To: alarms.Alarm, Alarm: s.Alarms()[0]}
	if err := s.Act(t.Context(), "arn:aws:autoscaling:x", n); err == nil {
		t.Error("an action that is no policy was carried out")
	}
	if err := s.Act(t.Context(), s.Alarms()[0].AlarmActions[0], n); err == nil || !strings.Contains(err.Error(), "no data") {
		t.Errorf("a policy without data: %v", err)
	}
}
