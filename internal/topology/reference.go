package topology

import (
	"cmp"
	"slices"
)

// kind is what a reference points at: resources of a type, found by a field.
type kind struct{ typ, field string }

// The kinds. Names that are unique within a region only are kept as "region/name".
var (
	kindVPC             = kind{"aws_vpc", "id"}
	kindSubnet          = kind{"aws_subnet", "id"}
	kindInternetGateway = kind{"aws_internet_gateway", "id"}
	kindNATGateway      = kind{"aws_nat_gateway", "id"}
	kindPeering         = kind{"aws_vpc_peering_connection", "id"}
	kindVPCEndpoint     = kind{"aws_vpc_endpoint", "id"}
	kindRouteTable      = kind{"aws_route_table", "id"}
	kindSecurityGroup   = kind{"aws_security_group", "id"}
	kindGlobalCluster   = kind{"aws_rds_global_cluster", "global_cluster_identifier"}
	kindDBCluster       = kind{"aws_rds_cluster", "cluster_identifier"}
	kindDBClusterARN    = kind{"aws_rds_cluster", "arn"}
	kindDBInstance      = kind{"aws_rds_cluster_instance", "identifier"}
	kindSubnetGroup     = kind{"aws_db_subnet_group", "name"}
	kindParameterGroup  = kind{"aws_rds_cluster_parameter_group", "name"}
	kindECSCluster      = kind{"aws_ecs_cluster", "arn"}
	kindService         = kind{"aws_ecs_service", "name"}
	kindServicePath     = kind{"aws_ecs_service", "resource_id"}
	kindTaskDefinition  = kind{"aws_ecs_task_definition", "arn"}
	kindLoadBalancer    = kind{"aws_lb", "arn"}
	kindLoadBalancerDNS = kind{"aws_lb", "dns_name"}
	kindListener        = kind{"aws_lb_listener", "arn"}
	kindTargetGroup     = kind{"aws_lb_target_group", "arn"}
	kindZone            = kind{"aws_route53_zone", "zone_id"}
	kindHealthCheck     = kind{"aws_route53_health_check", "id"}
	kindTopic           = kind{"aws_sns_topic", "arn"}
	kindLogGroup        = kind{"aws_cloudwatch_log_group", "name"}
)

// references remembers what is defined and what is asked for, so that order in the state does not matter.
type references struct {
	defined map[kind]map[string]string
	wanted  []wanted
}

type wanted struct {
	kind  kind
	key   string
	from  object
	field string
	// show is what the state says, where the key is a longer form of it.
	show string
}

// define records that the object is found under the key; two objects under one key are reported, because a reference
// to them would be a guess.
func (p *parser) define(k kind, key string, o object) {
	if key == "" {
		return
	}
	if p.refs.defined == nil {
		p.refs.defined = map[kind]map[string]string{}
	}
	if p.refs.defined[k] == nil {
		p.refs.defined[k] = map[string]string{}
	}
	if other, taken := p.refs.defined[k][key]; taken && other != o.address {
		p.report(Problem{
			Address: o.address, Field: k.field, Value: literal(key), Fault: "is also the " + k.field + " of " + other,
			Remedy: "give each its own; two with the same one cannot be told apart",
		})
		return
	}
	p.refs.defined[k][key] = o.address
}

// want asks that the key is defined, once everything has been read.
func (p *parser) want(k kind, key string, from object, field string) {
	if key != "" {
		p.refs.wanted = append(p.refs.wanted, wanted{kind: k, key: key, from: from, field: field})
	}
}

func (p *parser) wantAll(k kind, keys []string, from object, field string) {
	for _, key := range keys {
		p.want(k, key, from, field)
	}
}

// wantIn asks for a name that is unique within a region only.
func (p *parser) wantIn(k kind, region, name string, from object, field string) {
	if region != "" && name != "" {
		p.refs.wanted = append(p.refs.wanted, wanted{kind: k, key: region + "/" + name, from: from, field: field, show: name})
	}
}

