package preflight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/aws"
	"holdfast/internal/operator"
)

// Limits of what clients follow.
const (
	maximumTTL       = time.Minute
	maximumDetection = time.Minute // of the health check: its interval times its threshold
	maximumKeepAlive = 5 * time.Minute
	healthPath       = "/healthz"
)

func (p *preflight) checkDNS(ctx context.Context) []Finding {
	s := subject("records of " + p.cfg.DNSName)
	records, err := p.src.Names.Records(ctx, p.cfg.DNSName)
	if err != nil {
		return []Finding{s.unknown("records", err, "a failover pair", remedyAsk)}
	}
	var findings []Finding
	// The records belong to the sites of the first day: after a move the primary record's check says that it is the standby.
	for i, kind := range []string{"PRIMARY", "SECONDARY"} {
		site := p.cfg.Sites[i]
		n := slices.IndexFunc(records, func(r aws.Record) bool { return r.Failover == kind })
		if n < 0 {
			findings = append(findings, s.want(false, kind+" record", "none", "an alias of the balancer of "+site.Name, "create it as the Terraform has it"))
			continue
		}
		findings = append(findings, p.record(site, kind, records[n])...)
		if kind == "PRIMARY" {
			findings = append(findings, p.healthCheck(ctx, site, records[n].HealthCheckID)...)
		}
	}
	findings = append(findings, p.secondHealthCheck(ctx)...)
	for _, site := range p.sites() {
		findings = append(findings, p.healthRule(ctx, site))
	}
	return findings
}

// secondHealthCheck looks at the check that only alarms go by, as it would be noticed missing on the worst day.
func (p *preflight) secondHealthCheck(ctx context.Context) []Finding {
	const what = "health check for the alarms"
	site := p.cfg.Sites[1]
	alarms, err := p.alarms(ctx, routeRegion)
	if err != nil {
		return []Finding{of(site).unknown(what, err, "described", remedyAsk)}
	}
	id, err := p.otherHealthCheck(ctx, alarms)
	switch {
	case err != nil:
		return []Finding{of(site).unknown(what, err, "described", remedyAsk)}
	case id == "":
		return []Finding{of(site).want(false, what, "none", "one, of "+healthPath+", with an alarm",
			"create both as the Terraform has them: without it nothing says that no site serves while "+site.Name+" is active")}
	}
	return p.healthCheck(ctx, site, id)
}

func (p *preflight) record(site operator.Site, kind string, r aws.Record) []Finding {
	s := subject(kind + " record of " + p.cfg.DNSName)
	const remedy = "correct it as the Terraform has it"
	alias := strings.TrimPrefix(strings.ToLower(r.Alias), "dualstack.")
	findings := []Finding{
		s.want(alias == strings.ToLower(site.LoadBalancerDNSName), "target", cmp.Or(r.Alias, "no alias"), site.LoadBalancerDNSName, remedy),
		s.want(r.TTL <= maximumTTL, "TTL", r.TTL, fmt.Sprintf("at most %v", maximumTTL), "lower it: clients go on to the old site for as long"),
		s.want(!r.EvaluateTargetHealth, "evaluates its target's health", r.EvaluateTargetHealth, "false", "switch it off: the term alone decides"),
	}
	if kind == "SECONDARY" {
		findings = append(findings, s.want(r.HealthCheckID == "", "health check", cmp.Or(r.HealthCheckID, "none"), "none",
			"remove it: with one, and both unhealthy, Route 53 answers with the primary whatever its state"))
	}
	return findings
}

// healthCheck compares the check with the listener that it asks.
func (p *preflight) healthCheck(ctx context.Context, site operator.Site, id string) []Finding {
	s := subject("health check of " + site.Name)
	if id == "" {
		return []Finding{s.want(false, "health check", "none", "one, of "+healthPath, "without it Route 53 answers with the primary for ever")}
	}
	h, err := p.src.Names.HealthCheck(ctx, id)
	if err != nil {
		return []Finding{s.unknown("health check "+id, err, "described", remedyAsk)}
	}
	listeners, err := p.src.Balancers(site.Region).Listeners(ctx, site.LoadBalancerARN)
	if err != nil {
		return []Finding{s.unknown("listener", err, "described", remedyAsk)}
	}
	i := slices.IndexFunc(listeners, func(l aws.Listener) bool { return l.Port == h.Port })
	protocol := "no listener"
	if i >= 0 {
		protocol = listeners[i].Protocol
	}
	detection := h.Interval * time.Duration(h.FailureThreshold)
	return []Finding{
		s.want(i >= 0 && protocol == h.Type, "protocol and port", fmt.Sprintf("%s on %d, where the balancer has %s", h.Type, h.Port, protocol),
			"those of a listener", "give the check the listener's protocol and port: as it is, it fails always, or asks the wrong thing"),
		s.want(strings.EqualFold(h.FQDN, site.LoadBalancerDNSName), "name", h.FQDN, site.LoadBalancerDNSName, "let it ask the site's own balancer, not the name that moves"),
		s.want(h.Path == healthPath, "path", h.Path, healthPath, "let it ask the wardens: nothing else knows who holds the term"),
		s.want(!h.Disabled && !h.Inverted, "disabled or inverted", h.Disabled || h.Inverted, "false", "switch that off: a disabled check counts as healthy"),
		s.prefer(detection <= maximumDetection, "time to detect", detection, fmt.Sprintf("at most %v", maximumDetection), "lower interval and threshold, as 10 s and 3"),
	}
}

// healthRule: the path that Route 53 asks must lead to the wardens, in both sites: roles change.
func (p *preflight) healthRule(ctx context.Context, site operator.Site) Finding {
	const what = "rule for " + healthPath
	listeners, err := p.src.Balancers(site.Region).Listeners(ctx, site.LoadBalancerARN)
	if err != nil {
		return of(site).unknown(what, err, "the wardens' target group", remedyAsk)
	}
	for _, l := range listeners {
		if groups := l.Paths[healthPath]; len(groups) > 0 {
			return of(site).want(slices.Equal(groups, []string{site.WardenTargetGroupARN}), what, strings.Join(groups, ", "), site.WardenTargetGroupARN,
				"let the rule forward to the wardens' target group and no other")
		}
	}
	return of(site).want(false, what, "none", "forward to the wardens", "create the listener rule as the Terraform has it")
}

func (p *preflight) checkKeepAlive(ctx context.Context) []Finding {
	var findings []Finding
	for _, site := range p.sites() {
		d, err := p.src.Balancers(site.Region).KeepAlive(ctx, site.LoadBalancerARN)
		if err != nil {
			findings = append(findings, of(site).unknown("client keep-alive", err, "known", remedyAsk))
			continue
		}
		findings = append(findings, of(site).want(d <= maximumKeepAlive, "client keep-alive of the balancer", d, fmt.Sprintf("at most %v", maximumKeepAlive),
			"set client_keep_alive.seconds of the balancer"))
	}
	return findings
}
