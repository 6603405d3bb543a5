package preflight_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"holdfast/internal/aws"
	"holdfast/internal/fence"
	"holdfast/internal/operator"
	"holdfast/internal/preflight"
	"holdfast/internal/term"
)

const (
	east, west = "us-east-1", "us-west-2"
	account    = "123456789012"
	digest     = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	registry   = account + ".dkr.ecr."
)

// group is the ARN of a site's target group.
func group(what, site string) string {
	return "arn:aws:elasticloadbalancing:" + map[string]string{"primary": east, "dr": west}[site] + ":" + account + ":targetgroup/" + what + "-" + site + "/1"
}

func config() operator.Config {
	site := func(name, region string) operator.Site {
		return operator.Site{
			Name: name, Region: region, DBClusterIdentifier: "db-" + name, DBClusterARN: "arn:aws:rds:" + region + ":" + account + ":cluster:db-" + name,
			DBSecretARN:    "arn:aws:secretsmanager:" + region + ":" + account + ":secret:db-x",
			ECSClusterName: "cluster-" + name, AppService: "app-" + name, WardenService: "warden-" + name,
			LoadBalancerARN: "lb-" + name, LoadBalancerDNSName: name + ".elb.example.com", AppTargetGroupARN: group("app", name), WardenTargetGroupARN: group("warden", name),
		}
	}
	return operator.Config{
		Suffix: "t", DNSName: "app.example.com", AccountID: account, TermTable: "terms", WitnessRegion: "us-east-2", GlobalCluster: "g",
		LeaseSeconds: 20, MarginSeconds: 2.5, TermRegions: []string{east, west}, Sites: []operator.Site{site("primary", east), site("dr", west)},
	}
}

// world is a deployment in which all is well, until a test changes it. Its methods stand for every API; an API whose name is
// in errs does not answer.
type world struct {
	errs map[string]error

	status         operator.Status
	standing       map[string]bool // sites whose beacon does not move
	beacons        map[string]term.Beacon
	global         map[string]aws.GlobalCluster // by region
	clusters       map[string]aws.DBCluster
	parameters     map[string]map[string]string
	manual         int
	services       map[string]aws.Service // by name
	definitions    map[string]aws.TaskDefinition
	maximum        int
	canary         []aws.Task // what the task shows, one after the other
	stopped        []string
	health         map[string][]aws.Target
	listeners      map[string][]aws.Listener
	keepAlive      map[string]time.Duration
	alarms         map[string][]aws.Alarm
	subscriptions  map[string][]aws.Subscription
	records        []aws.Record
	check, other   aws.HealthCheck // of the primary's balancer and of dr's
	denied         func(role string, c aws.Call) bool
	digests        map[string]string // by region and repository
	quotas         map[string]aws.Quota
	tables         map[string]aws.Table
	serverOffset   time.Duration
	databases      map[string]preflight.DatabaseView // by site
	databaseErrors map[string]error
	clockRate      float64
	clockDelay     time.Duration

	looks atomic.Int64
	began time.Time
}

var errSilence = errors.New("no answer")

func healthy() *world {
	cfg := config()
	w := &world{
		errs: map[string]error{}, standing: map[string]bool{}, beacons: map[string]term.Beacon{}, global: map[string]aws.GlobalCluster{},
		clusters: map[string]aws.DBCluster{}, parameters: map[string]map[string]string{}, services: map[string]aws.Service{},
		definitions: map[string]aws.TaskDefinition{}, maximum: 10, health: map[string][]aws.Target{}, listeners: map[string][]aws.Listener{},
		keepAlive: map[string]time.Duration{}, alarms: map[string][]aws.Alarm{}, subscriptions: map[string][]aws.Subscription{},
		digests: map[string]string{}, tables: map[string]aws.Table{}, databases: map[string]preflight.DatabaseView{},
		databaseErrors: map[string]error{}, clockRate: 1, began: time.Now(),
		canary: []aws.Task{{ARN: "task", LastStatus: "PENDING"}, {ARN: "task", LastStatus: "RUNNING"}},
		quotas: map[string]aws.Quota{
			"L-3032A538": {Name: "Fargate On-Demand vCPU resource count", Value: 6},
			"L-9B510759": {Name: "Manual DB cluster snapshots", Value: 100},
		},
		check: aws.HealthCheck{Type: "HTTPS", FQDN: "primary.elb.example.com", Path: "/healthz", Port: 443, Interval: 10 * time.Second, FailureThreshold: 3},
		other: aws.HealthCheck{Type: "HTTPS", FQDN: "dr.elb.example.com", Path: "/healthz", Port: 443, Interval: 10 * time.Second, FailureThreshold: 3},
		records: []aws.Record{
			{Failover: "PRIMARY", HealthCheckID: "hc", Alias: "dualstack.primary.elb.example.com"},
			{Failover: "SECONDARY", Alias: "dr.elb.example.com"},
		},
	}
	lag := int64(800)
	w.status = operator.Status{
		Record: &term.Record{
			Deployment: "t", Version: 7, Term: 3, Holder: "primary", State: term.Held, ServedTerm: 3, LeaseMS: 20_000, MarginMS: 2500, TakeoverBudget: 3,
		},
		LeaseRunning: true, Active: "primary", Sites: []operator.SiteStatus{{Name: "primary"}, {Name: "dr", LagMS: &lag}},
	}
	g := aws.GlobalCluster{Identifier: "g", Status: "available"}
	for _, s := range cfg.Sites {
		g.Members = append(g.Members, aws.GlobalMember{ClusterARN: s.DBClusterARN, Writer: s.Name == "primary", Synchronized: true})
	}
	for _, s := range cfg.Sites {
		w.site(s, g)
	}
	return w
}

