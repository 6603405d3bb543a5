package ecs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/topology"
)

// maxStandalone bounds the tasks outside services that are remembered.
const maxStandalone = 20

// Run says what RunTask starts.
type Run struct {
	// TaskDefinition is an ARN, "family:revision" or "family" for the newest revision.
	TaskDefinition string
	// StartedBy is whatever the caller wants to find the task by.
	StartedBy        string
	SubnetIDs        []string
	SecurityGroupIDs []string
}

// RunTask starts one task outside every service: it is no target of a balancer, and nobody replaces it when it ends. It
// returns before the task has started. The errors wrap this package's.
func (s *Scheduler) RunTask(ctx context.Context, regionName, cluster string, run Run) (Task, error) {
	if err := ctx.Err(); err != nil {
		return Task{}, err
	}
	c, err := s.cluster(regionName, cluster)
	if err != nil {
		return Task{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.regions[regionName]
	if r == nil || !r.up {
		return Task{}, fmt.Errorf("run a task of %s: %w: %s", run.TaskDefinition, ErrRegionDown, regionName)
	}
	td, err := s.definition(regionName, run.TaskDefinition)
	if err != nil {
		return Task{}, err
	}
	// A task always has a service to the rest of the scheduler; this one's is in no list of services.
	svc := &service{
		Service: topology.Service{
			Region: regionName, ClusterName: c.Name, Name: td.Family, TaskDefinitionARN: td.ARN, DesiredCount: 1,
			SubnetIDs: run.SubnetIDs, SecurityGroupIDs: run.SecurityGroupIDs,
		},
		created:     time.Now(),
		deployments: []*deployment{{Deployment: Deployment{ID: run.StartedBy, Status: statusPrimary, TaskDefinitionARN: td.ARN, RolloutState: rolloutComplete}}},
	}
	t, err := s.newTask(r, svc)
	if err != nil {
		return Task{}, err
	}
	t.view.ServiceName = ""
	s.standalone = append(slices.DeleteFunc(s.standalone, func(o *service) bool {
		return len(s.standalone) >= maxStandalone && len(o.tasks) == 0
	}), svc)
	return viewTask(t), nil
}

// everything lists the services and what stands for a service of the tasks outside them. The caller holds the lock.
func (s *Scheduler) everything() []*service { return slices.Concat(s.services, s.standalone) }

// Program returns the path of the program that a task of the image would run.
func (s *Scheduler) Program(image string) (string, error) {
	found, err := s.opts.program("(none)", topology.Container{Name: "(none)", Image: image})
	return found.Path, err
}
