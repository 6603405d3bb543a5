package api

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"holdfast/internal/topology"
	"holdfast/internal/twin/api/wire"
	"holdfast/internal/twin/ecs"
)

func (e *Endpoint) ecsService() *service {
	s := &service{
		id: "ecs", protocols: []protocol{json11}, target: "AmazonEC2ContainerServiceV20141113",
		style: wire.Style{LowerCamel: true}, invalid: invalidWith("InvalidParameterException"),
		missing: func(member string) error {
			return fail("InvalidParameterException", "%s can not be blank.", upperFirst(member))
		},
	}
	if e.options.Containers == nil {
		return s
	}
	s.operations = operations(
		op("ListClusters", e.listClusters),
		op("DescribeClusters", e.describeClusters),
		op("ListServices", e.listServices),
		op("DescribeServices", e.describeServices, "Services"),
		op("UpdateService", e.updateService, "Service"),
		op("ListTasks", e.listTasks),
		op("DescribeTasks", e.describeTasks, "Tasks"),
		op("StopTask", e.stopTask, "Task"),
		op("ListTaskDefinitions", e.listTaskDefinitions),
		op("DescribeTaskDefinition", e.describeTaskDefinition, "TaskDefinition"),
		op("RegisterTaskDefinition", e.registerTaskDefinition, "Family", "ContainerDefinitions"),
	)
	if e.options.Runner != nil {
		s.operations["RunTask"] = op("RunTask", e.runTask, "TaskDefinition")
	}
	return s
}

var errNoCluster = fail("ClusterNotFoundException", "Cluster not found.")

// maxListed bounds one page of an ECS list, maxDescribed the names in one describe call.
const (
	maxListed    = 100
	maxDescribed = 100
)

// cluster finds a cluster by name or ARN; ECS takes "default" if none is named.
func (e *Endpoint) cluster(region string, name *string) (topology.ECSCluster, error) {
	wanted := aws.ToString(name)
	if wanted == "" {
		wanted = "default"
	}
	for _, c := range e.options.Containers.Clusters(region) {
		if c.Name == wanted || c.ARN == wanted {
			return c, nil
		}
	}
	return topology.ECSCluster{}, errNoCluster
}

// ecsPage pages a list of ARNs.
func ecsPage(arns []string, token *string, limit *int32) ([]string, *string, error) {
	n := maxListed
	if limit != nil {
		if n = int(*limit); n < 1 || n > maxListed {
			return nil, nil, fail("InvalidParameterException", "maxResults must be between 1 and %d", maxListed)
		}
	}
	page, next, ok := pageAfter(arns, func(s string) string { return s }, aws.ToString(token), n)
	if !ok {
		return nil, nil, fail("InvalidParameterException", "Invalid token %s", *token)
	}
	return page, optional(next), nil
}

func (e *Endpoint) listClusters(
	_ context.Context, r request, in *awsecs.ListClustersInput,
) (*awsecs.ListClustersOutput, error) {
	arns := []string{}
	for _, c := range e.options.Containers.Clusters(r.region) {
		arns = append(arns, c.ARN)
	}
	page, next, err := ecsPage(arns, in.NextToken, in.MaxResults)
	return &awsecs.ListClustersOutput{ClusterArns: page, NextToken: next}, err
}

func (e *Endpoint) describeClusters(
	_ context.Context, r request, in *awsecs.DescribeClustersInput,
) (*awsecs.DescribeClustersOutput, error) {
	names := in.Clusters
	if len(names) == 0 {
		names = []string{"default"}
	}
	found, missing := pick(e.options.Containers.Clusters(r.region), names, func(c topology.ECSCluster) []string {
		return []string{c.Name, c.ARN}
	})
	out := &awsecs.DescribeClustersOutput{Clusters: []types.Cluster{}, Failures: e.failures(r, "cluster", missing)}
	for _, c := range found {
		services, err := e.options.Containers.Services(r.region, c.Name)
		if err != nil {
			return nil, err
		}
		view := types.Cluster{
			ClusterName: aws.String(c.Name), ClusterArn: aws.String(c.ARN), Status: aws.String("ACTIVE"),
			ActiveServicesCount: int32(len(services)), CapacityProviders: []string{"FARGATE"},
		}
		for _, s := range services {
			view.RunningTasksCount += int32(s.RunningCount)
			view.PendingTasksCount += int32(s.PendingCount)
		}
		out.Clusters = append(out.Clusters, view)
	}
	return out, nil
}

