package metrics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.uber.org/goleak"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/balancer"
	"holdfast/internal/twin/dns"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/postgres"
	"holdfast/internal/twin/task"
	"holdfast/internal/twin/termtable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	east, west = "us-east-1", "us-west-2"
	lbARN      = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/pay/1f"
	groupARN   = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/payapp/2e"
)

// parts are all parts of a twin, as this package sees them, with figures that the tests set.
type parts struct {
	mu        sync.Mutex
	instances []postgres.Instance
	usage     map[int]task.ProcessUsage
	figures   map[string]postgres.Figures
	lag       float64
	role      postgres.Role
	tasks     []ecs.Task
	targets   int
	group     balancer.TargetGroupCounts
	lb        balancer.LoadBalancerCounts
	passing   int
	down      map[string]bool
}

func (p *parts) Instances(region string) []postgres.Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.instances), func(i postgres.Instance) bool { return i.Region != region })
}

func (p *parts) Clusters(region string) []postgres.Cluster {
	if region != west {
		return nil
	}
	return []postgres.Cluster{{Region: west, Identifier: "dr", Role: p.role}}
}

func (p *parts) ReplicationLagMilliseconds(region string) (float64, bool) {
	return p.lag, region == west && p.role == postgres.RoleSecondary
}

func (p *parts) Read(_ context.Context, region string) map[string]postgres.Figures {
	p.mu.Lock()
	defer p.mu.Unlock()
	if region != east {
		return nil
	}
	return maps.Clone(p.figures)
}

func (p *parts) Tasks(region, _, _ string) ([]ecs.Task, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.tasks), func(t ecs.Task) bool { return t.Region != region }), nil
}

func (p *parts) TaskDefinitions(region string) []topology.TaskDefinition {
	return []topology.TaskDefinition{{Region: region, ARN: "td", CPUUnits: 256, MemoryMiB: 512}}
}

func (p *parts) TargetHealth(string) []balancer.TargetHealth {
	return make([]balancer.TargetHealth, p.targets)
}
func (p *parts) TargetGroupCounts(string) balancer.TargetGroupCounts   { return p.group }
func (p *parts) LoadBalancerCounts(string) balancer.LoadBalancerCounts { return p.lb }
func (p *parts) Healthy(string) bool                                   { return p.passing > 1 }
func (p *parts) HealthCheckStatus(string) []dns.Observation {
	list := make([]dns.Observation, 8)
	for i := range p.passing {
		list[i].Passing = true
	}
	return list
}

// change changes the parts between two looks.
func (p *parts) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func newParts() *parts {
	return &parts{
		instances: []postgres.Instance{
			{Region: east, Identifier: "primary-1", ClusterIdentifier: "primary", Class: "db.r6g.large", Status: "available", IsWriter: true, Pid: 1},
			{Region: east, Identifier: "primary-2", ClusterIdentifier: "primary", Class: "db.r6g.large", Status: "available", Pid: 2},
		},
		usage: map[int]task.ProcessUsage{
			1: {Up: time.Hour, Waits: map[int]time.Duration{11: time.Hour}, Commands: []string{
				"postgres: checkpointer ", "postgres: dbadmin payments 127.9.1.5(40112) idle", "postgres: rdsadmin postgres 127.9.1.9(1) idle",
				"postgres: walsender rdsrepl 127.9.1.3(40000) streaming 0/5000", "postgres: main: app payments 127.9.1.6(40113) COMMIT",
			}},
			2: {Up: time.Hour},
		},
		figures: map[string]postgres.Figures{"primary-1": {Commits: 100}, "primary-2": {ReplicaLag: 12 * time.Millisecond}},
		role:    postgres.RoleSecondary, lag: 40, passing: 8, down: map[string]bool{},
		tasks: []ecs.Task{
			{ID: "a", Region: east, ServiceName: "payapp", LastStatus: "RUNNING", TaskDefinitionARN: "td", Containers: []ecs.Container{{Pid: 3}}},
			{ID: "b", Region: east, ServiceName: "payapp", LastStatus: "RUNNING", TaskDefinitionARN: "td"},
			{ID: "c", Region: east, ServiceName: "payapp", LastStatus: "STOPPED", TaskDefinitionARN: "td"},
		},
	}
}

