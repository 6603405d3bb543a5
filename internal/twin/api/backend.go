package api

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"holdfast/internal/topology"
)

// Errors of backends reach the client as they are when they have a method ErrorCode() string that names AWS's code
// (and, optionally, HTTPStatus() int); any other error becomes the service's internal failure.

// Network is what the endpoint needs of the links between the regions. "" is the world outside all regions.
type Network interface {
	// Up reports whether a region is there.
	Up(region string) bool
	// OneWay takes as long as a message from one region to another. While the link is partitioned, or either region is
	// down, it waits until ctx ends and returns an error.
	OneWay(ctx context.Context, from, to string) error
}

// Databases is the state of the Aurora clusters. What never changes is read from the topology.
type Databases interface {
	// GlobalCluster returns the state of a global cluster of the topology as a region's control plane sees it.
	GlobalCluster(identifier string) (GlobalCluster, bool)
	Cluster(region, identifier string) (DBCluster, bool)
	Instance(region, identifier string) (DBInstance, bool)
	// Events returns a region's events, oldest first.
	Events(region string) []DBEvent
	// Snapshots returns a region's cluster snapshots, oldest first.
	Snapshots(region string) []DBSnapshot
	// Switchover and Failover start to move the writer to a cluster, named by its ARN, and return once that is accepted.
	Switchover(ctx context.Context, region, globalCluster, targetARN string) error
	Failover(ctx context.Context, region, globalCluster, targetARN string, allowDataLoss bool) error
}

// GlobalCluster is the state of an Aurora global database.
type GlobalCluster struct {
	// Status is AWS's word: "available", "switching-over", "failing-over", ...
	Status  string
	Members []GlobalClusterMember
	// Moving is nil unless the writer is being moved.
	Moving *GlobalClusterMove
}

// GlobalClusterMember is one cluster of a global database.
type GlobalClusterMember struct {
	ClusterARN string
	Writer     bool
	// Synchronized says that a secondary has caught up.
	Synchronized bool
}

// GlobalClusterMove is a switchover or failover under way.
type GlobalClusterMove struct {
	// Status is "pending", "failing-over" or "cancelling".
	Status          string
	FromARN, ToARN  string
	DataLossAllowed bool
}

// DBCluster is the state of an Aurora cluster.
type DBCluster struct {
	Status  string
	Created time.Time
	// WriterInstance is the identifier of the instance that leads the cluster's replication.
	WriterInstance string
	// ReplicationSourceARN is the ARN of the cluster that a secondary follows, empty in the global writer.
	ReplicationSourceARN string
	LatestRestorable     time.Time
}

// DBInstance is the state of one instance.
type DBInstance struct {
	Status  string
	Created time.Time
	// Address and Port are where the instance itself is reached.
	Address string
	Port    int
}

// DBEvent is one RDS event.
type DBEvent struct {
	At time.Time
	// SourceType is "global-cluster", "db-cluster" or "db-instance" (the API shows a global cluster's as db-cluster).
	SourceType, SourceIdentifier, SourceARN string
	Categories                              []string
	Message                                 string
}

// DBSnapshot is one cluster snapshot.
type DBSnapshot struct {
	Identifier, ClusterIdentifier, Status string
	// Type is "manual" or "automated".
	Type    string
	Created time.Time
}

// Containers is the ECS scheduler.
type Containers interface {
	// Service returns the state of a service of the topology.
	Service(region, cluster, service string) (Service, bool)
	// Tasks returns the tasks of a cluster, those that stopped lately too.
	Tasks(region, cluster string) []Task
	// TaskDefinitions returns a region's revisions, oldest first.
	TaskDefinitions(region string) []topology.TaskDefinition
	UpdateService(ctx context.Context, region, cluster, service string, u ServiceUpdate) error
	StopTask(ctx context.Context, region, cluster, taskARN, reason string) error
}

// ServiceUpdate changes a service; fields that are zero stay as they are.
type ServiceUpdate struct {
	DesiredCount       *int
	TaskDefinitionARN  string
	ForceNewDeployment bool
}

// Service is the state of an ECS service.
type Service struct {
	TaskDefinitionARN         string
	Desired, Running, Pending int
	Created                   time.Time
	// Deployments are the newest first; the first is PRIMARY.
	Deployments []Deployment
	// Events are the newest first.
	Events []ServiceEvent
}

// Deployment is one rollout of a service.
type Deployment struct {
	ID, TaskDefinitionARN             string
	Desired, Running, Pending, Failed int
	// Status is PRIMARY, ACTIVE or INACTIVE; Rollout is IN_PROGRESS, COMPLETED or FAILED.
	Status, Rollout, RolloutReason string
	Created, Updated               time.Time
}