// failures says which of the named resources are missing. prefix is the resource's part of an ARN.
func (e *Endpoint) failures(r request, prefix string, names []string) []types.Failure {
	out := []types.Failure{}
	for _, n := range names {
		arn := n
		if !strings.HasPrefix(n, "arn:") {
			arn = "arn:aws:ecs:" + r.region + ":" + e.options.Topology.AccountID + ":" + prefix + "/" + n
		}
		out = append(out, types.Failure{Arn: aws.String(arn), Reason: aws.String("MISSING")})
	}
	return out
}

func (e *Endpoint) listServices(
	_ context.Context, r request, in *awsecs.ListServicesInput,
) (*awsecs.ListServicesOutput, error) {
	c, err := e.cluster(r.region, in.Cluster)
	if err != nil {
		return nil, err
	}
	services, err := e.options.Containers.Services(r.region, c.Name)
	if err != nil {
		return nil, err
	}
	arns := []string{}
	for _, s := range services {
		if in.LaunchType == "" || in.LaunchType == types.LaunchTypeFargate {
			arns = append(arns, s.ARN)
		}
	}
	page, next, err := ecsPage(arns, in.NextToken, in.MaxResults)
	return &awsecs.ListServicesOutput{ServiceArns: page, NextToken: next}, err
}

func (e *Endpoint) describeServices(
	_ context.Context, r request, in *awsecs.DescribeServicesInput,
) (*awsecs.DescribeServicesOutput, error) {
	if len(in.Services) > 10 {
		return nil, fail("InvalidParameterException", "Services must have at most 10 items.")
	}
	c, err := e.cluster(r.region, in.Cluster)
	if err != nil {
		return nil, err
	}
	services, err := e.options.Containers.Services(r.region, c.Name)
	if err != nil {
		return nil, err
	}
	found, missing := pick(services, in.Services, func(s ecs.Service) []string { return []string{s.Name, s.ARN} })
	out := &awsecs.DescribeServicesOutput{
		Services: []types.Service{}, Failures: e.failures(r, "service/"+c.Name, missing),
	}
	for _, s := range found {
		out.Services = append(out.Services, serviceView(s))
	}
	return out, nil
}

func serviceView(s ecs.Service) types.Service {
	out := types.Service{
		ServiceName: aws.String(s.Name), ServiceArn: aws.String(s.ARN), ClusterArn: aws.String(s.ClusterARN),
		Status: aws.String(s.Status), TaskDefinition: aws.String(s.TaskDefinitionARN), LaunchType: types.LaunchTypeFargate,
		DesiredCount: int32(s.DesiredCount), RunningCount: int32(s.RunningCount), PendingCount: int32(s.PendingCount),
		CreatedAt: aws.Time(s.CreatedAt), PlatformFamily: aws.String("Linux"), PlatformVersion: aws.String("LATEST"),
		SchedulingStrategy:            types.SchedulingStrategyReplica,
		DeploymentController:          &types.DeploymentController{Type: types.DeploymentControllerTypeEcs},
		HealthCheckGracePeriodSeconds: aws.Int32(int32(s.HealthCheckGrace / time.Second)),
		NetworkConfiguration:          networkOf(s.Service),
		DeploymentConfiguration: &types.DeploymentConfiguration{
			MinimumHealthyPercent: aws.Int32(int32(s.MinimumHealthyPercent)), MaximumPercent: aws.Int32(int32(s.MaximumPercent)),
			DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: s.CircuitBreaker, Rollback: s.CircuitBreakerRollback},
		},
		LoadBalancers: []types.LoadBalancer{}, Deployments: []types.Deployment{}, Events: []types.ServiceEvent{},
	}
	for _, g := range s.TargetGroups {
		out.LoadBalancers = append(out.LoadBalancers, types.LoadBalancer{
			TargetGroupArn: aws.String(g.TargetGroupARN), ContainerName: aws.String(g.ContainerName),
			ContainerPort: aws.Int32(int32(g.ContainerPort)),
		})
	}
	for _, d := range s.Deployments {
		out.Deployments = append(out.Deployments, types.Deployment{
			Id: aws.String(d.ID), Status: aws.String(d.Status), TaskDefinition: aws.String(d.TaskDefinitionARN),
			DesiredCount: int32(d.DesiredCount), RunningCount: int32(d.RunningCount), PendingCount: int32(d.PendingCount),
			FailedTasks: int32(d.FailedTasks), CreatedAt: aws.Time(d.CreatedAt), UpdatedAt: aws.Time(d.UpdatedAt),
			LaunchType: types.LaunchTypeFargate, RolloutState: types.DeploymentRolloutState(d.RolloutState),
			RolloutStateReason: optional(d.RolloutStateReason), NetworkConfiguration: networkOf(s.Service),
		})
	}
	for _, ev := range s.Events {
		out.Events = append(out.Events, types.ServiceEvent{
			Id: aws.String(ev.ID), CreatedAt: aws.Time(ev.At), Message: aws.String(ev.Message),
		})
	}
	return out
}