// site makes one site healthy.
func (w *world) site(s operator.Site, g aws.GlobalCluster) {
	peer := map[string]string{"primary": "dr", "dr": "primary"}[s.Name]
	w.beacons[s.Name] = term.Beacon{Site: s.Name, Sequence: 1, Ready: s.Name == "dr", ObservedWriter: "primary"}
	w.global[s.Region] = g
	w.clusters[s.DBClusterIdentifier] = aws.DBCluster{
		Identifier: s.DBClusterIdentifier, ARN: s.DBClusterARN, Status: "available", Engine: "aurora-postgresql", EngineVersion: "16.8",
		ParameterGroup: "pg-" + s.Name, BackupRetentionDays: 7, Instances: []aws.DBInstance{
			{Identifier: s.Name + "-1", Status: "available", Class: "db.r6g.large", ParametersInSync: true},
			{Identifier: s.Name + "-2", Status: "available", Class: "db.r6g.large", ParametersInSync: true},
		},
	}
	w.parameters["pg-"+s.Name] = map[string]string{"rds.force_ssl": "1"}
	w.services[s.AppService] = aws.Service{Name: s.AppService, Status: "ACTIVE", Desired: 2, Running: 2, TaskDefinitionARN: "td-" + s.AppService}
	w.services[s.WardenService] = aws.Service{Name: s.WardenService, Status: "ACTIVE", Desired: 2, Running: 2, TaskDefinitionARN: "td-" + s.WardenService}
	secrets := map[string]string{"DB_PASSWORD": s.DBSecretARN}
	role := "arn:aws:iam::" + account + ":role/"
	w.definitions["td-"+s.AppService] = aws.TaskDefinition{
		CPUUnits: 256, ExecutionRoleARN: role + "exec-" + s.AppService,
		Containers: []aws.Container{{Name: "app", Image: registry + s.Region + ".amazonaws.com/app:v1", Secrets: secrets}},
	}
	w.definitions["td-"+s.WardenService] = aws.TaskDefinition{
		CPUUnits: 256, ExecutionRoleARN: role + "exec-" + s.WardenService, TaskRoleARN: role + s.WardenService,
		Containers: []aws.Container{{
			Name: "warden", Image: registry + s.Region + ".amazonaws.com/holdfast:v1", Secrets: secrets, Environment: map[string]string{
				"HOLDFAST_DEPLOYMENT": "t", "HOLDFAST_SITE": s.Name, "HOLDFAST_PEER_SITE": peer, "AWS_REGION": s.Region, "HOLDFAST_TERM_TABLE": "terms",
				"HOLDFAST_TERM_REGIONS":   map[string]string{"primary": east + "," + west, "dr": west + "," + east}[s.Name],
				"HOLDFAST_GLOBAL_CLUSTER": "g", "HOLDFAST_DB_CLUSTER_ARN": s.DBClusterARN, "HOLDFAST_PEER_DB_CLUSTER_ARN": peerARN(s.Name),
				"HOLDFAST_PEER_DB_HOST": "db", "HOLDFAST_ECS_CLUSTER": s.ECSClusterName, "HOLDFAST_APP_SERVICE": s.AppService,
				"HOLDFAST_APP_TARGET_GROUP_ARN": s.AppTargetGroupARN, "HOLDFAST_EXPORT_DIR": "/export", "DB_WRITER_HOST": "w", "DB_READER_HOST": "r",
				"DB_NAME": "d", "DB_USER": "u",
			},
		}},
	}
	w.health[s.AppTargetGroupARN] = []aws.Target{{State: "healthy"}, {State: "healthy"}}
	w.listeners[s.LoadBalancerARN] = []aws.Listener{
		{ARN: "l80", Port: 80, Protocol: "HTTP"},
		{ARN: "l443", Port: 443, Protocol: "HTTPS", Default: []string{s.AppTargetGroupARN, group("forward", s.Name)}, Paths: map[string][]string{"/healthz": {s.WardenTargetGroupARN}}},
	}
	w.keepAlive[s.LoadBalancerARN] = 2 * time.Minute
	topic := "arn:aws:sns:" + s.Region + ":" + account + ":topic-" + s.Name
	w.alarms[s.Region] = alarmsOf(s, topic)
	w.subscriptions[topic] = []aws.Subscription{{Protocol: "email", Endpoint: "on-call@example.com", Confirmed: true}}
	w.digests[s.Region+"/app"], w.digests[s.Region+"/holdfast"] = digest, digest
	w.tables[s.Region] = aws.Table{
		Status: "ACTIVE", Consistency: "STRONG", Replicas: map[string]string{east: "ACTIVE", west: "ACTIVE"}, Witnesses: map[string]string{"us-east-2": "ACTIVE"},
	}
	w.databases[s.Name] = preflight.DatabaseView{ServerVersion: "16.8", ProtectedTables: 4, State: fence.State{InRecovery: s.Name == "dr", Installed: true}}
}

