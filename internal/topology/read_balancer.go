package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

func (p *parser) readLoadBalancers() {
	for _, name := range []string{"aws_lb", "aws_alb"} {
		for _, r := range p.byType[name] {
			p.readLoadBalancer(r)
		}
	}
	for _, name := range []string{"aws_lb_target_group", "aws_alb_target_group"} {
		for _, r := range p.byType[name] {
			p.readTargetGroup(r)
		}
	}
	listeners := map[string]*Listener{}
	for _, name := range []string{"aws_lb_listener", "aws_alb_listener"} {
		for _, r := range p.byType[name] {
			l := p.readListener(r)
			listeners[l.ARN] = &l
		}
	}
	for _, name := range []string{"aws_lb_listener_rule", "aws_alb_listener_rule"} {
		for _, r := range p.byType[name] {
			p.readRule(r, listeners)
		}
	}
	for _, l := range listeners {
		slices.SortFunc(l.Rules, func(a, b ListenerRule) int { return cmp.Compare(a.Priority, b.Priority) })
		p.t.Listeners = append(p.t.Listeners, *l)
	}
}

func (p *parser) readLoadBalancer(r *resource) {
	if kind := r.optional("load_balancer_type"); kind != "" && kind != "application" {
		r.problem("load_balancer_type", "is not understood", "use application")
		return
	}
	l := LoadBalancer{
		Name: r.text("name"), DNSName: r.text("dns_name"), ZoneID: r.text("zone_id"), Internal: r.truth("internal"),
		IdleTimeout: r.seconds("idle_timeout", 1, 4000), ClientKeepAlive: r.seconds("client_keep_alive", 60, 604800),
		SecurityGroupIDs: slices.Sorted(slices.Values(r.texts("security_groups"))),
		SubnetIDs:        slices.Sorted(slices.Values(r.texts("subnets"))),
	}
	l.ARN, l.Region = r.home("arn")
	p.define(kindLoadBalancer, l.ARN, r.object)
	p.define(kindLoadBalancerDNS, canonicalName(l.DNSName), r.object)
	p.wantAll(kindSecurityGroup, l.SecurityGroupIDs, r.object, "security_groups")
	p.wantAll(kindSubnet, l.SubnetIDs, r.object, "subnets")
	p.t.LoadBalancers = append(p.t.LoadBalancers, l)
}

func (p *parser) readTargetGroup(r *resource) {
	if kind := r.text("target_type"); kind != "" && kind != "ip" {
		r.problem("target_type", "is not understood", "use ip, which is what tasks on Fargate need")
		return
	}
	g := TargetGroup{
		Name: r.text("name"), Port: r.integer("port", 1, maximumPort), Protocol: r.text("protocol"),
		DeregistrationDelay: r.seconds("deregistration_delay", 0, 3600),
	}
	g.ARN, g.Region = r.home("arn")
	p.define(kindTargetGroup, g.ARN, r.object)
	if b, ok := r.needBlock("health_check"); ok {
		g.HealthCheck = TargetHealthCheck{
			Path: b.text("path"), Port: b.text("port"), Protocol: b.text("protocol"), Matcher: b.text("matcher"),
			Interval: b.seconds("interval", 5, 300), Timeout: b.seconds("timeout", 2, 120),
			HealthyThreshold: b.integer("healthy_threshold", 2, 10), UnhealthyThreshold: b.integer("unhealthy_threshold", 2, 10),
		}
	}
	p.t.TargetGroups = append(p.t.TargetGroups, g)
}

func (p *parser) readListener(r *resource) Listener {
	l := Listener{LoadBalancerARN: r.text("load_balancer_arn"), Port: r.integer("port", 1, maximumPort), Protocol: r.text("protocol")}
	if l.Protocol != "" && l.Protocol != "HTTP" && l.Protocol != "HTTPS" {
		r.problem("protocol", "is not understood", "use HTTP or HTTPS")
	}
	l.ARN, l.Region = r.home("arn")
	p.define(kindListener, l.ARN, r.object)
	p.want(kindLoadBalancer, l.LoadBalancerARN, r.object, "load_balancer_arn")
	if b, ok := r.needBlock("default_action"); ok {
		l.Default = p.readAction(b)
	}
	return l
}

