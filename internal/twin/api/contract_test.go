package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	autoscaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	logs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"holdfast/internal/topology"
	"holdfast/internal/twin/postgres"
)

// serve starts an endpoint for callers of a region on a real listener.
func serve(t testing.TB, e *Endpoint, caller string) string {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = e.NewServer(caller)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// wantError checks an error's code, HTTP status and a part of its message.
func wantError(t *testing.T, err error, code string, status int, text string) {
	t.Helper()
	var api smithy.APIError
	var response *awshttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &response) {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if api.ErrorCode() != code || response.HTTPStatusCode() != status || !strings.Contains(api.ErrorMessage(), text) {
		t.Errorf("got %s (%d): %q, want %s (%d) with %q", api.ErrorCode(), response.HTTPStatusCode(), api.ErrorMessage(),
			code, status, text)
	}
	if response.ServiceRequestID() == "" {
		t.Errorf("%s has no request id", code)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestRDS(t *testing.T) {
	b := newBackends(t)
	e := newEndpoint(t, b)
	url := serve(t, e, "")
	ctx := t.Context()
	client, dr := rds.NewFromConfig(sdkConfig(t, url, east)), rds.NewFromConfig(sdkConfig(t, url, west))

	globals := must[*rds.DescribeGlobalClustersOutput](t)(dr.DescribeGlobalClusters(ctx, &rds.DescribeGlobalClustersInput{
		GlobalClusterIdentifier: aws.String("global-aurora-twin"),
	}))
	if g := globals.GlobalClusters; len(g) != 1 || len(g[0].GlobalClusterMembers) != 2 || *g[0].Status != "available" {
		t.Fatalf("global clusters = %+v", g)
	}
	_, err := client.DescribeGlobalClusters(ctx, &rds.DescribeGlobalClustersInput{GlobalClusterIdentifier: aws.String("nobody")})
	wantError(t, err, "GlobalClusterNotFoundFault", 404, "Global cluster nobody not found")
	if typed := new(rdstypes.GlobalClusterNotFoundFault); !errors.As(err, &typed) {
		t.Errorf("%v is not the SDK's typed error", err)
	}

	clusters := must[*rds.DescribeDBClustersOutput](t)(client.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{}))
	if c := clusters.DBClusters; len(c) != 1 || *c[0].DBClusterIdentifier != "aurora-primary-twin" || len(c[0].DBClusterMembers) != 2 {
		t.Fatalf("clusters of %s = %+v", east, c)
	}
	filtered := must[*rds.DescribeDBClustersOutput](t)(client.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{
		Filters: []rdstypes.Filter{{Name: aws.String("db-cluster-id"), Values: []string{"another"}}},
	}))
	if len(filtered.DBClusters) != 0 {
		t.Error("a filter that nothing passes let clusters through")
	}
	_, err = client.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: aws.String("aurora-dr-twin")})
	wantError(t, err, "DBClusterNotFoundFault", 404, "DBCluster aurora-dr-twin not found.") // it is in the other region
	_, err = client.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{MaxRecords: aws.Int32(5)})
	wantError(t, err, "InvalidParameterValue", 400, "MaxRecords")
	_, err = client.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{
		Filters: []rdstypes.Filter{{Name: aws.String("colour"), Values: []string{"red"}}},
	})
	wantError(t, err, "InvalidParameterValue", 400, "Unrecognized filter name: colour")

	instances := must[*rds.DescribeDBInstancesOutput](t)(client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{
		DBInstanceIdentifier: aws.String("AURORA-primary-twin-1"),
	}))
	if i := instances.DBInstances; len(i) != 1 || *i[0].DBInstanceArn != b.topology.DBInstances[0].ARN && *i[0].DBInstanceStatus != "available" {
		t.Errorf("instances = %+v", i)
	}
	_, err = client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("nobody")})
	wantError(t, err, "DBInstanceNotFound", 404, "DBInstance nobody not found.")
	if typed := new(rdstypes.DBInstanceNotFoundFault); !errors.As(err, &typed) {
		t.Errorf("%v is not the SDK's typed error", err)
	}

	snapshots := must[*rds.DescribeDBClusterSnapshotsOutput](t)(client.DescribeDBClusterSnapshots(ctx,
		&rds.DescribeDBClusterSnapshotsInput{DBClusterIdentifier: aws.String("aurora-primary-twin"), SnapshotType: aws.String("automated")}))
	if s := snapshots.DBClusterSnapshots; len(s) != 1 || *s[0].PercentProgress != 100 {
		t.Errorf("snapshots = %+v", s)
	}
	_, err = client.DescribeDBClusterSnapshots(ctx, &rds.DescribeDBClusterSnapshotsInput{DBClusterSnapshotIdentifier: aws.String("none")})
	wantError(t, err, "DBClusterSnapshotNotFoundFault", 404, "none")
}

