package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/task"
)

// taskState is one task. The scheduler's lock guards what is not marked otherwise.
type taskState struct {
	service    *service
	deployment *deployment
	definition topology.TaskDefinition
	address    netip.Addr
	view       Task
	containers []*containerState
	// wasHealthy: it counted as healthy at least once. counted: its failure was taken into account.
	wasHealthy, counted bool

	// begun is closed when the start was tried; wanted when somebody wants it stopped; lost when its region is lost.
	begun, wanted, lost   chan struct{}
	beginOnce, wantedOnce sync.Once
	lostOnce              sync.Once
}

// containerState is one container. process is set under the scheduler's lock and not changed after.
type containerState struct {
	config  topology.Container
	process *task.Process
	logPath string
}

func (t *taskState) stopping() bool { return t.view.DesiredStatus == "STOPPED" }

func (t *taskState) startedAt() time.Time { return t.view.StartedAt }

// stop asks for an orderly end. The caller holds the lock.
func (t *taskState) stop(code, reason string) {
	if t.stopping() {
		return
	}
	t.view.DesiredStatus, t.view.StopCode, t.view.StoppedReason = "STOPPED", code, reason
	t.view.StoppingAt = time.Now()
	t.wantedOnce.Do(func() { close(t.wanted) })
}

// lose is the end of the machine that the task runs on. The caller holds the lock.
func (t *taskState) lose(reason string) {
	t.view.DesiredStatus = "STOPPED"
	t.view.StopCode = cmp.Or(t.view.StopCode, "TerminationNotice")
	t.view.StoppedReason = cmp.Or(t.view.StoppedReason, reason)
	t.lostOnce.Do(func() { close(t.lost) })
}

// pause freezes or thaws the task's processes. The caller holds the lock.
func (t *taskState) pause(freeze bool) error {
	var errs []error
	for _, c := range t.containers {
		if c.process == nil {
			continue
		}
		if freeze {
			errs = append(errs, c.process.Freeze())
		} else {
			errs = append(errs, c.process.Thaw())
		}
	}
	return errors.Join(errs...)
}

// newTask makes a task of the primary deployment and sets it going. The caller holds the lock.
func (s *Scheduler) newTask(r *region, svc *service) (*taskState, error) {
	td, err := s.definition(svc.Region, svc.primary().TaskDefinitionARN)
	if err != nil {
		return nil, err
	}
	subnet, err := s.place(r, svc)
	if err != nil {
		return nil, err
	}
	id := strings.ReplaceAll(newUUID(), "-", "")
	address := s.opts.Fabric.Allocate(svc.Region, "task/"+id)
	if !address.IsValid() {
		return nil, fmt.Errorf("no address is left in %s", svc.Region)
	}
	clusterARN := s.clusterARN(svc.Region, svc.ClusterName)
	t := &taskState{
		service: svc, deployment: svc.primary(), definition: td, address: address,
		begun: make(chan struct{}), wanted: make(chan struct{}), lost: make(chan struct{}),
		view: Task{
			ARN: fmt.Sprintf("arn:aws:ecs:%s:%s:task/%s/%s", svc.Region, s.opts.Topology.AccountID, svc.ClusterName, id),
			ID:  id, ClusterARN: clusterARN, TaskDefinitionARN: td.ARN, Region: svc.Region, ServiceName: svc.Name,
			DeploymentID: svc.primary().ID, LastStatus: "PENDING", DesiredStatus: "RUNNING", HealthStatus: "UNKNOWN", Address: address,
			SubnetID: subnet.ID, AvailabilityZone: subnet.AvailabilityZone, CreatedAt: time.Now(),
		},
	}
	for _, c := range td.Containers {
		t.containers = append(t.containers, &containerState{config: c})
	}
	svc.tasks = append(svc.tasks, t)
	r.tasks.Go(func() { s.run(r, t) })
	return t, nil
}

