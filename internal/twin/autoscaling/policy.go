package autoscaling

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/ecs"
)

const (
	// period is one datapoint of a policy's alarms; outPeriods and inPeriods are how many must breach.
	period     = time.Minute
	outPeriods = 3
	inPeriods  = 15
	// inShare is the part of the target below which the metric counts as low.
	inShare = 0.9
	above   = "GreaterThanThreshold"
	below   = "LessThanThreshold"
)

// metricNames are the predefined metrics that can be tracked, and what they are called in CloudWatch.
var metricNames = map[string]string{
	"ECSServiceAverageCPUUtilization": "CPUUtilization", "ECSServiceAverageMemoryUtilization": "MemoryUtilization",
}

func (s *Scaler) check(p topology.ScalingPolicy) error {
	switch {
	case metricNames[p.Metric] == "":
		return fmt.Errorf("the twin does not track the metric %q", p.Metric)
	case p.TargetValue <= 0:
		return fmt.Errorf("the target value %v is not positive", p.TargetValue)
	case s.find(p.Region, p.ResourceID) == nil:
		return fmt.Errorf("%s is no scalable target", p.ResourceID)
	}
	return nil
}

// PolicyARN is a policy's ARN, and the action of its alarms.
func PolicyARN(accountID string, p topology.ScalingPolicy) string {
	return fmt.Sprintf("arn:aws:autoscaling:%s:%s:scalingPolicy:%s:resource/ecs/%s:policyName/%s", p.Region, accountID,
		id(p, "policy"), p.ResourceID, p.Name)
}

// id is a UUID that stays the same for the same policy.
func id(p topology.ScalingPolicy, what string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(p.Region+" "+p.ResourceID+" "+p.Name+" "+what)).String()
}

// Alarms returns the alarms that all policies make for themselves.
func (s *Scaler) Alarms() []topology.Alarm {
	var out []topology.Alarm
	for _, p := range s.options.Topology.ScalingPolicies {
		out = append(out, s.PolicyAlarms(p)...)
	}
	return out
}

// PolicyAlarms returns the two alarms of one policy: high, then low.
func (s *Scaler) PolicyAlarms(p topology.ScalingPolicy) []topology.Alarm {
	alarm := func(what, comparison string, threshold float64, periods int) topology.Alarm {
		name := "TargetTracking-" + p.ResourceID + "-Alarm" + what + "-" + id(p, what)
		metric := metricOf(p)
		return topology.Alarm{
			Region: p.Region, Name: name, ARN: fmt.Sprintf("arn:aws:cloudwatch:%s:%s:alarm:%s", p.Region, s.options.Topology.AccountID, name),
			Namespace: metric.Namespace, Metric: metric.Name, Dimensions: metric.Dimensions, Statistic: "Average", Period: period,
			EvaluationPeriods: periods, DatapointsToAlarm: periods, Threshold: threshold, ComparisonOperator: comparison,
			AlarmActions: []string{PolicyARN(s.options.Topology.AccountID, p)},
		}
	}
	return []topology.Alarm{
		alarm("High", above, p.TargetValue, outPeriods), alarm("Low", below, inShare*p.TargetValue, inPeriods),
	}
}

func metricOf(p topology.ScalingPolicy) alarms.Metric {
	cluster, service, _ := split(p.ResourceID)
	return alarms.Metric{
		Namespace: "AWS/ECS", Name: metricNames[p.Metric], Dimensions: map[string]string{"ClusterName": cluster, "ServiceName": service},
	}
}

// Act is one invocation of a policy by one of its alarms. The error says that the action is no policy, or that the
// service could not be changed.
func (s *Scaler) Act(ctx context.Context, action string, n alarms.Notification) error {
	if n.To != alarms.Alarm {
		return nil
	}
	for _, p := range s.options.Topology.ScalingPolicies {
		if PolicyARN(s.options.Topology.AccountID, p) != action {
			continue
		}
		cause := fmt.Sprintf("monitor alarm %s in state ALARM triggered policy %s", n.Alarm.Name, p.Name)
		if n.Alarm.ComparisonOperator == above {
			return s.scaleOut(ctx, p, cause)
		}
		return s.scaleIn(ctx, p, cause)
	}
	return fmt.Errorf("no scaling policy has the ARN %s", action)
}

// latest is the metric's newest datapoint.
func (s *Scaler) latest(p topology.ScalingPolicy) (float64, bool) {
	length := s.scaled(period)
	now := s.options.Now()
	end := time.Unix(0, now.UnixNano()-now.UnixNano()%int64(length))
	windows := s.options.Metrics.Windows(p.Region, metricOf(p), end, length, outPeriods)
	for i := len(windows) - 1; i >= 0; i-- {
		if windows[i] != nil {
			return windows[i].Statistic("Average")
		}
	}
	return 0, false
}

// proportional is the count at which the metric would be at its target, if the load stays.
func proportional(count int, value float64, p topology.ScalingPolicy) int {
	return int(math.Ceil(float64(count)*value/p.TargetValue - 1e-9))
}

func (s *Scaler) scaleOut(ctx context.Context, p topology.ScalingPolicy, cause string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, service, value, err := s.look(p)
	if err != nil {
		return err
	}
	now, base := s.options.Now(), service.DesiredCount
	if now.Sub(t.lastOut) < s.scaled(p.ScaleOutCooldown) {
		base = t.outBase
	}
	wanted := min(t.Max, max(t.Min, proportional(base, value, p)))
	if wanted <= service.DesiredCount {
		return nil
	}
	if err := s.set(ctx, t.ScalableTarget, service, wanted, cause); err != nil {
		return err
	}
	t.lastOut, t.outBase, t.lastIn = now, base, time.Time{}
	return nil
}

func (s *Scaler) scaleIn(ctx context.Context, p topology.ScalingPolicy, cause string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, service, value, err := s.look(p)
	if err != nil {
		return err
	}
	now := s.options.Now()
	wanted := min(t.Max, max(t.Min, proportional(service.DesiredCount, value, p)))
	if wanted >= service.DesiredCount || now.Sub(t.lastIn) < s.scaled(p.ScaleInCooldown) {
		return nil
	}
	if err := s.set(ctx, t.ScalableTarget, service, wanted, cause); err != nil {
		return err
	}
	t.lastIn = now
	return nil
}

// look finds what a policy decides on. The caller holds the lock.
func (s *Scaler) look(p topology.ScalingPolicy) (*target, ecs.Service, float64, error) {
	t := s.find(p.Region, p.ResourceID)
	service, err := s.service(p.Region, p.ResourceID)
	if err != nil {
		return nil, service, 0, err
	}
	value, ok := s.latest(p)
	if !ok {
		return nil, service, 0, fmt.Errorf("policy %s: its metric has no data", p.Name)
	}
	return t, service, value, nil
}