// TestRDSRestore walks the way from a snapshot to a database that can be read, and back.
func TestRDSRestore(t *testing.T) {
	client := rds.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, newBackends(t)), ""), east))
	ctx := t.Context()
	snapshots := must[*rds.DescribeDBClusterSnapshotsOutput](t)(client.DescribeDBClusterSnapshots(ctx, &rds.DescribeDBClusterSnapshotsInput{}))
	restore := &rds.RestoreDBClusterFromSnapshotInput{
		DBClusterIdentifier: aws.String("tail"), SnapshotIdentifier: snapshots.DBClusterSnapshots[0].DBClusterSnapshotIdentifier,
		Engine: aws.String("aurora-postgresql"), DBSubnetGroupName: aws.String("group"), VpcSecurityGroupIds: []string{"sg-1"},
	}
	restored := must[*rds.RestoreDBClusterFromSnapshotOutput](t)(client.RestoreDBClusterFromSnapshot(ctx, restore))
	if c := restored.DBCluster; *c.Status != "creating" || *c.DBClusterIdentifier != "tail" || *c.Endpoint == "" {
		t.Errorf("restored %+v", c)
	}
	cluster := func() string {
		out := must[*rds.DescribeDBClustersOutput](t)(client.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: aws.String("tail")}))
		return *out.DBClusters[0].Status
	}
	cluster()
	if got := cluster(); got != "available" {
		t.Errorf("the cluster is %s", got)
	}
	instance := &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("tail-1"), DBClusterIdentifier: aws.String("tail"), DBInstanceClass: aws.String("db.t4g.medium"),
		Engine: aws.String("aurora-postgresql"),
	}
	if i := must[*rds.CreateDBInstanceOutput](t)(client.CreateDBInstance(ctx, instance)).DBInstance; *i.DBInstanceStatus != "creating" ||
		*i.Endpoint.Address == "" || *i.DBClusterIdentifier != "tail" || *i.Engine != "aurora-postgresql" {
		t.Errorf("created %+v", i)
	}
	skip := &rds.DeleteDBClusterInput{DBClusterIdentifier: aws.String("tail"), SkipFinalSnapshot: aws.Bool(true)}
	_, err := client.DeleteDBCluster(ctx, skip)
	wantError(t, err, "InvalidDBClusterStateFault", 400, "cannot be deleted")
	if i := must[*rds.DeleteDBInstanceOutput](t)(client.DeleteDBInstance(ctx,
		&rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("tail-1")})).DBInstance; *i.DBInstanceStatus != "deleting" {
		t.Errorf("deleted %+v", i)
	}
	if c := must[*rds.DeleteDBClusterOutput](t)(client.DeleteDBCluster(ctx, skip)).DBCluster; *c.Status != "deleting" {
		t.Errorf("deleted %+v", c)
	}

	_, err = client.DeleteDBCluster(ctx, skip)
	wantError(t, err, "DBClusterNotFoundFault", 404, "tail")
	_, err = client.DeleteDBCluster(ctx, &rds.DeleteDBClusterInput{DBClusterIdentifier: aws.String("tail")})
	wantError(t, err, "InvalidParameterCombination", 400, "FinalDBSnapshotIdentifier is required")
	_, err = client.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("tail-1")})
	wantError(t, err, "DBInstanceNotFound", 404, "tail-1")
	_, err = client.CreateDBInstance(ctx, instance)
	wantError(t, err, "DBClusterNotFoundFault", 404, "tail")
	instance.DBClusterIdentifier = nil
	_, err = client.CreateDBInstance(ctx, instance)
	wantError(t, err, "InvalidParameterCombination", 400, "DBClusterIdentifier")
	restore.SnapshotIdentifier = aws.String("none")
	_, err = client.RestoreDBClusterFromSnapshot(ctx, restore)
	wantError(t, err, "DBClusterSnapshotNotFoundFault", 404, "none")
	restore.Engine = aws.String("aurora-mysql")
	_, err = client.RestoreDBClusterFromSnapshot(ctx, restore)
	wantError(t, err, "InvalidParameterCombination", 400, "aurora-mysql")
}

func TestRDSEvents(t *testing.T) {
	b := newBackends(t)
	now := time.Now()
	for n, age := range []time.Duration{90 * time.Minute, 20 * time.Minute, time.Minute} {
		b.databases.events = append(b.databases.events, postgres.Event{
			At: now.Add(-age), Region: east, SourceType: "db-cluster", Source: "aurora-primary-twin",
			Categories: []string{"global failover"}, Message: "event " + string(rune('0'+n)),
		})
	}
	client := rds.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	ctx := t.Context()
	count := func(in *rds.DescribeEventsInput) int {
		t.Helper()
		return len(must[*rds.DescribeEventsOutput](t)(client.DescribeEvents(ctx, in)).Events)
	}
	if got := count(&rds.DescribeEventsInput{}); got != 2 {
		t.Errorf("events of the last hour = %d, want 2", got)
	}
	if got := count(&rds.DescribeEventsInput{
		Duration: aws.Int32(120), SourceType: rdstypes.SourceTypeDbCluster,
		SourceIdentifier: aws.String("aurora-primary-twin"), EventCategories: []string{"global failover"},
	}); got != 3 {
		t.Errorf("events of two hours = %d, want 3", got)
	}
	if got := count(&rds.DescribeEventsInput{StartTime: aws.Time(now.Add(-30 * time.Minute)), EndTime: aws.Time(now.Add(-10 * time.Minute))}); got != 1 {
		t.Errorf("events between two times = %d, want 1", got)
	}
	if got := count(&rds.DescribeEventsInput{EventCategories: []string{"backup"}}); got != 0 {
		t.Errorf("events of another category = %d, want 0", got)
	}
	_, err := client.DescribeEvents(ctx, &rds.DescribeEventsInput{SourceIdentifier: aws.String("x")})
	wantError(t, err, "InvalidParameterCombination", 400, "SourceType")
	_, err = client.DescribeEvents(ctx, &rds.DescribeEventsInput{SourceType: "db-banana"})
	wantError(t, err, "InvalidParameterValue", 400, "db-banana")
}

