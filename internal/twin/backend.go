package twin

import (
	"context"
	"path/filepath"

	"holdfast/internal/topology"
	"holdfast/internal/twin/api"
	"holdfast/internal/twin/ecs"
)

// apiOptions joins the parts to the endpoint that shows them as AWS does.
func (t *Twin) apiOptions() api.Options {
	return api.Options{
		Topology: t.topo, Network: t.fabric, Logger: t.logger,
		Databases: databases{t}, Containers: containers{t}, Balancers: balancers{t}, HealthChecks: healthChecks{t},
		Tables: t.table, Logs: logs{t}, Secrets: secrets{t},
	}
}

// databases shows package postgres as api.Databases.
type databases struct{ t *Twin }

func (d databases) GlobalCluster(identifier string) (api.GlobalCluster, bool) {
	for _, g := range d.t.aurora.GlobalClusters() {
		if g.Identifier != identifier {
			continue
		}
		view := api.GlobalCluster{Status: g.Status}
		for _, m := range g.Members {
			view.Members = append(view.Members, api.GlobalClusterMember{ClusterARN: m.ClusterARN, Writer: m.IsWriter,
				Synchronized: m.SynchronizationStatus == "connected"})
		}
		if g.Failover != nil {
			view.Moving = &api.GlobalClusterMove{Status: g.Failover.Status, FromARN: g.Failover.FromARN, ToARN: g.Failover.ToARN,
				DataLossAllowed: g.Failover.DataLossAllowed}
		}
		return view, true
	}
	return api.GlobalCluster{}, false
}

func (d databases) Cluster(region, identifier string) (api.DBCluster, bool) {
	for _, c := range d.t.aurora.Clusters(region) {
		if c.Identifier != identifier {
			continue
		}
		view := api.DBCluster{Status: c.Status, Created: d.t.created, ReplicationSourceARN: c.ReplicationSourceARN}
		for _, m := range c.Members {
			if m.IsWriter {
				view.WriterInstance = m.InstanceIdentifier
			}
		}
		return view, true
	}
	return api.DBCluster{}, false
}

func (d databases) Instance(region, identifier string) (api.DBInstance, bool) {
	for _, i := range d.t.aurora.Instances(region) {
		if i.Identifier == identifier {
			return api.DBInstance{Status: i.Status, Created: d.t.created, Address: i.Address, Port: i.Port}, true
		}
	}
	return api.DBInstance{}, false
}

func (d databases) Events(region string) []api.DBEvent {
	var events []api.DBEvent
	for _, e := range d.t.aurora.Events(region) {
		events = append(events, api.DBEvent{At: e.At, SourceType: e.SourceType, SourceIdentifier: e.Source, SourceARN: e.SourceARN,
			Categories: e.Categories, Message: e.Message})
	}
	return events
}

func (d databases) Snapshots(region string) []api.DBSnapshot {
	var snapshots []api.DBSnapshot
	for _, s := range d.t.aurora.Snapshots(region) {
		snapshots = append(snapshots, api.DBSnapshot{Identifier: s.Identifier, ClusterIdentifier: s.ClusterIdentifier, Status: s.Status,
			Type: "automated", Created: s.CreatedAt})
	}
	return snapshots
}

func (d databases) Switchover(ctx context.Context, region, globalCluster, targetARN string) error {
	return d.t.aurora.Switchover(ctx, region, globalCluster, targetARN)
}

func (d databases) Failover(ctx context.Context, region, globalCluster, targetARN string, allowDataLoss bool) error {
	return d.t.aurora.Failover(ctx, region, globalCluster, targetARN, allowDataLoss)
}

// containers shows package ecs as api.Containers.
type containers struct{ t *Twin }

func (c containers) Service(region, cluster, service string) (api.Service, bool) {
	services, err := c.t.scheduler.Services(region, cluster)
	if err != nil {
		return api.Service{}, false
	}
	for _, s := range services {
		if s.Name == service || s.ARN == service {
			return serviceView(s), true
		}
	}
	return api.Service{}, false
}

