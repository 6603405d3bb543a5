package ecs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"holdfast/internal/topology"
)

// The states of a deployment.
const (
	statusPrimary   = "PRIMARY"
	statusActive    = "ACTIVE"
	rolloutRunning  = "IN_PROGRESS"
	rolloutComplete = "COMPLETED"
	rolloutFailed   = "FAILED"
)

// service is one service's state. The scheduler's lock guards it.
type service struct {
	// Service holds the current desired count and task definition.
	topology.Service
	created time.Time
	// deployments has the primary one first.
	deployments []*deployment
	// lastGood is the last deployment that was completed, to which the circuit breaker goes back.
	lastGood *deployment
	tasks    []*taskState
	stopped  []*taskState
	events   []ServiceEvent
	steady   bool
	// failures counts the failed tasks in a row; nextStart is when the next one may start.
	failures  int
	nextStart time.Time
}

// deployment is one deployment of a service.
type deployment struct {
	Deployment
	// run counts the failed tasks in a row.
	run int
}

func newUUID() string { return uuid.NewString() }

// deploy makes a new primary deployment.
func (svc *service) deploy(taskDefinitionARN string) *deployment {
	now := time.Now()
	id := fmt.Sprintf("ecs-svc/%019d", rand.Int64N(9e18))
	d := &deployment{Deployment: Deployment{
		ID: id, Status: statusPrimary, TaskDefinitionARN: taskDefinitionARN, CreatedAt: now, UpdatedAt: now,
		RolloutState: rolloutRunning, RolloutStateReason: fmt.Sprintf("ECS deployment %s in progress.", id),
	}}
	for _, old := range svc.deployments {
		old.Status = statusActive
	}
	svc.deployments = slices.Insert(svc.deployments, 0, d)
	svc.TaskDefinitionARN = taskDefinitionARN
	svc.steady = false
	svc.failures, svc.nextStart = 0, time.Time{}
	return d
}

func (d *deployment) complete() {
	d.RolloutState, d.UpdatedAt = rolloutComplete, time.Now()
	d.RolloutStateReason = fmt.Sprintf("ECS deployment %s completed.", d.ID)
}

func (svc *service) primary() *deployment { return svc.deployments[0] }

// verdict is what the load balancers say of one task.
type verdict struct {
	healthy, unhealthy bool
	// why words the event of an unhealthy one.
	why, stoppedReason string
}