func TestMovingTheWriter(t *testing.T) {
	b := newBackends(t)
	url := serve(t, newEndpoint(t, b), "")
	ctx := t.Context()
	client, dr := rds.NewFromConfig(sdkConfig(t, url, east)), rds.NewFromConfig(sdkConfig(t, url, west))
	drARN, primaryARN := b.topology.DBClusters[1].ARN, b.topology.DBClusters[0].ARN
	if !strings.Contains(drARN, "aurora-dr") {
		drARN, primaryARN = primaryARN, drARN
	}

	// The runbook's command: a plain identifier, in its own region, without --allow-data-loss, is a switchover.
	out := must[*rds.FailoverGlobalClusterOutput](t)(dr.FailoverGlobalCluster(ctx, &rds.FailoverGlobalClusterInput{
		GlobalClusterIdentifier: aws.String("global-aurora-twin"), TargetDbClusterIdentifier: aws.String("aurora-dr-twin"),
	}))
	for _, m := range out.GlobalCluster.GlobalClusterMembers {
		if *m.IsWriter != (*m.DBClusterArn == drARN) {
			t.Errorf("after the switchover %s is the writer: %v", *m.DBClusterArn, *m.IsWriter)
		}
	}
	must[*rds.FailoverGlobalClusterOutput](t)(client.FailoverGlobalCluster(ctx, &rds.FailoverGlobalClusterInput{
		GlobalClusterIdentifier: aws.String("global-aurora-twin"), TargetDbClusterIdentifier: aws.String(primaryARN),
		AllowDataLoss: aws.Bool(true),
	}))
	must[*rds.SwitchoverGlobalClusterOutput](t)(client.SwitchoverGlobalCluster(ctx, &rds.SwitchoverGlobalClusterInput{
		GlobalClusterIdentifier: aws.String("global-aurora-twin"), TargetDbClusterIdentifier: aws.String(drARN),
	}))
	want := "switchover us-west-2 " + drARN + "; failover us-east-1 " + primaryARN + "; switchover us-east-1 " + drARN
	if got := strings.Join(b.databases.moves, "; "); got != want {
		t.Errorf("the control plane was asked for %s\nwant %s", got, want)
	}

	_, err := client.FailoverGlobalCluster(ctx, &rds.FailoverGlobalClusterInput{
		GlobalClusterIdentifier: aws.String("global-aurora-twin"), TargetDbClusterIdentifier: aws.String("aurora-dr-twin"),
	})
	wantError(t, err, "DBClusterNotFoundFault", 404, "aurora-dr-twin") // a plain identifier of the other region
	_, err = client.SwitchoverGlobalCluster(ctx, &rds.SwitchoverGlobalClusterInput{
		GlobalClusterIdentifier: aws.String("nobody"), TargetDbClusterIdentifier: aws.String(drARN),
	})
	wantError(t, err, "GlobalClusterNotFoundFault", 404, "nobody")
	_, err = client.FailoverGlobalCluster(ctx, &rds.FailoverGlobalClusterInput{
		GlobalClusterIdentifier: aws.String("global-aurora-twin"), TargetDbClusterIdentifier: aws.String(drARN),
		AllowDataLoss: aws.Bool(true), Switchover: aws.Bool(true),
	})
	wantError(t, err, "InvalidParameterCombination", 400, "cannot be specified together")
	b.databases.refuse = &postgres.Error{Code: "InvalidGlobalClusterStateFault", Message: "The global cluster is busy."}
	_, err = client.SwitchoverGlobalCluster(ctx, &rds.SwitchoverGlobalClusterInput{
		GlobalClusterIdentifier: aws.String("global-aurora-twin"), TargetDbClusterIdentifier: aws.String(drARN),
	})
	wantError(t, err, "InvalidGlobalClusterStateFault", 400, "The global cluster is busy.")
	b.databases.refuse = errors.New("a defect with secrets in its text")
	_, err = client.SwitchoverGlobalCluster(ctx, &rds.SwitchoverGlobalClusterInput{
		GlobalClusterIdentifier: aws.String("global-aurora-twin"), TargetDbClusterIdentifier: aws.String(drARN),
	})
	wantError(t, err, "InternalFailure", 500, "unknown error")
}

