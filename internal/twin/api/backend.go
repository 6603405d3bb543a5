package api

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/autoscaling"
	"holdfast/internal/twin/balancer"
	"holdfast/internal/twin/dns"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/postgres"
)

// An error of a backend with a method ErrorCode() string reaches the client under that code, with the text of its
// method ErrorMessage() string if it has one; the errors of package ecs are known. Any other error becomes the
// service's internal failure.

// Network is what the endpoint needs of the links between the regions; *network.Fabric is one. "" is the world outside
// all regions.
type Network interface {
	// Up reports whether a region is there.
	Up(region string) bool
	// OneWay takes as long as a message from one region to another. While the link is partitioned, or either region is
	// down, it waits until ctx ends and returns an error.
	OneWay(ctx context.Context, from, to string) error
}

// Databases is the Aurora control plane; *postgres.Aurora is one.
type Databases interface {
	GlobalClusters() []postgres.GlobalCluster
	Clusters(region string) []postgres.Cluster
	Instances(region string) []postgres.Instance
	// Events returns a region's events, oldest first.
	Events(region string) []postgres.Event
	// Snapshots returns a region's cluster snapshots, oldest first.
	Snapshots(region string) []postgres.Snapshot
	// Switchover and Failover return once the operation is under way. The target is an identifier in the region, or an
	// ARN anywhere.
	Switchover(ctx context.Context, region, globalCluster, target string) error
	Failover(ctx context.Context, region, globalCluster, target string, allowDataLoss bool) error
	// RestoreCluster makes a cluster of a snapshot, CreateInstance an instance in it; both are deleted the other way round.
	// They return once the work is under way. What the Terraform made is not deleted.
	RestoreCluster(region, identifier, snapshot string) (postgres.Cluster, error)
	CreateInstance(region, cluster, identifier, class string) (postgres.Instance, error)
	DeleteInstance(region, identifier string) (postgres.Instance, error)
	DeleteCluster(region, identifier string) (postgres.Cluster, error)
}

// Containers is the ECS scheduler; *ecs.Scheduler is one.
type Containers interface {
	Clusters(region string) []topology.ECSCluster
	Services(region, cluster string) ([]ecs.Service, error)
	// Tasks returns the tasks of a cluster, those that stopped lately too; service "" means all.
	Tasks(region, cluster, service string) ([]ecs.Task, error)
	TaskDefinitions(region string) []topology.TaskDefinition
	// RegisterTaskDefinition adds a revision and returns it with its number and ARN.
	RegisterTaskDefinition(td topology.TaskDefinition) (topology.TaskDefinition, error)
	UpdateService(ctx context.Context, region, cluster, service string, u ecs.Update) (ecs.Service, error)
	StopTask(ctx context.Context, region, cluster, taskID, reason string) (ecs.Task, error)
}

// Balancers is the state of the load balancers; *balancer.Balancer is one.
type Balancers interface {
	// TargetHealth returns a target group's targets, sorted by address and port.
	TargetHealth(targetGroupARN string) []balancer.TargetHealth
	// Default is a listener's default action of this moment; SetDefault makes it forward to target groups by weight.
	Default(listenerARN string) (topology.Action, error)
	SetDefault(listenerARN string, groups []topology.WeightedTargetGroup) error
}

// HealthChecks is the state of the Route 53 health checks; *dns.Server is one.
type HealthChecks interface {
	// HealthCheckStatus returns what each checker saw last.
	HealthCheckStatus(id string) []dns.Observation
}

// Tables is the DynamoDB table of the topology; *termtable.Table is one.
type Tables interface {
	GetItem(ctx context.Context, region string, in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error)
	PutItem(ctx context.Context, region string, in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error)
	UpdateItem(ctx context.Context, region string, in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error)
	DeleteItem(ctx context.Context, region string, in *dynamodb.DeleteItemInput) (*dynamodb.DeleteItemOutput, error)
	Query(ctx context.Context, region string, in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error)
	Scan(ctx context.Context, region string, in *dynamodb.ScanInput) (*dynamodb.ScanOutput, error)
	DescribeTable(ctx context.Context, region string, in *dynamodb.DescribeTableInput) (*dynamodb.DescribeTableOutput, error)
	ListTables(ctx context.Context, region string, in *dynamodb.ListTablesInput) (*dynamodb.ListTablesOutput, error)
}

// Metrics is CloudWatch's memory of metrics; *alarms.Metrics is one.
type Metrics interface {
	Put(region, namespace string, data ...alarms.Datum)
	// List returns a region's metrics, sorted.
	List(region string) []alarms.Metric
	// Statistics aggregates a metric's data in [from, to) into periods; unit "" means any.
	Statistics(region string, m alarms.Metric, unit string, from, to time.Time, period time.Duration) []alarms.Aggregate
}

// Alarms is the state of the topology's alarms; *alarms.Evaluator is one.
type Alarms interface {
	// State returns an alarm's state.
	State(region, name string) (alarms.State, bool)
	// List returns a region's alarms on metrics; composite ones are in the topology.
	List(region string) []topology.Alarm
	// History returns a region's history, the newest first.
	History(region string) []alarms.Event
	// SetState sets a state until the next evaluation; false if there is no such alarm.
	SetState(ctx context.Context, region, name, value, reason, data string) bool
}

// Secrets gives secrets' values.
type Secrets interface {
	// Value returns the current secret string.
	Value(region, arn string) (string, bool)
}

// Scaling is Application Auto Scaling; *autoscaling.Scaler is one.
type Scaling interface {
	// Targets returns a region's scalable targets.
	Targets(region string) []topology.ScalableTarget
	// Register adds a target or changes its bounds, and brings the service within them.
	Register(ctx context.Context, t topology.ScalableTarget) error
	// PolicyAlarms returns the alarms that a policy made for itself.
	PolicyAlarms(p topology.ScalingPolicy) []topology.Alarm
	// Activities returns what was scaled in a region, the newest first.
	Activities(region string) []autoscaling.Activity
}
