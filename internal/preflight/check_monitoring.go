package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/aws"
	"holdfast/internal/operator"
)

// alarms lists the deployment's alarms in a region. Those of Route 53 are among those of us-east-1.
func (p *preflight) alarms(ctx context.Context, region string) ([]aws.Alarm, error) {
	return p.src.Alarms(region).List(ctx, "-"+p.cfg.Suffix)
}

// healthCheckMetric is what Route 53 publishes of a health check, in routeRegion only.
const (
	healthCheckMetric = "HealthCheckStatus"
	routeRegion       = "us-east-1"
)

// alarmRegions are the sites' regions, the active one's first, and Route 53's if no site lives there.
func (p *preflight) alarmRegions() []string {
	var regions []string
	for _, site := range p.sites() {
		regions = append(regions, site.Region)
	}
	if !slices.Contains(regions, routeRegion) {
		regions = append(regions, routeRegion)
	}
	return regions
}

func (p *preflight) checkAlarms(ctx context.Context) []Finding {
	var findings []Finding
	for _, region := range p.alarmRegions() {
		alarms, err := p.alarms(ctx, region)
		if err != nil {
			findings = append(findings, subject("region "+region).unknown("alarms", err, "listed", remedyAsk))
			continue
		}
		for _, r := range p.requiredAlarms(ctx, region, alarms) {
			findings = append(findings, r.look(region, alarms))
		}
		for _, a := range alarms {
			findings = append(findings, p.judgeAlarm(ctx, a)...)
		}
	}
	return findings
}

// required is an alarm that a region must have: one on a metric with these dimensions, or a composite one by its name. err
// says why it is not known which.
type required struct {
	what       string
	metric     string
	dimensions map[string]string
	composite  string
	err        error
}

func (r required) look(region string, alarms []aws.Alarm) Finding {
	s, what := subject("region "+region), "alarm on "+r.what
	if r.err != nil {
		return s.unknown(what, r.err, "one in this region", remedyAsk)
	}
	i := slices.IndexFunc(alarms, r.is)
	current := "none"
	if i >= 0 {
		current = alarms[i].Name
	}
	return s.want(i >= 0, what, current, "one in this region", "create it as the Terraform has it: what goes wrong there is not heard of")
}

func (r required) is(a aws.Alarm) bool {
	if r.composite != "" {
		return a.Composite && a.Name == r.composite
	}
	if a.Metric != r.metric {
		return false
	}
	for name, value := range r.dimensions {
		if a.Dimensions[name] != value {
			return false
		}
	}
	return true
}

// requiredAlarms are what infra/ defines for a region. Roles change, so both sites have the same ones.
func (p *preflight) requiredAlarms(ctx context.Context, region string, alarms []aws.Alarm) []required {
	var all []required
	for _, site := range p.sites() {
		if site.Region == region {
			all = append(all, p.siteAlarms(ctx, site)...)
		}
	}
	if region == routeRegion {
		all = append(all, p.healthCheckAlarms(ctx, alarms)...)
	}
	return all
}

func (p *preflight) siteAlarms(ctx context.Context, site operator.Site) []required {
	database := map[string]string{"DBClusterIdentifier": site.DBClusterIdentifier}
	all := []required{
		{what: "the replication lag of " + site.DBClusterIdentifier, metric: "AuroraGlobalDBReplicationLag", dimensions: database},
		{what: "the engine of " + site.DBClusterIdentifier, metric: "EngineUptime", dimensions: database},
	}
	for _, operation := range []string{"GetItem", "PutItem"} {
		all = append(all, required{
			what: operation + " of the term table", metric: "SystemErrors",
			dimensions: map[string]string{"TableName": p.cfg.TermTable, "Operation": operation},
		})
	}
	groups, err := p.targetGroups(ctx, site)
	if err != nil {
		all = append(all, required{what: "the target groups of the listener", err: err})
	}
	for _, arn := range groups {
		group := arnPart(arn, 5)
		all = append(all, required{what: "the healthy hosts of " + group, metric: "HealthyHostCount", dimensions: map[string]string{"TargetGroup": group}})
	}
	const impaired = "region-impaired-"
	return append(all, required{what: "two layers at once (" + impaired + site.Name + ")", composite: impaired + site.Name + "-" + p.cfg.Suffix})
}

