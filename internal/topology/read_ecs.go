package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// defaultStopTimeout is how long ECS waits between SIGTERM and SIGKILL if a container definition does not say:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
const defaultStopTimeout = 30 * time.Second

// maximumTasks bounds counts of tasks; AWS's own quota is 5,000 per service.
const maximumTasks = 5000

func (p *parser) readECS() {
	clusters := map[string]ECSCluster{}
	for _, r := range p.byType["aws_ecs_cluster"] {
		c := ECSCluster{Name: r.text("name")}
		c.ARN, c.Region = r.home("arn")
		p.define(kindECSCluster, c.ARN, r.object)
		clusters[c.ARN] = c
		p.t.ECSClusters = append(p.t.ECSClusters, c)
	}
	for _, r := range p.byType["aws_ecs_task_definition"] {
		p.t.TaskDefinitions = append(p.t.TaskDefinitions, p.readTaskDefinition(r))
	}
	for _, r := range p.byType["aws_ecs_service"] {
		p.t.Services = append(p.t.Services, p.readService(r, clusters))
	}
}

func (p *parser) readService(r *resource, clusters map[string]ECSCluster) Service {
	clusterARN := r.text("cluster")
	cluster, known := clusters[clusterARN]
	if !known {
		p.want(kindECSCluster, clusterARN, r.object, "cluster")
	}
	s := Service{
		Region: cluster.Region, Name: r.text("name"), ClusterName: cluster.Name,
		TaskDefinitionARN:     r.text("task_definition"),
		DesiredCount:          r.integer("desired_count", 0, maximumTasks),
		MinimumHealthyPercent: r.integer("deployment_minimum_healthy_percent", 0, 100),
		MaximumPercent:        r.integer("deployment_maximum_percent", 100, 200),
	}
	s.ARN = serviceARN(cluster, s.Name)
	p.define(kindService, s.Region+"/"+s.ClusterName+"/"+s.Name, r.object)
	p.define(kindServicePath, s.Region+"/service/"+s.ClusterName+"/"+s.Name, r.object)
	p.want(kindTaskDefinition, s.TaskDefinitionARN, r.object, "task_definition")
	if b, ok := r.block("deployment_circuit_breaker"); ok {
		s.CircuitBreaker, s.CircuitBreakerRollback = b.truth("enable"), b.truth("rollback")
	}
	if b, ok := r.needBlock("network_configuration"); ok {
		s.SubnetIDs = slices.Sorted(slices.Values(b.texts("subnets")))
		s.SecurityGroupIDs = slices.Sorted(slices.Values(b.texts("security_groups")))
		s.AssignPublicIP = b.truth("assign_public_ip")
		p.wantAll(kindSubnet, s.SubnetIDs, b, "subnets")
		p.wantAll(kindSecurityGroup, s.SecurityGroupIDs, b, "security_groups")
	}
	for _, b := range r.blocks("load_balancer") {
		t := ServiceTargetGroup{TargetGroupARN: b.text("target_group_arn"), ContainerName: b.text("container_name"), ContainerPort: b.integer("container_port", 1, maximumPort)}
		p.want(kindTargetGroup, t.TargetGroupARN, b, "target_group_arn")
		s.TargetGroups = append(s.TargetGroups, t)
	}
	sortBy(s.TargetGroups, func(t ServiceTargetGroup) string { return t.TargetGroupARN })
	if len(s.TargetGroups) > 0 {
		s.HealthCheckGrace = r.seconds("health_check_grace_period_seconds", 0, 1<<31-1)
	}
	return s
}

// serviceARN is derived, because the provider 5.100 shows it only as the resource's id.
func serviceARN(c ECSCluster, service string) string {
	arn, err := ParseARN(c.ARN)
	if err != nil {
		return ""
	}
	arn.Resource = "service/" + c.Name + "/" + service
	return arn.String()
}

func (p *parser) readTaskDefinition(r *resource) TaskDefinition {
	d := TaskDefinition{Family: r.text("family")}
	d.ARN, d.Region = r.home("arn")
	p.define(kindTaskDefinition, d.ARN, r.object)
	if i := strings.LastIndexByte(d.ARN, ':'); i >= 0 {
		// The revision is read from the ARN, since a mocked state has none of its own.
		revision, err := strconv.Atoi(d.ARN[i+1:])
		if err != nil || revision < 1 || !strings.HasSuffix(d.ARN[:i], "task-definition/"+d.Family) {
			r.problem("arn", "does not end in task-definition/"+d.Family+" and a revision", arnRemedy)
		}
		d.Revision = revision
	}
	d.CPUUnits = r.integer("cpu", 1, 1<<20)
	d.MemoryMiB = r.integer("memory", 1, 1<<24)
	d.ExecutionRoleARN, d.TaskRoleARN = r.optional("execution_role_arn"), r.optional("task_role_arn")
	var containers []containerDefinition
	if !r.embedded("container_definitions", &containers) {
		return d
	}
	if len(containers) == 0 {
		r.problem("container_definitions", "has no container", "define at least one")
	}
	for i, c := range containers {
		d.Containers = append(d.Containers, p.readContainer(c, r.child(fmt.Sprintf("container_definitions[%d].", i), nil), d.Region))
	}
	return d
}

