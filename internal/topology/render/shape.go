package render

// shape says what AWS's ids and ARNs of a resource type look like. In templates, {name} stands for the resource's
// attribute of that name, and these for what follows from its address: {region}, {account}, {arn}, {id}, {uuid},
// {hexN} and {HEXN} with N hexadecimal digits, {digitsN} with N decimal ones.
type shape struct {
	// service and arn make the ARN arn:aws:service:region:account:arn; no ARN if arn is empty.
	service, arn string
	// global leaves the ARN's region empty, noAccount the account as well.
	global, noAccount bool
	// id is the resource's id; if empty, it is left as it is.
	id string
	// more are further attributes, strings (templates) or numbers.
	more map[string]any
}

// shapes holds the types whose identifiers appear in a topology or in what refers to it. A type that is missing here
// gets random strings that are settled afterwards; if the parser asks for its region, it must be here.
var shapes = map[string]shape{
	// Network.
	"aws_vpc":                    {service: "ec2", arn: "vpc/{id}", id: "vpc-{hex17}"},
	"aws_subnet":                 {service: "ec2", arn: "subnet/{id}", id: "subnet-{hex17}"},
	"aws_route_table":            {service: "ec2", arn: "route-table/{id}", id: "rtb-{hex17}"},
	"aws_internet_gateway":       {service: "ec2", arn: "internet-gateway/{id}", id: "igw-{hex17}"},
	"aws_eip":                    {service: "ec2", arn: "elastic-ip/{id}", id: "eipalloc-{hex17}", more: map[string]any{"allocation_id": "{id}", "public_ip": "{documentationip}"}},
	"aws_nat_gateway":            {id: "nat-{hex17}"},
	"aws_vpc_peering_connection": {id: "pcx-{hex17}"},
	"aws_vpc_endpoint":           {service: "ec2", arn: "vpc-endpoint/{id}", id: "vpce-{hex17}"},
	"aws_security_group":         {service: "ec2", arn: "security-group/{id}", id: "sg-{hex17}"},
	"aws_default_security_group": {service: "ec2", arn: "security-group/{id}", id: "sg-{hex17}"},
	"aws_vpc_security_group_ingress_rule": {
		service: "ec2", arn: "security-group-rule/{id}", id: "sgr-{hex17}", more: map[string]any{"security_group_rule_id": "{id}"},
	},
	"aws_vpc_security_group_egress_rule": {
		service: "ec2", arn: "security-group-rule/{id}", id: "sgr-{hex17}", more: map[string]any{"security_group_rule_id": "{id}"},
	},
	"aws_route_table_association": {id: "rtbassoc-{hex17}"},
	"aws_flow_log":                {id: "fl-{hex17}"},

	// Database.
	"aws_rds_global_cluster": {
		service: "rds", global: true, arn: "global-cluster:{global_cluster_identifier}", id: "{global_cluster_identifier}",
		more: map[string]any{"global_cluster_resource_id": "cluster-{hex16}"},
	},
	"aws_rds_cluster": {
		service: "rds", arn: "cluster:{cluster_identifier}", id: "{cluster_identifier}",
		more: map[string]any{
			"endpoint":            "{cluster_identifier}.cluster-{hex12}.{region}.rds.amazonaws.com",
			"reader_endpoint":     "{cluster_identifier}.cluster-ro-{hex12}.{region}.rds.amazonaws.com",
			"cluster_resource_id": "cluster-{HEX26}",
		},
	},
	"aws_rds_cluster_instance": {
		service: "rds", arn: "db:{identifier}", id: "{identifier}",
		more: map[string]any{"endpoint": "{identifier}.{hex12}.{region}.rds.amazonaws.com", "dbi_resource_id": "db-{HEX26}"},
	},
	"aws_rds_cluster_parameter_group": {service: "rds", arn: "cluster-pg:{name}", id: "{name}"},
	"aws_db_parameter_group":          {service: "rds", arn: "pg:{name}", id: "{name}"},
	"aws_db_subnet_group":             {service: "rds", arn: "subgrp:{name}", id: "{name}"},

	// Services.
	"aws_ecs_cluster": {service: "ecs", arn: "cluster/{name}", id: "{arn}"},
	"aws_ecs_task_definition": {
		service: "ecs", arn: "task-definition/{family}:1", id: "{family}", more: map[string]any{"revision": 1},
	},
	"aws_appautoscaling_target": {service: "application-autoscaling", arn: "scalable-target/{hex36}", id: "{resource_id}"},
	"aws_appautoscaling_policy": {
		service: "autoscaling", arn: "scalingPolicy:{uuid}:resource/{service_namespace}/{resource_id}:policyName/{name}", id: "{name}",
	},
	"aws_ecr_repository": {
		service: "ecr", arn: "repository/{name}", id: "{name}",
		more: map[string]any{"registry_id": "{account}", "repository_url": "{account}.dkr.ecr.{region}.amazonaws.com/{name}"},
	},

	// Load balancers.
	"aws_lb": {
		service: "elasticloadbalancing", arn: "loadbalancer/app/{name}/{hex16}", id: "{arn}",
		more: map[string]any{
			"arn_suffix": "app/{name}/{hex16}", "dns_name": "{name}-{digits10}.{region}.elb.amazonaws.com", "zone_id": "Z{HEX13}",
		},
	},
	"aws_lb_listener":      {service: "elasticloadbalancing", arn: "listener/app/{hex16}", id: "{arn}"},
	"aws_lb_listener_rule": {service: "elasticloadbalancing", arn: "listener-rule/app/{hex16}", id: "{arn}"},
	"aws_lb_target_group": {
		service: "elasticloadbalancing", arn: "targetgroup/{name}/{hex16}", id: "{arn}", more: map[string]any{"arn_suffix": "targetgroup/{name}/{hex16}"},
	},
	"aws_acm_certificate":            {service: "acm", arn: "certificate/{uuid}", id: "{arn}"},
	"aws_wafv2_ip_set":               {service: "wafv2", arn: "regional/ipset/{name}/{uuid}", id: "{uuid}"},
	"aws_wafv2_web_acl":              {service: "wafv2", arn: "regional/webacl/{name}/{uuid}", id: "{uuid}"},
	"aws_route53_zone":               {service: "route53", global: true, noAccount: true, arn: "hostedzone/{id}", id: "Z{HEX19}", more: map[string]any{"zone_id": "{id}"}},
	"aws_route53_health_check":       {service: "route53", global: true, noAccount: true, arn: "healthcheck/{id}", id: "{uuid}"},
	"aws_route53_record":             {more: map[string]any{"fqdn": "{name}"}},
	"aws_cloudwatch_metric_alarm":    {service: "cloudwatch", arn: "alarm:{alarm_name}", id: "{alarm_name}"},
	"aws_cloudwatch_composite_alarm": {service: "cloudwatch", arn: "alarm:{alarm_name}", id: "{alarm_name}"},
	"aws_cloudwatch_log_group":       {service: "logs", arn: "log-group:{name}", id: "{name}"},
	"aws_sns_topic":                  {service: "sns", arn: "{name}", id: "{arn}"},
	"aws_sns_topic_subscription":     {service: "sns", arn: "subscription:{uuid}", id: "{arn}"},

	// Keys, secrets, storage, roles.
	"aws_secretsmanager_secret":         {service: "secretsmanager", arn: "secret:{name}-{hex6}", id: "{arn}"},
	"aws_secretsmanager_secret_version": {more: map[string]any{"version_id": "{uuid}"}},
	"aws_kms_key":                       {service: "kms", arn: "key/{uuid}", id: "{uuid}", more: map[string]any{"key_id": "{uuid}"}},
	"aws_kms_replica_key":               {service: "kms", arn: "key/{uuid}", id: "{uuid}", more: map[string]any{"key_id": "{uuid}"}},
	"aws_kms_alias":                     {service: "kms", arn: "{name}", id: "{name}"},
	"aws_efs_file_system":               {service: "elasticfilesystem", arn: "file-system/{id}", id: "fs-{hex17}"},
	"aws_efs_access_point":              {service: "elasticfilesystem", arn: "access-point/{id}", id: "fsap-{hex17}"},
	"aws_efs_mount_target":              {id: "fsmt-{hex17}"},
	"aws_s3_bucket":                     {service: "s3", global: true, noAccount: true, arn: "{bucket}", id: "{bucket}"},
	"aws_iam_role":                      {service: "iam", global: true, arn: "role/{name}", id: "{name}", more: map[string]any{"unique_id": "AROA{HEX17}"}},
	"aws_iam_policy":                    {service: "iam", global: true, arn: "policy/{name}", id: "{arn}"},
}