// ServiceEvent is one message of the service scheduler.
type ServiceEvent struct {
	ID, Message string
	At          time.Time
}

// Task is one task.
type Task struct {
	ARN, Service, TaskDefinitionARN string
	// LastStatus and DesiredStatus are AWS's words, as in RUNNING.
	LastStatus, DesiredStatus string
	Address                   string
	AvailabilityZone          string
	Created, Started          time.Time
	Stopping, Stopped         time.Time
	// StopCode and StoppedReason belong to a stopped task; ExitCode to its main container, nil if it never ran.
	StopCode, StoppedReason string
	ExitCode                *int
	// DeploymentID is what started the task.
	DeploymentID string
}

// Balancers is the state of the load balancers.
type Balancers interface {
	// TargetHealth returns a target group's targets, sorted by address and port.
	TargetHealth(targetGroupARN string) []TargetHealth
}

// TargetHealth is the state of one target.
type TargetHealth struct {
	Address string
	Port    int
	// State is "initial", "healthy", "unhealthy", "unused" or "draining"; Reason is AWS's code, as in Target.Timeout.
	State, Reason, Description string
}

// HealthChecks is the state of the Route 53 health checks.
type HealthChecks interface {
	// HealthCheckStatus returns what each checker saw last.
	HealthCheckStatus(id string) []HealthObservation
}

// HealthObservation is what one Route 53 checker saw.
type HealthObservation struct {
	// Region is the checker's AWS region, IPAddress its own address.
	Region, IPAddress string
	// Status is a sentence that begins with "Success" or "Failure".
	Status  string
	Checked time.Time
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

// Metrics is CloudWatch's memory of metrics, region by region.
type Metrics interface {
	// Put adds data; it has been checked.
	Put(region, namespace string, data []Datum)
	// List returns the metrics of a region that had data lately, sorted.
	List(region string) []Metric
	// Statistics aggregates a metric's data in [from, to) into periods that are aligned to multiples of the period.
	// Periods without data are left out; unit "" means any.
	Statistics(region string, m Metric, unit string, from, to time.Time, period time.Duration) []Aggregate
}

// Metric identifies a metric.
type Metric struct {
	Namespace, Name string
	Dimensions      map[string]string
}

// Datum is one measurement, or a set of equal measurements.
type Datum struct {
	Name       string
	Dimensions map[string]string
	Unit       string
	At         time.Time
	// Sum, Minimum, Maximum and Count describe the set. Values holds the single values for percentiles, with their
	// counts, if they are known.
	Sum, Minimum, Maximum, Count float64
	Values, Counts               []float64
}

// Aggregate is what one period of a metric held.
type Aggregate struct {
	// At is the start of the period.
	At                           time.Time
	Unit                         string
	Sum, Minimum, Maximum, Count float64
	// Percentile returns the value below which the given share (0-100) of the samples lies.
	Percentile func(p float64) (float64, bool)
}

// Alarms is the state of the topology's alarms.
type Alarms interface {
	// State returns an alarm's state.
	State(region, name string) (AlarmState, bool)
	// History returns a region's history, the newest first.
	History(region string) []AlarmEvent
}

// AlarmState is the state of an alarm.
type AlarmState struct {
	// Value is OK, ALARM or INSUFFICIENT_DATA.
	Value, Reason, ReasonData string
	Updated, Transitioned     time.Time
}

// AlarmEvent is one entry of an alarm's history.
type AlarmEvent struct {
	At    time.Time
	Alarm string
	// Type is StateUpdate, Action or ConfigurationUpdate.
	Type, Summary, Data string
}

// Logs says which streams a log group has and which files hold them.
type Logs interface {
	// Streams returns the log streams of a group, in order of creation.
	Streams(region, group string) []LogStream
}

// LogStream is one container's log.
type LogStream struct {
	// Name is as the awslogs driver names it: prefix/container/task-id.
	Name    string
	Created time.Time
	// Path is the file that the container writes to, one event per line.
	Path string
}

// Secrets gives secrets' values.
type Secrets interface {
	// Value returns the current secret string.
	Value(region, arn string) (string, bool)
}

// Scaling holds the scalable targets. *ScalableTargets is one.
type Scaling interface {
	// Targets returns a region's scalable targets.
	Targets(region string) []topology.ScalableTarget
	// Register adds a target or changes its bounds.
	Register(t topology.ScalableTarget)
}