func serviceView(s ecs.Service) api.Service {
	view := api.Service{TaskDefinitionARN: s.TaskDefinitionARN, Desired: s.DesiredCount, Running: s.RunningCount, Pending: s.PendingCount, Created: s.CreatedAt}
	for _, d := range s.Deployments {
		view.Deployments = append(view.Deployments, api.Deployment{ID: d.ID, TaskDefinitionARN: d.TaskDefinitionARN, Desired: d.DesiredCount,
			Running: d.RunningCount, Pending: d.PendingCount, Failed: d.FailedTasks, Status: d.Status, Rollout: d.RolloutState,
			RolloutReason: d.RolloutStateReason, Created: d.CreatedAt, Updated: d.UpdatedAt})
	}
	for _, e := range s.Events {
		view.Events = append(view.Events, api.ServiceEvent{ID: e.ID, Message: e.Message, At: e.At})
	}
	return view
}

func (c containers) Tasks(region, cluster string) []api.Task {
	tasks, err := c.t.scheduler.Tasks(region, cluster, "")
	if err != nil {
		return nil
	}
	var views []api.Task
	for _, task := range tasks {
		view := api.Task{ARN: task.ARN, Service: task.ServiceName, TaskDefinitionARN: task.TaskDefinitionARN, LastStatus: task.LastStatus,
			DesiredStatus: task.DesiredStatus, Address: task.Address.String(), AvailabilityZone: region + "a", Created: task.CreatedAt,
			Started: task.StartedAt, Stopping: task.StoppingAt, Stopped: task.StoppedAt, StopCode: task.StopCode,
			StoppedReason: task.StoppedReason, DeploymentID: task.DeploymentID}
		if len(task.Containers) > 0 {
			view.ExitCode = task.Containers[0].ExitCode
		}
		views = append(views, view)
	}
	return views
}

func (c containers) TaskDefinitions(region string) []topology.TaskDefinition {
	return c.t.scheduler.TaskDefinitions(region)
}

func (c containers) UpdateService(ctx context.Context, region, cluster, service string, u api.ServiceUpdate) error {
	_, err := c.t.scheduler.UpdateService(ctx, region, cluster, service,
		ecs.Update{DesiredCount: u.DesiredCount, TaskDefinition: u.TaskDefinitionARN, ForceNewDeployment: u.ForceNewDeployment})
	return err
}

func (c containers) StopTask(ctx context.Context, region, cluster, taskARN, reason string) error {
	_, err := c.t.scheduler.StopTask(ctx, region, cluster, taskARN, reason)
	return err
}

// balancers shows package balancer as api.Balancers.
type balancers struct{ t *Twin }

func (b balancers) TargetHealth(targetGroupARN string) []api.TargetHealth {
	var views []api.TargetHealth
	for _, h := range b.t.balancers.TargetHealth(targetGroupARN) {
		views = append(views, api.TargetHealth{Address: h.IP.String(), Port: h.Port, State: h.State, Reason: h.Reason, Description: h.Description})
	}
	return views
}

// healthChecks shows package dns as api.HealthChecks.
type healthChecks struct{ t *Twin }

func (h healthChecks) HealthCheckStatus(id string) []api.HealthObservation {
	var views []api.HealthObservation
	for _, o := range h.t.names.HealthCheckStatus(id) {
		views = append(views, api.HealthObservation{Region: o.Region, IPAddress: o.IPAddress, Status: o.Status, Checked: o.CheckedAt})
	}
	return views
}

// logs finds the tasks' log files as api.Logs.
type logs struct{ t *Twin }

func (l logs) Streams(region, group string) []api.LogStream {
	var streams []api.LogStream
	for _, svc := range l.t.topo.Services {
		if svc.Region != region {
			continue
		}
		prefix := l.t.logGroupContainer(svc, group)
		if prefix == "" {
			continue
		}
		tasks, err := l.t.scheduler.Tasks(region, svc.ClusterName, svc.Name)
		if err != nil {
			continue
		}
		for _, task := range tasks {
			for _, c := range task.Containers {
				if c.Name == prefix {
					streams = append(streams, api.LogStream{Name: filepath.Join("ecs", c.Name, task.ID), Created: task.CreatedAt, Path: c.LogPath})
				}
			}
		}
	}
	return streams
}

// logGroupContainer is the container of a service that logs into a group, "" if none does.
func (t *Twin) logGroupContainer(svc topology.Service, group string) string {
	for _, td := range t.topo.TaskDefinitions {
		if td.ARN != svc.TaskDefinitionARN {
			continue
		}
		for _, c := range td.Containers {
			if c.LogGroup == group {
				return c.Name
			}
		}
	}
	return ""
}

// secrets gives the tasks' and the operator's secrets as api.Secrets.
type secrets struct{ t *Twin }

func (s secrets) Value(_, arn string) (string, bool) { return s.t.secret(arn) }
