package metrics

import (
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/balancer"
)

const balancing = "AWS/ApplicationELB"

// loadBalancerName is how CloudWatch names a load balancer: the end of its ARN.
func loadBalancerName(arn string) string {
	_, name, _ := strings.Cut(arn, ":loadbalancer/")
	return name
}

// targetGroupName is how CloudWatch names a target group: "targetgroup/" and the end of its ARN.
func targetGroupName(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }

// uses lists the target groups that each load balancer of a region forwards to.
func (c *Collector) uses(region string) map[string][]string {
	out := map[string][]string{}
	for _, l := range c.options.Topology.Listeners {
		if l.Region != region {
			continue
		}
		add := func(a topology.Action) {
			for _, arn := range groupsOf(a) {
				if !slices.Contains(out[l.LoadBalancerARN], arn) {
					out[l.LoadBalancerARN] = append(out[l.LoadBalancerARN], arn)
				}
			}
		}
		add(l.Default)
		for _, r := range l.Rules {
			add(r.Action)
		}
	}
	return out
}

// groupsOf lists where an action forwards to.
func groupsOf(a topology.Action) []string {
	var list []string
	if a.TargetGroupARN != "" {
		list = append(list, a.TargetGroupARN)
	}
	for _, w := range a.TargetGroups {
		list = append(list, w.TargetGroupARN)
	}
	return list
}

// watchTargets publishes how many targets are healthy, for groups that have any.
func (c *Collector) watchTargets(region string, now time.Time) {
	if c.options.Balancers == nil {
		return
	}
	for lb, groups := range c.uses(region) {
		for _, arn := range groups {
			if len(c.options.Balancers.TargetHealth(arn)) == 0 {
				continue
			}
			counts := c.options.Balancers.TargetGroupCounts(arn)
			dimensions := map[string]string{"LoadBalancer": loadBalancerName(lb), "TargetGroup": targetGroupName(arn)}
			c.options.Sink.Put(region, balancing, stamped(now,
				alarms.One("HealthyHostCount", float64(counts.HealthyHosts), "Count", dimensions),
				alarms.One("UnHealthyHostCount", float64(counts.UnHealthyHosts), "Count", dimensions))...)
		}
	}
}

// measureBalancers publishes what went through. Like the load balancers' own, these metrics have no data while they are
// zero.
func (c *Collector) measureBalancers(region string, s span, sink Sink) {
	if c.options.Balancers == nil {
		return
	}
	for lb, groups := range c.uses(region) {
		own := map[string]string{"LoadBalancer": loadBalancerName(lb)}
		now := c.options.Balancers.LoadBalancerCounts(lb)
		before := c.balancers[lb]
		c.balancers[lb] = now
		putCounts(sink, region, s.at, own, map[string]int64{
			"RequestCount": now.Requests - before.Requests, "HTTPCode_ELB_4XX_Count": now.ELB4XX - before.ELB4XX,
			"HTTPCode_ELB_5XX_Count": now.ELB5XX - before.ELB5XX,
		})
		if now.ActiveConnections > 0 {
			sink.Put(region, balancing, stamped(s.at, alarms.One("ActiveConnectionCount", float64(now.ActiveConnections), "Count", own))...)
		}
		total := map[string]int64{}
		var times alarms.Datum
		for _, arn := range groups {
			both := map[string]string{"LoadBalancer": own["LoadBalancer"], "TargetGroup": targetGroupName(arn)}
			after := c.options.Balancers.TargetGroupCounts(arn)
			earlier := c.groups[arn]
			c.groups[arn] = after
			counts := countsBetween(earlier, after)
			for name, n := range counts {
				total[name] += n
			}
			answered := responseTimes(earlier, after)
			if answered.Count > 0 {
				answered.Dimensions = both
				sink.Put(region, balancing, stamped(s.at, answered)...)
				times = joined(times, answered)
			}
			counts["RequestCount"] = after.Requests - earlier.Requests
			putCounts(sink, region, s.at, both, counts)
		}
		putCounts(sink, region, s.at, own, total)
		if times.Count > 0 {
			times.Dimensions = own
			sink.Put(region, balancing, stamped(s.at, times)...)
		}
	}
}

func countsBetween(a, b balancer.TargetGroupCounts) map[string]int64 {
	return map[string]int64{
		"HTTPCode_Target_2XX_Count": b.Target2XX - a.Target2XX, "HTTPCode_Target_3XX_Count": b.Target3XX - a.Target3XX,
		"HTTPCode_Target_4XX_Count": b.Target4XX - a.Target4XX, "HTTPCode_Target_5XX_Count": b.Target5XX - a.Target5XX,
		"TargetConnectionErrorCount": b.ConnectionErrors - a.ConnectionErrors,
	}
}

func putCounts(sink Sink, region string, at time.Time, dimensions map[string]string, counts map[string]int64) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[name]; n > 0 {
			sink.Put(region, balancing, stamped(at, alarms.One(name, float64(n), "Count", dimensions))...)
		}
	}
}

// responseTimes is TargetResponseTime, in seconds: the sum is exact, the percentiles are exact to a tenth.
func responseTimes(a, b balancer.TargetGroupCounts) alarms.Datum {
	d := alarms.Datum{Name: "TargetResponseTime", Unit: "Seconds", Sum: (b.ResponseTime - a.ResponseTime).Seconds()}
	d.Values, d.Counts = b.ResponseTimes.Since(a.ResponseTimes)
	for _, n := range d.Counts {
		d.Count += n
	}
	if d.Count > 0 {
		d.Minimum, d.Maximum = slices.Min(d.Values), slices.Max(d.Values)
	}
	return d
}

// joined is both sets in one.
func joined(a, b alarms.Datum) alarms.Datum {
	if a.Count == 0 {
		return b
	}
	a.Sum, a.Count = a.Sum+b.Sum, a.Count+b.Count
	a.Minimum, a.Maximum = min(a.Minimum, b.Minimum), max(a.Maximum, b.Maximum)
	a.Values, a.Counts = slices.Concat(a.Values, b.Values), slices.Concat(a.Counts, b.Counts)
	return a
}