func networkOf(s topology.Service) *types.NetworkConfiguration {
	return &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{
		Subnets: append([]string{}, s.SubnetIDs...), SecurityGroups: s.SecurityGroupIDs,
		AssignPublicIp: types.AssignPublicIpDisabled,
	}}
}

func (e *Endpoint) updateService(
	ctx context.Context, r request, in *awsecs.UpdateServiceInput,
) (*awsecs.UpdateServiceOutput, error) {
	if err := onlyUpdates(in); err != nil {
		return nil, err
	}
	c, err := e.cluster(r.region, in.Cluster)
	if err != nil {
		return nil, err
	}
	u := ecs.Update{ForceNewDeployment: in.ForceNewDeployment}
	if in.DesiredCount != nil {
		if *in.DesiredCount < 0 {
			return nil, fail("InvalidParameterException", "Desired count must be greater than or equal to 0.")
		}
		n := int(*in.DesiredCount)
		u.DesiredCount = &n
	}
	if in.TaskDefinition != nil {
		td, err := e.taskDefinition(r.region, *in.TaskDefinition)
		if err != nil {
			return nil, err
		}
		u.TaskDefinition = td.ARN
	}
	s, err := e.options.Containers.UpdateService(ctx, r.region, c.Name, *in.Service, u)
	if errors.Is(err, ecs.ErrServiceNotFound) {
		return nil, fail("ServiceNotFoundException", "Service not found.")
	}
	if err != nil {
		return nil, err
	}
	view := serviceView(s)
	return &awsecs.UpdateServiceOutput{Service: &view}, nil
}

// onlyUpdates refuses changes that the twin would not make, instead of ignoring them.
func onlyUpdates(in *awsecs.UpdateServiceInput) error {
	rest := *in
	rest.Cluster, rest.Service, rest.DesiredCount, rest.TaskDefinition, rest.ForceNewDeployment = nil, nil, nil, nil, false
	if name := firstSet(rest); name != "" {
		return fail("InvalidParameterException", "The twin does not change a service's %s; change the Terraform.", lowerFirst(name))
	}
	return nil
}

func (e *Endpoint) listTasks(
	_ context.Context, r request, in *awsecs.ListTasksInput,
) (*awsecs.ListTasksOutput, error) {
	c, err := e.cluster(r.region, in.Cluster)
	if err != nil {
		return nil, err
	}
	service := aws.ToString(in.ServiceName)
	tasks, err := e.options.Containers.Tasks(r.region, c.Name, service)
	if errors.Is(err, ecs.ErrServiceNotFound) {
		return nil, fail("ServiceNotFoundException", "Service not found.")
	}
	if err != nil {
		return nil, err
	}
	desired := string(in.DesiredStatus)
	if desired == "" {
		desired = "RUNNING"
	}
	arns := []string{}
	for _, t := range tasks {
		if t.DesiredStatus != desired ||
			in.Family != nil && familyOf(t.TaskDefinitionARN) != *in.Family ||
			in.StartedBy != nil && t.DeploymentID != *in.StartedBy ||
			in.LaunchType != "" && in.LaunchType != types.LaunchTypeFargate {
			continue
		}
		arns = append(arns, t.ARN)
	}
	page, next, err := ecsPage(arns, in.NextToken, in.MaxResults)
	return &awsecs.ListTasksOutput{TaskArns: page, NextToken: next}, err
}

// familyOf is the family in a task definition's ARN.
func familyOf(arn string) string {
	family, _, _ := strings.Cut(lastPart(arn), ":")
	return family
}

