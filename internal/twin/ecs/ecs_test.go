package ecs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/topology"
	"holdfast/internal/twin/balancer"
	"holdfast/internal/twin/network"
	"holdfast/internal/twin/task"
)

// helperEnv makes the test binary act as a task.
const helperEnv = "HOLDFAST_TEST_HELPER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(helperEnv); kind != "" {
		program(kind)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// program serves HTTP on the task's address until SIGTERM. The kind "crash" ends at once with code 7, "sick" serves but
// fails its health check, "stubborn" ignores SIGTERM.
func program(kind string) {
	if kind == "crash" {
		os.Exit(7)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	listener, err := net.Listen("tcp4", os.Getenv("HOLDFAST_TASK_ADDRESS")+":8080")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" && kind == "sick" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
			<-time.After(wait)
		}
		_, _ = fmt.Fprintf(w, "%s %s", kind, strings.Join(os.Args[1:], " "))
	})}
	go func() { _ = server.Serve(listener) }()
	fmt.Println("serving", kind)
	for range signals {
		if kind != "stubborn" {
			fmt.Println("terminated")
			return
		}
	}
}

const (
	testRegion  = "us-east-1"
	testCluster = "payment-primary"
	appService  = "payment-service-primary"
	plain       = "plain-service"
	groupARN    = "arn:tg/app"
	balancerARN = "arn:lb"
)

func testTopology() topology.Topology {
	container := func(image string) []topology.Container {
		return []topology.Container{{
			Name: "app", Image: image, Essential: true, Command: []string{"serve", "now"}, StopTimeout: time.Second,
			Environment: map[string]string{helperEnv: "good", "GORACE": "atexit_sleep_ms=0"},
		}}
	}
	definition := func(family string) topology.TaskDefinition {
		return topology.TaskDefinition{
			Region: testRegion, Family: family, Revision: 1, ARN: "arn:aws:ecs:us-east-1:111122223333:task-definition/" + family + ":1",
			Containers: container("registry.example.com:5000/team/payd:1.0"),
		}
	}
	svc := func(name, family string) topology.Service {
		return topology.Service{
			Region: testRegion, Name: name, ARN: "arn:svc/" + name, ClusterName: testCluster, TaskDefinitionARN: definition(family).ARN,
			DesiredCount: 2, MinimumHealthyPercent: 100, MaximumPercent: 200, CircuitBreaker: true, CircuitBreakerRollback: true,
		}
	}
	app := svc(appService, "app")
	app.HealthCheckGrace = 2 * time.Second
	app.TargetGroups = []topology.ServiceTargetGroup{{TargetGroupARN: groupARN, ContainerName: "app", ContainerPort: 8080}}
	return topology.Topology{
		AccountID:       "111122223333",
		ECSClusters:     []topology.ECSCluster{{Region: testRegion, Name: testCluster, ARN: "arn:cluster/" + testCluster}},
		Services:        []topology.Service{app, svc(plain, "plain")},
		TaskDefinitions: []topology.TaskDefinition{definition("app"), definition("plain")},
		LoadBalancers:   []topology.LoadBalancer{{Region: testRegion, Name: "lb", ARN: balancerARN, DNSName: "lb.example.com"}},
		Listeners: []topology.Listener{{
			Region: testRegion, LoadBalancerARN: balancerARN, Port: 80, Protocol: "HTTP", Default: topology.Action{Type: "forward", TargetGroupARN: groupARN},
		}},
		TargetGroups: []topology.TargetGroup{{
			Region: testRegion, Name: "app", ARN: groupARN, Port: 8080, Protocol: "HTTP", DeregistrationDelay: 5 * time.Second,
			HealthCheck: topology.TargetHealthCheck{
				Path: "/readyz", Port: "traffic-port", Protocol: "HTTP", Interval: 30 * time.Millisecond, Timeout: 2 * time.Second,
				HealthyThreshold: 2, UnhealthyThreshold: 2, Matcher: "200",
			},
		}},
	}
}