// run carries a task from its start to its end.
func (s *Scheduler) run(r *region, t *taskState) {
	defer s.tell()
	err := s.begin(r, t)
	t.beginOnce.Do(func() { close(t.begun) })
	s.tell()
	if err == nil {
		s.register(t)
		s.tell()
		s.await(t)
	}
	s.mu.Lock()
	if !t.stopping() {
		t.view.DesiredStatus = "STOPPED"
		t.view.StoppingAt = time.Now()
		t.view.StopCode, t.view.StoppedReason = "EssentialContainerExited", "Essential container in task exited"
		if err != nil {
			t.view.StopCode, t.view.StoppedReason = "TaskFailedToStart", "CannotStartContainerError: "+err.Error()
			if errors.Is(err, ErrResources) {
				t.view.StoppedReason = err.Error()
			}
		}
		s.failed(t.service, t)
		s.emit(t.service, t.view.ARN, "task %s stopped: %s%s", t.view.ID, t.view.StoppedReason, t.exitCodes())
	}
	s.mu.Unlock()
	if err == nil {
		s.drain(t)
	}
	s.end(t)
	if s.opts.Detach != nil {
		s.opts.Detach(t.address)
	}
	s.mu.Lock()
	forgotten := s.bury(t)
	s.mu.Unlock()
	for _, dir := range forgotten {
		_ = os.RemoveAll(dir)
	}
	r.poke()
}