// alarmsOf are the alarms of a site's region as the Terraform has them, each as it is while primary serves.
func alarmsOf(s operator.Site, topic string) []aws.Alarm {
	var all []aws.Alarm
	add := func(name, metric string, dimensions map[string]string) {
		all = append(all, aws.Alarm{
			Name: name + "-" + s.Name + "-t", Composite: metric == "", State: "OK", Metric: metric, Dimensions: dimensions, ActionsEnabled: true, Actions: []string{topic},
		})
	}
	add("lag", "AuroraGlobalDBReplicationLag", map[string]string{"DBClusterIdentifier": s.DBClusterIdentifier})
	add("engine", "EngineUptime", map[string]string{"DBClusterIdentifier": s.DBClusterIdentifier})
	for _, what := range []string{"app", "warden", "forward"} {
		add(what+"-healthy-hosts", "HealthyHostCount", map[string]string{"LoadBalancer": "app/lb/1", "TargetGroup": "targetgroup/" + what + "-" + s.Name + "/1"})
	}
	for _, operation := range []string{"GetItem", "PutItem"} {
		add("term-table-"+operation, "SystemErrors", map[string]string{"TableName": "terms", "Operation": operation})
	}
	add("region-impaired", "", nil)
	if s.Region == east {
		add("route53-health-check", "HealthCheckStatus", map[string]string{"HealthCheckId": "hc"})
		all = append(all,
			aws.Alarm{Name: "route53-health-check-dr-t", State: "ALARM", Metric: "HealthCheckStatus", Dimensions: map[string]string{"HealthCheckId": "hc-dr"}},
			aws.Alarm{Name: "no-site-serves-t", Composite: true, State: "OK", ActionsEnabled: true, Actions: []string{topic}})
	}
	return all
}

// alarm is a site's alarm by the start of its name.
func (w *world) alarm(region, name string) *aws.Alarm {
	i := slices.IndexFunc(w.alarms[region], func(a aws.Alarm) bool { return strings.HasPrefix(a.Name, name) })
	return &w.alarms[region][i]
}

// unwatched takes an alarm away.
func (w *world) unwatched(region, name string) {
	w.alarms[region] = slices.DeleteFunc(w.alarms[region], func(a aws.Alarm) bool { return strings.HasPrefix(a.Name, name) })
}

func peerARN(site string) string {
	for _, s := range config().Sites {
		if s.Name != site {
			return s.DBClusterARN
		}
	}
	return ""
}

func (w *world) sources() preflight.Sources {
	return preflight.Sources{
		Deployment: w, Names: w, Permissions: w, Account: w, SQL: w,
		Databases: func(region string) preflight.Databases { return inRegion{w, region} },
		Services:  func(region string) preflight.Services { return inRegion{w, region} },
		Balancers: func(region string) preflight.Balancers { return inRegion{w, region} },
		Alarms:    func(region string) preflight.Alarms { return inRegion{w, region} },
		Topics:    func(region string) preflight.Topics { return inRegion{w, region} },
	}
}

// answer is what an API says, unless it is silent.
func answer[T any](w *world, api string, v T) (T, error) {
	if err := w.errs[api]; err != nil {
		var none T
		return none, err
	}
	return v, nil
}

func (w *world) Status(context.Context) operator.Status { return w.status }

func (w *world) Beacons(context.Context) (map[string]term.Beacon, error) {
	n := w.looks.Add(1)
	all := maps.Clone(w.beacons)
	for site, b := range all {
		if !w.standing[site] {
			b.Sequence += n
			all[site] = b
		}
	}
	return answer(w, "beacons", all)
}

