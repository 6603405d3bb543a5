package metrics

import (
	"time"

	"holdfast/internal/twin/alarms"
)

// healthCheckRegion is where Route 53 publishes, and nowhere else.
const healthCheckRegion = "us-east-1"

// watchHealthChecks publishes what the checkers say of every health check.
func (c *Collector) watchHealthChecks(now time.Time) {
	if c.options.HealthChecks == nil {
		return
	}
	for _, hc := range c.options.Topology.HealthChecks {
		observations := c.options.HealthChecks.HealthCheckStatus(hc.ID)
		if len(observations) == 0 {
			continue
		}
		status, passing := 0.0, 0
		if c.options.HealthChecks.Healthy(hc.ID) {
			status = 1
		}
		for _, o := range observations {
			if o.Passing {
				passing++
			}
		}
		dimensions := map[string]string{"HealthCheckId": hc.ID}
		c.options.Sink.Put(healthCheckRegion, "AWS/Route53", stamped(now,
			alarms.One("HealthCheckStatus", status, "None", dimensions),
			alarms.One("HealthCheckPercentageHealthy", 100*float64(passing)/float64(len(observations)), "Percent", dimensions))...)
	}
}
