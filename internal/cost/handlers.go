package cost

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

const serverlessClass = "db.serverless"

// handlers price the types that cost by what they are.
var handlers = map[string]func(*estimator, resource){
	"aws_rds_cluster":                   (*estimator).cluster,
	"aws_rds_cluster_instance":          (*estimator).clusterInstance,
	"aws_ecs_service":                   (*estimator).service,
	"aws_lb":                            (*estimator).balancer,
	"aws_nat_gateway":                   (*estimator).natGateway,
	"aws_eip":                           (*estimator).elasticIP,
	"aws_vpc_endpoint":                  (*estimator).endpoint,
	"aws_route53_zone":                  (*estimator).zone,
	"aws_route53_health_check":          (*estimator).healthCheck,
	"aws_cloudwatch_metric_alarm":       (*estimator).alarm,
	"aws_cloudwatch_dashboard":          (*estimator).dashboard,
	"aws_cloudwatch_log_group":          (*estimator).logGroup,
	"aws_kms_key":                       (*estimator).key,
	"aws_secretsmanager_secret":         (*estimator).secret,
	"aws_cloudformation_stack":          (*estimator).stack,
	"aws_wafv2_web_acl":                 (*estimator).firewall,
	"aws_ecr_repository":                (*estimator).repository,
	"aws_ecr_replication_configuration": (*estimator).imageReplication,
	"aws_efs_file_system":               (*estimator).fileSystem,
}

// usageBased are types that are charged by use for which no assumption stands.
var usageBased = map[string]string{
	"aws_ecs_cluster":                         "Container Insights: metrics by the task",
	"aws_s3_bucket":                           "GB and requests",
	"aws_sns_topic":                           "notifications",
	"aws_guardduty_detector":                  "GB and events analysed",
	"aws_config_configuration_recorder":       "changes recorded",
	"aws_vpc_peering_connection":              "GB between the regions beyond --transfer-gb",
	"aws_efs_backup_policy":                   "GB backed up",
	"aws_flow_log":                            "in --log-gb of its log group",
	"aws_wafv2_web_acl_logging_configuration": "in --log-gb of its log group",
}

// free are types that AWS makes no charge for.
var free = set(
	"aws_acm_certificate", "aws_acm_certificate_validation", "aws_appautoscaling_policy", "aws_appautoscaling_target",
	"aws_config_configuration_recorder_status", "aws_config_delivery_channel", "aws_db_event_subscription",
	"aws_db_parameter_group", "aws_db_subnet_group", "aws_default_security_group", "aws_ecs_task_definition",
	"aws_efs_access_point", "aws_efs_mount_target", "aws_iam_role", "aws_iam_role_policy",
	"aws_iam_role_policy_attachment", "aws_internet_gateway", "aws_kms_alias", "aws_lb_listener",
	"aws_lb_listener_certificate", "aws_lb_listener_rule", "aws_lb_target_group", "aws_rds_cluster_parameter_group",
	"aws_rds_global_cluster", "aws_route", "aws_route53_record", "aws_route_table", "aws_route_table_association",
	"aws_s3_bucket_lifecycle_configuration", "aws_s3_bucket_ownership_controls", "aws_s3_bucket_policy",
	"aws_s3_bucket_public_access_block", "aws_s3_bucket_server_side_encryption_configuration",
	"aws_s3_bucket_versioning", "aws_secretsmanager_secret_version", "aws_security_group", "aws_sns_topic_policy",
	"aws_sns_topic_subscription", "aws_subnet", "aws_vpc", "aws_vpc_peering_connection_accepter",
	"aws_vpc_security_group_egress_rule", "aws_vpc_security_group_ingress_rule", "aws_wafv2_ip_set",
	"aws_wafv2_web_acl_association",
)

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, name := range names {
		m[name] = true
	}
	return m
}

func hours(n int) Amount { return whole(n * HoursPerMonth) }

