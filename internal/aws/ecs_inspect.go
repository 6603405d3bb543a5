package aws

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// serviceInspectionAPI lists the ECS calls that only looking at a deployment takes, and a canary task.
type serviceInspectionAPI interface {
	DescribeTaskDefinition(context.Context, *ecs.DescribeTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error)
	RunTask(context.Context, *ecs.RunTaskInput, ...func(*ecs.Options)) (*ecs.RunTaskOutput, error)
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
	StopTask(context.Context, *ecs.StopTaskInput, ...func(*ecs.Options)) (*ecs.StopTaskOutput, error)
}

// TaskDefinition is one revision of a task definition.
type TaskDefinition struct {
	ARN string
	// CPUUnits are 1024 for one vCPU.
	CPUUnits                      int
	ExecutionRoleARN, TaskRoleARN string
	Containers                    []Container
}

// Container is one container of a task definition. Secrets are ARNs by the name of the variable; LogGroup is where it logs to
// in CloudWatch Logs of LogRegion, empty if elsewhere.
type Container struct {
	Name, Image          string
	Environment, Secrets map[string]string
	LogGroup, LogRegion  string
}

// TaskDefinition describes a task definition by its ARN, or "family:revision".
func (s *Services) TaskDefinition(ctx context.Context, name string) (TaskDefinition, error) {
	out, err := s.api.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: sdk.String(name)})
	if err != nil {
		return TaskDefinition{}, fmt.Errorf("describe task definition %s in %s: %w", name, s.region, err)
	}
	found := out.TaskDefinition
	cpu, err := strconv.Atoi(sdk.ToString(found.Cpu))
	if err != nil {
		return TaskDefinition{}, fmt.Errorf("describe task definition %s in %s: its CPU is %q, want units", name, s.region, sdk.ToString(found.Cpu))
	}
	td := TaskDefinition{
		ARN: sdk.ToString(found.TaskDefinitionArn), CPUUnits: cpu,
		ExecutionRoleARN: sdk.ToString(found.ExecutionRoleArn), TaskRoleARN: sdk.ToString(found.TaskRoleArn),
	}
	for _, c := range found.ContainerDefinitions {
		container := Container{
			Name: sdk.ToString(c.Name), Image: sdk.ToString(c.Image), Environment: map[string]string{}, Secrets: map[string]string{},
		}
		for _, e := range c.Environment {
			container.Environment[sdk.ToString(e.Name)] = sdk.ToString(e.Value)
		}
		for _, secret := range c.Secrets {
			container.Secrets[sdk.ToString(secret.Name)] = sdk.ToString(secret.ValueFrom)
		}
		if l := c.LogConfiguration; l != nil && l.LogDriver == types.LogDriverAwslogs {
			container.LogGroup, container.LogRegion = l.Options["awslogs-group"], cmp.Or(l.Options["awslogs-region"], s.region)
		}
		td.Containers = append(td.Containers, container)
	}
	return td, nil
}

// Task is one task as ECS sees it.
type Task struct {
	ARN, LastStatus, DesiredStatus string
	// StoppedReason says why it ended, with the containers' own reasons; empty while it runs.
	StoppedReason string
}

// RunLike starts one task of a service's task definition, in the service's network but outside the service: no balancer
// sends it requests. The caller stops it with StopTask.
func (s *Services) RunLike(ctx context.Context, cluster, service, startedBy string) (Task, error) {
	described, err := s.api.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: sdk.String(cluster), Services: []string{service}})
	if err != nil || len(described.Services) != 1 {
		return Task{}, fmt.Errorf("describe service %q of cluster %q in %s: %w", service, cluster, s.region, orNone(err))
	}
	model := described.Services[0]
	out, err := s.api.RunTask(ctx, &ecs.RunTaskInput{
		Cluster: sdk.String(cluster), TaskDefinition: model.TaskDefinition, StartedBy: sdk.String(startedBy),
		LaunchType: types.LaunchTypeFargate, NetworkConfiguration: model.NetworkConfiguration,
	}, func(o *ecs.Options) { o.Retryer = once() })
	if err != nil {
		return Task{}, fmt.Errorf("run a task like those of service %q in %s: %w", service, s.region, err)
	}
	if len(out.Tasks) != 1 {
		reason := "no reason was given"
		if len(out.Failures) > 0 {
			reason = sdk.ToString(out.Failures[0].Reason)
		}
		return Task{}, fmt.Errorf("run a task like those of service %q in %s: it was not started: %s", service, s.region, reason)
	}
	return taskOf(out.Tasks[0]), nil
}

func orNone(err error) error {
	if err == nil {
		return fmt.Errorf("no such service")
	}
	return err
}

// Task describes one task.
func (s *Services) Task(ctx context.Context, cluster, arn string) (Task, error) {
	out, err := s.api.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: sdk.String(cluster), Tasks: []string{arn}})
	if err != nil {
		return Task{}, fmt.Errorf("describe task %s in %s: %w", arn, s.region, err)
	}
	if len(out.Tasks) != 1 {
		return Task{}, fmt.Errorf("describe task %s in %s: it is not known there", arn, s.region)
	}
	return taskOf(out.Tasks[0]), nil
}

func taskOf(found types.Task) Task {
	t := Task{
		ARN: sdk.ToString(found.TaskArn), LastStatus: sdk.ToString(found.LastStatus), DesiredStatus: sdk.ToString(found.DesiredStatus),
		StoppedReason: sdk.ToString(found.StoppedReason),
	}
	for _, c := range found.Containers {
		if reason := sdk.ToString(c.Reason); reason != "" {
			t.StoppedReason += "; container " + sdk.ToString(c.Name) + ": " + reason
		}
		if c.ExitCode != nil {
			t.StoppedReason += fmt.Sprintf("; container %s exited with %d", sdk.ToString(c.Name), *c.ExitCode)
		}
	}
	return t
}

// StopTask asks a task to end.
func (s *Services) StopTask(ctx context.Context, cluster, arn, reason string) error {
	_, err := s.api.StopTask(ctx, &ecs.StopTaskInput{Cluster: sdk.String(cluster), Task: sdk.String(arn), Reason: sdk.String(reason)})
	if err != nil {
		return fmt.Errorf("stop task %s in %s: %w", arn, s.region, err)
	}
	return nil
}