func TestECS(t *testing.T) {
	b := newBackends(t)
	client := awsecs.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	ctx := t.Context()
	cluster, service := aws.String("payment-cluster-primary-twin"), aws.String("payment-service-primary-twin")

	list := must[*awsecs.ListClustersOutput](t)(client.ListClusters(ctx, &awsecs.ListClustersInput{}))
	described := must[*awsecs.DescribeClustersOutput](t)(client.DescribeClusters(ctx, &awsecs.DescribeClustersInput{
		Clusters: append(list.ClusterArns, "nobody"),
	}))
	if len(described.Clusters) != 1 || described.Clusters[0].RunningTasksCount == 0 || len(described.Failures) != 1 ||
		*described.Failures[0].Reason != "MISSING" {
		t.Errorf("clusters = %+v", described)
	}
	services := must[*awsecs.ListServicesOutput](t)(client.ListServices(ctx, &awsecs.ListServicesInput{Cluster: cluster, MaxResults: aws.Int32(1)}))
	if len(services.ServiceArns) != 1 || services.NextToken == nil {
		t.Errorf("first page of services = %+v, want one and a token", services)
	}
	more := must[*awsecs.ListServicesOutput](t)(client.ListServices(ctx, &awsecs.ListServicesInput{Cluster: cluster, NextToken: services.NextToken}))
	if len(more.ServiceArns) != 1 || more.NextToken != nil || more.ServiceArns[0] == services.ServiceArns[0] {
		t.Errorf("second page of services = %+v", more)
	}
	view := must[*awsecs.UpdateServiceOutput](t)(client.UpdateService(ctx, &awsecs.UpdateServiceInput{
		Cluster: cluster, Service: service, DesiredCount: aws.Int32(3),
	}))
	if view.Service.DesiredCount != 3 || *view.Service.LoadBalancers[0].ContainerName == "" {
		t.Errorf("service after the update = %+v", view.Service)
	}
	tasks := must[*awsecs.ListTasksOutput](t)(client.ListTasks(ctx, &awsecs.ListTasksInput{Cluster: cluster, ServiceName: service}))
	if len(tasks.TaskArns) != 3 {
		t.Fatalf("tasks = %v, want 3", tasks.TaskArns)
	}
	must[*awsecs.StopTaskOutput](t)(client.StopTask(ctx, &awsecs.StopTaskInput{
		Cluster: cluster, Task: aws.String(tasks.TaskArns[0]), Reason: aws.String("test"),
	}))
	running := must[*awsecs.ListTasksOutput](t)(client.ListTasks(ctx, &awsecs.ListTasksInput{
		Cluster: cluster, Family: aws.String("payment-service-primary-twin"),
	}))
	stopped := must[*awsecs.ListTasksOutput](t)(client.ListTasks(ctx, &awsecs.ListTasksInput{
		Cluster: cluster, ServiceName: service, DesiredStatus: ecstypes.DesiredStatusStopped,
	}))
	if len(running.TaskArns) != 2 || len(stopped.TaskArns) != 1 {
		t.Errorf("running %v, stopped %v; want 2 and 1", running.TaskArns, stopped.TaskArns)
	}
	detail := must[*awsecs.DescribeTasksOutput](t)(client.DescribeTasks(ctx, &awsecs.DescribeTasksInput{
		Cluster: cluster, Tasks: append(tasks.TaskArns, "nobody"),
	}))
	if len(detail.Tasks) != 3 || len(detail.Failures) != 1 || *detail.Tasks[0].StoppedReason != "test" ||
		detail.Tasks[0].StopCode != ecstypes.TaskStopCodeUserInitiated || *detail.Tasks[0].Containers[0].ExitCode != 0 {
		t.Errorf("tasks = %+v", detail)
	}
	definitions := must[*awsecs.ListTaskDefinitionsOutput](t)(client.ListTaskDefinitions(ctx, &awsecs.ListTaskDefinitionsInput{
		FamilyPrefix: service,
	}))
	definition := must[*awsecs.DescribeTaskDefinitionOutput](t)(client.DescribeTaskDefinition(ctx, &awsecs.DescribeTaskDefinitionInput{
		TaskDefinition: service,
	}))
	if len(definitions.TaskDefinitionArns) != 1 || *definition.TaskDefinition.TaskDefinitionArn != definitions.TaskDefinitionArns[0] ||
		*definition.TaskDefinition.ContainerDefinitions[0].Name != "payd" {
		t.Errorf("task definitions = %v, %+v", definitions.TaskDefinitionArns, definition.TaskDefinition)
	}
}

func TestECSErrors(t *testing.T) {
	client := awsecs.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, newBackends(t)), ""), east))
	ctx := t.Context()
	cluster, service := aws.String("payment-cluster-primary-twin"), aws.String("payment-service-primary-twin")
	_, err := client.ListServices(ctx, &awsecs.ListServicesInput{})
	wantError(t, err, "ClusterNotFoundException", 400, "Cluster not found.") // there is no cluster "default"
	if typed := new(ecstypes.ClusterNotFoundException); !errors.As(err, &typed) {
		t.Errorf("%v is not the SDK's typed error", err)
	}
	_, err = client.UpdateService(ctx, &awsecs.UpdateServiceInput{Cluster: cluster, Service: aws.String("nobody"), DesiredCount: aws.Int32(1)})
	wantError(t, err, "ServiceNotFoundException", 400, "Service not found.")
	_, err = client.UpdateService(ctx, &awsecs.UpdateServiceInput{Cluster: cluster, Service: service, DesiredCount: aws.Int32(-1)})
	wantError(t, err, "InvalidParameterException", 400, "Desired count")
	_, err = client.UpdateService(ctx, &awsecs.UpdateServiceInput{Cluster: cluster, Service: service, EnableExecuteCommand: aws.Bool(true)})
	wantError(t, err, "InvalidParameterException", 400, "enableExecuteCommand")
	_, err = client.UpdateService(ctx, &awsecs.UpdateServiceInput{Cluster: cluster, Service: service, TaskDefinition: aws.String("nobody:7")})
	wantError(t, err, "ClientException", 400, "Unable to describe task definition.")
	_, err = client.StopTask(ctx, &awsecs.StopTaskInput{Cluster: cluster, Task: aws.String("nobody")})
	wantError(t, err, "InvalidParameterException", 400, "The referenced task was not found.")
	_, err = client.ListTasks(ctx, &awsecs.ListTasksInput{Cluster: cluster, ServiceName: aws.String("nobody")})
	wantError(t, err, "ServiceNotFoundException", 400, "Service not found.")
	_, err = client.ListTasks(ctx, &awsecs.ListTasksInput{Cluster: cluster, NextToken: aws.String("nonsense")})
	wantError(t, err, "InvalidParameterException", 400, "Invalid token")
	missing := must[*awsecs.DescribeServicesOutput](t)(client.DescribeServices(ctx, &awsecs.DescribeServicesInput{Cluster: cluster, Services: []string{"nobody"}}))
	if len(missing.Failures) != 1 || *missing.Failures[0].Arn != "arn:aws:ecs:us-east-1:123456789012:service/payment-cluster-primary-twin/nobody" {
		t.Errorf("failures = %+v", missing.Failures)
	}
	_, err = client.DescribeServices(ctx, &awsecs.DescribeServicesInput{Cluster: cluster, Services: []string{}})
	wantError(t, err, "InvalidParameterException", 400, "Services can not be blank.")
}