func (e *estimator) cluster(r resource) {
	storage, optimized := "aurora.storage-gb", optimizedStorage(r)
	if optimized {
		storage = "aurora.storage-io-optimized-gb"
	}
	e.add(r, r.region, e.assumed(PartAurora, storage, "storage", "storage-gb"))
	e.add(r, r.region, e.assumed(PartAurora, "aurora.backup-gb", "backups beyond the size of the database", "backup-gb"))
	switch {
	case r.region == e.active:
		if !optimized {
			e.add(r, r.region, e.assumed(PartAurora, "aurora.io-million", "storage I/O", "io-millions"))
		}
	case r.text("global_cluster_identifier") != "" || e.plan:
		// What is replicated is charged in the region that sends it, once per region that receives it.
		e.add(r, e.active, e.assumed(
			PartAurora, "aurora.replicated-write-million", "replicated write I/O", "replicated-write-io-millions"))
		e.add(r, e.active, e.assumed(PartAurora, "transfer.region-gb", "data to the other region", "transfer-gb"))
	}
}

func optimizedStorage(cluster resource) bool { return cluster.text("storage_type") == "aurora-iopt1" }

func (e *estimator) clusterInstance(r resource) {
	suffix := ""
	for _, c := range e.resources {
		if c.typ == "aws_rds_cluster" && c.region == r.region && optimizedStorage(c) &&
			(c.text("cluster_identifier") == r.text("cluster_identifier") || c.module == r.module) {
			suffix = "-io-optimized"
		}
	}
	if days, known := r.number("performance_insights_retention_period"); known && days > 7 {
		e.leaveOut(r.typ, ReasonUnknown, "performance insights beyond 7 days")
	}
	class := r.text("instance_class")
	if class == serverlessClass {
		e.add(r, r.region, item{PartAurora, "aurora.acu-hour" + suffix, "Serverless v2", e.Usage["acu"].Times(hours(1)), "acu"})
		return
	}
	it := item{part: PartAurora, key: "aurora." + class + suffix, what: class, quantity: hours(1)}
	if e.reserved {
		share, has := e.Prices.Find("aurora.reserved-1-year-share", r.region)
		if !has {
			e.leaveOut(r.typ, ReasonUnknown, "a reservation of "+class+" in "+r.region)
			return
		}
		it.quantity = it.quantity.Times(share.USD)
		it.what += ", reserved"
	}
	e.add(r, r.region, it)
}

// scalingTarget finds the autoscaling target of a service.
func (d document) scalingTarget(service resource) (resource, bool) {
	for _, r := range d.resources {
		id := strings.Split(r.text("resource_id"), "/")
		if r.typ == "aws_appautoscaling_target" && r.region == service.region && len(id) == 3 && id[2] == service.text("name") {
			return r, true
		}
	}
	return resource{}, false
}

// tasks is how many tasks a service runs at least: the number that autoscaling keeps, else the desired one.
func (d document) tasks(service resource) int {
	desired, _ := service.number("desired_count")
	if target, scaled := d.scalingTarget(service); scaled {
		if least, known := target.number("min_capacity"); known {
			return least
		}
	}
	return desired
}

// taskDefinition finds what a service runs; before the service knows, it is the only definition of its module.
func (d document) taskDefinition(service resource) (resource, bool) {
	var here []resource
	name := service.text("task_definition")
	for _, r := range d.resources {
		if r.typ != "aws_ecs_task_definition" {
			continue
		}
		family := strings.TrimSuffix(r.text("arn"), ":"+lastOf(r.text("arn"), ":"))
		if name != "" && (name == r.text("arn") || name == r.text("family") || family != "" && strings.HasPrefix(name, family+":")) {
			return r, true
		}
		if r.module == service.module {
			here = append(here, r)
		}
	}
	if name == "" && len(here) == 1 {
		return here[0], true
	}
	return resource{}, false
}

func lastOf(s, separator string) string { return s[strings.LastIndex(s, separator)+1:] }

func (e *estimator) service(r resource) {
	definition, has := e.taskDefinition(r)
	cpu, cpuKnown := definition.number("cpu")
	memory, memoryKnown := definition.number("memory")
	if launch := r.text("launch_type"); !has || !cpuKnown || !memoryKnown || launch != "FARGATE" && launch != "" {
		e.leaveOut(r.typ, ReasonUnknown, "no Fargate task definition with cpu and memory")
		return
	}
	architecture := "x86"
	for _, p := range definition.list("runtime_platform") {
		if platform, is := p.(map[string]any); is && platform["cpu_architecture"] == "ARM64" {
			architecture = "arm"
		}
	}
	running := hours(e.tasks(r))
	e.add(r, r.region, item{PartECS, "fargate.vcpu-hour-" + architecture, "Fargate vCPU", running.Times(whole(cpu)).Over(1024), ""})
	e.add(r, r.region, item{PartECS, "fargate.gb-hour-" + architecture, "Fargate memory", running.Times(whole(memory)).Over(1024), ""})
}