// start runs a collector on the parts at speed 10, where a minute is 6 seconds.
func start(t *testing.T, p *parts, table *Table) (*alarms.Metrics, *Collector) {
	t.Helper()
	sink := alarms.NewMetrics(nil)
	c, err := New(Options{
		Topology: topology.Topology{
			Sites:        []topology.Site{{Name: "primary", Region: east}, {Name: "dr", Region: west}},
			ECSClusters:  []topology.ECSCluster{{Region: east, Name: "pay"}, {Region: west, Name: "pay"}},
			HealthChecks: []topology.HealthCheck{{ID: "hc"}},
			Listeners:    []topology.Listener{{Region: east, LoadBalancerARN: lbARN, Default: topology.Action{Type: "forward", TargetGroupARN: groupARN}}},
		},
		Sink: sink, Speed: 10, Databases: p, Figures: p, Containers: p, Balancers: p, HealthChecks: p, Table: table,
		Up: func(region string) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return !p.down[region]
		},
		Usage: func(pid int) (task.ProcessUsage, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			u, ok := p.usage[pid]
			if !ok {
				return u, errors.New("no such process")
			}
			return u, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Start(t.Context())
	t.Cleanup(c.Stop)
	return sink, c
}

// pass lets time pass in a synctest bubble.
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

// wantMetric checks a statistic over the last scaled minute that is complete.
func wantMetric(t *testing.T, sink *alarms.Metrics, region, name, dimensions, statistic string, want float64) {
	t.Helper()
	namespace, metric, _ := strings.Cut(name, " ")
	m := alarms.Metric{Namespace: namespace, Name: metric, Dimensions: map[string]string{}}
	for _, d := range strings.Fields(dimensions) {
		key, value, _ := strings.Cut(d, "=")
		m.Dimensions[key] = value
	}
	end := startOf(time.Now(), 6*time.Second)
	got := fmt.Sprint("no data, as have not: ", sink.List(region))
	if a := sink.Windows(region, m, end, 6*time.Second, 1)[0]; a != nil {
		v, _ := a.Statistic(statistic)
		if diff := v - want; diff < 0.01 && diff > -0.01 {
			return
		}
		got = fmt.Sprint(v)
	}
	t.Errorf("%s %s of %s in %s is %s, want %v", statistic, name, dimensions, region, got, want)
}

func wantNoMetric(t *testing.T, sink *alarms.Metrics, region, namespace, name string, dimensions map[string]string) {
	t.Helper()
	m := alarms.Metric{Namespace: namespace, Name: name, Dimensions: dimensions}
	if a := sink.Windows(region, m, startOf(time.Now(), 6*time.Second), 6*time.Second, 1)[0]; a != nil {
		t.Errorf("%s %s of %v in %s has data: %+v", namespace, name, dimensions, region, a)
	}
}

func TestDatabaseMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParts()
		sink, _ := start(t, p, nil)
		pass(t, 6*time.Second+time.Millisecond)
		p.change(func() {
			// A large instance has two processors: twelve seconds in six. What a process waited for one counts too.
			p.usage[1] = task.ProcessUsage{
				CPU: 4 * time.Second, Waits: map[int]time.Duration{11: time.Hour + 2*time.Second, 12: 0}, Up: time.Hour, Commands: p.usage[1].Commands,
			}
			p.usage[2] = task.ProcessUsage{CPU: 30 * time.Second, Up: time.Hour}
			p.figures["primary-1"] = postgres.Figures{Commits: 160}
		})
		pass(t, 6*time.Second)
		wantMetric(t, sink, east, "AWS/RDS CPUUtilization", "DBInstanceIdentifier=primary-1", "Average", 50)
		wantMetric(t, sink, east, "AWS/RDS CPUUtilization", "DBClusterIdentifier=primary", "Average", 75)
		wantMetric(t, sink, east, "AWS/RDS CPUUtilization", "DBClusterIdentifier=primary Role=READER", "Maximum", 100)
		wantMetric(t, sink, east, "AWS/RDS DatabaseConnections", "DBClusterIdentifier=primary", "Sum", 2)
		wantMetric(t, sink, east, "AWS/RDS EngineUptime", "DBClusterIdentifier=primary", "Maximum", 3600)
		wantMetric(t, sink, east, "AWS/RDS CommitThroughput", "DBInstanceIdentifier=primary-1", "Average", 10)
		wantMetric(t, sink, east, "AWS/RDS AuroraReplicaLag", "DBInstanceIdentifier=primary-2", "Maximum", 12)
		wantMetric(t, sink, west, "AWS/RDS AuroraGlobalDBReplicationLag", "DBClusterIdentifier=dr", "Maximum", 40)
		wantNoMetric(t, sink, east, "AWS/RDS", "AuroraGlobalDBReplicationLag", map[string]string{"DBClusterIdentifier": "primary"})

		// A server that is stopped or gone reports nothing; one that was restarted begins at nothing.
		p.change(func() {
			p.usage[1] = task.ProcessUsage{Stopped: true, Up: time.Hour}
			p.instances[1].Pid = 4
			p.usage[4] = task.ProcessUsage{CPU: 2 * time.Second, Up: 2 * time.Second}
		})
		pass(t, 6*time.Second)
		wantNoMetric(t, sink, east, "AWS/RDS", "EngineUptime", map[string]string{"DBInstanceIdentifier": "primary-1"})
		wantMetric(t, sink, east, "AWS/RDS CPUUtilization", "DBInstanceIdentifier=primary-2", "Average", 50)
		p.change(func() { delete(p.usage, 4) })
		pass(t, 6*time.Second)
		wantNoMetric(t, sink, east, "AWS/RDS", "EngineUptime", map[string]string{"DBClusterIdentifier": "primary"})
	})
}

func TestServiceMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParts()
		p.usage[3] = task.ProcessUsage{Resident: 128 << 20}
		sink, c := start(t, p, nil)
		pass(t, 6*time.Second+time.Millisecond)
		p.change(func() {
			p.tasks[0].CPUTime = 750 * time.Millisecond // of 1.5 s that a quarter of a processor has in 6 s
			p.tasks[1].CPUTime = 10 * time.Second
		})
		pass(t, 6*time.Second)
		wantMetric(t, sink, east, "AWS/ECS CPUUtilization", "ClusterName=pay ServiceName=payapp", "Average", 75)
		wantMetric(t, sink, east, "AWS/ECS CPUUtilization", "ClusterName=pay ServiceName=payapp", "Minimum", 50)
		wantMetric(t, sink, east, "AWS/ECS CPUUtilization", "ClusterName=pay", "SampleCount", 2)
		wantMetric(t, sink, east, "AWS/ECS MemoryUtilization", "ClusterName=pay ServiceName=payapp", "Maximum", 25)
		p.change(func() { p.tasks = nil })
		pass(t, 6*time.Second)
		wantNoMetric(t, sink, east, "AWS/ECS", "CPUUtilization", map[string]string{"ClusterName": "pay", "ServiceName": "payapp"})
		c.Stop()
		if len(c.tasks) != 0 {
			t.Errorf("tasks that are gone are remembered: %v", c.tasks)
		}
	})
}

func TestBalancerMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParts()
		sink, _ := start(t, p, nil)
		const both = "LoadBalancer=app/pay/1f TargetGroup=targetgroup/payapp/2e"
		pass(t, 6*time.Second+time.Millisecond)
		wantNoMetric(t, sink, east, "AWS/ApplicationELB", "RequestCount", map[string]string{"LoadBalancer": "app/pay/1f"})
		wantNoMetric(t, sink, east, "AWS/ApplicationELB", "HealthyHostCount",
			map[string]string{"LoadBalancer": "app/pay/1f", "TargetGroup": "targetgroup/payapp/2e"})
		p.change(func() {
			p.targets = 2
			p.group = balancer.TargetGroupCounts{Requests: 10, Target2XX: 9, Target5XX: 1, ResponseTime: time.Second, HealthyHosts: 1, UnHealthyHosts: 1}
			p.group.ResponseTimes[10], p.group.ResponseTimes[60] = 9, 1
			p.lb = balancer.LoadBalancerCounts{Requests: 12, ELB5XX: 2}
		})
		pass(t, 6*time.Second)
		wantMetric(t, sink, east, "AWS/ApplicationELB HealthyHostCount", both, "Minimum", 1)
		wantMetric(t, sink, east, "AWS/ApplicationELB UnHealthyHostCount", both, "Maximum", 1)
		wantMetric(t, sink, east, "AWS/ApplicationELB RequestCount", "LoadBalancer=app/pay/1f", "Sum", 12)
		wantMetric(t, sink, east, "AWS/ApplicationELB RequestCount", both, "Sum", 10)
		wantMetric(t, sink, east, "AWS/ApplicationELB HTTPCode_Target_5XX_Count", "LoadBalancer=app/pay/1f", "Sum", 1)
		wantMetric(t, sink, east, "AWS/ApplicationELB HTTPCode_ELB_5XX_Count", "LoadBalancer=app/pay/1f", "Sum", 2)
		wantMetric(t, sink, east, "AWS/ApplicationELB TargetResponseTime", "LoadBalancer=app/pay/1f", "Average", 0.1)
		wantMetric(t, sink, east, "AWS/ApplicationELB TargetResponseTime", both, "p50", 0.00012)
		pass(t, 6*time.Second)
		wantNoMetric(t, sink, east, "AWS/ApplicationELB", "RequestCount", map[string]string{"LoadBalancer": "app/pay/1f"})
	})
}

func TestHealthCheckMetricsLiveInOneRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParts()
		sink, _ := start(t, p, nil)
		pass(t, 6*time.Second+time.Millisecond)
		p.change(func() { p.passing = 1 })
		pass(t, 6*time.Second)
		wantMetric(t, sink, east, "AWS/Route53 HealthCheckStatus", "HealthCheckId=hc", "Minimum", 0)
		wantMetric(t, sink, east, "AWS/Route53 HealthCheckPercentageHealthy", "HealthCheckId=hc", "Minimum", 12.5)
		if list := sink.List(west); slices.ContainsFunc(list, func(m alarms.Metric) bool { return m.Namespace == "AWS/Route53" }) {
			t.Errorf("%s has %v", west, list)
		}
		// A lost region publishes nothing, its Route 53 neither.
		p.change(func() { p.down[east] = true })
		pass(t, 12*time.Second)
		wantNoMetric(t, sink, east, "AWS/Route53", "HealthCheckStatus", map[string]string{"HealthCheckId": "hc"})
		wantNoMetric(t, sink, east, "AWS/RDS", "EngineUptime", map[string]string{"DBClusterIdentifier": "primary"})
		wantMetric(t, sink, west, "AWS/RDS AuroraGlobalDBReplicationLag", "DBClusterIdentifier=dr", "Maximum", 40)
	})
}

// links is a network whose regions may be cut off.
type links struct {
	mu  sync.Mutex
	cut bool
}

func (*links) Up(string) bool { return true }

func (l *links) OneWay(ctx context.Context, _, _ string) error {
	l.mu.Lock()
	cut := l.cut
	l.mu.Unlock()
	if cut {
		<-ctx.Done()
		return ctx.Err()
	}
	timer := time.NewTimer(5 * time.Millisecond)
	defer timer.Stop()
	<-timer.C
	return nil
}

func TestTableMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &links{}
		plain, err := termtable.New(termtable.Options{Network: network, Table: topology.TermTable{
			Name: "terms", ReplicaRegions: []string{east, west}, WitnessRegion: "us-east-2",
		}})
		if err != nil {
			t.Fatal(err)
		}
		table := NewTable(plain)
		sink, _ := start(t, newParts(), table)
		pass(t, 6*time.Second+time.Millisecond)
		name := "terms"
		for range 4 {
			if _, err := table.Scan(t.Context(), east, &dynamodb.ScanInput{TableName: &name}); err != nil {
				t.Fatal(err)
			}
		}
		pass(t, 6*time.Second)
		wantMetric(t, sink, east, "AWS/DynamoDB SuccessfulRequestLatency", "TableName=terms Operation=Scan", "SampleCount", 4)
		wantMetric(t, sink, east, "AWS/DynamoDB SuccessfulRequestLatency", "TableName=terms Operation=Scan", "Average", 10)
		wantNoMetric(t, sink, east, "AWS/DynamoDB", "SystemErrors", map[string]string{"TableName": "terms", "Operation": "Scan"})

		network.mu.Lock()
		network.cut = true
		network.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := table.Scan(ctx, east, &dynamodb.ScanInput{TableName: &name})
			done <- err
		}()
		pass(t, 6*time.Second) // long before the request ends
		wantMetric(t, sink, east, "AWS/DynamoDB SystemErrors", "TableName=terms Operation=Scan", "Sum", 1)
		if err := <-done; !errors.Is(err, termtable.ErrNoAnswer) {
			t.Errorf("got %v", err)
		}
		pass(t, 6*time.Second)
		wantNoMetric(t, sink, east, "AWS/DynamoDB", "SystemErrors", map[string]string{"TableName": "terms", "Operation": "Scan"}) // not counted twice
	})
}