func TestELB(t *testing.T) {
	b := newBackends(t)
	client := elb.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	ctx := t.Context()
	balancers := must[*elb.DescribeLoadBalancersOutput](t)(client.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{
		Names: []string{"pay-alb-primary-twin"},
	}))
	arn := balancers.LoadBalancers[0].LoadBalancerArn
	if len(balancers.LoadBalancers) != 1 || len(balancers.LoadBalancers[0].AvailabilityZones) == 0 {
		t.Errorf("load balancers = %+v", balancers.LoadBalancers)
	}
	groups := must[*elb.DescribeTargetGroupsOutput](t)(client.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{LoadBalancerArn: arn}))
	own := inRegionOf(b.topology.TargetGroups, east, func(g topology.TargetGroup) string { return g.Region })
	if len(groups.TargetGroups) != len(own) || aws.ToInt32(groups.TargetGroups[0].HealthCheckIntervalSeconds) == 0 {
		t.Errorf("target groups = %+v", groups.TargetGroups)
	}
	group := groups.TargetGroups[0]
	health := must[*elb.DescribeTargetHealthOutput](t)(client.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: group.TargetGroupArn}))
	if h := health.TargetHealthDescriptions; len(h) != 2 || h[1].TargetHealth.Reason != elbtypes.TargetHealthReasonEnumTimeout {
		t.Errorf("health = %+v", h)
	}
	one := must[*elb.DescribeTargetHealthOutput](t)(client.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{
		TargetGroupArn: group.TargetGroupArn, Targets: []elbtypes.TargetDescription{{Id: aws.String("127.9.1.5")}, {Id: aws.String("127.9.1.99")}},
	}))
	if h := one.TargetHealthDescriptions; len(h) != 2 || h[0].TargetHealth.State != "healthy" || h[1].TargetHealth.Reason != "Target.NotRegistered" {
		t.Errorf("health of two targets = %+v", h)
	}
	listeners := must[*elb.DescribeListenersOutput](t)(client.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: arn}))
	rules := must[*elb.DescribeRulesOutput](t)(client.DescribeRules(ctx, &elb.DescribeRulesInput{ListenerArn: listeners.Listeners[0].ListenerArn}))
	if r := rules.Rules; len(r) < 2 || *r[0].Priority == "default" || !*r[len(r)-1].IsDefault || len(r[0].Conditions) == 0 {
		t.Errorf("rules = %+v", r)
	}
	byARN := must[*elb.DescribeRulesOutput](t)(client.DescribeRules(ctx, &elb.DescribeRulesInput{RuleArns: []string{*rules.Rules[0].RuleArn}}))
	if len(byARN.Rules) != 1 {
		t.Errorf("rules by ARN = %+v", byARN.Rules)
	}
	paged := must[*elb.DescribeTargetGroupsOutput](t)(client.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{PageSize: aws.Int32(1)}))
	if len(paged.TargetGroups) != 1 || paged.NextMarker == nil {
		t.Errorf("first page = %+v", paged)
	}

	_, err := client.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{"nobody"}})
	wantError(t, err, "LoadBalancerNotFound", 400, "nobody")
	_, err = client.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: aws.String("arn:nobody")})
	wantError(t, err, "TargetGroupNotFound", 400, "not found")
	if typed := new(elbtypes.TargetGroupNotFoundException); !errors.As(err, &typed) {
		t.Errorf("%v is not the SDK's typed error", err)
	}
	_, err = client.DescribeListeners(ctx, &elb.DescribeListenersInput{})
	wantError(t, err, "ValidationError", 400, "You must specify")
	_, err = client.DescribeRules(ctx, &elb.DescribeRulesInput{RuleArns: []string{"arn:nobody"}})
	wantError(t, err, "RuleNotFound", 400, "not found")
	_, err = client.DescribeListeners(ctx, &elb.DescribeListenersInput{ListenerArns: []string{"arn:nobody"}})
	wantError(t, err, "ListenerNotFound", 400, "not found")
}

func TestModifyListener(t *testing.T) {
	b := newBackends(t)
	client := elb.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	ctx := t.Context()
	var listener topology.Listener
	for _, l := range b.topology.Listeners {
		if l.Region == east && l.Default.Type == "forward" {
			listener = l
		}
	}
	var groups []string
	for _, g := range b.topology.TargetGroups {
		if g.Region == east {
			groups = append(groups, g.ARN)
		}
	}
	forward := func(tuples ...elbtypes.TargetGroupTuple) *elb.ModifyListenerInput {
		return &elb.ModifyListenerInput{ListenerArn: aws.String(listener.ARN), DefaultActions: []elbtypes.Action{{
			Type: elbtypes.ActionTypeEnumForward, ForwardConfig: &elbtypes.ForwardActionConfig{TargetGroups: tuples},
		}}}
	}
	tuple := func(arn string, weight int32) elbtypes.TargetGroupTuple {
		return elbtypes.TargetGroupTuple{TargetGroupArn: aws.String(arn), Weight: aws.Int32(weight)}
	}
	must[*elb.ModifyListenerOutput](t)(client.ModifyListener(ctx, forward(tuple(groups[0], 0), tuple(groups[1], 1))))
	after := must[*elb.DescribeListenersOutput](t)(client.DescribeListeners(ctx, &elb.DescribeListenersInput{ListenerArns: []string{listener.ARN}}))
	got := after.Listeners[0].DefaultActions[0].ForwardConfig.TargetGroups
	if len(got) != 2 || aws.ToInt32(got[0].Weight) != 0 || aws.ToString(got[1].TargetGroupArn) != groups[1] || aws.ToInt32(got[1].Weight) != 1 {
		t.Errorf("the default action is %+v", got)
	}
	_, err := client.ModifyListener(ctx, forward(tuple("arn:nobody", 1)))
	wantError(t, err, "TargetGroupNotFound", 400, "not found")
	_, err = client.ModifyListener(ctx, forward(tuple(groups[0], 1000)))
	wantError(t, err, "ValidationError", 400, "between 0 and 999")
	_, err = client.ModifyListener(ctx, &elb.ModifyListenerInput{ListenerArn: aws.String(listener.ARN), Port: aws.Int32(81)})
	wantError(t, err, "OperationNotPermitted", 400, "DefaultActions")
	_, err = client.ModifyListener(ctx, &elb.ModifyListenerInput{ListenerArn: aws.String("arn:nobody")})
	wantError(t, err, "ListenerNotFound", 400, "not found")
}

