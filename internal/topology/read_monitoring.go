package topology

import (
	"slices"
	"strings"
)

func (p *parser) readMonitoring() {
	for _, r := range p.byType["aws_sns_topic"] {
		t := Topic{Name: r.text("name")}
		t.ARN, t.Region = r.home("arn")
		p.define(kindTopic, t.ARN, r.object)
		p.t.Topics = append(p.t.Topics, t)
	}
	for _, r := range p.byType["aws_sns_topic_subscription"] {
		s := Subscription{TopicARN: r.text("topic_arn"), Protocol: r.text("protocol"), Endpoint: r.text("endpoint")}
		_, s.Region = r.home("topic_arn")
		p.want(kindTopic, s.TopicARN, r.object, "topic_arn")
		p.t.Subscriptions = append(p.t.Subscriptions, s)
	}
	for _, r := range p.byType["aws_cloudwatch_log_group"] {
		g := LogGroup{Name: r.text("name"), RetentionDays: r.integer("retention_in_days", 0, 3653)}
		_, g.Region = r.home("arn")
		p.define(kindLogGroup, g.Region+"/"+g.Name, r.object)
		p.t.LogGroups = append(p.t.LogGroups, g)
	}
	for _, r := range p.byType["aws_cloudwatch_metric_alarm"] {
		p.readAlarm(r)
	}
	for _, r := range p.byType["aws_cloudwatch_composite_alarm"] {
		c := CompositeAlarm{
			Name: r.text("alarm_name"), Rule: r.text("alarm_rule"),
			AlarmActions: slices.Sorted(slices.Values(r.texts("alarm_actions"))), OKActions: slices.Sorted(slices.Values(r.texts("ok_actions"))),
		}
		c.ARN, c.Region = r.home("arn")
		p.wantTopics(c.AlarmActions, r.object, "alarm_actions")
		p.wantTopics(c.OKActions, r.object, "ok_actions")
		p.t.CompositeAlarms = append(p.t.CompositeAlarms, c)
	}
	for _, r := range p.byType["aws_db_event_subscription"] {
		s := EventSubscription{
			Name: r.text("name"), TopicARN: r.text("sns_topic"), SourceType: r.optional("source_type"),
			SourceIDs: slices.Sorted(slices.Values(r.texts("source_ids"))), Categories: slices.Sorted(slices.Values(r.texts("event_categories"))),
		}
		_, s.Region = r.home("sns_topic") // a subscription and its topic are in one region
		p.want(kindTopic, s.TopicARN, r.object, "sns_topic")
		p.t.EventSubscriptions = append(p.t.EventSubscriptions, s)
	}
}

func (p *parser) readAlarm(r *resource) {
	if len(r.blocks("metric_query")) > 0 {
		r.problem("metric_query", "is not understood", "use an alarm on one metric")
		return
	}
	a := Alarm{
		Name: r.text("alarm_name"), Namespace: r.text("namespace"), Metric: r.text("metric_name"), Dimensions: r.table("dimensions"),
		Period: r.seconds("period", 10, 86400), EvaluationPeriods: r.integer("evaluation_periods", 1, 1440),
		ComparisonOperator: r.text("comparison_operator"), TreatMissingData: r.text("treat_missing_data"),
		AlarmActions: slices.Sorted(slices.Values(r.texts("alarm_actions"))), OKActions: slices.Sorted(slices.Values(r.texts("ok_actions"))),
	}
	a.ARN, a.Region = r.home("arn")
	a.Threshold, _ = r.number("threshold")
	a.Statistic = r.optional("extended_statistic")
	if a.Statistic == "" {
		a.Statistic = r.text("statistic")
	}
	a.DatapointsToAlarm = a.EvaluationPeriods
	if n, set := r.fields["datapoints_to_alarm"]; set && n != nil && n != float64(0) {
		a.DatapointsToAlarm = r.integer("datapoints_to_alarm", 1, 1440)
	}
	p.wantTopics(a.AlarmActions, r.object, "alarm_actions")
	p.wantTopics(a.OKActions, r.object, "ok_actions")
	p.t.Alarms = append(p.t.Alarms, a)
}

// wantTopics asks for the topics among an alarm's actions; actions of other services are left as they are.
func (p *parser) wantTopics(actions []string, o object, field string) {
	for _, action := range actions {
		arn, err := ParseARN(action)
		switch {
		case err != nil:
			o.problem(field, "holds something that is not an ARN", arnRemedy)
		case arn.Service == "sns":
			p.want(kindTopic, action, o, field)
		}
	}
}

// secretUse is a container's reference to a secret; replicas make it valid in several regions.
type secretUse struct {
	from            object
	name, valueFrom string
	region          string
}

func (p *parser) readSecrets() {
	resources := map[string]Secret{}
	for _, r := range p.byType["aws_secretsmanager_secret"] {
		s := Secret{Name: r.text("name")}
		s.ARN, s.Region = r.home("arn")
		for _, b := range r.blocks("replica") {
			s.ReplicaRegions = append(s.ReplicaRegions, b.knownRegion("region"))
		}
		slices.Sort(s.ReplicaRegions)
		p.t.Secrets = append(p.t.Secrets, s)
		if arn, err := ParseARN(s.ARN); err == nil {
			resources[arn.Resource] = s
		}
	}
	for _, use := range p.secretUses {
		p.checkSecretUse(use, resources)
	}
}

// checkSecretUse accepts arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME[:key[:stage[:version]]] of a secret that is in
// REGION, itself or as a replica. A parameter of Systems Manager is no secret of this topology and passes.
func (p *parser) checkSecretUse(use secretUse, resources map[string]Secret) {
	report := func(fault string) {
		p.report(Problem{
			Address: use.from.address, Field: use.from.path + "secrets." + use.name, Value: literal(use.valueFrom), Fault: fault,
			Remedy: "refer to the arn of an aws_secretsmanager_secret, or of its replica in the task's region",
		})
	}
	arn, err := ParseARN(use.valueFrom)
	if err != nil {
		report("is not an ARN")
		return
	}
	if arn.Service == "ssm" {
		return
	}
	parts := strings.SplitN(arn.Resource, ":", 3)
	if len(parts) < 2 {
		report("names no secret")
		return
	}
	s, ok := resources[parts[0]+":"+parts[1]]
	switch {
	case !ok:
		report("is the arn of no aws_secretsmanager_secret in this state")
	case arn.Region != s.Region && !slices.Contains(s.ReplicaRegions, arn.Region):
		report("is in a region that the secret is not replicated to")
	}
}