func (p *parser) readRule(r *resource, listeners map[string]*Listener) {
	rule := ListenerRule{Priority: r.integer("priority", 1, 50000)}
	rule.ARN, _ = r.home("arn")
	id := r.text("listener_arn")
	p.want(kindListener, id, r.object, "listener_arn")
	if b, ok := r.needBlock("action"); ok {
		rule.Action = p.readAction(b)
	}
	for _, c := range r.blocks("condition") {
		understood := false
		for field, into := range map[string]*[]string{"path_pattern": &rule.PathPatterns, "host_header": &rule.HostHeaders} {
			if b, ok := c.block(field); ok {
				*into = append(*into, b.texts("values")...)
				understood = true
			}
		}
		if !understood {
			c.problem("condition", "is of a kind that is not understood", "use path_pattern or host_header")
		}
	}
	slices.Sort(rule.PathPatterns)
	slices.Sort(rule.HostHeaders)
	if l := listeners[id]; l != nil {
		l.Rules = append(l.Rules, rule)
	}
}

func (p *parser) readAction(o object) Action {
	a := Action{Type: o.text("type")}
	switch a.Type {
	case "forward":
		a.TargetGroupARN = o.optional("target_group_arn")
		p.want(kindTargetGroup, a.TargetGroupARN, o, "target_group_arn")
		// A state that was read back from AWS may have both; then the weights say more.
		if a.TargetGroupARN == "" || len(o.blocks("forward")) > 0 {
			a.TargetGroupARN, a.TargetGroups = p.readForward(o)
		}
	case "redirect":
		if b, ok := o.needBlock("redirect"); ok {
			a.RedirectProtocol, a.RedirectPort = b.text("protocol"), b.text("port")
			a.StatusCode = statusCode(b, strings.TrimPrefix(b.text("status_code"), "HTTP_"))
		}
	case "fixed-response":
		if b, ok := o.needBlock("fixed_response"); ok {
			a.ContentType, a.Body = b.text("content_type"), b.optional("message_body")
			a.StatusCode = statusCode(b, b.text("status_code"))
		}
	case "":
	default:
		o.problem("type", "is not understood", "use forward, redirect or fixed-response")
	}
	return a
}

// readForward reads the longer form of a forward action, which names one target group or several with weights.
func (p *parser) readForward(o object) (heaviest string, all []WeightedTargetGroup) {
	forward, ok := o.needBlock("forward")
	if !ok {
		return "", nil
	}
	groups := forward.blocks("target_group")
	const maximum = 5 // of the load balancer's API
	if len(groups) == 0 || len(groups) > maximum {
		forward.problem("target_group", fmt.Sprintf("is there %d times", len(groups)), fmt.Sprintf("name 1 to %d target groups", maximum))
	}
	weight := -1
	for _, group := range groups {
		w := WeightedTargetGroup{TargetGroupARN: group.text("arn"), Weight: 1}
		if group.fields["weight"] != nil {
			w.Weight = group.integer("weight", 0, 999)
		}
		p.want(kindTargetGroup, w.TargetGroupARN, group, "arn")
		if w.Weight > weight {
			heaviest, weight = w.TargetGroupARN, w.Weight
		}
		all = append(all, w)
	}
	if len(all) == 1 {
		all = nil
	}
	return heaviest, all
}

func statusCode(o object, s string) int {
	var code int
	if _, err := fmt.Sscanf(s, "%d", &code); err != nil || code < 100 || code > 599 {
		o.problem("status_code", "is not an HTTP status", "correct it in the Terraform")
		return 0
	}
	return code
}

// canonicalName is a DNS name in lower case without the trailing dot and without the prefix that AWS allows in
// front of a load balancer's name.
func canonicalName(name string) string {
	return strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(name), "."), "dualstack.")
}

// maximumTTL is the largest TTL that Route 53 accepts.
const maximumTTL = time.Duration(1<<31-1) * time.Second