func TestAutoscaling(t *testing.T) {
	b := newBackends(t)
	client := autoscaling.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	ctx := t.Context()
	id := aws.String("service/payment-cluster-primary-twin/payment-service-primary-twin")
	register := func(id string, low, high *int32) error {
		_, err := client.RegisterScalableTarget(ctx, &autoscaling.RegisterScalableTargetInput{
			ServiceNamespace: scalingtypes.ServiceNamespaceEcs, ScalableDimension: ecsDimension, ResourceId: aws.String(id),
			MinCapacity: low, MaxCapacity: high,
		})
		return err
	}
	if err := register(*id, aws.Int32(4), nil); err != nil {
		t.Fatal(err)
	}
	targets := must[*autoscaling.DescribeScalableTargetsOutput](t)(client.DescribeScalableTargets(ctx, &autoscaling.DescribeScalableTargetsInput{
		ServiceNamespace: scalingtypes.ServiceNamespaceEcs, ResourceIds: []string{*id},
	}))
	if s := targets.ScalableTargets; len(s) != 1 || *s[0].MinCapacity != 4 || *s[0].MaxCapacity != 10 {
		t.Errorf("scalable targets = %+v, want 4 to 10", s)
	}
	policies := must[*autoscaling.DescribeScalingPoliciesOutput](t)(client.DescribeScalingPolicies(ctx, &autoscaling.DescribeScalingPoliciesInput{
		ServiceNamespace: scalingtypes.ServiceNamespaceEcs, ResourceId: id,
	}))
	if p := policies.ScalingPolicies; len(p) != 1 || p[0].TargetTrackingScalingPolicyConfiguration.PredefinedMetricSpecification.PredefinedMetricType != "ECSServiceAverageCPUUtilization" {
		t.Errorf("policies = %+v", p)
	}
	wantError(t, register("service/payment-cluster-primary-twin/nobody", aws.Int32(1), aws.Int32(2)), "ValidationException", 400, "doesn't exist")
	wantError(t, register(*id, aws.Int32(20), nil), "ValidationException", 400, "Maximum capacity cannot be less")
	_, err := client.DescribeScalableTargets(ctx, &autoscaling.DescribeScalableTargetsInput{ServiceNamespace: "banana"})
	wantError(t, err, "ValidationException", 400, "Value 'banana' at 'serviceNamespace' failed to satisfy constraint")
}

func TestRoute53(t *testing.T) {
	b := newBackends(t)
	client := route53.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), west)) // signed with the caller's region
	ctx := t.Context()
	zones := must[*route53.ListHostedZonesOutput](t)(client.ListHostedZones(ctx, &route53.ListHostedZonesInput{}))
	if len(zones.HostedZones) != 1 || *zones.HostedZones[0].Name != "payment-dr-twin.example.com." {
		t.Fatalf("zones = %+v", zones.HostedZones)
	}
	id := zones.HostedZones[0].Id
	zone := must[*route53.GetHostedZoneOutput](t)(client.GetHostedZone(ctx, &route53.GetHostedZoneInput{Id: id}))
	if *zone.HostedZone.Id != *id || *zone.HostedZone.ResourceRecordSetCount != int64(len(b.topology.Records)) {
		t.Errorf("zone = %+v", zone.HostedZone)
	}
	records := must[*route53.ListResourceRecordSetsOutput](t)(client.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: id}))
	roles := ""
	for _, r := range records.ResourceRecordSets {
		roles += string(r.Failover) + " "
		if r.AliasTarget == nil || !strings.HasSuffix(*r.AliasTarget.DNSName, "elb.amazonaws.com.") {
			t.Errorf("record = %+v", r)
		}
	}
	if !strings.Contains(roles, "PRIMARY") || !strings.Contains(roles, "SECONDARY") {
		t.Errorf("failover roles = %s", roles)
	}
	first := must[*route53.ListResourceRecordSetsOutput](t)(client.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: id, MaxItems: aws.Int32(1)}))
	second := must[*route53.ListResourceRecordSetsOutput](t)(client.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{
		HostedZoneId: id, StartRecordName: first.NextRecordName, StartRecordType: first.NextRecordType, StartRecordIdentifier: first.NextRecordIdentifier,
	}))
	if !first.IsTruncated || len(first.ResourceRecordSets) != 1 ||
		len(second.ResourceRecordSets) != len(records.ResourceRecordSets)-1 {
		t.Errorf("pages of records: %+v, %+v", first, second)
	}
	checks := must[*route53.ListHealthChecksOutput](t)(client.ListHealthChecks(ctx, &route53.ListHealthChecksInput{}))
	check := must[*route53.GetHealthCheckOutput](t)(client.GetHealthCheck(ctx, &route53.GetHealthCheckInput{HealthCheckId: checks.HealthChecks[0].Id}))
	if c := check.HealthCheck.HealthCheckConfig; c.Type != r53types.HealthCheckTypeHttp || *c.ResourcePath != "/healthz" {
		t.Errorf("health check = %+v", c)
	}
	status := must[*route53.GetHealthCheckStatusOutput](t)(client.GetHealthCheckStatus(ctx, &route53.GetHealthCheckStatusInput{HealthCheckId: check.HealthCheck.Id}))
	if o := status.HealthCheckObservations; len(o) != 2 || *o[0].StatusReport.Status != "Success: HTTP Status Code 200, OK" {
		t.Errorf("observations = %+v", o)
	}

	_, err := client.GetHostedZone(ctx, &route53.GetHostedZoneInput{Id: aws.String("ZNOBODY")})
	wantError(t, err, "NoSuchHostedZone", 404, "No hosted zone found with ID: ZNOBODY")
	if typed := new(r53types.NoSuchHostedZone); !errors.As(err, &typed) {
		t.Errorf("%v is not the SDK's typed error", err)
	}
	_, err = client.GetHealthCheckStatus(ctx, &route53.GetHealthCheckStatusInput{HealthCheckId: aws.String("nobody")})
	wantError(t, err, "NoSuchHealthCheck", 404, "nobody")
	_, err = client.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: id, StartRecordType: "A"})
	wantError(t, err, "InvalidInput", 400, "type was specified without a name")
	_, err = client.DeleteHealthCheck(ctx, &route53.DeleteHealthCheckInput{HealthCheckId: check.HealthCheck.Id})
	wantError(t, err, "UnknownOperationException", 404, "")
}