// begin starts the containers' processes.
func (s *Scheduler) begin(r *region, t *taskState) error {
	if s.opts.Attach != nil {
		s.mu.Lock()
		place := Attachment{Service: t.service.Service, Definition: t.definition, SubnetID: t.view.SubnetID, Address: t.address}
		s.mu.Unlock()
		if err := s.opts.Attach(place); err != nil {
			return err
		}
	}
	for _, c := range t.containers {
		spec, err := s.spec(t, c)
		if err != nil {
			return err
		}
		process, err := s.opts.Supervisor.Start(spec)
		if err != nil {
			return err
		}
		s.mu.Lock()
		c.process, c.logPath = process, process.Spec().LogPath
		up, frozen := r.up, r.frozen
		s.mu.Unlock()
		// The region may have been lost or frozen while the process was forked.
		if !up {
			process.Kill()
			return fmt.Errorf("%w: %s", ErrRegionDown, r.name)
		}
		if frozen {
			_ = process.Freeze()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.view.LastStatus, t.view.StartedAt = "RUNNING", time.Now()
	return nil
}

func (s *Scheduler) spec(t *taskState, c *containerState) (task.Spec, error) {
	image, err := s.opts.program(t.service.Name, c.config)
	if err != nil {
		return task.Spec{}, err
	}
	var env []string
	if s.opts.Environment != nil {
		s.mu.Lock()
		def := t.service.Service
		s.mu.Unlock()
		env = s.opts.Environment(def, c.config, t.address)
	} else {
		for name, value := range c.config.Environment {
			env = append(env, name+"="+value)
		}
		slices.Sort(env)
	}
	env = append(slices.Clone(env), "HOLDFAST_TASK_ADDRESS="+t.address.String())
	name := fmt.Sprintf("%s-%s-%s", t.service.Name, t.view.ID[:8], c.config.Name)
	spec := task.Spec{
		Name: name, Region: t.service.Region, Path: image.Path, Args: image.arguments(c.config), Env: env,
		StopTimeout: max(s.scaled(cmp.Or(c.config.StopTimeout, task.DefaultStopTimeout)), minimumStopTimeout),
	}
	if s.opts.LogDir != "" {
		spec.LogPath = filepath.Join(s.opts.LogDir, t.view.ID, c.config.Name+".log")
	}
	return spec, nil
}

// register makes the task a target.
func (s *Scheduler) register(t *taskState) {
	for _, tg := range t.service.TargetGroups {
		if s.opts.Registrar == nil {
			return
		}
		s.mu.Lock()
		stopping := t.stopping()
		if !stopping {
			s.emit(t.service, "", "(service %s) registered 1 targets in (target-group %s)", t.service.Name, tg.TargetGroupARN)
		}
		s.mu.Unlock()
		if stopping {
			return
		}
		s.opts.Registrar.Register(tg.TargetGroupARN, t.address, tg.ContainerPort)
	}
}

// await waits until the task has to end: it is to be stopped, or a container ended that it can't do without. A task
// whose containers are all inessential ends with the last one.
func (s *Scheduler) await(t *taskState) {
	over := make(chan struct{})
	var once sync.Once
	var left sync.WaitGroup
	for _, c := range t.containers {
		left.Go(func() {
			<-c.process.Exited()
			if c.config.Essential {
				once.Do(func() { close(over) })
			}
		})
	}
	go func() {
		left.Wait()
		once.Do(func() { close(over) })
	}()
	select {
	case <-over:
	case <-t.wanted:
	case <-t.lost:
	}
}

// drain deregisters the task and waits until it has drained, unless it has ended already.
func (s *Scheduler) drain(t *taskState) {
	if s.opts.Registrar == nil || len(t.service.TargetGroups) == 0 {
		return
	}
	s.mu.Lock()
	t.view.LastStatus = "DEACTIVATING"
	deployment := t.deployment.ID
	s.mu.Unlock()
	var channels []<-chan struct{}
	for _, tg := range t.service.TargetGroups {
		channels = append(channels, s.opts.Registrar.Deregister(tg.TargetGroupARN, t.address, tg.ContainerPort))
		if t.isLost() {
			continue
		}
		s.mu.Lock()
		s.emit(t.service, "", "(service %s) deregistered 1 targets in (target-group %s)", t.service.Name, tg.TargetGroupARN)
		s.emit(t.service, "", "(service %s, taskSet %s) has begun draining connections on 1 tasks.", t.service.Name, deployment)
		s.mu.Unlock()
	}
	s.tell()
	for _, drained := range channels {
		select {
		case <-drained:
		case <-t.lost:
			return
		case <-t.ended():
			return
		}
	}
}

func (t *taskState) isLost() bool {
	select {
	case <-t.lost:
		return true
	default:
		return false
	}
}

// ended is closed if the first essential container has ended, so that there is nobody to drain.
func (t *taskState) ended() <-chan struct{} {
	for _, c := range t.containers {
		if c.config.Essential && c.process != nil {
			return c.process.Exited()
		}
	}
	return nil
}

// end stops the processes: SIGTERM, the stop timeout, SIGKILL; at once if the region is lost.
func (s *Scheduler) end(t *taskState) {
	s.mu.Lock()
	t.view.LastStatus = "STOPPING"
	var processes []*task.Process
	for _, c := range t.containers {
		if c.process != nil {
			processes = append(processes, c.process)
		}
	}
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-t.lost:
			cancel()
		case <-stop:
		}
	})
	var stopping sync.WaitGroup
	for _, p := range processes {
		stopping.Go(func() {
			if t.isLost() { // a lost machine asks nobody to end
				p.Kill()
				return
			}
			_ = p.Stop(ctx)
		})
	}
	stopping.Wait()
	close(stop)
	watching.Wait()
}

// bury notes the task's end and gives its address back. It returns the folders of tasks that ended too long ago to be
// remembered. The caller holds the lock.
func (s *Scheduler) bury(t *taskState) (forgotten []string) {
	svc := t.service
	t.view.LastStatus, t.view.StoppedAt = "STOPPED", time.Now()
	svc.tasks = slices.DeleteFunc(svc.tasks, func(o *taskState) bool { return o == t })
	svc.stopped = append(svc.stopped, t)
	s.opts.Fabric.Release(svc.Region, "task/"+t.view.ID)
	for len(svc.stopped) > 0 && (len(svc.stopped) > maxStopped || time.Since(svc.stopped[0].view.StoppedAt) > keepStopped) {
		for _, c := range svc.stopped[0].containers {
			if c.process != nil {
				forgotten = append(forgotten, c.process.Spec().Dir)
			}
		}
		svc.stopped = svc.stopped[1:]
	}
	return forgotten
}

// exitCodes words how the containers ended.
func (t *taskState) exitCodes() string {
	var list []string
	for _, c := range t.containers {
		if c.process == nil {
			continue
		}
		if code, ok := c.process.ExitCode(); ok {
			list = append(list, fmt.Sprintf("%s: exit code %d", c.config.Name, code))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ")"
}
