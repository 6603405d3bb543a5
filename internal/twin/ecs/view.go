package ecs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/topology"
)

func (s *Scheduler) clusterARN(regionName, cluster string) string {
	for _, c := range s.opts.Topology.ECSClusters {
		if c.Region == regionName && c.Name == cluster {
			return c.ARN
		}
	}
	return ""
}

// Clusters lists the clusters of a region.
func (s *Scheduler) Clusters(regionName string) []topology.ECSCluster {
	return slices.DeleteFunc(slices.Clone(s.opts.Topology.ECSClusters), func(c topology.ECSCluster) bool { return c.Region != regionName })
}

// cluster finds a cluster by name or ARN.
func (s *Scheduler) cluster(regionName, cluster string) (topology.ECSCluster, error) {
	for _, c := range s.Clusters(regionName) {
		if named(cluster, c.Name, c.ARN) {
			return c, nil
		}
	}
	return topology.ECSCluster{}, fmt.Errorf("%w: %s in %s", ErrClusterNotFound, cluster, regionName)
}

// find finds a service by name or ARN. The caller holds the lock.
func (s *Scheduler) find(regionName, cluster, name string) (*service, error) {
	c, err := s.cluster(regionName, cluster)
	if err != nil {
		return nil, err
	}
	for _, svc := range s.services {
		if svc.Region == regionName && svc.ClusterName == c.Name && named(name, svc.Name, svc.ARN) {
			return svc, nil
		}
	}
	return nil, fmt.Errorf("%w: %s in cluster %s", ErrServiceNotFound, name, c.Name)
}

// Services lists the services of a cluster, named by name or ARN.
func (s *Scheduler) Services(regionName, cluster string) ([]Service, error) {
	c, err := s.cluster(regionName, cluster)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Service{}
	for _, svc := range s.services {
		if svc.Region == regionName && svc.ClusterName == c.Name {
			list = append(list, s.viewService(svc))
		}
	}
	return list, nil
}

func (s *Scheduler) viewService(svc *service) Service {
	v := Service{
		Service: svc.Service, ClusterARN: s.clusterARN(svc.Region, svc.ClusterName), Status: "ACTIVE", CreatedAt: svc.created,
		Events: slices.Clone(svc.events),
	}
	for _, d := range svc.deployments {
		view := d.Deployment
		if d == svc.primary() {
			view.DesiredCount = svc.DesiredCount
		}
		for _, t := range svc.tasks {
			if t.deployment != d || t.stopping() {
				continue
			}
			if t.view.LastStatus == "RUNNING" {
				view.RunningCount++
				v.RunningCount++
			} else {
				view.PendingCount++
				v.PendingCount++
			}
		}
		v.Deployments = append(v.Deployments, view)
	}
	return v
}

// Tasks lists the tasks of a cluster, stopped ones of the last hour too; service filters by name or ARN unless empty.
func (s *Scheduler) Tasks(regionName, cluster, serviceName string) ([]Task, error) {
	c, err := s.cluster(regionName, cluster)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if serviceName != "" {
		if _, err := s.find(regionName, cluster, serviceName); err != nil {
			return nil, err
		}
	}
	list := []Task{}
	for _, svc := range s.everything() {
		if svc.Region != regionName || svc.ClusterName != c.Name || serviceName != "" && !named(serviceName, svc.Name, svc.ARN) {
			continue
		}
		for _, t := range svc.tasks {
			list = append(list, viewTask(t))
		}
		for _, t := range slices.Backward(svc.stopped) {
			if time.Since(t.view.StoppedAt) <= keepStopped {
				list = append(list, viewTask(t))
			}
		}
	}
	return list, nil
}