func (w *world) Records(context.Context, string) ([]aws.Record, error) {
	return answer(w, "records", w.records)
}

func (w *world) HealthCheck(_ context.Context, id string) (aws.HealthCheck, error) {
	return answer(w, "check", map[string]aws.HealthCheck{"hc": w.check, "hc-dr": w.other}[id])
}

// Allowed: as in the Terraform, a warden may do what it must and nothing else.
func (w *world) Allowed(_ context.Context, role string, c aws.Call) (bool, error) {
	if w.denied == nil {
		return answer(w, "iam", !forbidden(role, c))
	}
	return answer(w, "iam", !w.denied(role, c))
}

func (w *world) ImageDigest(_ context.Context, i aws.RegistryImage) (string, error) {
	d := w.digests[i.Region+"/"+i.Repository]
	if d == "" {
		return "", aws.ErrNoImage
	}
	return answer(w, "ecr", d)
}

func (w *world) Quota(_ context.Context, _, _, code string) (aws.Quota, error) {
	return answer(w, "quotas", w.quotas[code])
}

func (w *world) Table(_ context.Context, region, _ string) (aws.Table, error) {
	return answer(w, "table", w.tables[region])
}

func (w *world) ServerTime(context.Context, string) (time.Time, error) {
	return answer(w, "sts", time.Now().Add(w.serverOffset))
}

func (w *world) Look(_ context.Context, s operator.Site) (preflight.DatabaseView, error) {
	return w.databases[s.Name], w.databaseErrors[s.Name]
}

func (w *world) Clock(_ context.Context, s operator.Site) (preflight.Clock, error) {
	return w, w.databaseErrors[s.Name]
}

// Now runs at the world's own rate, and takes a while to answer.
func (w *world) Now(context.Context) (time.Time, error) {
	<-time.After(w.clockDelay)
	elapsed := time.Since(w.began)
	<-time.After(w.clockDelay)
	return w.began.Add(time.Duration(float64(elapsed) * w.clockRate)), nil
}

func (w *world) Close() {}

// inRegion are the APIs of one region.
type inRegion struct {
	*world
	region string
}

func (r inRegion) GlobalCluster(context.Context, string) (aws.GlobalCluster, error) {
	return answer(r.world, "rds "+r.region, r.global[r.region])
}

func (r inRegion) Cluster(_ context.Context, id string) (aws.DBCluster, error) {
	return answer(r.world, "rds "+r.region, r.clusters[id])
}

func (r inRegion) Parameters(_ context.Context, group string) (map[string]string, error) {
	return answer(r.world, "parameters", r.parameters[group])
}

func (r inRegion) ManualSnapshots(context.Context) (int, error) {
	return answer(r.world, "rds "+r.region, r.manual)
}

func (r inRegion) Service(_ context.Context, _, name string) (aws.Service, error) {
	return answer(r.world, "ecs", r.services[name])
}

func (r inRegion) TaskDefinition(_ context.Context, name string) (aws.TaskDefinition, error) {
	return answer(r.world, "ecs", r.definitions[name])
}

func (r inRegion) Bounds(context.Context, string, string) (int, int, error) {
	maximum, err := answer(r.world, "scaling", r.maximum)
	return 1, maximum, err
}

func (r inRegion) RunLike(context.Context, string, string, string) (aws.Task, error) {
	return answer(r.world, "run", r.canary[0])
}

func (r inRegion) Task(context.Context, string, string) (aws.Task, error) {
	t := r.canary[0]
	if len(r.canary) > 1 {
		r.canary = r.canary[1:]
	}
	r.world.canary = r.canary
	return answer(r.world, "task", t)
}

func (r inRegion) StopTask(_ context.Context, _, arn, _ string) error {
	r.stopped = append(r.stopped, arn)
	r.world.stopped = r.stopped
	return nil
}

func (r inRegion) TargetHealth(_ context.Context, arn string) ([]aws.Target, error) {
	return answer(r.world, "elb", r.health[arn])
}

func (r inRegion) Listeners(_ context.Context, arn string) ([]aws.Listener, error) {
	return answer(r.world, "elb", r.listeners[arn])
}

func (r inRegion) KeepAlive(_ context.Context, arn string) (time.Duration, error) {
	return answer(r.world, "elb", r.keepAlive[arn])
}

func (r inRegion) List(context.Context, string) ([]aws.Alarm, error) {
	return answer(r.world, "alarms", r.alarms[r.region])
}

func (r inRegion) Subscriptions(_ context.Context, topic string) ([]aws.Subscription, error) {
	return answer(r.world, "sns", r.subscriptions[topic])
}