type rig struct {
	*Scheduler
	balancer   *balancer.Balancer
	supervisor *task.Supervisor
	fabric     *network.Fabric
	mu         sync.Mutex
	events     []string
}

func newRig(t *testing.T, change func(*topology.Topology)) *rig {
	t.Helper()
	r := &rig{}
	var err error
	if r.fabric, err = network.New(network.Options{Regions: []string{testRegion}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.fabric.Close)
	top := testTopology()
	if change != nil {
		change(&top)
	}
	if r.supervisor, err = task.New(task.Options{StateDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.supervisor.Close)
	if r.balancer, err = balancer.New(balancer.Options{Topology: top, Fabric: r.fabric}); err != nil {
		t.Fatal(err)
	}
	if err := r.balancer.Start(testRegion); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.balancer.Close)
	r.Scheduler, err = New(Options{
		Topology: top, Fabric: r.fabric, Supervisor: r.supervisor, Registrar: r.balancer, Speed: 50,
		Images: map[string]Image{"registry.example.com:5000/team/payd": {Path: os.Args[0], Args: []string{"unused"}}},
		TargetHealth: func(arn string, ip netip.Addr, port int) (string, string) {
			h, _ := r.balancer.TargetState(arn, ip, port)
			return h.State, h.Description
		},
		Events: func(e Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e.Service+": "+e.Message)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		r.Stop(ctx)
	})
	return r
}

// running starts a rig and waits until both services are steady.
func running(t *testing.T, change func(*topology.Topology)) *rig {
	t.Helper()
	r := newRig(t, change)
	if err := r.Start(context.Background(), testRegion); err != nil {
		t.Fatal(err)
	}
	r.awaitSteady(t)
	return r
}

func (r *rig) service(t *testing.T, name string) Service {
	t.Helper()
	list, err := r.Services(testRegion, testCluster)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(s Service) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no service %s", name)
	}
	return list[i]
}

// active lists the tasks that are not stopping.
func (r *rig) active(t *testing.T, name string) []Task {
	t.Helper()
	list, err := r.Tasks(testRegion, testCluster, name)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(v Task) bool { return v.DesiredStatus == "STOPPED" })
}

func (r *rig) find(t *testing.T, id string) Task {
	t.Helper()
	list, err := r.Tasks(testRegion, testCluster, "")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(v Task) bool { return v.ID == id })
	if i < 0 {
		t.Fatalf("no task %s", id)
	}
	return list[i]
}

func (r *rig) awaitSteady(t *testing.T) {
	t.Helper()
	eventually(t, "both services are steady", func() error {
		for _, name := range []string{appService, plain} {
			s := r.service(t, name)
			if s.RunningCount != s.DesiredCount || len(s.Deployments) != 1 || s.Deployments[0].RolloutState != rolloutComplete ||
				len(s.Events) == 0 || !strings.Contains(s.Events[0].Message, "steady state") {
				return fmt.Errorf("%s: %d of %d run, %d deployments (%s), %v", name, s.RunningCount, s.DesiredCount, len(s.Deployments),
					s.Deployments[0].RolloutState, s.Events[:min(3, len(s.Events))])
			}
		}
		return nil
	})
}

func (r *rig) awaitEvent(t *testing.T, text string) {
	t.Helper()
	eventually(t, "event "+text, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !slices.ContainsFunc(r.events, func(e string) bool { return strings.Contains(e, text) }) {
			return fmt.Errorf("events: %s", strings.Join(r.events[max(0, len(r.events)-12):], "\n"))
		}
		return nil
	})
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s: %v", what, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (r *rig) healthyTargets() (list []netip.Addr) {
	for _, h := range r.balancer.TargetHealth(groupARN) {
		if h.State == balancer.StateHealthy {
			list = append(list, h.IP)
		}
	}
	return list
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// revision registers a new revision of the application whose program is of another kind.
func (r *rig) revision(t *testing.T, kind string) topology.TaskDefinition {
	t.Helper()
	td := testTopology().TaskDefinitions[0]
	td.Containers[0].Environment[helperEnv] = kind
	td, err := r.RegisterTaskDefinition(td)
	if err != nil {
		t.Fatal(err)
	}
	return td
}