func (e *Endpoint) describeTasks(
	_ context.Context, r request, in *awsecs.DescribeTasksInput,
) (*awsecs.DescribeTasksOutput, error) {
	if len(in.Tasks) > maxDescribed {
		return nil, fail("InvalidParameterException", "Tasks must have at most %d items.", maxDescribed)
	}
	c, err := e.cluster(r.region, in.Cluster)
	if err != nil {
		return nil, err
	}
	tasks, err := e.options.Containers.Tasks(r.region, c.Name, "")
	if err != nil {
		return nil, err
	}
	found, missing := pick(tasks, in.Tasks, func(t ecs.Task) []string { return []string{t.ID, t.ARN} })
	out := &awsecs.DescribeTasksOutput{Tasks: []types.Task{}, Failures: e.failures(r, "task/"+c.Name, missing)}
	for _, t := range found {
		out.Tasks = append(out.Tasks, e.taskView(t))
	}
	return out, nil
}

func (e *Endpoint) taskView(t ecs.Task) types.Task {
	out := types.Task{
		TaskArn: aws.String(t.ARN), ClusterArn: aws.String(t.ClusterARN), TaskDefinitionArn: aws.String(t.TaskDefinitionARN),
		LastStatus: aws.String(t.LastStatus), DesiredStatus: aws.String(t.DesiredStatus),
		HealthStatus: types.HealthStatus(t.HealthStatus), Group: groupOf(t),
		StartedBy: optional(t.DeploymentID), LaunchType: types.LaunchTypeFargate, Version: 1,
		PlatformFamily: aws.String("Linux"), Connectivity: types.ConnectivityConnected,
		CreatedAt: stamp(t.CreatedAt), StartedAt: stamp(t.StartedAt), StoppingAt: stamp(t.StoppingAt),
		StoppedAt: stamp(t.StoppedAt), StopCode: types.TaskStopCode(t.StopCode), StoppedReason: optional(t.StoppedReason),
		Containers: []types.Container{}, Attachments: []types.Attachment{},
	}
	if td, err := e.taskDefinition(t.Region, t.TaskDefinitionARN); err == nil {
		out.Cpu, out.Memory = aws.String(strconv.Itoa(td.CPUUnits)), aws.String(strconv.Itoa(td.MemoryMiB))
	}
	attachment := "eni-" + t.ID
	if t.Address.IsValid() {
		out.Attachments = append(out.Attachments, types.Attachment{
			Id: aws.String(attachment), Type: aws.String("ElasticNetworkInterface"), Status: aws.String("ATTACHED"),
			Details: []types.KeyValuePair{{Name: aws.String("privateIPv4Address"), Value: aws.String(t.Address.String())}},
		})
	}
	for _, c := range t.Containers {
		view := types.Container{
			Name: aws.String(c.Name), Image: aws.String(c.Image), LastStatus: aws.String(c.LastStatus), TaskArn: aws.String(t.ARN),
			Reason: optional(c.Reason), HealthStatus: types.HealthStatus(t.HealthStatus),
			ContainerArn: aws.String(strings.Replace(t.ARN, ":task/", ":container/", 1) + "/" + c.Name),
		}
		if c.ExitCode != nil {
			view.ExitCode = aws.Int32(int32(*c.ExitCode))
		}
		if t.Address.IsValid() {
			view.NetworkInterfaces = []types.NetworkInterface{{
				AttachmentId: aws.String(attachment), PrivateIpv4Address: aws.String(t.Address.String()),
			}}
		}
		out.Containers = append(out.Containers, view)
	}
	return out
}

// stamp is nil for a time that has not come.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (e *Endpoint) stopTask(
	ctx context.Context, r request, in *awsecs.StopTaskInput,
) (*awsecs.StopTaskOutput, error) {
	c, err := e.cluster(r.region, in.Cluster)
	if err != nil {
		return nil, err
	}
	reason := aws.ToString(in.Reason)
	if len(reason) > 1024 {
		return nil, fail("InvalidParameterException", "Reason must be at most 1024 characters.")
	}
	t, err := e.options.Containers.StopTask(ctx, r.region, c.Name, lastPart(*in.Task), reason)
	if errors.Is(err, ecs.ErrTaskNotFound) {
		return nil, fail("InvalidParameterException", "The referenced task was not found.")
	}
	if err != nil {
		return nil, err
	}
	view := e.taskView(t)
	return &awsecs.StopTaskOutput{Task: &view}, nil
}

