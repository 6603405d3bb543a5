package preflight

import (
	"context"
	"time"

	"holdfast/internal/aws"
	"holdfast/internal/fence"
	"holdfast/internal/operator"
	"holdfast/internal/term"
)

// Sources are what the checks ask. Every interface lists the calls of its checks and no other; package aws has the
// adapters, and the twin answers the same ones.
type Sources struct {
	Deployment  Deployment
	Databases   func(region string) Databases
	Services    func(region string) Services
	Balancers   func(region string) Balancers
	Alarms      func(region string) Alarms
	Topics      func(region string) Topics
	Names       Names
	Permissions Permissions
	Account     Account
	SQL         SQL
	// Terraform compares the configuration in a folder with what is there; nil skips the check.
	Terraform Terraform
}

// Deployment is the deployment's own state: its record and its beacons.
type Deployment interface {
	Status(ctx context.Context) operator.Status
	Beacons(ctx context.Context) (map[string]term.Beacon, error)
}

// Databases is a region's database control plane.
type Databases interface {
	GlobalCluster(ctx context.Context, identifier string) (aws.GlobalCluster, error)
	Cluster(ctx context.Context, identifier string) (aws.DBCluster, error)
	Parameters(ctx context.Context, group string) (map[string]string, error)
	ManualSnapshots(ctx context.Context) (int, error)
}

// Services is a region's container scheduler.
type Services interface {
	Service(ctx context.Context, cluster, service string) (aws.Service, error)
	TaskDefinition(ctx context.Context, name string) (aws.TaskDefinition, error)
	Bounds(ctx context.Context, cluster, service string) (minimum, maximum int, err error)
	RunLike(ctx context.Context, cluster, service, startedBy string) (aws.Task, error)
	Task(ctx context.Context, cluster, arn string) (aws.Task, error)
	StopTask(ctx context.Context, cluster, arn, reason string) error
}

// Balancers is a region's load balancers.
type Balancers interface {
	TargetHealth(ctx context.Context, targetGroupARN string) ([]aws.Target, error)
	Listeners(ctx context.Context, loadBalancerARN string) ([]aws.Listener, error)
	KeepAlive(ctx context.Context, loadBalancerARN string) (time.Duration, error)
}

// Alarms is a region's alarms.
type Alarms interface {
	List(ctx context.Context, suffix string) ([]aws.Alarm, error)
}

// Topics is a region's notifications.
type Topics interface {
	Subscriptions(ctx context.Context, topicARN string) ([]aws.Subscription, error)
}

// Names is the DNS control plane.
type Names interface {
	Records(ctx context.Context, name string) ([]aws.Record, error)
	HealthCheck(ctx context.Context, id string) (aws.HealthCheck, error)
}

// Permissions is IAM's policy simulator.
type Permissions interface {
	Allowed(ctx context.Context, roleARN string, c aws.Call) (bool, error)
}

// Account is what is asked of the account in a region.
type Account interface {
	ImageDigest(ctx context.Context, i aws.RegistryImage) (string, error)
	Quota(ctx context.Context, region, service, code string) (aws.Quota, error)
	Table(ctx context.Context, region, name string) (aws.Table, error)
	ServerTime(ctx context.Context, region string) (time.Time, error)
}

// SQL asks the sites' databases themselves, with the password that the site's own secret holds.
type SQL interface {
	// Look logs in. The error wraps ErrPassword, ErrSecret or ErrUnreachable where that is the reason.
	Look(ctx context.Context, site operator.Site) (DatabaseView, error)
	// Clock opens a database to read its clock.
	Clock(ctx context.Context, site operator.Site) (Clock, error)
}

// DatabaseView is what a database says of itself.
type DatabaseView struct {
	ServerVersion string
	State         fence.State
	// ProtectedTables is how many tables carry the write fence.
	ProtectedTables int
}

// Clock reads a database's clock.
type Clock interface {
	Now(ctx context.Context) (time.Time, error)
	Close()
}

// Terraform compares a configuration with what is there.
type Terraform interface {
	// Plan returns whether anything would be changed, and the plan's last lines.
	Plan(ctx context.Context) (changes bool, summary string, err error)
}