func (e *estimator) balancer(r resource) {
	if kind := r.text("load_balancer_type"); kind != "application" && kind != "" {
		e.leaveOut(r.typ, ReasonUnknown, kind+" load balancer")
		return
	}
	e.add(r, r.region, item{PartECS, "alb.hour", "load balancer", hours(1), ""})
	usage := "lcu-standby"
	if r.region == e.active {
		usage = "lcu-active"
		e.once(r, r.region, e.assumed(PartNetwork, "transfer.internet-gb", "data to the internet", "internet-gb"))
	}
	e.add(r, r.region, item{PartECS, "alb.lcu-hour", "load balancer capacity", e.Usage[usage].Times(hours(1)), usage})
	if internal, known := r.values["internal"].(bool); !known || !internal {
		e.add(r, r.region, item{PartNetwork, "ipv4.hour", "public IPv4 addresses", hours(e.zones(r, "subnets")), ""})
	}
}

// zones is the number of subnets that a resource is in; before they are known, the number of zones of its module's or
// its region's subnets.
func (e *estimator) zones(r resource, attribute string) int {
	if subnets := r.list(attribute); len(subnets) > 0 {
		return len(subnets)
	}
	own, all := map[string]bool{}, map[string]bool{}
	for _, s := range e.resources {
		if zone := s.text("availability_zone"); s.typ == "aws_subnet" && s.region == r.region && zone != "" {
			all[zone] = true
			if s.module == r.module {
				own[zone] = true
			}
		}
	}
	if len(own) > 0 {
		return len(own)
	}
	return len(all)
}

func (e *estimator) natGateway(r resource) {
	e.add(r, r.region, item{PartNetwork, "nat.hour", "NAT gateways", hours(1), ""})
	e.once(r, r.region, e.assumed(PartNetwork, "nat.gb", "data through NAT gateways", "nat-gb"))
}

func (e *estimator) elasticIP(r resource) {
	e.add(r, r.region, item{PartNetwork, "ipv4.hour", "public IPv4 addresses", hours(1), ""})
}

func (e *estimator) endpoint(r resource) {
	switch r.text("vpc_endpoint_type") {
	case "Interface":
		e.add(r, r.region, item{PartNetwork, "endpoint.hour", "interface endpoints, each zone", hours(e.zones(r, "subnet_ids")), ""})
		e.once(r, r.region, e.assumed(PartNetwork, "endpoint.gb", "data through interface endpoints", "endpoint-gb"))
	case throughNAT:
		e.once(r, r.region, e.assumed(PartNetwork, "nat.gb", "data through NAT gateways", "endpoint-gb"))
	case "Gateway", "":
		e.leaveOut(r.typ, ReasonFree, "gateway endpoint")
	default:
		e.leaveOut(r.typ, ReasonUnknown, r.text("vpc_endpoint_type")+" endpoint")
	}
}

func (e *estimator) zone(r resource) {
	e.add(r, global, item{PartRoute53, "route53.zone", "hosted zone", whole(1), ""})
	e.leaveOut(r.typ, ReasonUsage, "queries; those for aliases to load balancers are free")
}

// healthCheck counts the options of a check of an AWS endpoint. Combinations of checks are charged as a check.
func (e *estimator) healthCheck(r resource) {
	kind, options := r.text("type"), 0
	for _, has := range []bool{
		strings.HasPrefix(kind, "HTTPS"), strings.HasSuffix(kind, "_STR_MATCH"), r.values["measure_latency"] == true,
	} {
		if has {
			options++
		}
	}
	if interval, known := r.number("request_interval"); known && interval == 10 {
		options++
	}
	e.add(r, global, item{PartRoute53, "route53.health-check", "health check", whole(1), ""})
	e.add(r, global, item{PartRoute53, "route53.health-check-option", "options: HTTPS, string, latency, 10 s", whole(options), ""})
}

// alarm counts metrics: an alarm on an expression is charged for each metric in it.
func (e *estimator) alarm(r resource) {
	metrics := 0
	for _, q := range r.list("metric_query") {
		if query, is := q.(map[string]any); is {
			if m, _ := query["metric"].([]any); len(m) > 0 {
				metrics++
			}
		}
	}
	key := "cloudwatch.alarm"
	if period, known := r.number("period"); known && period < 60 {
		key = "cloudwatch.alarm-high-resolution"
	}
	e.add(r, r.region, item{PartMonitoring, key, "alarms, each metric", whole(max(1, metrics)), ""})
}