func viewTask(t *taskState) Task {
	v := t.view
	for _, c := range t.containers {
		view := Container{Name: c.config.Name, Image: c.config.Image, LastStatus: "PENDING", LogPath: c.logPath}
		if c.process != nil {
			view.LastStatus, view.Pid = "RUNNING", c.process.Pid()
			v.CPUTime += c.process.CPUTime()
			if code, ended := c.process.ExitCode(); ended {
				view.LastStatus, view.ExitCode = "STOPPED", &code
			}
		} else if v.LastStatus == "STOPPED" {
			view.LastStatus, view.Reason = "STOPPED", v.StoppedReason
		}
		v.Containers = append(v.Containers, view)
	}
	return v
}

// TaskDefinitions lists the task definitions of a region.
func (s *Scheduler) TaskDefinitions(regionName string) []topology.TaskDefinition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.definitions), func(td topology.TaskDefinition) bool { return td.Region != regionName })
}

// RegisterTaskDefinition adds a revision of a family and returns it with its revision and ARN.
func (s *Scheduler) RegisterTaskDefinition(td topology.TaskDefinition) (topology.TaskDefinition, error) {
	if td.Family == "" || td.Region == "" || len(td.Containers) == 0 {
		return topology.TaskDefinition{}, fmt.Errorf("%w: a task definition needs a region, a family and a container", ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	td.Revision = 1
	for _, other := range s.definitions {
		if other.Region == td.Region && other.Family == td.Family {
			td.Revision = max(td.Revision, other.Revision+1)
		}
	}
	td.ARN = fmt.Sprintf("arn:aws:ecs:%s:%s:task-definition/%s:%d", td.Region, s.opts.Topology.AccountID, td.Family, td.Revision)
	s.definitions = append(s.definitions, td)
	return td, nil
}

// UpdateService changes a service and returns its view afterwards. A changed task definition or ForceNewDeployment
// begins a deployment; a changed desired count alone does not. The errors wrap this package's.
func (s *Scheduler) UpdateService(ctx context.Context, regionName, cluster, name string, u Update) (Service, error) {
	if err := ctx.Err(); err != nil {
		return Service{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	svc, err := s.find(regionName, cluster, name)
	if err != nil {
		return Service{}, err
	}
	r := s.regions[regionName]
	if r == nil || !r.up {
		return Service{}, fmt.Errorf("update service %s: %w: %s", svc.Name, ErrRegionDown, regionName)
	}
	if u.DesiredCount != nil && *u.DesiredCount < 0 {
		return Service{}, fmt.Errorf("%w: desired count %d", ErrInvalid, *u.DesiredCount)
	}
	arn := svc.TaskDefinitionARN
	if u.TaskDefinition != "" {
		td, err := s.definition(regionName, u.TaskDefinition)
		if err != nil {
			return Service{}, err
		}
		if err := s.opts.checkImages(svc.Name, td); err != nil {
			return Service{}, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		arn = td.ARN
	}
	if u.DesiredCount != nil && *u.DesiredCount != svc.DesiredCount {
		svc.DesiredCount, svc.steady = *u.DesiredCount, false
	}
	if u.ForceNewDeployment || arn != svc.TaskDefinitionARN {
		svc.deploy(arn)
	}
	r.poke()
	return s.viewService(svc), nil
}

// StopTask stops a task, named by id or ARN; its service starts another one.
func (s *Scheduler) StopTask(ctx context.Context, regionName, cluster, taskID, reason string) (Task, error) {
	if err := ctx.Err(); err != nil {
		return Task{}, err
	}
	c, err := s.cluster(regionName, cluster)
	if err != nil {
		return Task{}, err
	}
	id := taskID[strings.LastIndexByte(taskID, '/')+1:]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, svc := range s.everything() {
		if svc.Region != regionName || svc.ClusterName != c.Name {
			continue
		}
		for _, t := range svc.tasks {
			if t.view.ID == id {
				if reason == "" {
					reason = "Task stopped by user"
				}
				t.stop("UserInitiated", reason)
				svc.steady = false
				if r := s.regions[regionName]; r != nil {
					r.poke()
				}
				return viewTask(t), nil
			}
		}
	}
	return Task{}, fmt.Errorf("%w: %s", ErrTaskNotFound, taskID)
}
