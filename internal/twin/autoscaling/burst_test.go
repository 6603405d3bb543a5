package autoscaling

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/balancer"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/metrics"
	"holdfast/internal/twin/network"
	"holdfast/internal/twin/task"
)

// programEnv makes the test binary act as a task.
const programEnv = "HOLDFAST_TEST_TASK"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		serve()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// serve answers /ready at once, and anything else after 20 ms of work, until SIGTERM.
func serve() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	listener, err := net.Listen("tcp4", os.Getenv("HOLDFAST_TASK_ADDRESS")+":8080")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for begun := time.Now(); r.URL.Path != "/ready" && time.Since(begun) < 20*time.Millisecond; {
				_, _ = fmt.Fprint(io.Discard, begun)
			}
		}))
	}()
	<-signals
}

const (
	lb    = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/pay/1"
	group = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/payapp/1"
)

func burstTopology() topology.Topology {
	t := scaled()
	t.ScalingPolicies[0].TargetValue = 25 // of a quarter of a processor, which a busy machine has left too
	t.Sites = []topology.Site{{Name: "primary", Region: region}}
	t.ECSClusters = []topology.ECSCluster{{Region: region, Name: "pay", ARN: "arn:pay"}}
	t.TaskDefinitions = []topology.TaskDefinition{{
		Region: region, Family: "payapp", Revision: 1, ARN: "arn:payapp:1", CPUUnits: 256, MemoryMiB: 512,
		Containers: []topology.Container{{
			Name: "app", Image: "app", Essential: true, Environment: map[string]string{programEnv: "1", "GORACE": "atexit_sleep_ms=0"},
		}},
	}}
	t.Services = []topology.Service{{
		Region: region, Name: "payapp", ARN: "arn:svc", ClusterName: "pay", TaskDefinitionARN: "arn:payapp:1", DesiredCount: 2,
		MinimumHealthyPercent: 100, MaximumPercent: 200, HealthCheckGrace: time.Hour,
		TargetGroups: []topology.ServiceTargetGroup{{TargetGroupARN: group, ContainerName: "app", ContainerPort: 8080}},
	}}
	t.LoadBalancers = []topology.LoadBalancer{{Region: region, Name: "pay", ARN: lb, DNSName: "pay.example.com"}}
	t.Listeners = []topology.Listener{{
		Region: region, ARN: "arn:l", LoadBalancerARN: lb, Port: 80, Protocol: "HTTP", Default: topology.Action{Type: "forward", TargetGroupARN: group},
	}}
	t.TargetGroups = []topology.TargetGroup{{
		Region: region, Name: "payapp", ARN: group, Port: 8080, Protocol: "HTTP", DeregistrationDelay: time.Hour,
		HealthCheck: topology.TargetHealthCheck{
			Path: "/ready", Port: "traffic-port", Protocol: "HTTP", Interval: 10 * time.Second, Timeout: 10 * time.Minute,
			HealthyThreshold: 2, UnhealthyThreshold: 2, Matcher: "200",
		},
	}}
	return t
}

// deployment is a service of real processes behind a real load balancer, measured, judged and scaled, at speed 100: a
// minute is 0.6 s, sixty ticks of the clock that processor time is measured by.
type deployment struct {
	*testing.T
	scaler    *Scaler
	scheduler *ecs.Scheduler
	balancers *balancer.Balancer
	url       string
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	const speed = 100
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	topo := burstTopology()
	fabric, err := network.New(network.Options{Regions: []string{region}})
	check(err)
	t.Cleanup(fabric.Close)
	supervisor, err := task.New(task.Options{StateDir: t.TempDir()})
	check(err)
	t.Cleanup(supervisor.Close)
	balancers, err := balancer.New(balancer.Options{Topology: topo, Fabric: fabric, Speed: speed})
	check(err)
	check(balancers.Start(region))
	t.Cleanup(balancers.Close)
	d := &deployment{T: t, balancers: balancers, url: "http://" + network.HostPort(balancers.Address(lb), 8080) + "/pay"}
	d.scheduler, err = ecs.New(ecs.Options{
		Topology: topo, Fabric: fabric, Supervisor: supervisor, Registrar: balancers, Speed: speed,
		Images: map[string]ecs.Image{"app": {Path: os.Args[0]}},
		TargetHealth: func(arn string, ip netip.Addr, port int) (string, string) {
			h, _ := balancers.TargetState(arn, ip, port)
			return h.State, h.Description
		},
	})
	check(err)
	check(d.scheduler.Start(t.Context(), region))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		d.scheduler.Stop(ctx)
	})
	memory := alarms.NewMetrics(nil)
	d.scaler, err = New(Options{Topology: topo, Services: d.scheduler, Metrics: memory, Speed: speed})
	check(err)
	collector, err := metrics.New(metrics.Options{Topology: topo, Sink: memory, Speed: speed, Containers: d.scheduler, Balancers: balancers})
	check(err)
	evaluator, err := alarms.NewEvaluator(alarms.Options{Extra: d.scaler.Alarms(), Metrics: memory, Speed: speed, Notify: d.scaler.Act})
	check(err)
	collector.Start(t.Context())
	t.Cleanup(collector.Stop)
	evaluator.Start(t.Context())
	t.Cleanup(evaluator.Stop)
	return d
}

// awaitTasks waits until that many tasks are wanted, run, and are healthy.
func (d *deployment) awaitTasks(when string, enough func(int) bool) {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := d.scheduler.Services(region, "pay")
		if err == nil && enough(list[0].DesiredCount) && list[0].RunningCount == list[0].DesiredCount &&
			d.balancers.TargetGroupCounts(group).HealthyHosts == list[0].DesiredCount {
			d.Logf("%s %d tasks run", when, list[0].RunningCount)
			return
		}
		select {
		case <-ctx.Done():
			d.Fatalf("%s %+v, %v; activities %+v", when, list, err, d.scaler.Activities(region))
		case <-tick.C:
		}
	}
}

// burst sends requests as fast as they are answered until the returned function is called, which returns the failures.
func (d *deployment) burst() (stop func() []error) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	for range 6 {
		done.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				resp, err := client.Get(d.url)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				if err == nil && resp.StatusCode != http.StatusOK {
					err = fmt.Errorf("answer %s", resp.Status)
				}
				if err != nil {
					mu.Lock()
					failures = append(failures, err)
					mu.Unlock()
				}
			}
		})
	}
	return func() []error {
		cancel()
		done.Wait()
		return failures
	}
}

// TestABurstScalesRealTasks: what processes really take is measured, scales their service out, and in again when they are
// idle; a raised minimum takes effect without any load. No request is dropped by it.
func TestABurstScalesRealTasks(t *testing.T) {
	d := deploy(t)
	d.awaitTasks("at first", func(n int) bool { return n == 2 })
	stop := d.burst()
	d.awaitTasks("in a burst", func(n int) bool { return n > 2 })
	if failures := stop(); len(failures) > 0 {
		t.Errorf("%d requests failed in the burst, the first with %v", len(failures), failures[0])
	}
	d.awaitTasks("in the quiet after it", func(n int) bool { return n == 2 })
	if err := d.scaler.Register(t.Context(), topology.ScalableTarget{Region: region, ResourceID: resource, Min: 4, Max: 10}); err != nil {
		t.Fatal(err)
	}
	d.awaitTasks("with a raised minimum", func(n int) bool { return n == 4 })
	list := d.scaler.Activities(region)
	slices.Reverse(list)
	if len(list) < 3 || list[0].To <= 2 || list[len(list)-1].Cause != "minimum capacity was set to 4" {
		t.Errorf("activities = %+v", list)
	}
}
