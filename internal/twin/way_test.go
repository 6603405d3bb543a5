package twin

import (
	"context"
	"strings"

	"holdfast/internal/twin/ecs"
)

// WayFrom is the address at which some running task of a service finds a name of the deployment, "" if there is none.
func (t *Twin) WayFrom(service, dnsName string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.attached {
		if a.endpoint.Name == "task of "+service && a.names[dnsName] != "" {
			return a.names[dnsName]
		}
	}
	return ""
}

// StopReasons are the reasons of a service's stopped tasks.
func (t *Twin) StopReasons(region, service string) (reasons []string) {
	for _, s := range t.topo.Services {
		if s.Region != region || s.Name != service {
			continue
		}
		tasks, err := t.scheduler.Tasks(region, s.ClusterName, service)
		if err != nil {
			return []string{err.Error()}
		}
		for _, task := range tasks {
			if task.StoppedReason != "" {
				reasons = append(reasons, task.StoppedReason)
			}
		}
	}
	return reasons
}

// Targets is the state, reason and description of each target of a group.
func (t *Twin) Targets(targetGroupARN string) (states []string) {
	for _, h := range t.balancers.TargetHealth(targetGroupARN) {
		states = append(states, strings.TrimSpace(h.State+" "+h.Reason+" "+h.Description))
	}
	return states
}

// ReplaceTasks makes a service start new tasks in the place of those that it has.
func (t *Twin) ReplaceTasks(ctx context.Context, region, cluster, service string) error {
	_, err := t.scheduler.UpdateService(ctx, region, cluster, service, ecs.Update{ForceNewDeployment: true})
	return err
}

// Floor is the least number of tasks that autoscaling leaves a service, -1 if it does not scale.
func (t *Twin) Floor(region, service string) int {
	for _, target := range t.monitor.scaler.Targets(region) {
		if strings.HasSuffix(target.ResourceID, "/"+service) {
			return target.Min
		}
	}
	return -1
}