func (p *parser) isDefined(k kind, key string) bool {
	_, ok := p.refs.defined[k][key]
	return ok
}

// resolve reports every reference that leads nowhere or round in a circle.
func (p *parser) resolve() {
	for _, w := range p.refs.wanted {
		if p.isDefined(w.kind, w.key) {
			continue
		}
		p.report(Problem{
			Address: w.from.address, Field: w.from.path + w.field, Value: literal(cmp.Or(w.show, w.key)),
			Fault:  "is the " + w.kind.field + " of no " + w.kind.typ + " in this state",
			Remedy: "create that resource in the same Terraform, or correct the reference",
		})
	}
	p.findCycles()
}

// sort orders everything by region and identifier, so that equal states give equal topologies.
func (p *parser) sort() {
	t := &p.t
	sortBy(t.Networks, func(n Network) string { return n.Region + "/" + n.ID })
	for i := range t.Networks {
		sortBy(t.Networks[i].Subnets, func(s Subnet) string { return s.ID })
		sortBy(t.Networks[i].Routes, func(r RouteTable) string { return r.ID })
		sortBy(t.Networks[i].Endpoints, func(e VPCEndpoint) string { return e.ID })
		sortBy(t.Networks[i].NATGateways, func(g NATGateway) string { return g.ID })
	}
	sortBy(t.Peerings, func(c Peering) string { return c.ID })
	sortBy(t.SecurityGroups, func(g SecurityGroup) string { return g.Region + "/" + g.ID })
	sortBy(t.PrefixLists, func(l PrefixList) string { return l.ID })
	sortBy(t.GlobalClusters, func(c GlobalCluster) string { return c.Identifier })
	sortBy(t.DBClusters, func(c DBCluster) string { return c.Region + "/" + c.Identifier })
	sortBy(t.DBInstances, func(i DBInstance) string { return i.Region + "/" + i.Identifier })
	sortBy(t.ECSClusters, func(c ECSCluster) string { return c.Region + "/" + c.Name })
	sortBy(t.Services, func(s Service) string { return s.Region + "/" + s.ClusterName + "/" + s.Name })
	sortBy(t.TaskDefinitions, func(d TaskDefinition) string { return d.Region + "/" + d.ARN })
	sortBy(t.ScalableTargets, func(s ScalableTarget) string { return s.Region + "/" + s.ResourceID })
	sortBy(t.ScalingPolicies, func(s ScalingPolicy) string { return s.Region + "/" + s.ResourceID + "/" + s.Name })
	sortBy(t.LoadBalancers, func(l LoadBalancer) string { return l.Region + "/" + l.Name })
	slices.SortFunc(t.Listeners, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.LoadBalancerARN, b.LoadBalancerARN), cmp.Compare(a.Port, b.Port))
	})
	sortBy(t.TargetGroups, func(g TargetGroup) string { return g.Region + "/" + g.Name })
	sortBy(t.Zones, func(z Zone) string { return z.ID })
	sortBy(t.Records, func(r Record) string { return r.ZoneID + "/" + r.Name + "/" + r.Type + "/" + r.SetIdentifier })
	sortBy(t.HealthChecks, func(h HealthCheck) string { return h.ID })
	sortBy(t.Alarms, func(a Alarm) string { return a.Region + "/" + a.Name })
	sortBy(t.CompositeAlarms, func(a CompositeAlarm) string { return a.Region + "/" + a.Name })
	sortBy(t.EventSubscriptions, func(s EventSubscription) string { return s.Region + "/" + s.Name })
	sortBy(t.Topics, func(s Topic) string { return s.Region + "/" + s.Name })
	sortBy(t.Subscriptions, func(s Subscription) string { return s.Region + "/" + s.TopicARN + "/" + s.Protocol + "/" + s.Endpoint })
	sortBy(t.LogGroups, func(g LogGroup) string { return g.Region + "/" + g.Name })
	sortBy(t.Secrets, func(s Secret) string { return s.Region + "/" + s.Name })
}

func sortBy[T any](all []T, key func(T) string) {
	slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
}