// targetGroups are those of a site's application and wardens, and what else its serving listener has targets in: the one
// through which its wardens send requests on.
func (p *preflight) targetGroups(ctx context.Context, site operator.Site) ([]string, error) {
	groups := []string{site.AppTargetGroupARN, site.WardenTargetGroupARN}
	listeners, err := p.src.Balancers(site.Region).Listeners(ctx, site.LoadBalancerARN)
	for _, l := range listeners {
		if slices.Contains(l.Default, site.AppTargetGroupARN) {
			groups = append(groups, l.Default...)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups), err
}

// healthCheckAlarms: the record says which health check clients follow. That of the other site is followed by no record, and
// without it nothing says that no site serves while that site is active.
func (p *preflight) healthCheckAlarms(ctx context.Context, alarms []aws.Alarm) []required {
	const what, other = "the health check of the primary record", "the other site's health check"
	none := required{what: "both health checks (no-site-serves)", composite: "no-site-serves-" + p.cfg.Suffix}
	records, err := p.src.Names.Records(ctx, p.cfg.DNSName)
	if err != nil {
		return []required{none, {what: what, err: err}}
	}
	all := []required{none}
	for _, r := range records {
		if r.Failover == "PRIMARY" && r.HealthCheckID != "" { // without one the check "dns" fails
			all = append(all, required{what: what, metric: healthCheckMetric, dimensions: map[string]string{"HealthCheckId": r.HealthCheckID}})
		}
	}
	id, err := p.otherHealthCheck(ctx, alarms)
	if id == "" {
		id = "of " + p.cfg.Sites[1].LoadBalancerDNSName // no alarm is on it
	}
	return append(all, required{what: other, err: err, metric: healthCheckMetric, dimensions: map[string]string{"HealthCheckId": id}})
}

// otherHealthCheck is the health check of the second site, which the alarms name and no record does; empty if there is none.
func (p *preflight) otherHealthCheck(ctx context.Context, alarms []aws.Alarm) (id string, err error) {
	for _, a := range alarms {
		if a.Metric != healthCheckMetric {
			continue
		}
		h, err := p.src.Names.HealthCheck(ctx, a.Dimensions["HealthCheckId"])
		if err != nil {
			return "", err
		}
		if strings.EqualFold(h.FQDN, p.cfg.Sites[1].LoadBalancerDNSName) {
			return a.Dimensions["HealthCheckId"], nil
		}
	}
	return "", nil
}

// judgeAlarm judges an alarm's state and actions. Those of a health check go by the site that is asked: a standby answers 503,
// so its alarm is in ALARM as long as it stands by; and the second site's speaks through no-site-serves, because no record
// follows it.
func (p *preflight) judgeAlarm(ctx context.Context, a aws.Alarm) []Finding {
	remedy := "see the alarm: " + a.StateReason
	if a.Metric != healthCheckMetric {
		return []Finding{actions(a), state(a, "OK", remedy)}
	}
	h, err := p.src.Names.HealthCheck(ctx, a.Dimensions["HealthCheckId"])
	if err != nil {
		return []Finding{subject("alarm "+a.Name).unknown("state", err, "that of its site's role", remedyAsk)}
	}
	wanted := "OK"
	if strings.EqualFold(h.FQDN, p.standby.LoadBalancerDNSName) {
		wanted, remedy = "ALARM", "see what answers "+healthPath+" at "+h.FQDN+": a standby must say 503, or clients are sent to it; for three minutes after a move it is late"
	}
	if strings.EqualFold(h.FQDN, p.cfg.Sites[1].LoadBalancerDNSName) {
		return []Finding{state(a, wanted, remedy)}
	}
	return []Finding{actions(a), state(a, wanted, remedy)}
}

func actions(a aws.Alarm) Finding {
	return subject("alarm "+a.Name).want(a.ActionsEnabled && len(a.Actions) > 0, "actions", fmt.Sprintf("enabled %t, %d actions", a.ActionsEnabled, len(a.Actions)),
		"enabled, at least one", "enable them: 'aws cloudwatch enable-alarm-actions --alarm-names "+a.Name+"'")
}

func state(a aws.Alarm, wanted, remedy string) Finding {
	f := subject("alarm "+a.Name).want(a.State == wanted, "state", a.State, wanted, remedy)
	if a.State == "INSUFFICIENT_DATA" {
		f.Severity, f.Remedy = Unknown, "nobody publishes its metric "+a.Metric+": see that its dimensions name what exists"
		if a.Composite {
			f.Remedy = "see the alarms that its rule names"
		}
	}
	return f
}

func (p *preflight) checkSubscriptions(ctx context.Context) []Finding {
	var findings []Finding
	for _, region := range p.alarmRegions() {
		s := subject("region " + region)
		alarms, err := p.alarms(ctx, region)
		if err != nil {
			findings = append(findings, s.unknown("topics of the alarms", err, "listed", remedyAsk))
			continue
		}
		named := topics(alarms)
		findings = append(findings, s.want(len(named) > 0, "topics of the alarms", len(named), "at least one",
			"give the alarms of "+region+" an SNS topic of that region as their action, as the Terraform has it"))
		for _, topic := range named {
			findings = append(findings, p.topic(ctx, region, topic)...)
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