func TestCloudWatch(t *testing.T) {
	b := newBackends(t)
	client := cloudwatch.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	ctx := t.Context()
	minute := time.Now().Add(-10 * time.Minute).Truncate(time.Minute)
	dimensions := []cwtypes.Dimension{{Name: aws.String("Site"), Value: aws.String("primary")}}
	datum := func(second int, value float64) cwtypes.MetricDatum {
		return cwtypes.MetricDatum{
			MetricName: aws.String("Term"), Dimensions: dimensions, Value: &value,
			Timestamp: aws.Time(minute.Add(time.Duration(second) * time.Second)), Unit: cwtypes.StandardUnitCount,
		}
	}
	must[*cloudwatch.PutMetricDataOutput](t)(client.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{
		Namespace: aws.String("Holdfast"), MetricData: []cwtypes.MetricDatum{datum(0, 1), datum(30, 3), datum(65, 10)},
	}))
	list := must[*cloudwatch.ListMetricsOutput](t)(client.ListMetrics(ctx, &cloudwatch.ListMetricsInput{
		Namespace: aws.String("Holdfast"), Dimensions: []cwtypes.DimensionFilter{{Name: aws.String("Site")}},
	}))
	if len(list.Metrics) != 1 || *list.Metrics[0].MetricName != "Term" {
		t.Errorf("metrics = %+v", list.Metrics)
	}
	statistics := must[*cloudwatch.GetMetricStatisticsOutput](t)(client.GetMetricStatistics(ctx, &cloudwatch.GetMetricStatisticsInput{
		Namespace: aws.String("Holdfast"), MetricName: aws.String("Term"), Dimensions: dimensions, Period: aws.Int32(60),
		StartTime: aws.Time(minute), EndTime: aws.Time(minute.Add(5 * time.Minute)),
		Statistics: []cwtypes.Statistic{"Average", "Maximum", "SampleCount"}, ExtendedStatistics: []string{"p50"},
	}))
	if d := statistics.Datapoints; len(d) != 2 || *d[0].Average != 2 || *d[0].Maximum != 3 || *d[0].SampleCount != 2 ||
		d[0].ExtendedStatistics["p50"] != 1 || d[0].Unit != "Count" || d[0].Sum != nil || !d[0].Timestamp.Equal(minute) {
		t.Errorf("datapoints = %+v", d)
	}
	query := cwtypes.MetricDataQuery{Id: aws.String("term"), MetricStat: &cwtypes.MetricStat{
		Metric: &cwtypes.Metric{Namespace: aws.String("Holdfast"), MetricName: aws.String("Term"), Dimensions: dimensions},
		Period: aws.Int32(60), Stat: aws.String("Sum"),
	}}
	data := must[*cloudwatch.GetMetricDataOutput](t)(client.GetMetricData(ctx, &cloudwatch.GetMetricDataInput{
		StartTime: aws.Time(minute), EndTime: aws.Time(minute.Add(5 * time.Minute)), MetricDataQueries: []cwtypes.MetricDataQuery{query},
	}))
	if r := data.MetricDataResults; len(r) != 1 || len(r[0].Values) != 2 || r[0].Values[0] != 10 || r[0].Values[1] != 4 {
		t.Errorf("metric data = %+v, want the newest first", r)
	}
	alarms := must[*cloudwatch.DescribeAlarmsOutput](t)(client.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String("aurora-")}))
	if len(alarms.MetricAlarms) != 3 || alarms.MetricAlarms[0].StateValue != cwtypes.StateValueOk {
		t.Errorf("alarms = %+v", alarms.MetricAlarms)
	}
	history := must[*cloudwatch.DescribeAlarmHistoryOutput](t)(client.DescribeAlarmHistory(ctx, &cloudwatch.DescribeAlarmHistoryInput{HistoryItemType: cwtypes.HistoryItemTypeStateUpdate}))
	if len(history.AlarmHistoryItems) != 1 {
		t.Errorf("history = %+v", history.AlarmHistoryItems)
	}

	_, err := client.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: aws.String("AWS/RDS"), MetricData: []cwtypes.MetricDatum{datum(0, 1)}})
	wantError(t, err, "InvalidParameterValue", 400, "must not begin with AWS/")
	if typed := new(cwtypes.InvalidParameterValueException); !errors.As(err, &typed) {
		t.Errorf("%v is not the SDK's typed error", err)
	}
	old := datum(0, 1)
	old.Timestamp = aws.Time(time.Now().Add(-30 * 24 * time.Hour))
	_, err = client.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: aws.String("Holdfast"), MetricData: []cwtypes.MetricDatum{old}})
	wantError(t, err, "InvalidParameterValue", 400, "within the past two weeks")
	query.Expression, query.MetricStat = aws.String("m1+m2"), nil
	_, err = client.GetMetricData(ctx, &cloudwatch.GetMetricDataInput{StartTime: aws.Time(minute), EndTime: aws.Time(time.Now()), MetricDataQueries: []cwtypes.MetricDataQuery{query}})
	wantError(t, err, "InvalidParameterValue", 400, "metric math")
	_, err = client.GetMetricStatistics(ctx, &cloudwatch.GetMetricStatisticsInput{
		Namespace: aws.String("Holdfast"), MetricName: aws.String("Term"), Period: aws.Int32(7), StartTime: aws.Time(minute), EndTime: aws.Time(time.Now()),
		Statistics: []cwtypes.Statistic{"Sum"},
	})
	wantError(t, err, "InvalidParameterValue", 400, "Period")
	_, err = client.DeleteAlarms(ctx, &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{"one"}})
	wantError(t, err, "UnknownOperationException", 404, "")
}