func (e *Endpoint) listTaskDefinitions(
	_ context.Context, r request, in *awsecs.ListTaskDefinitionsInput,
) (*awsecs.ListTaskDefinitionsOutput, error) {
	arns := []string{}
	for _, td := range e.options.Containers.TaskDefinitions(r.region) {
		if in.FamilyPrefix != nil && td.Family != *in.FamilyPrefix ||
			in.Status != "" && in.Status != types.TaskDefinitionStatusActive {
			continue
		}
		arns = append(arns, td.ARN)
	}
	if in.Sort == types.SortOrderDesc {
		slices.Reverse(arns)
	}
	page, next, err := ecsPage(arns, in.NextToken, in.MaxResults)
	return &awsecs.ListTaskDefinitionsOutput{TaskDefinitionArns: page, NextToken: next}, err
}

// taskDefinition finds a revision by ARN, family:revision, or family (the newest).
func (e *Endpoint) taskDefinition(region, name string) (topology.TaskDefinition, error) {
	var found *topology.TaskDefinition
	for _, td := range e.options.Containers.TaskDefinitions(region) {
		exact := td.ARN == name || td.Family+":"+strconv.Itoa(td.Revision) == name
		if exact || td.Family == name && (found == nil || td.Revision > found.Revision) {
			found = &td
		}
	}
	if found == nil {
		return topology.TaskDefinition{}, fail("ClientException", "Unable to describe task definition.")
	}
	return *found, nil
}

func (e *Endpoint) describeTaskDefinition(
	_ context.Context, r request, in *awsecs.DescribeTaskDefinitionInput,
) (*awsecs.DescribeTaskDefinitionOutput, error) {
	td, err := e.taskDefinition(r.region, *in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	return &awsecs.DescribeTaskDefinitionOutput{TaskDefinition: taskDefinitionView(td), Tags: []types.Tag{}}, nil
}

func taskDefinitionView(td topology.TaskDefinition) *types.TaskDefinition {
	out := &types.TaskDefinition{
		TaskDefinitionArn: aws.String(td.ARN), Family: aws.String(td.Family), Revision: int32(td.Revision),
		Status: types.TaskDefinitionStatusActive, NetworkMode: types.NetworkModeAwsvpc,
		Cpu: aws.String(strconv.Itoa(td.CPUUnits)), Memory: aws.String(strconv.Itoa(td.MemoryMiB)),
		Compatibilities:         []types.Compatibility{types.CompatibilityEc2, types.CompatibilityFargate},
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate},
		ContainerDefinitions:    []types.ContainerDefinition{}, Volumes: []types.Volume{},
		ExecutionRoleArn: optional(td.ExecutionRoleARN), TaskRoleArn: optional(td.TaskRoleARN),
	}
	for _, c := range td.Containers {
		out.ContainerDefinitions = append(out.ContainerDefinitions, containerDefinition(td, c))
	}
	return out
}

func containerDefinition(td topology.TaskDefinition, c topology.Container) types.ContainerDefinition {
	out := types.ContainerDefinition{
		Name: aws.String(c.Name), Image: aws.String(c.Image), Essential: aws.Bool(c.Essential), EntryPoint: c.EntryPoint,
		Command: c.Command, Environment: []types.KeyValuePair{}, PortMappings: []types.PortMapping{},
		MountPoints: []types.MountPoint{}, VolumesFrom: []types.VolumeFrom{},
	}
	if c.StopTimeout > 0 {
		out.StopTimeout = aws.Int32(int32(c.StopTimeout / time.Second))
	}
	for _, name := range sortedNames(c.Environment) {
		out.Environment = append(out.Environment, types.KeyValuePair{Name: aws.String(name), Value: aws.String(c.Environment[name])})
	}
	for _, name := range sortedNames(c.Secrets) {
		out.Secrets = append(out.Secrets, types.Secret{Name: aws.String(name), ValueFrom: aws.String(c.Secrets[name])})
	}
	for _, p := range c.Ports {
		out.PortMappings = append(out.PortMappings, types.PortMapping{
			ContainerPort: aws.Int32(int32(p)), HostPort: aws.Int32(int32(p)), Protocol: types.TransportProtocolTcp,
		})
	}
	if c.LogGroup != "" {
		out.LogConfiguration = &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{
			"awslogs-group": c.LogGroup, "awslogs-region": td.Region, "awslogs-stream-prefix": streamPrefix,
		}}
	}
	return out
}