// reconcile compares every service of a region with what runs, and acts.
func (s *Scheduler) reconcile(r *region) {
	defer s.tell()
	verdicts := s.verdicts(r.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.up || r.frozen {
		return
	}
	for _, svc := range s.services {
		if svc.Region == r.name {
			s.reconcileService(r, svc, verdicts)
		}
	}
}

// verdicts asks for the health of every running task, without the lock, because the answer comes from other packages.
func (s *Scheduler) verdicts(regionName string) map[*taskState]verdict {
	s.mu.Lock()
	var running []*taskState
	for _, t := range s.tasksOf(regionName) {
		if t.view.LastStatus == "RUNNING" && !t.stopping() {
			running = append(running, t)
		}
	}
	s.mu.Unlock()
	out := make(map[*taskState]verdict, len(running))
	for _, t := range running {
		out[t] = s.verdict(t)
	}
	return out
}

func (s *Scheduler) verdict(t *taskState) verdict {
	age := time.Since(t.startedAt())
	if len(t.service.TargetGroups) == 0 || s.opts.TargetHealth == nil {
		return verdict{healthy: age >= max(s.scaled(settleTime), minimumSettle)}
	}
	v := verdict{healthy: true}
	for _, tg := range t.service.TargetGroups {
		state, reason := s.opts.TargetHealth(tg.TargetGroupARN, t.address, tg.ContainerPort)
		v.healthy = v.healthy && state == "healthy"
		if state == "unhealthy" && age >= s.grace(t.service.HealthCheckGrace) {
			v.unhealthy = true
			v.why = fmt.Sprintf("(service %s) (port %d) is unhealthy in (target-group %s) due to (reason %s)",
				t.service.Name, tg.ContainerPort, tg.TargetGroupARN, reason)
			v.stoppedReason = fmt.Sprintf("Task failed ELB health checks in (target-group %s)", tg.TargetGroupARN)
		}
	}
	return v
}

// reconcileService acts on one service. The caller holds the lock.
func (s *Scheduler) reconcileService(r *region, svc *service, verdicts map[*taskState]verdict) {
	var active []*taskState
	var members []member
	primary := svc.primary()
	for _, t := range svc.tasks {
		if t.stopping() {
			continue
		}
		v := verdicts[t]
		if v.healthy && !t.wasHealthy {
			t.wasHealthy = true
			svc.failures = 0
			t.deployment.run = 0
		}
		active = append(active, t)
		members = append(members, member{primary: t.deployment == primary, healthy: v.healthy, unhealthy: v.unhealthy, created: t.view.CreatedAt})
	}
	low, high := percent(svc.DesiredCount, svc.MinimumHealthyPercent, svc.MaximumPercent)
	start, stop := decide(members, limits{
		desired: svc.DesiredCount, minimum: low, maximum: high,
		mayStart: primary.RolloutState != rolloutFailed && !time.Now().Before(svc.nextStart),
	})
	s.stopTasks(svc, active, members, verdicts, stop)
	s.startTasks(r, svc, start)
	s.judge(svc, members, len(stop)+start == 0)
}

func (s *Scheduler) stopTasks(svc *service, active []*taskState, members []member, verdicts map[*taskState]verdict, stop []int) {
	var ids []string
	for _, i := range stop {
		t := active[i]
		reason := fmt.Sprintf("Scaling activity initiated by (deployment %s)", svc.primary().ID)
		if members[i].unhealthy && members[i].primary {
			reason = verdicts[t].stoppedReason
			s.emit(svc, "", "%s", verdicts[t].why)
			s.failed(svc, t)
		}
		t.stop("ServiceSchedulerInitiated", reason)
		ids = append(ids, t.view.ID)
	}
	if len(ids) > 0 {
		svc.steady = false
		s.emit(svc, "", "(service %s) has stopped %d running tasks: (task %s).", svc.Name, len(ids), strings.Join(ids, ") (task "))
	}
}

func (s *Scheduler) startTasks(r *region, svc *service, count int) {
	var ids []string
	for range count {
		t, err := s.newTask(r, svc)
		if err != nil {
			svc.failures++
			svc.nextStart = time.Now().Add(pause(max(svc.failures, 2), s.opts.Speed))
			s.emit(svc, "", "(service %s) was unable to place a task. Reason: %v.", svc.Name, err)
			break
		}
		ids = append(ids, t.view.ID)
	}
	if len(ids) > 0 {
		svc.steady = false
		s.emit(svc, "", "(service %s) has started %d tasks: (task %s).", svc.Name, len(ids), strings.Join(ids, ") (task "))
	}
}

// judge notes the end of deployments and the steady state.
func (s *Scheduler) judge(svc *service, members []member, quiet bool) {
	primary := svc.primary()
	healthy := len(pick(members, func(m member) bool { return m.primary && m.healthy }))
	// A deployment without tasks is over, unless it is the primary one.
	svc.deployments = slices.DeleteFunc(svc.deployments, func(d *deployment) bool {
		return d != primary && !slices.ContainsFunc(svc.tasks, func(t *taskState) bool { return t.deployment == d })
	})
	settled := quiet && healthy == svc.DesiredCount && len(members) == healthy
	if settled && primary.RolloutState == rolloutRunning {
		primary.complete()
		svc.lastGood = primary
		s.emit(svc, "", "(service %s) (deployment %s) deployment completed.", svc.Name, primary.ID)
	}
	if settled && !svc.steady && len(svc.tasks) == len(members) {
		svc.steady = true
		s.emit(svc, "", "(service %s) has reached a steady state.", svc.Name)
	}
}

// failed takes a task into account that ended, or has to be ended, without anybody's wish. The caller holds the lock.
func (s *Scheduler) failed(svc *service, t *taskState) {
	if t.counted {
		return
	}
	t.counted = true
	svc.steady = false
	svc.failures++
	if p := pause(svc.failures, s.opts.Speed); p > 0 {
		svc.nextStart = time.Now().Add(p)
		s.emit(svc, "", "(service %s) is unable to consistently start tasks successfully. For more information, see the Troubleshooting section.", svc.Name)
	}
	d := t.deployment
	if t.wasHealthy {
		return
	}
	d.FailedTasks++
	d.run++
	if d != svc.primary() || d.RolloutState != rolloutRunning || !svc.CircuitBreaker || d.run < breakerThreshold(svc.DesiredCount) {
		return
	}
	d.RolloutState, d.UpdatedAt = rolloutFailed, time.Now()
	d.RolloutStateReason = "ECS deployment circuit breaker: tasks failed to start."
	s.emit(svc, "", "(service %s) (deployment %s) deployment failed: tasks failed to start.", svc.Name, d.ID)
	if !svc.CircuitBreakerRollback || svc.lastGood == nil {
		return
	}
	good := svc.lastGood
	back := svc.deploy(good.TaskDefinitionARN)
	back.RolloutStateReason = fmt.Sprintf("ECS deployment circuit breaker: rolling back to deploymentId %s.", good.ID)
	s.emit(svc, "", "(service %s) rolling back to (deployment %s).", svc.Name, good.ID)
}