func (e *estimator) dashboard(r resource) {
	e.add(r, global, item{PartMonitoring, "cloudwatch.dashboard", "dashboards", whole(1), ""})
}

func (e *estimator) logGroup(r resource) {
	e.add(r, r.region, e.assumed(PartMonitoring, "logs.gb", "logs taken in", "log-gb"))
	e.add(r, r.region, e.assumed(PartMonitoring, "logs.stored-gb", "logs kept", "log-stored-gb"))
}

func (e *estimator) key(r resource) {
	e.add(r, r.region, item{PartMonitoring, "kms.key", "encryption keys", whole(1), ""})
}

// secret counts its replicas: AWS charges each as a secret.
func (e *estimator) secret(r resource) {
	it := item{PartMonitoring, "secretsmanager.secret", "secrets and their replicas", whole(1), ""}
	e.add(r, r.region, it)
	for _, replica := range r.list("replica") {
		m, _ := replica.(map[string]any)
		region, _ := m["region"].(string)
		e.add(r, region, it)
	}
}

func (e *estimator) firewall(r resource) {
	e.add(r, r.region, item{PartMonitoring, "waf.acl", "firewalls", whole(1), ""})
	e.add(r, r.region, item{PartMonitoring, "waf.rule", "firewall rules", whole(len(r.list("rule"))), ""})
	if r.region == e.active {
		e.add(r, r.region, e.assumed(PartMonitoring, "waf.request-million", "requests inspected", "requests-millions"))
	}
}

func (e *estimator) repository(r resource) {
	e.once(r, r.region, e.assumed(PartECS, "ecr.gb", "container images", "image-gb"))
}

// imageReplication adds the copies in the regions that images are replicated to.
func (e *estimator) imageReplication(r resource) {
	for _, region := range destinations(r.list("replication_configuration")) {
		e.once(r, region, e.assumed(PartECS, "ecr.gb", "container images", "image-gb"))
	}
}

// destinations finds the "region" of every block "destination" below a value.
func destinations(value any) []string {
	var found []string
	switch v := value.(type) {
	case []any:
		for _, inner := range v {
			found = append(found, destinations(inner)...)
		}
	case map[string]any:
		if region, is := v["region"].(string); is {
			found = append(found, region)
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			found = append(found, destinations(v[name])...)
		}
	}
	return found
}

func (e *estimator) fileSystem(r resource) {
	e.add(r, r.region, e.assumed(PartMonitoring, "efs.gb", "exports on file systems", "efs-gb"))
}

// stackTemplate is what is read of a CloudFormation template.
type stackTemplate struct {
	Resources map[string]struct {
		Type       string
		Properties struct {
			BillingMode          string
			Replicas             []struct{ Region string }
			GlobalTableWitnesses []struct{ Region string }
		}
	}
}

// stack prices the term table; the stack itself is free.
func (e *estimator) stack(r resource) {
	var template stackTemplate
	if err := json.Unmarshal([]byte(r.text("template_body")), &template); err != nil {
		e.leaveOut(r.typ, ReasonUnknown, "its template is not JSON")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(template.Resources)) {
		inner := template.Resources[name]
		if inner.Type != "AWS::DynamoDB::GlobalTable" || inner.Properties.BillingMode != "PAY_PER_REQUEST" {
			e.leaveOut(r.typ, ReasonUnknown, inner.Type+" in a stack")
			continue
		}
		for _, replica := range inner.Properties.Replicas {
			e.add(r, replica.Region, e.assumed(PartMonitoring, "dynamodb.write-million", "term table writes", "term-writes-millions"))
			e.add(r, replica.Region, e.assumed(PartMonitoring, "dynamodb.storage-gb", "term table storage", "term-storage-gb"))
		}
		e.add(r, e.active, e.assumed(PartMonitoring, "dynamodb.read-million", "term table reads", "term-reads-millions"))
		for _, witness := range inner.Properties.GlobalTableWitnesses {
			e.leaveOut(r.typ, ReasonUnknown, "the witness in "+witness.Region)
		}
	}
}
