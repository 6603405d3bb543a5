package api

import (
	"context"
	"regexp"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"holdfast/internal/topology"
)

// familyName is the form of a task definition's family and of a container's name.
var familyName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`)

// maxContainers is ECS's limit per task definition.
const maxContainers = 10

func (e *Endpoint) registerTaskDefinition(
	_ context.Context, r request, in *awsecs.RegisterTaskDefinitionInput,
) (*awsecs.RegisterTaskDefinitionOutput, error) {
	switch {
	case !familyName.MatchString(*in.Family):
		return nil, clientError("Family contains invalid characters.")
	case len(in.ContainerDefinitions) > maxContainers:
		return nil, clientError("Too many containers: at most %d.", maxContainers)
	case len(in.Volumes) > 0 || in.ProxyConfiguration != nil || in.EphemeralStorage != nil:
		return nil, clientError("The twin runs task definitions without volumes, proxies and storage.")
	}
	td := topology.TaskDefinition{
		Region: r.region, Family: *in.Family, ExecutionRoleARN: aws.ToString(in.ExecutionRoleArn), TaskRoleARN: aws.ToString(in.TaskRoleArn),
	}
	var err error
	if td.CPUUnits, err = taskSize("cpu", in.Cpu); err != nil {
		return nil, err
	}
	if td.MemoryMiB, err = taskSize("memory", in.Memory); err != nil {
		return nil, err
	}
	for _, c := range in.ContainerDefinitions {
		container, err := containerOf(c)
		if err != nil {
			return nil, err
		}
		td.Containers = append(td.Containers, container)
	}
	td, err = e.options.Containers.RegisterTaskDefinition(td)
	if err != nil {
		return nil, err
	}
	view := taskDefinitionView(td)
	return &awsecs.RegisterTaskDefinitionOutput{TaskDefinition: view, Tags: in.Tags}, nil
}

func clientError(format string, a ...any) error { return fail("ClientException", format, a...) }

// taskSize reads a task's size, which Fargate requires; it comes as a text.
func taskSize(name string, text *string) (int, error) {
	n, err := strconv.Atoi(aws.ToString(text))
	if err != nil || n < 1 {
		return 0, clientError("Fargate requires task definition to have %s at the task level, as a number of units.", name)
	}
	return n, nil
}

// containerOf refuses what the twin would not do, instead of ignoring it.
func containerOf(c types.ContainerDefinition) (topology.Container, error) {
	out := topology.Container{
		Name: aws.ToString(c.Name), Image: aws.ToString(c.Image), EntryPoint: c.EntryPoint, Command: c.Command,
		Essential: c.Essential == nil || *c.Essential, Environment: map[string]string{}, Secrets: map[string]string{},
	}
	switch {
	case !familyName.MatchString(out.Name):
		return out, clientError("Container.name contains invalid characters.")
	case out.Image == "":
		return out, clientError("Container.image should not be null or empty.")
	case len(c.MountPoints) > 0 || len(c.VolumesFrom) > 0 || len(c.DependsOn) > 0 || c.HealthCheck != nil || len(c.EnvironmentFiles) > 0:
		return out, clientError("The twin runs containers without volumes, dependencies, health checks of their own and "+
			"environment files; container %s has one.", out.Name)
	}
	for _, pair := range c.Environment {
		out.Environment[aws.ToString(pair.Name)] = aws.ToString(pair.Value)
	}
	for _, s := range c.Secrets {
		out.Secrets[aws.ToString(s.Name)] = aws.ToString(s.ValueFrom)
	}
	for _, p := range c.PortMappings {
		if p.ContainerPort != nil {
			out.Ports = append(out.Ports, int(*p.ContainerPort))
		}
	}
	if c.StopTimeout != nil {
		out.StopTimeout = time.Duration(*c.StopTimeout) * time.Second
	}
	if c.LogConfiguration != nil && c.LogConfiguration.LogDriver == types.LogDriverAwslogs {
		out.LogGroup = c.LogConfiguration.Options["awslogs-group"]
	}
	return out, nil
}
