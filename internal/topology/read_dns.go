package topology

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (p *parser) readDNS() {
	zones := map[string]string{}
	for _, r := range p.byType["aws_route53_zone"] {
		z := Zone{ID: r.text("zone_id"), Name: canonicalName(r.text("name")), Private: len(r.blocks("vpc")) > 0 || r.truth("private_zone")}
		if _, again := zones[z.ID]; again {
			continue // the same zone as a resource and as a data source
		}
		p.define(kindZone, z.ID, r.object)
		zones[z.ID] = z.Name
		p.t.Zones = append(p.t.Zones, z)
	}
	for _, r := range p.byType["aws_route53_health_check"] {
		p.readHealthCheck(r)
	}
	for _, r := range p.byType["aws_route53_record"] {
		p.readRecord(r, zones)
	}
	p.checkAliases()
}

func (p *parser) readHealthCheck(r *resource) {
	h := HealthCheck{
		ID: r.text("id"), Type: r.text("type"), FQDN: canonicalName(r.optional("fqdn")), Path: r.optional("resource_path"),
	}
	p.define(kindHealthCheck, h.ID, r.object)
	switch h.Type {
	case "HTTP", "HTTPS":
		if h.Path == "" {
			r.problem("resource_path", "is missing", "set the path that Route 53 asks for")
		}
	case "TCP":
	case "":
		return
	default:
		r.problem("type", "is not understood", "use HTTP, HTTPS or TCP")
		return
	}
	if r.truth("invert_healthcheck") || r.truth("disabled") {
		r.problem("invert_healthcheck", "or disabled is set, which is not understood", "remove it")
	}
	h.Port = r.integer("port", 1, maximumPort)
	h.Interval = r.seconds("request_interval", 10, 30)
	if h.Interval != 0 && h.Interval != 10*time.Second && h.Interval != 30*time.Second {
		r.problem("request_interval", "is neither 10 nor 30", "correct it in the Terraform")
	}
	h.FailureThreshold = r.integer("failure_threshold", 1, 10)
	if h.FQDN == "" {
		r.problem("fqdn", "is missing", "check a load balancer by its dns_name")
	}
	p.want(kindLoadBalancerDNS, h.FQDN, r.object, "fqdn")
	p.t.HealthChecks = append(p.t.HealthChecks, h)
}

func (p *parser) readRecord(r *resource, zones map[string]string) {
	rec := Record{
		ZoneID: r.text("zone_id"), Type: r.text("type"), SetIdentifier: r.optional("set_identifier"), HealthCheckID: r.optional("health_check_id"),
		Values: slices.Sorted(slices.Values(r.texts("records"))),
	}
	rec.Name = absoluteName(r.text("name"), zones[rec.ZoneID])
	p.want(kindZone, rec.ZoneID, r.object, "zone_id")
	p.want(kindHealthCheck, rec.HealthCheckID, r.object, "health_check_id")
	for _, policy := range []string{"weighted_routing_policy", "latency_routing_policy", "geolocation_routing_policy", "geoproximity_routing_policy", "cidr_routing_policy"} {
		if len(r.blocks(policy)) > 0 {
			r.problem(policy, "is not understood", "use failover_routing_policy or a plain record")
		}
	}
	if r.truth("multivalue_answer_routing_policy") {
		r.problem("multivalue_answer_routing_policy", "is not understood", "use failover_routing_policy or a plain record")
	}
	if b, ok := r.block("failover_routing_policy"); ok {
		rec.Failover = b.text("type")
		if rec.Failover != "" && rec.Failover != "PRIMARY" && rec.Failover != "SECONDARY" {
			b.problem("type", "is neither PRIMARY nor SECONDARY", "correct it in the Terraform")
		}
	}
	if b, ok := r.block("alias"); ok {
		rec.AliasName, rec.AliasZoneID, rec.EvaluateTargetHealth = canonicalName(b.text("name")), b.optional("zone_id"), b.truth("evaluate_target_health")
		p.aliases = append(p.aliases, aliasUse{from: b, record: rec})
	} else {
		rec.TTL = r.seconds("ttl", 0, int(maximumTTL/time.Second))
		if len(rec.Values) == 0 {
			r.problem("records", "is empty and there is no alias", "give the record a value")
		}
	}
	p.define(kind{"aws_route53_record", "set"}, fmt.Sprintf("%s %s %s %s", rec.ZoneID, rec.Name, rec.Type, rec.SetIdentifier), r.object)
	p.t.Records = append(p.t.Records, rec)
}

// absoluteName completes a record's name by its zone's, as the provider does.
func absoluteName(name, zone string) string {
	name = canonicalName(name)
	switch {
	case zone == "" || name == zone || strings.HasSuffix(name, "."+zone):
		return name
	case name == "":
		return zone
	}
	return name + "." + zone
}

// aliasUse is an alias whose target must be a load balancer or another record of the zone.
type aliasUse struct {
	from   object
	record Record
}

func (p *parser) checkAliases() {
	names := map[string]bool{}
	for _, rec := range p.t.Records {
		names[rec.ZoneID+" "+rec.Name] = true
	}
	for _, a := range p.aliases {
		switch {
		case p.isDefined(kindLoadBalancerDNS, a.record.AliasName) || a.record.AliasName == "":
		case names[a.record.ZoneID+" "+a.record.AliasName]:
			p.edge(a.from, "name", a.record.ZoneID+" "+a.record.Name, a.record.ZoneID+" "+a.record.AliasName)
		default:
			a.from.problem("name", "is neither the dns_name of an aws_lb in this state nor a record of the same zone", "correct the alias, or create its target in the same Terraform")
		}
	}
}
