package preflight

import (
	"context"
	"fmt"
	"slices"

	"holdfast/internal/aws"
)

// alarms lists a site's alarms. Alarms of Route 53 are among those of us-east-1.
func (p *preflight) alarms(ctx context.Context, region string) ([]aws.Alarm, error) {
	return p.src.Alarms(region).List(ctx, "-"+p.cfg.Suffix)
}

// lagMetric must be watched in both regions: it is published only where the secondary is, and roles change.
const lagMetric = "AuroraGlobalDBReplicationLag"

func (p *preflight) checkAlarms(ctx context.Context) []Finding {
	var findings []Finding
	for _, site := range p.sites() {
		alarms, err := p.alarms(ctx, site.Region)
		if err != nil {
			findings = append(findings, of(site).unknown("alarms", err, "listed", remedyAsk))
			continue
		}
		watched := slices.ContainsFunc(alarms, func(a aws.Alarm) bool { return a.Metric == lagMetric })
		findings = append(findings, of(site).want(watched, "alarm on "+lagMetric, fmt.Sprintf("%d alarms, %s", len(alarms), map[bool]string{true: "one of them on it", false: "none on it"}[watched]),
			"one in this region", "create it in this region too: the metric exists only in the secondary's region"))
		for _, a := range alarms {
			findings = append(findings, alarm(a)...)
		}
	}
	return findings
}

func alarm(a aws.Alarm) []Finding {
	s := subject("alarm " + a.Name)
	findings := []Finding{s.want(a.ActionsEnabled && len(a.Actions) > 0, "actions", fmt.Sprintf("enabled %t, %d actions", a.ActionsEnabled, len(a.Actions)),
		"enabled, at least one", "enable them: 'aws cloudwatch enable-alarm-actions --alarm-names "+a.Name+"'")}
	state := s.want(a.State == "OK", "state", a.State, "OK", "see the alarm: "+a.StateReason)
	if a.State == "INSUFFICIENT_DATA" {
		state.Severity, state.Remedy = Unknown, "nobody publishes its metric "+a.Metric+": see that its dimensions name what exists"
	}
	return append(findings, state)
}

func (p *preflight) checkSubscriptions(ctx context.Context) []Finding {
	var findings []Finding
	for _, site := range p.sites() {
		alarms, err := p.alarms(ctx, site.Region)
		if err != nil {
			findings = append(findings, of(site).unknown("topics of the alarms", err, "listed", remedyAsk))
			continue
		}
		named := topics(alarms)
		findings = append(findings, of(site).want(len(named) > 0, "topics of the alarms", len(named), "at least one",
			"give the alarms of "+site.Region+" an SNS topic of that region as their action, as the Terraform has it"))
		for _, topic := range named {
			findings = append(findings, p.topic(ctx, site.Region, topic)...)
		}
	}
	return findings
}

// topics lists the SNS topics among the alarms' actions.
func topics(alarms []aws.Alarm) []string {
	var arns []string
	for _, a := range alarms {
		for _, action := range a.Actions {
			if arnPart(action, 2) == "sns" {
				arns = append(arns, action)
			}
		}
	}
	slices.Sort(arns)
	return slices.Compact(arns)
}

func (p *preflight) topic(ctx context.Context, region, arn string) []Finding {
	s := subject("topic " + arnPart(arn, 5))
	subscriptions, err := p.src.Topics(region).Subscriptions(ctx, arn)
	if err != nil {
		return []Finding{s.unknown("subscriptions", err, "at least one, confirmed", remedyAsk)}
	}
	confirmed := 0
	var findings []Finding
	for _, sub := range subscriptions {
		if sub.Confirmed {
			confirmed++
			continue
		}
		findings = append(findings, s.prefer(false, "subscription of "+sub.Endpoint, "not confirmed", "confirmed", "let its receiver follow the link in the message that SNS sent"))
	}
	return append([]Finding{s.want(confirmed > 0, "confirmed subscriptions", confirmed, "at least one",
		"subscribe the people on call and let them confirm: alarm_emails in the Terraform")}, findings...)
}
