package api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"holdfast/internal/twin/ecs"
)

// TaskRunner starts tasks outside services; *ecs.Scheduler is one.
type TaskRunner interface {
	RunTask(ctx context.Context, region, cluster string, run ecs.Run) (ecs.Task, error)
}

// runTask starts one task. It is started as the task definition says: what would change it is refused.
func (e *Endpoint) runTask(ctx context.Context, r request, in *awsecs.RunTaskInput) (*awsecs.RunTaskOutput, error) {
	rest := *in
	rest.Cluster, rest.TaskDefinition, rest.StartedBy, rest.NetworkConfiguration = nil, nil, nil, nil
	rest.LaunchType, rest.Count, rest.ClientToken = "", nil, nil
	if set := firstSet(rest); set != "" {
		return nil, fail("InvalidParameterException", "The twin does not serve %s of RunTask", set)
	}
	if in.Count != nil && *in.Count != 1 {
		return nil, fail("InvalidParameterException", "The twin runs one task at a time")
	}
	c, err := e.cluster(r.region, in.Cluster)
	if err != nil {
		return nil, err
	}
	run := ecs.Run{TaskDefinition: *in.TaskDefinition, StartedBy: aws.ToString(in.StartedBy)}
	if n := in.NetworkConfiguration; n == nil || n.AwsvpcConfiguration == nil || len(n.AwsvpcConfiguration.Subnets) == 0 {
		return nil, fail("InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	}
	run.SubnetIDs, run.SecurityGroupIDs = in.NetworkConfiguration.AwsvpcConfiguration.Subnets, in.NetworkConfiguration.AwsvpcConfiguration.SecurityGroups
	t, err := e.options.Runner.RunTask(ctx, r.region, c.Name, run)
	if err != nil {
		return nil, err
	}
	return &awsecs.RunTaskOutput{Tasks: []types.Task{e.taskView(t)}, Failures: []types.Failure{}}, nil
}

// groupOf is the group that ECS puts a task into.
func groupOf(t ecs.Task) *string {
	if t.ServiceName != "" {
		return aws.String("service:" + t.ServiceName)
	}
	return aws.String("family:" + familyOf(t.TaskDefinitionARN))
}