func (r *rig) update(t *testing.T, name string, u Update) Service {
	t.Helper()
	s, err := r.UpdateService(context.Background(), testRegion, testCluster, name, u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ptr(n int) *int { return &n }

func TestServicesRunAndServe(t *testing.T) {
	r := running(t, nil)
	tasks := r.active(t, appService)
	if len(tasks) != 2 || tasks[0].Address == tasks[1].Address {
		t.Fatalf("tasks: %+v", tasks)
	}
	for _, v := range tasks {
		c := v.Containers[0]
		if v.LastStatus != "RUNNING" || v.HealthStatus != "UNKNOWN" || c.LastStatus != "RUNNING" || !alive(c.Pid) || c.ExitCode != nil ||
			!strings.HasPrefix(v.ARN, "arn:aws:ecs:us-east-1:111122223333:task/payment-primary/") || v.ClusterARN != "arn:cluster/payment-primary" {
			t.Errorf("task: %+v", v)
		}
	}
	resp, err := http.Get("http://" + network.HostPort(r.balancer.Address(balancerARN), 8080))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	body := make([]byte, 100)
	n, _ := resp.Body.Read(body)
	if got := string(body[:n]); got != "good serve now" {
		t.Errorf("the task answers %q", got)
	}
	for _, text := range []string{"has started 2 tasks: (task ", "registered 1 targets in (target-group arn:tg/app)", "has reached a steady state."} {
		r.awaitEvent(t, "(service "+appService+") "+text)
	}
	if got := r.service(t, plain); got.Status != "ACTIVE" || got.Deployments[0].DesiredCount != 2 || got.Deployments[0].RunningCount != 2 {
		t.Errorf("service: %+v", got)
	}
}

func TestATaskThatEndsIsReplaced(t *testing.T) {
	r := running(t, nil)
	victim := r.active(t, appService)[0]
	if err := syscall.Kill(victim.Containers[0].Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the task is stopped", func() error {
		v := r.find(t, victim.ID)
		if v.LastStatus != "STOPPED" || v.StopCode != "EssentialContainerExited" || v.StoppedReason != "Essential container in task exited" ||
			v.Containers[0].ExitCode == nil || *v.Containers[0].ExitCode != 137 {
			return fmt.Errorf("%+v", v)
		}
		return nil
	})
	r.awaitSteady(t)
	if slices.Contains(r.healthyTargets(), victim.Address) {
		t.Error("the dead task is still a target")
	}
}

func TestScaleOutAndIn(t *testing.T) {
	r := running(t, nil)
	if s := r.update(t, appService, Update{DesiredCount: ptr(4)}); s.DesiredCount != 4 || len(s.Deployments) != 1 {
		t.Errorf("%+v", s)
	}
	eventually(t, "four targets are healthy", func() error {
		if n := len(r.healthyTargets()); n != 4 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	before := r.active(t, appService)
	r.update(t, appService, Update{DesiredCount: ptr(0)})
	eventually(t, "nothing runs", func() error {
		if s := r.service(t, appService); s.RunningCount+s.PendingCount > 0 {
			return fmt.Errorf("%d", s.RunningCount)
		}
		for _, v := range before {
			if got := r.find(t, v.ID); got.LastStatus != "STOPPED" || alive(v.Containers[0].Pid) {
				return fmt.Errorf("%+v", got)
			}
		}
		return nil
	})
	for _, v := range before {
		got := r.find(t, v.ID)
		if code := *got.Containers[0].ExitCode; code != 0 {
			t.Errorf("exit code %d: it was not asked to end", code)
		}
		if log, _ := os.ReadFile(got.Containers[0].LogPath); !strings.Contains(string(log), "terminated") {
			t.Errorf("log: %s", log)
		}
		if !strings.HasPrefix(got.StoppedReason, "Scaling activity initiated by (deployment ecs-svc/") || got.StopCode != "ServiceSchedulerInitiated" {
			t.Errorf("%q %q", got.StopCode, got.StoppedReason)
		}
	}
	r.awaitEvent(t, "has begun draining connections on 1 tasks.")
	r.awaitEvent(t, "has stopped 4 running tasks")
	r.awaitSteady(t)
}

// The service must stay whole during the deployment: never fewer than two healthy targets, never more than four tasks.
func TestRollingDeployment(t *testing.T) {
	r := running(t, nil)
	before := r.active(t, appService)
	td := r.revision(t, "better")
	s := r.update(t, appService, Update{TaskDefinition: "app"})
	if len(s.Deployments) != 2 || s.Deployments[0].Status != "PRIMARY" || s.Deployments[1].Status != "ACTIVE" || s.TaskDefinitionARN != td.ARN ||
		s.Deployments[0].RolloutState != "IN_PROGRESS" {
		t.Fatalf("%+v", s.Deployments)
	}
	eventually(t, "the deployment is completed", func() error {
		if n := len(r.healthyTargets()); n < 2 {
			t.Fatalf("%d healthy targets in the middle of the deployment", n)
		}
		s := r.service(t, appService)
		if n := s.RunningCount + s.PendingCount; n > 4 {
			t.Fatalf("%d tasks at once", n)
		}
		if s.Deployments[0].RolloutState != "COMPLETED" {
			return fmt.Errorf("%+v", s.Deployments)
		}
		return nil
	})
	r.awaitSteady(t)
	for _, v := range r.active(t, appService) {
		if v.TaskDefinitionARN != td.ARN || slices.ContainsFunc(before, func(b Task) bool { return b.ID == v.ID }) {
			t.Errorf("left over: %+v", v)
		}
	}
	r.awaitEvent(t, "deployment completed.")
	forced := r.update(t, plain, Update{ForceNewDeployment: true})
	if forced.Deployments[0].TaskDefinitionARN != forced.Deployments[1].TaskDefinitionARN {
		t.Errorf("%+v", forced.Deployments)
	}
	r.awaitSteady(t)
}

func TestCircuitBreakerRollsBack(t *testing.T) {
	for _, kind := range []string{"crash", "sick"} {
		t.Run(kind, func(t *testing.T) {
			r := running(t, nil)
			good := r.service(t, appService).TaskDefinitionARN
			failed := r.update(t, appService, Update{TaskDefinition: r.revision(t, kind).ARN}).Deployments[0].ID
			r.awaitEvent(t, "(deployment "+failed+") deployment failed: tasks failed to start.")
			r.awaitEvent(t, "rolling back to (deployment ecs-svc/")
			r.awaitSteady(t)
			if got := r.service(t, appService); got.TaskDefinitionARN != good {
				t.Errorf("runs %s after the rollback", got.TaskDefinitionARN)
			}
			if n := len(r.healthyTargets()); n != 2 {
				t.Errorf("%d healthy targets", n)
			}
		})
	}
}

func TestCircuitBreakerWithoutRollbackStops(t *testing.T) {
	r := running(t, func(top *topology.Topology) { top.Services[0].CircuitBreakerRollback = false })
	before := r.active(t, appService)
	r.update(t, appService, Update{TaskDefinition: r.revision(t, "crash").ARN})
	eventually(t, "the deployment fails", func() error {
		d := r.service(t, appService).Deployments[0]
		if d.RolloutState != "FAILED" || d.FailedTasks < 3 || d.RolloutStateReason != "ECS deployment circuit breaker: tasks failed to start." {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	after := r.active(t, appService)
	for _, b := range before {
		if !slices.ContainsFunc(after, func(v Task) bool { return v.ID == b.ID }) {
			t.Error("a task of the deployment that works was stopped for one that does not")
		}
	}
}

// What crash-loops is not started faster than the pauses allow.
func TestCrashLoopPauses(t *testing.T) {
	r := newRig(t, func(top *topology.Topology) {
		top.Services = top.Services[:1]
		top.Services[0].TargetGroups = nil
		top.TaskDefinitions[0].Containers[0].Environment[helperEnv] = "crash"
	})
	started := time.Now()
	if err := r.Start(context.Background(), testRegion); err != nil {
		t.Fatal(err)
	}
	r.awaitEvent(t, "is unable to consistently start tasks successfully")
	eventually(t, "eight tasks have failed", func() error {
		list, err := r.Tasks(testRegion, testCluster, appService)
		if err == nil && len(list) < 8 {
			err = fmt.Errorf("%d tasks", len(list))
		}
		return err
	})
	if took := time.Since(started); took < 3*shortestPause {
		t.Errorf("eight failures, two at a time, took only %s", took)
	}
}

func TestUnhealthyTasksAreReplaced(t *testing.T) {
	r := running(t, nil)
	frozen := r.active(t, appService)[0]
	if err := syscall.Kill(frozen.Containers[0].Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.awaitEvent(t, "(service "+appService+") (port 8080) is unhealthy in (target-group arn:tg/app) due to (reason Request timed out)")
	eventually(t, "it is replaced and stopped", func() error {
		v := r.find(t, frozen.ID)
		if v.LastStatus != "STOPPED" || !strings.Contains(v.StoppedReason, "Task failed ELB health checks in (target-group arn:tg/app)") {
			return fmt.Errorf("%+v", v)
		}
		return nil
	})
	if alive(frozen.Containers[0].Pid) {
		t.Error("a frozen process outlived its stop timeout")
	}
	r.awaitSteady(t)
}

func TestGracePeriodProtectsSlowStarters(t *testing.T) {
	r := newRig(t, func(top *topology.Topology) {
		top.Services = top.Services[:1]
		top.Services[0].HealthCheckGrace = time.Hour
		top.TaskDefinitions[0].Containers[0].Environment[helperEnv] = "sick"
	})
	if err := r.Start(context.Background(), testRegion); err != nil {
		t.Fatal(err)
	}
	before := r.active(t, appService)
	eventually(t, "the load balancer finds both unhealthy", func() error {
		for _, h := range r.balancer.TargetHealth(groupARN) {
			if h.State != balancer.StateUnhealthy {
				return fmt.Errorf("%+v", h)
			}
		}
		return nil
	})
	for range 3 {
		r.reconcile(r.regions[testRegion])
	}
	if after := r.active(t, appService); len(after) != 2 || after[0].ID != before[0].ID {
		t.Errorf("replaced in the grace period: %+v", after)
	}
}

func TestLostRegionAndReturn(t *testing.T) {
	r := running(t, nil)
	before := append(r.active(t, appService), r.active(t, plain)...)
	r.update(t, plain, Update{DesiredCount: ptr(1)})
	r.fabric.SetRegion(testRegion, false)
	r.balancer.Stop(testRegion)
	r.LoseRegion(testRegion)
	for _, v := range before {
		got := r.find(t, v.ID)
		if alive(v.Containers[0].Pid) || got.LastStatus != "STOPPED" {
			t.Errorf("survived: %+v", got)
		}
	}
	if n := len(r.supervisor.Processes()); n != 0 {
		t.Errorf("%d processes", n)
	}
	if _, err := r.UpdateService(context.Background(), testRegion, testCluster, plain, Update{DesiredCount: ptr(3)}); !errors.Is(err, ErrRegionDown) {
		t.Errorf("a lost region takes orders: %v", err)
	}
	r.LoseRegion(testRegion)
	r.fabric.SetRegion(testRegion, true)
	if err := r.balancer.Start(testRegion); err != nil {
		t.Fatal(err)
	}
	if err := r.ReturnRegion(context.Background(), testRegion); err != nil {
		t.Fatal(err)
	}
	r.awaitSteady(t)
	if got := r.service(t, plain); got.RunningCount != 1 {
		t.Errorf("%d tasks of a service with a desired count of 1", got.RunningCount)
	}
	if len(r.balancer.TargetHealth(groupARN)) != 2 {
		t.Errorf("targets: %+v", r.balancer.TargetHealth(groupARN))
	}
}

// A region may be lost at any moment, also while its tasks are being started.
func TestRegionLostWhileStarting(t *testing.T) {
	r := newRig(t, nil)
	for range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.Start(ctx, testRegion) // does not wait for its tasks
		r.LoseRegion(testRegion)
		if n := len(r.supervisor.Processes()); n != 0 {
			t.Fatalf("%d processes in a lost region", n)
		}
	}
	for _, n := range r.fabric.Names() {
		if strings.HasPrefix(n.Name, "task/") {
			t.Errorf("the address of %s was not given back", n.Name)
		}
	}
}

func TestFreezeAndThaw(t *testing.T) {
	r := running(t, nil)
	if err := r.FreezeRegion(testRegion); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the load balancer notices", func() error {
		if n := len(r.healthyTargets()); n != 0 {
			return fmt.Errorf("%d healthy", n)
		}
		return nil
	})
	if err := syscall.Kill(r.active(t, plain)[0].Containers[0].Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a frozen region replaces nothing", func() error {
		if n := len(r.active(t, plain)); n != 1 {
			return fmt.Errorf("%d tasks", n)
		}
		return nil
	})
	if err := r.ThawRegion(testRegion); err != nil {
		t.Fatal(err)
	}
	r.awaitSteady(t)
	if err := r.FreezeService(testRegion, "nobody"); !errors.Is(err, ErrServiceNotFound) {
		t.Errorf("got %v", err)
	}
	if err := r.FreezeService(testRegion, plain); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.supervisor.Processes() {
		if want := strings.HasPrefix(p.Spec().Name, plain); p.Frozen() != want {
			t.Errorf("%s frozen: %t", p.Spec().Name, p.Frozen())
		}
	}
	if err := r.ThawService(testRegion, plain); err != nil {
		t.Fatal(err)
	}
}

func TestStopTask(t *testing.T) {
	r := running(t, nil)
	victim := r.active(t, appService)[1]
	got, err := r.StopTask(context.Background(), testRegion, testCluster, victim.ARN, "on purpose")
	if err != nil || got.DesiredStatus != "STOPPED" || got.StopCode != "UserInitiated" || got.StoppedReason != "on purpose" {
		t.Errorf("%+v %v", got, err)
	}
	eventually(t, "it is stopped", func() error {
		if v := r.find(t, victim.ID); v.LastStatus != "STOPPED" {
			return errors.New(v.LastStatus)
		}
		return nil
	})
	r.awaitSteady(t)
	if _, err := r.StopTask(context.Background(), testRegion, testCluster, "nobody", ""); !errors.Is(err, ErrTaskNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestStopEndsEverything(t *testing.T) {
	r := running(t, func(top *topology.Topology) { top.TaskDefinitions[1].Containers[0].Environment[helperEnv] = "stubborn" })
	started := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	r.Stop(ctx) // the stubborn ones outlive it and are killed
	if took := time.Since(started); took > 1500*time.Millisecond {
		t.Errorf("took %s", took)
	}
	if n := len(r.supervisor.Processes()); n != 0 {
		t.Errorf("%d processes", n)
	}
	list, err := r.Tasks(testRegion, testCluster, appService)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		if code := v.Containers[0].ExitCode; code == nil || *code != 0 {
			t.Errorf("a task that ends on SIGTERM was killed: %+v", v)
		}
	}
}

func TestErrors(t *testing.T) {
	r := running(t, nil)
	ctx := context.Background()
	missing := testTopology().TaskDefinitions[0]
	missing.Containers[0].Image = "somebody/else"
	missing, err := r.RegisterTaskDefinition(missing)
	if err != nil || missing.Revision != 2 {
		t.Fatalf("%+v %v", missing, err)
	}
	for _, c := range []struct {
		cluster, service string
		update           Update
		want             error
	}{
		{"nowhere", appService, Update{}, ErrClusterNotFound},
		{testCluster, "nobody", Update{}, ErrServiceNotFound},
		{testCluster, appService, Update{DesiredCount: ptr(-1)}, ErrInvalid},
		{testCluster, appService, Update{TaskDefinition: "app:9"}, ErrTaskDefinitionNotFound},
		{testCluster, appService, Update{TaskDefinition: missing.ARN}, ErrNoImage},
	} {
		if _, err := r.UpdateService(ctx, testRegion, c.cluster, c.service, c.update); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c, err, c.want)
		}
	}
	if _, err := r.Services("us-west-2", testCluster); !errors.Is(err, ErrClusterNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := r.Tasks(testRegion, "arn:cluster/"+testCluster, "arn:svc/"+appService); err != nil {
		t.Errorf("by ARN: %v", err)
	}
	if _, err := r.RegisterTaskDefinition(topology.TaskDefinition{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestImages(t *testing.T) {
	here := os.Args[0]
	opts := Options{Images: map[string]Image{
		"payd": {Path: here}, "exact:1": {Path: here, Args: []string{"one"}}, "exact": {Path: here, Args: []string{"any"}},
		"gone": {Path: filepath.Join(t.TempDir(), "gone")}, "host:5000/a/b:latest": {Path: here},
	}}
	for image, want := range map[string]string{
		"payd": "", "payd:1.2": "", "payd@sha256:abc": "", "exact:1": "one", "exact:2": "any", "host:5000/a/b": "", "host:5000/a/b:7": "",
	} {
		got, err := opts.program("s", topology.Container{Name: "c", Image: image})
		if err != nil || strings.Join(got.arguments(topology.Container{}), " ") != want {
			t.Errorf("%s: %+v %v", image, got, err)
		}
	}
	_, err := opts.program("payments", topology.Container{Name: "c", Image: "other.example.com:443/team/app:2"})
	if !errors.Is(err, ErrNoImage) || !strings.Contains(err.Error(), "service payments") || !strings.Contains(err.Error(), "--image other.example.com:443/team/app=PATH") {
		t.Errorf("no program: %v", err)
	}
	if _, err := opts.program("payments", topology.Container{Image: "gone"}); err == nil || !strings.Contains(err.Error(), "--image gone=PATH") {
		t.Errorf("a program that is not there: %v", err)
	}
	image := Image{Args: []string{"default"}}
	for want, c := range map[string]topology.Container{
		"default": {}, "warden": {Command: []string{"warden"}}, "": {EntryPoint: []string{"/app"}},
		"-v warden": {EntryPoint: []string{"/app", "-v"}, Command: []string{"warden"}},
	} {
		if got := strings.Join(image.arguments(c), " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestBadTopologies(t *testing.T) {
	base := newRig(t, nil)
	for name, change := range map[string]func(*topology.Topology){
		"task definition": func(top *topology.Topology) { top.TaskDefinitions = top.TaskDefinitions[:1] },
		"cluster":         func(top *topology.Topology) { top.ECSClusters = nil },
		"image":           func(top *topology.Topology) { top.TaskDefinitions[0].Containers[0].Image = "unknown" },
	} {
		top := testTopology()
		change(&top)
		if _, err := New(Options{Topology: top, Fabric: base.fabric, Supervisor: base.supervisor, Images: base.opts.Images}); err == nil || !strings.Contains(err.Error(), "service ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