// containerDefinition is the part of ECS's own JSON that the topology keeps.
type containerDefinition struct {
	Name        string   `json:"name"`
	Image       string   `json:"image"`
	EntryPoint  []string `json:"entryPoint"`
	Command     []string `json:"command"`
	Essential   *bool    `json:"essential"`
	Environment []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"environment"`
	Secrets []struct {
		Name      string `json:"name"`
		ValueFrom string `json:"valueFrom"`
	} `json:"secrets"`
	PortMappings []struct {
		ContainerPort int `json:"containerPort"`
	} `json:"portMappings"`
	LogConfiguration *struct {
		LogDriver string            `json:"logDriver"`
		Options   map[string]string `json:"options"`
	} `json:"logConfiguration"`
	StopTimeout *int `json:"stopTimeout"`
}

func (p *parser) readContainer(def containerDefinition, o object, region string) Container {
	c := Container{
		Name: def.Name, Image: def.Image, EntryPoint: def.EntryPoint, Command: def.Command,
		// Both defaults are ECS's own.
		Essential: def.Essential == nil || *def.Essential, StopTimeout: defaultStopTimeout,
	}
	const remedy = "correct the container definition in the Terraform"
	for field, value := range map[string]string{"name": c.Name, "image": c.Image} {
		if value == "" {
			o.problem(field, "is missing", remedy)
		}
	}
	for _, e := range def.Environment {
		if c.Environment == nil {
			c.Environment = map[string]string{}
		}
		c.Environment[e.Name] = e.Value
	}
	for _, s := range def.Secrets {
		if c.Secrets == nil {
			c.Secrets = map[string]string{}
		}
		c.Secrets[s.Name] = s.ValueFrom
		p.secretUses = append(p.secretUses, secretUse{from: o, name: s.Name, valueFrom: s.ValueFrom, region: region})
	}
	for _, m := range def.PortMappings {
		if m.ContainerPort < 1 || m.ContainerPort > maximumPort {
			o.problem("portMappings", fmt.Sprintf("has the port %d", m.ContainerPort), remedy)
		}
		c.Ports = append(c.Ports, m.ContainerPort)
	}
	if def.StopTimeout != nil {
		c.StopTimeout = time.Duration(*def.StopTimeout) * time.Second
	}
	if def.LogConfiguration != nil && def.LogConfiguration.LogDriver == "awslogs" {
		c.LogGroup = def.LogConfiguration.Options["awslogs-group"]
		p.wantIn(kindLogGroup, region, c.LogGroup, o, "logConfiguration.options.awslogs-group")
	}
	return c
}

func (p *parser) readScaling() {
	for _, r := range p.byType["aws_appautoscaling_target"] {
		if r.optional("service_namespace") != "ecs" {
			continue
		}
		s := ScalableTarget{ResourceID: r.text("resource_id"), Min: r.integer("min_capacity", 0, maximumTasks), Max: r.integer("max_capacity", 0, maximumTasks)}
		if s.Max < s.Min {
			r.problem("max_capacity", fmt.Sprintf("is below min_capacity %d", s.Min), "correct it in the Terraform")
		}
		s.Region = p.scalingRegion(r, s.ResourceID)
		p.t.ScalableTargets = append(p.t.ScalableTargets, s)
	}
	for _, r := range p.byType["aws_appautoscaling_policy"] {
		if r.optional("service_namespace") == "ecs" {
			p.readScalingPolicy(r)
		}
	}
}

func (p *parser) readScalingPolicy(r *resource) {
	s := ScalingPolicy{Name: r.text("name"), ResourceID: r.text("resource_id")}
	s.Region = p.scalingRegion(r, s.ResourceID)
	if kind := r.text("policy_type"); kind != "" && kind != "TargetTrackingScaling" {
		r.problem("policy_type", "is not understood", "use TargetTrackingScaling")
		return
	}
	b, ok := r.needBlock("target_tracking_scaling_policy_configuration")
	if !ok {
		return
	}
	s.TargetValue, _ = b.number("target_value")
	s.ScaleInCooldown = b.seconds("scale_in_cooldown", 0, 1<<31-1)
	s.ScaleOutCooldown = b.seconds("scale_out_cooldown", 0, 1<<31-1)
	if m, ok := b.needBlock("predefined_metric_specification"); ok {
		s.Metric = m.text("predefined_metric_type")
	}
	p.t.ScalingPolicies = append(p.t.ScalingPolicies, s)
}

// scalingRegion is the region in the ARN, which must have a service of this resource id.
func (p *parser) scalingRegion(r *resource, resourceID string) string {
	_, region := r.home("arn")
	p.wantIn(kindServicePath, region, resourceID, r.object, "resource_id")
	return region
}
