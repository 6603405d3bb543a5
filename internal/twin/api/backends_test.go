package api

import (
	"cmp"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/autoscaling"
	"holdfast/internal/twin/balancer"
	"holdfast/internal/twin/dns"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/network"
	"holdfast/internal/twin/postgres"
	"holdfast/internal/twin/termtable"
)

// backends are all backends of an endpoint: the real fabric, term table and metrics, and stand-ins that hold state
// for the parts that would need servers and processes.
type backends struct {
	topology  topology.Topology
	fabric    *network.Fabric
	table     *termtable.Table
	metrics   *alarms.Metrics
	databases *databases
	ecs       *containers
	balancers balancers
	checks    checks
	alarms    *alarmStates
	scaler    *autoscaling.Scaler
	now       func() time.Time
}

// The sites' regions and the witness of the embedded topology.
const east, west, witness = "us-east-1", "us-west-2", "us-east-2"

func newBackends(t testing.TB) *backends {
	t.Helper()
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	fabric, err := network.New(network.Options{Regions: []string{east, west, witness}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fabric.Close)
	for _, pair := range [][2]string{{east, west}, {east, witness}, {west, witness}} {
		fabric.SetLink(pair[0], pair[1], network.LinkState{OneWayDelay: 2 * time.Millisecond})
	}
	table, err := termtable.New(termtable.Options{Table: topo.TermTable, AccountID: topo.AccountID, Network: fabric})
	if err != nil {
		t.Fatal(err)
	}
	tasks := newContainers(t, topo)
	scaler, err := autoscaling.New(autoscaling.Options{Topology: topo, Services: tasks, Metrics: alarms.NewMetrics(nil)})
	if err != nil {
		t.Fatal(err)
	}
	b := &backends{
		topology: topo, fabric: fabric, table: table, metrics: alarms.NewMetrics(nil), databases: newDatabases(topo),
		ecs: tasks, scaler: scaler, balancers: balancers{health: map[string][]balancer.TargetHealth{}, topology: topo, changed: map[string][]topology.WeightedTargetGroup{}}, checks: checks{}, alarms: &alarmStates{topology: topo, set: map[string]string{}},
		now: time.Now,
	}
	for _, g := range topo.TargetGroups {
		b.balancers.health[g.ARN] = []balancer.TargetHealth{
			{IP: netip.MustParseAddr("127.9.1.5"), Port: g.Port, State: "healthy"},
			{IP: netip.MustParseAddr("127.9.1.6"), Port: g.Port, State: "unhealthy", Reason: "Target.Timeout", Description: "Request timed out"},
		}
	}
	for _, h := range topo.HealthChecks {
		b.checks[h.ID] = []dns.Observation{
			{Region: "us-west-1", IPAddress: "15.177.10.7", CheckedAt: time.Now(), Status: "Success: HTTP Status Code 200, OK", Passing: true},
			{Region: "eu-west-1", IPAddress: "15.177.14.9", CheckedAt: time.Now(), Status: "Failure: Connection timed out."},
		}
	}
	return b
}

func (b *backends) options() Options {
	return Options{
		Topology: b.topology, Network: b.fabric, Databases: b.databases, Containers: b.ecs, Balancers: b.balancers,
		HealthChecks: b.checks, Tables: b.table, Metrics: b.metrics, Alarms: b.alarms, Secrets: secrets{},
		Scaling: b.scaler, Now: b.now, Runner: b.ecs, Images: b.ecs,
	}
}

func newEndpoint(t testing.TB, b *backends, change ...func(*Options)) *Endpoint {
	t.Helper()
	options := b.options()
	for _, c := range change {
		c(&options)
	}
	e, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// databases is an Aurora control plane without databases.
type databases struct {
	topology topology.Topology
	mu       sync.Mutex
	writer   map[string]string // global cluster -> ARN of the writer's cluster
	moves    []string
	events   []postgres.Event
	refuse   error
	// restored clusters, and the instances in them, are there at the second look.
	restored  []postgres.Cluster
	instances []postgres.Instance
}

func newDatabases(t topology.Topology) *databases {
	d := &databases{topology: t, writer: map[string]string{}}
	for _, c := range t.DBClusters {
		if !c.Secondary {
			d.writer[c.GlobalClusterIdentifier] = c.ARN
		}
	}
	return d
}

func (d *databases) GlobalClusters() []postgres.GlobalCluster {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []postgres.GlobalCluster
	for _, g := range d.topology.GlobalClusters {
		view := postgres.GlobalCluster{Identifier: g.Identifier, ARN: g.ARN, Engine: g.Engine, EngineVersion: g.EngineVersion, Status: "available"}
		for _, c := range d.topology.DBClusters {
			m := postgres.GlobalMember{ClusterARN: c.ARN, Identifier: c.Identifier, Region: c.Region, IsWriter: d.writer[g.Identifier] == c.ARN}
			if !m.IsWriter {
				m.SynchronizationStatus = postgres.SyncConnected
			}
			view.Members = append(view.Members, m)
		}
		out = append(out, view)
	}
	return out
}

func (d *databases) Clusters(region string) []postgres.Cluster {
	var out []postgres.Cluster
	for _, c := range d.topology.DBClusters {
		if c.Region != region {
			continue
		}
		view := postgres.Cluster{
			Region: c.Region, Identifier: c.Identifier, ARN: c.ARN, GlobalClusterIdentifier: c.GlobalClusterIdentifier,
			Status: "available", Engine: c.Engine, EngineVersion: c.EngineVersion, Endpoint: c.Endpoint, Port: c.Port,
			ReaderEndpoint: c.ReaderEndpoint, StorageEncrypted: true,
		}
		for n, i := range d.topology.DBInstances {
			if i.Region == region && i.ClusterIdentifier == c.Identifier {
				view.Members = append(view.Members, postgres.ClusterMember{InstanceIdentifier: i.Identifier, IsWriter: n == 0})
			}
		}
		out = append(out, view)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for n, c := range d.restored {
		if c.Region == region {
			out = append(out, c)
			d.restored[n].Status = "available"
		}
	}
	return out
}

func (d *databases) RestoreCluster(region, identifier, snapshot string) (postgres.Cluster, error) {
	if !strings.HasPrefix(snapshot, "rds:unplanned-global-failover-aurora-") {
		return postgres.Cluster{}, &postgres.Error{Code: postgres.CodeSnapshotNotFound, Message: "DBClusterSnapshot " + snapshot + " not found."}
	}
	c := postgres.Cluster{
		Region: region, Identifier: identifier, ARN: "arn:aws:rds:" + region + ":123456789012:cluster:" + identifier, Status: "creating",
		Engine: "aurora-postgresql", EngineVersion: "15.4", Endpoint: "127.9.1.20", Port: 5432, MasterUsername: "dbadmin",
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restored = append(d.restored, c)
	return c, nil
}

func (d *databases) CreateInstance(region, cluster, identifier, class string) (postgres.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.restored {
		if c.Region == region && c.Identifier == cluster {
			in := postgres.Instance{
				Region: region, Identifier: identifier, ARN: "arn:aws:rds:" + region + ":123456789012:db:" + identifier, ClusterIdentifier: cluster,
				Class: class, Status: "creating", IsWriter: true, Address: c.Endpoint, Port: c.Port,
			}
			d.instances = append(d.instances, in)
			return in, nil
		}
	}
	return postgres.Instance{}, &postgres.Error{Code: postgres.CodeDBClusterNotFound, Message: "DBCluster " + cluster + " not found."}
}

func (d *databases) DeleteInstance(region, identifier string) (postgres.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n, in := range d.instances {
		if in.Region == region && in.Identifier == identifier {
			d.instances = slices.Delete(d.instances, n, n+1)
			in.Status = "deleting"
			return in, nil
		}
	}
	return postgres.Instance{}, &postgres.Error{Code: postgres.CodeDBInstanceNotFound, Message: "DBInstance " + identifier + " not found."}
}

func (d *databases) DeleteCluster(region, identifier string) (postgres.Cluster, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n, c := range d.restored {
		if c.Region == region && c.Identifier == identifier {
			if len(d.instances) > 0 {
				return postgres.Cluster{}, &postgres.Error{Code: postgres.CodeInvalidDBClusterState, Message: "Cluster cannot be deleted"}
			}
			d.restored = slices.Delete(d.restored, n, n+1)
			c.Status = "deleting"
			return c, nil
		}
	}
	return postgres.Cluster{}, &postgres.Error{Code: postgres.CodeDBClusterNotFound, Message: "DBCluster " + identifier + " not found."}
}

func (d *databases) Instances(region string) []postgres.Instance {
	var out []postgres.Instance
	d.mu.Lock()
	for n, in := range d.instances {
		if in.Region == region {
			out = append(out, in)
			d.instances[n].Status = "available"
		}
	}
	d.mu.Unlock()
	for _, i := range d.topology.DBInstances {
		if i.Region == region {
			out = append(out, postgres.Instance{
				Region: region, Identifier: i.Identifier, ARN: i.ARN, ClusterIdentifier: i.ClusterIdentifier, Class: i.Class,
				Status: "available", Address: "127.9.1.9", Port: 5432,
			})
		}
	}
	return out
}

func (d *databases) Events(region string) []postgres.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []postgres.Event
	for _, e := range d.events {
		if e.Region == region {
			out = append(out, e)
		}
	}
	return out
}

func (d *databases) Snapshots(region string) []postgres.Snapshot {
	var out []postgres.Snapshot
	for _, c := range d.topology.DBClusters {
		if c.Region == region {
			out = append(out, postgres.Snapshot{
				Region: region, Identifier: "rds:unplanned-global-failover-" + c.Identifier + "-2026-11-22-10-00",
				ClusterIdentifier: c.Identifier, Status: "available", CreatedAt: time.Now(),
			})
		}
	}
	return out
}

func (d *databases) move(global, target string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		return d.refuse
	}
	d.writer[global] = target
	return nil
}

func (d *databases) Switchover(_ context.Context, region, global, target string) error {
	d.note("switchover " + region + " " + target)
	return d.move(global, target)
}

func (d *databases) Failover(_ context.Context, region, global, target string, _ bool) error {
	d.note("failover " + region + " " + target)
	return d.move(global, target)
}

func (d *databases) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moves = append(d.moves, what)
}

// containers is an ECS scheduler without processes: each service has as many running tasks as it should.
type containers struct {
	topology topology.Topology
	logDir   string
	mu       sync.Mutex
	desired  map[string]int
	stopped  map[string]string
	programs map[string]string // by image
}

func newContainers(t testing.TB, topo topology.Topology) *containers {
	c := &containers{topology: topo, logDir: t.TempDir(), desired: map[string]int{}, stopped: map[string]string{}}
	for _, s := range topo.Services {
		c.desired[s.ARN] = s.DesiredCount
	}
	return c
}

func (c *containers) Clusters(region string) []topology.ECSCluster {
	return inRegionOf(c.topology.ECSClusters, region, func(e topology.ECSCluster) string { return e.Region })
}

func (c *containers) view(s topology.Service) ecs.Service {
	s.DesiredCount = c.desired[s.ARN]
	return ecs.Service{
		Service: s, ClusterARN: "arn:aws:ecs:" + s.Region + ":" + c.topology.AccountID + ":cluster/" + s.ClusterName,
		Status: "ACTIVE", RunningCount: s.DesiredCount, CreatedAt: time.Now(),
		Deployments: []ecs.Deployment{{
			ID: "ecs-svc/1", Status: "PRIMARY", TaskDefinitionARN: s.TaskDefinitionARN,
			RolloutState: "COMPLETED", CreatedAt: time.Now(), UpdatedAt: time.Now(),
		}},
		Events: []ecs.ServiceEvent{{ID: "1", At: time.Now(), Message: "(service " + s.Name + ") has reached a steady state."}},
	}
}

func (c *containers) Services(region, cluster string) ([]ecs.Service, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []ecs.Service
	for _, s := range c.topology.Services {
		if s.Region == region && s.ClusterName == cluster {
			out = append(out, c.view(s))
		}
	}
	return out, nil
}

func (c *containers) Tasks(region, cluster, service string) ([]ecs.Task, error) {
	services, _ := c.Services(region, cluster)
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []ecs.Task
	known := service == ""
	for _, s := range services {
		if service != "" && s.Name != service && s.ARN != service {
			continue
		}
		known = true
		for n := range s.DesiredCount {
			id := s.Name + "-" + string(rune('a'+n))
			t := ecs.Task{
				ARN: "arn:aws:ecs:" + region + ":" + c.topology.AccountID + ":task/" + cluster + "/" + id, ID: id,
				ClusterARN: s.ClusterARN, TaskDefinitionARN: s.TaskDefinitionARN, Region: region, ServiceName: s.Name,
				LastStatus: "RUNNING", DesiredStatus: "RUNNING", HealthStatus: "UNKNOWN", Address: netip.MustParseAddr("127.9.1.20"),
				CreatedAt: time.Now(), StartedAt: time.Now(), DeploymentID: "ecs-svc/1",
			}
			if reason, ok := c.stopped[id]; ok {
				code := 0
				t.LastStatus, t.DesiredStatus, t.StoppedReason, t.StopCode = "STOPPED", "STOPPED", reason, "UserInitiated"
				t.StoppedAt = time.Now()
				t.Containers = []ecs.Container{{Name: "app", LastStatus: "STOPPED", ExitCode: &code}}
			}
			for _, td := range c.topology.TaskDefinitions {
				if td.ARN == s.TaskDefinitionARN && t.Containers == nil {
					for _, container := range td.Containers {
						t.Containers = append(t.Containers, ecs.Container{
							Name: container.Name, Image: container.Image, LastStatus: "RUNNING", LogPath: filepath.Join(c.logDir, id+".log"),
						})
					}
				}
			}
			out = append(out, t)
		}
	}
	if !known {
		return nil, ecs.ErrServiceNotFound
	}
	return out, nil
}

// log appends to a task's log.
func (c *containers) log(t testing.TB, task, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(c.logDir, task+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func (c *containers) TaskDefinitions(region string) []topology.TaskDefinition {
	return inRegionOf(c.topology.TaskDefinitions, region, func(td topology.TaskDefinition) string { return td.Region })
}

func (c *containers) RegisterTaskDefinition(td topology.TaskDefinition) (topology.TaskDefinition, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	td.Revision = 1
	for _, old := range c.topology.TaskDefinitions {
		if old.Region == td.Region && old.Family == td.Family {
			td.Revision = max(td.Revision, old.Revision+1)
		}
	}
	td.ARN = "arn:aws:ecs:" + td.Region + ":" + c.topology.AccountID + ":task-definition/" + td.Family + ":" + strconv.Itoa(td.Revision)
	c.topology.TaskDefinitions = append(c.topology.TaskDefinitions, td)
	return td, nil
}

func (c *containers) UpdateService(_ context.Context, region, cluster, service string, u ecs.Update) (ecs.Service, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.topology.Services {
		if s.Region == region && s.ClusterName == cluster && (s.Name == service || s.ARN == service) {
			if u.DesiredCount != nil {
				c.desired[s.ARN] = *u.DesiredCount
			}
			return c.view(s), nil
		}
	}
	return ecs.Service{}, ecs.ErrServiceNotFound
}

func (c *containers) StopTask(_ context.Context, region, cluster, task, reason string) (ecs.Task, error) {
	tasks, _ := c.Tasks(region, cluster, "")
	for _, t := range tasks {
		if t.ID == task {
			c.mu.Lock()
			c.stopped[task] = reason
			c.mu.Unlock()
			return t, nil
		}
	}
	return ecs.Task{}, ecs.ErrTaskNotFound
}

type balancers struct {
	health   map[string][]balancer.TargetHealth
	topology topology.Topology
	changed  map[string][]topology.WeightedTargetGroup
}

func (b balancers) TargetHealth(arn string) []balancer.TargetHealth { return b.health[arn] }

func (b balancers) Default(arn string) (topology.Action, error) {
	for _, l := range b.topology.Listeners {
		if l.ARN == arn {
			if groups, ok := b.changed[arn]; ok {
				l.Default = topology.Action{Type: "forward", TargetGroups: groups}
			}
			return l.Default, nil
		}
	}
	return topology.Action{}, balancer.ErrNoListener
}

func (b balancers) SetDefault(arn string, groups []topology.WeightedTargetGroup) error {
	for _, g := range groups {
		if b.health[g.TargetGroupARN] == nil {
			return balancer.ErrNoTargetGroup
		}
	}
	b.changed[arn] = groups
	return nil
}

type checks map[string][]dns.Observation

func (c checks) HealthCheckStatus(id string) []dns.Observation { return c[id] }

type secrets struct{}

func (secrets) Value(_, arn string) (string, bool) { return `{"password":"of ` + arn + `"}`, true }

// alarmStates says that every alarm is OK since the beginning, unless it was set.
type alarmStates struct {
	topology topology.Topology
	mu       sync.Mutex
	set      map[string]string
}

func (a *alarmStates) List(region string) []topology.Alarm {
	return inRegionOf(a.topology.Alarms, region, func(x topology.Alarm) string { return x.Region })
}

func (a *alarmStates) SetState(_ context.Context, region, name, value, _, _ string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.List(region) {
		if x.Name == name {
			a.set[region+name] = value
			return true
		}
	}
	return false
}

func (a *alarmStates) State(region, name string) (alarms.State, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return alarms.State{Value: cmp.Or(a.set[region+name], alarms.OK), Reason: "Threshold Crossed", Updated: time.Now(), Transitioned: time.Now()}, true
}

func (*alarmStates) History(string) []alarms.Event {
	return []alarms.Event{{At: time.Now(), Alarm: "one", Type: "StateUpdate", Summary: "Alarm updated from INSUFFICIENT_DATA to OK", Data: "{}"}}
}
