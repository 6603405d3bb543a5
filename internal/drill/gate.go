package drill

import (
	"time"

	"holdfast/internal/topology"
)

// gateSlack is what the wardens take, beside the deployment's own clocks, from the end of a threshold to a term that has
// moved: a look, two writes to the store and a sealed database, on a busy machine.
const gateSlack = 3 * time.Second

// gate is how long a fault that the health gate may see has to stand until a gate that is wrong would have handed the
// site over.
func (d *drill) gate() time.Duration {
	if d.o.Topology == nil {
		return 0
	}
	return time.Duration(float64(slowestGate(d.o.Topology))/d.o.Speed) + gateSlack
}

// slowestGate is the longest threshold of a warden after the longest time in which a balancer finds a target unhealthy.
func slowestGate(t *topology.Topology) time.Duration {
	var threshold, check time.Duration
	for _, definition := range t.TaskDefinitions {
		for _, c := range definition.Containers {
			for _, name := range []string{"HOLDFAST_DATABASE_THRESHOLD", "HOLDFAST_APP_THRESHOLD", "HOLDFAST_BALANCER_THRESHOLD"} {
				if d, err := time.ParseDuration(c.Environment[name]); err == nil {
					threshold = max(threshold, d)
				}
			}
		}
	}
	for _, g := range t.TargetGroups {
		check = max(check, time.Duration(g.HealthCheck.UnhealthyThreshold)*g.HealthCheck.Interval)
	}
	return threshold + check
}
