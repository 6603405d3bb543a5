package infratest

import (
	"slices"
	"strings"
	"testing"
)

// watched says that some alarm with an action watches the named thing, or one that a composite alarm with an action names.
func watched(s state, metric string, dimensions map[string]string) bool {
	return slices.ContainsFunc(s.of("aws_cloudwatch_metric_alarm"), func(a resource) bool {
		if a.text("metric_name") != metric || len(a.texts("alarm_actions")) == 0 && !spokenFor(s, a.text("alarm_name")) {
			return false
		}
		have, _ := a.Values["dimensions"].(map[string]any)
		for k, v := range dimensions {
			if have[k] != v {
				return false
			}
		}
		return true
	})
}

func spokenFor(s state, alarm string) bool {
	return slices.ContainsFunc(s.of("aws_cloudwatch_composite_alarm"), func(c resource) bool {
		return len(c.texts("alarm_actions")) > 0 && strings.Contains(c.text("alarm_rule"), `ALARM("`+alarm+`")`)
	})
}

func TestEverythingThatMattersHasAnAlarm(t *testing.T) {
	t.Parallel()
	s := protectedState(t)
	for _, cluster := range s.some(t, "aws_rds_cluster") {
		for _, metric := range []string{"AuroraGlobalDBReplicationLag", "CPUUtilization", "EngineUptime"} {
			if !watched(s, metric, map[string]string{"DBClusterIdentifier": cluster.text("cluster_identifier")}) {
				t.Errorf("%s: no alarm on %s", cluster.Address, metric)
			}
		}
	}
	groups := map[string]resource{}
	for _, g := range s.some(t, "aws_lb_target_group") {
		groups[g.text("arn")] = g
	}
	for _, service := range s.some(t, "aws_ecs_service") {
		for _, b := range service.list("load_balancer") {
			block, _ := b.(map[string]any)
			arn, _ := block["target_group_arn"].(string)
			g, known := groups[arn]
			if !known {
				t.Errorf("%s registers in an unknown target group", service.Address)
				continue
			}
			suffix := g.text("arn")[strings.LastIndex(g.text("arn"), ":")+1:]
			if !watched(s, "HealthyHostCount", map[string]string{"TargetGroup": suffix}) {
				t.Errorf("%s: no alarm on its healthy hosts", service.Address)
			}
		}
		if len(service.list("load_balancer")) == 0 {
			t.Errorf("%s has no target group to watch", service.Address)
		}
	}
	checks := s.some(t, "aws_route53_health_check")
	if len(checks) != 2 {
		t.Errorf("%d health checks, want one of each site: without both nothing says that no site serves", len(checks))
	}
	for _, check := range checks {
		if !watched(s, "HealthCheckStatus", map[string]string{"HealthCheckId": check.text("id")}) {
			t.Errorf("%s: no alarm on its status", check.Address)
		}
	}
}

// An alarm can only see metrics of, and notify topics of, its own region; health-check metrics live in us-east-1.
func TestAlarmsAndTopicsLiveWhereTheMetricsDo(t *testing.T) {
	s := protectedState(t)
	for _, a := range s.some(t, "aws_cloudwatch_metric_alarm", "aws_cloudwatch_composite_alarm") {
		region := regionOf(a.text("arn"))
		for _, topic := range a.texts("alarm_actions") {
			if regionOf(topic) != region {
				t.Errorf("%s in %s notifies %s", a.Address, region, topic)
			}
		}
		if a.text("namespace") == "AWS/Route53" && region != "us-east-1" {
			t.Errorf("%s is in %s: health-check metrics exist in us-east-1 only", a.Address, region)
		}
		if site := a.site(); site != "" && region != map[string]string{"primary": "us-east-1", "dr": "us-west-2"}[site] {
			t.Errorf("%s is in %s", a.Address, region)
		}
	}
	lag := 0
	for _, a := range s.of("aws_cloudwatch_metric_alarm") {
		if a.text("metric_name") == "AuroraGlobalDBReplicationLag" {
			lag++
			if a.number("threshold") != 30000 {
				t.Errorf("%s: threshold %v; the metric is in milliseconds", a.Address, a.Values["threshold"])
			}
		}
	}
	if lag != 2 {
		t.Errorf("%d alarms on replication lag, want one in each region: only the secondary's has data", lag)
	}
}