func TestSecrets(t *testing.T) {
	b := newBackends(t)
	b.topology.Secrets[0].ReplicaRegions = []string{west}
	url := serve(t, newEndpoint(t, b), "")
	ctx := t.Context()
	secret := b.topology.Secrets[0]
	for region, arn := range map[string]string{east: secret.ARN, west: strings.Replace(secret.ARN, east, west, 1)} {
		client := secretsmanager.NewFromConfig(sdkConfig(t, url, region))
		for _, id := range []string{secret.Name, arn, arn[:strings.LastIndex(arn, "-")]} {
			value := must[*secretsmanager.GetSecretValueOutput](t)(client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id}))
			if *value.ARN != arn || *value.SecretString != `{"password":"of `+secret.ARN+`"}` {
				t.Errorf("secret %s in %s = %+v", id, region, value)
			}
		}
		list := must[*secretsmanager.ListSecretsOutput](t)(client.ListSecrets(ctx, &secretsmanager.ListSecretsInput{}))
		described := must[*secretsmanager.DescribeSecretOutput](t)(client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn}))
		here := 0
		for _, s := range b.topology.Secrets {
			if s.Region == region || slices.Contains(s.ReplicaRegions, region) {
				here++
			}
		}
		if len(list.SecretList) != here || *described.PrimaryRegion != east || len(described.VersionIdsToStages) != 1 {
			t.Errorf("secrets in %s: %+v, %+v", region, list.SecretList, described)
		}
		_, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("nobody")})
		wantError(t, err, "ResourceNotFoundException", 400, "Secrets Manager can't find the specified secret.")
		_, err = client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &arn, VersionStage: aws.String("AWSPREVIOUS")})
		wantError(t, err, "ResourceNotFoundException", 400, "staging label: AWSPREVIOUS")
	}
}

func TestSNSAndSTS(t *testing.T) {
	b := newBackends(t)
	cfg := sdkConfig(t, serve(t, newEndpoint(t, b), ""), east)
	client := sns.NewFromConfig(cfg)
	ctx := t.Context()
	topics := must[*sns.ListTopicsOutput](t)(client.ListTopics(ctx, &sns.ListTopicsInput{}))
	if len(topics.Topics) != 1 {
		t.Fatalf("topics = %+v", topics.Topics)
	}
	arn := topics.Topics[0].TopicArn
	attributes := must[*sns.GetTopicAttributesOutput](t)(client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: arn}))
	all := must[*sns.ListSubscriptionsOutput](t)(client.ListSubscriptions(ctx, &sns.ListSubscriptionsInput{}))
	own := must[*sns.ListSubscriptionsByTopicOutput](t)(client.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: arn}))
	if attributes.Attributes["SubscriptionsConfirmed"] != "1" || len(all.Subscriptions) != 1 || *own.Subscriptions[0].Endpoint != "admin@example.com" {
		t.Errorf("%+v, %+v, %+v", attributes.Attributes, all.Subscriptions, own.Subscriptions)
	}
	_, err := client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: aws.String(*arn + "x")})
	wantError(t, err, "NotFound", 404, "Topic does not exist")
	_, err = client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: aws.String("topic")})
	wantError(t, err, "InvalidParameter", 400, "An ARN must have at least 6 elements")
	_, err = client.Publish(ctx, &sns.PublishInput{TopicArn: arn, Message: aws.String("x")})
	wantError(t, err, "InvalidAction", 400, "Could not find operation Publish for version 2010-03-31")

	who := must[*sts.GetCallerIdentityOutput](t)(sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}))
	if *who.Account != "123456789012" || *who.UserId != AccessKeyID {
		t.Errorf("caller = %+v", who)
	}
}

func TestUnknownOperations(t *testing.T) {
	cfg := sdkConfig(t, serve(t, newEndpoint(t, newBackends(t)), ""), east)
	ctx := t.Context()
	_, err := rds.NewFromConfig(cfg).StopDBCluster(ctx, &rds.StopDBClusterInput{DBClusterIdentifier: aws.String("aurora-primary-twin")})
	wantError(t, err, "InvalidAction", 400, "Could not find operation StopDBCluster for version 2014-10-31")
	_, err = awsecs.NewFromConfig(cfg).DeleteCluster(ctx, &awsecs.DeleteClusterInput{Cluster: aws.String("x")})
	wantError(t, err, "UnknownOperationException", 400, "")
	_, err = logs.NewFromConfig(cfg).DeleteLogGroup(ctx, &logs.DeleteLogGroupInput{LogGroupName: aws.String("x")})
	wantError(t, err, "UnknownOperationException", 400, "")
	e := newEndpoint(t, newBackends(t), func(o *Options) { o.Databases = nil })
	_, err = rds.NewFromConfig(sdkConfig(t, serve(t, e, ""), east)).DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{})
	wantError(t, err, "InvalidAction", 400, "DescribeDBClusters") // a backend that is not there
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, *cfg.BaseEndpoint+"/", nil)
	response, err := cfg.HTTPClient.Do(request)
	if err != nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("a request without a signature: %v, %v", response, err)
	}
	if err == nil {
		response.Body.Close()
	}
}
