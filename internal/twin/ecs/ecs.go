package ecs

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
	"holdfast/internal/twin/task"
)

// The errors that the API maps to AWS's.
var (
	// ErrClusterNotFound is ClusterNotFoundException.
	ErrClusterNotFound = errors.New("cluster not found")
	// ErrServiceNotFound is ServiceNotFoundException.
	ErrServiceNotFound = errors.New("service not found")
	// ErrTaskDefinitionNotFound is ClientException "Unable to describe task definition".
	ErrTaskDefinitionNotFound = errors.New("unable to describe task definition")
	// ErrTaskNotFound is InvalidParameterException "The referenced task was not found".
	ErrTaskNotFound = errors.New("the referenced task was not found")
	// ErrInvalid is InvalidParameterException.
	ErrInvalid = errors.New("invalid parameter")
	// ErrNoImage: a container's image has no program on this machine.
	ErrNoImage = errors.New("no program on this machine is known for the image")
	// ErrResources is ResourceInitializationError: a task could not get what it has to have before it starts.
	ErrResources = errors.New("ResourceInitializationError")
	// ErrRegionDown: the region is lost or was never started.
	ErrRegionDown = errors.New("the region is down")
)

// Image is the local program that stands for a container image.
type Image struct {
	Path string
	// Args are used unless the container has a command of its own.
	Args []string
}

// Attachment is one task's place.
type Attachment struct {
	// Service has the security groups of the task.
	Service    topology.Service
	Definition topology.TaskDefinition
	// SubnetID is where the task was placed, Address what it has on this machine.
	SubnetID string
	Address  netip.Addr
}

// Registrar is where tasks are registered as targets; balancer.Balancer is one.
type Registrar interface {
	Register(targetGroupARN string, ip netip.Addr, port int)
	// Deregister returns a channel that is closed when the target has drained.
	Deregister(targetGroupARN string, ip netip.Addr, port int) <-chan struct{}
}

// Options says what runs and on what.
type Options struct {
	Topology   topology.Topology
	Fabric     *network.Fabric
	Supervisor *task.Supervisor
	// Images maps an image, with or without its tag or digest, to a program.
	Images map[string]Image
	// Environment builds a container's whole environment (secrets, substituted names, scaled durations);
	// HOLDFAST_TASK_ADDRESS is added. Nil is the container's own environment as it is.
	Environment func(svc topology.Service, c topology.Container, address netip.Addr) []string
	// Attach, if set, gives a task its place in the network before its first container starts; an error ends the task. An
	// error that wraps [ErrResources] is the task's stopped reason as it is. Detach undoes it once the task has ended.
	Attach    func(Attachment) error
	Detach    func(address netip.Addr)
	Registrar Registrar
	// TargetHealth gives the state ("healthy", "unhealthy", …) and reason of a target; with it the scheduler replaces
	// unhealthy tasks and waits for healthy ones in deployments, as ECS does. Nil counts every running task as healthy.
	TargetHealth func(targetGroupARN string, ip netip.Addr, port int) (state, reason string)
	// Speed divides stop time-outs, grace periods and back-off; 0 means 1.
	Speed float64
	// LogDir gets a folder per task with a log per container; empty keeps the log in the task's working directory.
	LogDir string
	// Events is told of every service event and every task change. It must not block.
	Events func(Event)
	Logger *slog.Logger
}

// Event is something that happened to a service.
type Event struct {
	At      time.Time
	Region  string
	Cluster string
	Service string
	// TaskARN is empty for an event of the service as a whole.
	TaskARN string
	// Message is worded as in the service's events on AWS.
	Message string
}

// ServiceEvent is an entry of a service's event list.
type ServiceEvent struct {
	ID      string
	At      time.Time
	Message string
}

// Deployment is one deployment of a service.
type Deployment struct {
	ID string
	// Status is "PRIMARY", "ACTIVE" or "INACTIVE".
	Status            string
	TaskDefinitionARN string
	DesiredCount      int
	RunningCount      int
	PendingCount      int
	FailedTasks       int
	CreatedAt         time.Time
	UpdatedAt         time.Time
	// RolloutState is "IN_PROGRESS", "COMPLETED" or "FAILED".
	RolloutState       string
	RolloutStateReason string
}

// Service is a service as DescribeServices shows it.
type Service struct {
	// Service holds the current desired count and task definition.
	topology.Service
	ClusterARN   string
	Status       string
	RunningCount int
	PendingCount int
	CreatedAt    time.Time
	// Deployments has the primary one first; Events the newest first, at most 100.
	Deployments []Deployment
	Events      []ServiceEvent
}

// Container is one container of a task.
type Container struct {
	Name       string
	Image      string
	LastStatus string
	// ExitCode is nil while it runs.
	ExitCode *int
	Reason   string
	Pid      int
	LogPath  string
}

// Task is a task as DescribeTasks shows it.
type Task struct {
	ARN               string
	ID                string
	ClusterARN        string
	TaskDefinitionARN string
	Region            string
	ServiceName       string
	DeploymentID      string
	// LastStatus and DesiredStatus are ECS's: PROVISIONING, PENDING, RUNNING, DEACTIVATING, STOPPING, STOPPED.
	LastStatus    string
	DesiredStatus string
	// HealthStatus is UNKNOWN: it speaks of container health checks, and none is defined.
	HealthStatus  string
	StoppedReason string
	// StopCode is "EssentialContainerExited", "TaskFailedToStart", "ServiceSchedulerInitiated" or "UserInitiated".
	StopCode string
	Address  netip.Addr
	// SubnetID and AvailabilityZone say where the task was placed; empty if the service's subnets are not known.
	SubnetID, AvailabilityZone string

	Containers []Container
	CreatedAt  time.Time
	StartedAt  time.Time
	StoppingAt time.Time
	StoppedAt  time.Time
	// CPUTime is the processor time of all containers so far.
	CPUTime time.Duration
}

// Update is a change of a service; zero fields change nothing.
type Update struct {
	DesiredCount *int
	// TaskDefinition is an ARN, "family:revision" or "family" for the newest revision.
	TaskDefinition     string
	ForceNewDeployment bool
}
