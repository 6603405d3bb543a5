// Package topology says what a Terraform state describes, in plain types: sites, networks, database clusters,
// services, load balancers, DNS, alarms and the term table. It holds data only; reading a state file is the job of
// Parse, and bringing the data to life is the job of the twin.
//
// Field names and units follow the AWS provider for Terraform 5.100; durations are [time.Duration]. Identifiers
// are the ones that AWS shows to a user (name, identifier, ARN). Slices are sorted by region and identifier, so two
// equal states give equal topologies.
package topology

import "time"

// Topology is everything that one deployment consists of, in all its regions.
type Topology struct {
	// Suffix is the deployment's environment_suffix, the end of every resource name.
	Suffix string `json:"suffix"`
	// AccountID is the AWS account, twelve digits.
	AccountID string `json:"account_id"`
	// DNSName is the name that clients resolve, without a trailing dot.
	DNSName string `json:"dns_name"`
	// Sites lists the sites, the one that is active on the first day first. There are exactly two.
	Sites []Site `json:"sites"`
	// Lease and Margin are the settings that "holdfast init" writes into the first term record, at speed 1.
	Lease  time.Duration `json:"lease"`
	Margin time.Duration `json:"margin"`
	// Outputs are the values of the root module's outputs that are not sensitive.
	Outputs map[string]any `json:"outputs,omitempty"`

	Networks        []Network        `json:"networks"`
	Peerings        []Peering        `json:"peerings"`
	SecurityGroups  []SecurityGroup  `json:"security_groups"`
	PrefixLists     []PrefixList     `json:"prefix_lists,omitempty"`
	GlobalClusters  []GlobalCluster  `json:"global_clusters"`
	DBClusters      []DBCluster      `json:"db_clusters"`
	DBInstances     []DBInstance     `json:"db_instances"`
	ECSClusters     []ECSCluster     `json:"ecs_clusters"`
	Services        []Service        `json:"services"`
	TaskDefinitions []TaskDefinition `json:"task_definitions"`
	ScalableTargets []ScalableTarget `json:"scalable_targets"`
	ScalingPolicies []ScalingPolicy  `json:"scaling_policies"`
	LoadBalancers   []LoadBalancer   `json:"load_balancers"`
	Listeners       []Listener       `json:"listeners"`
	TargetGroups    []TargetGroup    `json:"target_groups"`
	Zones           []Zone           `json:"zones"`
	Records         []Record         `json:"records"`
	HealthChecks    []HealthCheck    `json:"health_checks"`
	Alarms          []Alarm          `json:"alarms"`
	// CompositeAlarms watch other alarms; EventSubscriptions send what the databases report to topics.
	CompositeAlarms    []CompositeAlarm    `json:"composite_alarms,omitempty"`
	EventSubscriptions []EventSubscription `json:"event_subscriptions,omitempty"`
	Topics             []Topic             `json:"topics"`
	Subscriptions      []Subscription      `json:"subscriptions"`
	LogGroups          []LogGroup          `json:"log_groups"`
	Secrets            []Secret            `json:"secrets"`
	Roles              []Role              `json:"roles"`
	TermTable          TermTable           `json:"term_table"`
}

// Site is one region's whole stack. Its name is a name, not a role: after a failover the site "dr" is active.
type Site struct {
	// Name is "primary" or "dr".
	Name string `json:"name"`
	// Region is the AWS region, as in us-east-1.
	Region string `json:"region"`
	// DBClusterIdentifier, ECSClusterName, AppService, WardenService, LoadBalancerARN, AppTargetGroupARN and
	// WardenTargetGroupARN name the site's parts, so that nobody has to guess them from their names.
	DBClusterIdentifier  string `json:"db_cluster_identifier"`
	ECSClusterName       string `json:"ecs_cluster_name"`
	AppService           string `json:"app_service"`
	WardenService        string `json:"warden_service"`
	LoadBalancerARN      string `json:"load_balancer_arn"`
	AppTargetGroupARN    string `json:"app_target_group_arn"`
	WardenTargetGroupARN string `json:"warden_target_group_arn"`
}

// Network is one VPC.
type Network struct {
	Region  string       `json:"region"`
	ID      string       `json:"id"`
	CIDR    string       `json:"cidr"`
	Subnets []Subnet     `json:"subnets"`
	Routes  []RouteTable `json:"route_tables"`
	// Endpoints and NATGateways are what leads out of the VPC without an internet gateway of its own.
	Endpoints   []VPCEndpoint `json:"endpoints,omitempty"`
	NATGateways []NATGateway  `json:"nat_gateways,omitempty"`
}

// VPCEndpoint leads to an AWS service inside the AWS network.
type VPCEndpoint struct {
	ID string `json:"id"`
	// Service is the service's name without "com.amazonaws." and the region, as in "dynamodb" and "ecr.api".
	Service string `json:"service"`
	// Kind is "Interface" or "Gateway".
	Kind string `json:"kind"`
	// SubnetIDs, SecurityGroupIDs and PrivateDNS belong to an interface endpoint. Without PrivateDNS the service's usual
	// name does not lead to it.
	SubnetIDs        []string `json:"subnet_ids,omitempty"`
	SecurityGroupIDs []string `json:"security_group_ids,omitempty"`
	PrivateDNS       bool     `json:"private_dns,omitempty"`
	// RouteTableIDs and PrefixListID belong to a gateway endpoint.
	RouteTableIDs []string `json:"route_table_ids,omitempty"`
	PrefixListID  string   `json:"prefix_list_id,omitempty"`
}

// NATGateway sends what comes from private subnets to the internet under an address of its own.
type NATGateway struct {
	ID       string `json:"id"`
	SubnetID string `json:"subnet_id"`
	// PublicIP is its address on the internet, empty if the state does not tell one.
	PublicIP string `json:"public_ip,omitempty"`
}

// Subnet is one subnet of a VPC.
type Subnet struct {
	ID               string `json:"id"`
	CIDR             string `json:"cidr"`
	AvailabilityZone string `json:"availability_zone"`
	Public           bool   `json:"public"`
}

// RouteTable is a table of routes and the subnets that use it.
type RouteTable struct {
	ID        string   `json:"id"`
	SubnetIDs []string `json:"subnet_ids"`
	Routes    []Route  `json:"routes"`
}

// Route sends a destination to exactly one kind of target: "local", "igw", "nat", "pcx" or "vpce".
type Route struct {
	DestinationCIDR string `json:"destination_cidr"`
	TargetKind      string `json:"target_kind"`
	TargetID        string `json:"target_id"`
}

// Peering connects two VPCs; routes to it have the target kind "pcx" and its ID.
type Peering struct {
	ID        string `json:"id"`
	VPCID     string `json:"vpc_id"`
	PeerVPCID string `json:"peer_vpc_id"`
}

// SecurityGroup is a stateful filter.
type SecurityGroup struct {
	Region  string              `json:"region"`
	ID      string              `json:"id"`
	Name    string              `json:"name"`
	VPCID   string              `json:"vpc_id"`
	Ingress []SecurityGroupRule `json:"ingress"`
	Egress  []SecurityGroupRule `json:"egress"`
}

// SecurityGroupRule allows one protocol and port range from or to a peer.
type SecurityGroupRule struct {
	// ID is the rule's own identifier (sgr-…), empty for a rule that the state shows inside its group only.
	ID string `json:"id,omitempty"`
	// Protocol is "tcp", "udp", "icmp" or "-1" for all.
	Protocol string `json:"protocol"`
	FromPort int    `json:"from_port"`
	ToPort   int    `json:"to_port"`
	// Exactly one of CIDR, PeerSecurityGroupID and PrefixListID is set.
	CIDR                string `json:"cidr,omitempty"`
	PeerSecurityGroupID string `json:"peer_security_group_id,omitempty"`
	PrefixListID        string `json:"prefix_list_id,omitempty"`
}

// PrefixList is a list of addresses that rules name, AWS's own or the account's.
type PrefixList struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	CIDRs []string `json:"cidrs"`
}

// GlobalCluster is an Aurora Global Database.
type GlobalCluster struct {
	Identifier    string `json:"identifier"`
	ARN           string `json:"arn"`
	Engine        string `json:"engine"`
	EngineVersion string `json:"engine_version"`
}

// DBCluster is one Aurora cluster, a member of a global cluster.
type DBCluster struct {
	Region                  string `json:"region"`
	Identifier              string `json:"identifier"`
	ARN                     string `json:"arn"`
	GlobalClusterIdentifier string `json:"global_cluster_identifier"`
	Engine                  string `json:"engine"`
	EngineVersion           string `json:"engine_version"`
	// Endpoint and ReaderEndpoint are DNS names that applications find in their environment.
	Endpoint            string   `json:"endpoint"`
	ReaderEndpoint      string   `json:"reader_endpoint"`
	Port                int      `json:"port"`
	DatabaseName        string   `json:"database_name"`
	MasterUsername      string   `json:"master_username"`
	BackupRetentionDays int      `json:"backup_retention_days"`
	DeletionProtection  bool     `json:"deletion_protection"`
	StorageEncrypted    bool     `json:"storage_encrypted"`
	SecurityGroupIDs    []string `json:"security_group_ids"`
	SubnetGroup         string   `json:"subnet_group"`
	SubnetIDs           []string `json:"subnet_ids"`
	ParameterGroup      string   `json:"parameter_group"`
	// Parameters are the cluster parameter group's settings, by name.
	Parameters map[string]string `json:"parameters,omitempty"`
	// Secondary says that the cluster was created as the global database's secondary.
	Secondary bool `json:"secondary"`
}

// DBInstance is one instance of an Aurora cluster.
type DBInstance struct {
	Region            string `json:"region"`
	Identifier        string `json:"identifier"`
	ARN               string `json:"arn"`
	ClusterIdentifier string `json:"cluster_identifier"`
	Class             string `json:"class"`
	AvailabilityZone  string `json:"availability_zone"`
	PromotionTier     int    `json:"promotion_tier"`
}

// ECSCluster is a cluster of services.
type ECSCluster struct {
	Region string `json:"region"`
	Name   string `json:"name"`
	ARN    string `json:"arn"`
}

// Service is one ECS service on Fargate.
type Service struct {
	Region      string `json:"region"`
	Name        string `json:"name"`
	ARN         string `json:"arn"`
	ClusterName string `json:"cluster_name"`
	// TaskDefinitionARN is the full ARN with revision.
	TaskDefinitionARN string `json:"task_definition_arn"`
	DesiredCount      int    `json:"desired_count"`
	// MinimumHealthyPercent and MaximumPercent bound a rolling deployment.
	MinimumHealthyPercent  int           `json:"minimum_healthy_percent"`
	MaximumPercent         int           `json:"maximum_percent"`
	CircuitBreaker         bool          `json:"circuit_breaker"`
	CircuitBreakerRollback bool          `json:"circuit_breaker_rollback"`
	HealthCheckGrace       time.Duration `json:"health_check_grace"`
	SubnetIDs              []string      `json:"subnet_ids"`
	SecurityGroupIDs       []string      `json:"security_group_ids"`
	AssignPublicIP         bool          `json:"assign_public_ip,omitempty"`
	// TargetGroups lists where the service registers its tasks.
	TargetGroups []ServiceTargetGroup `json:"target_groups"`
}

// ServiceTargetGroup registers a container's port in a target group.
type ServiceTargetGroup struct {
	TargetGroupARN string `json:"target_group_arn"`
	ContainerName  string `json:"container_name"`
	ContainerPort  int    `json:"container_port"`
}

// TaskDefinition is one revision of a task definition.
type TaskDefinition struct {
	Region   string `json:"region"`
	Family   string `json:"family"`
	Revision int    `json:"revision"`
	ARN      string `json:"arn"`
	// CPUUnits and MemoryMiB are the task's size; 1024 CPU units are one vCPU.
	CPUUnits   int         `json:"cpu_units"`
	MemoryMiB  int         `json:"memory_mib"`
	Containers []Container `json:"containers"`
	// ExecutionRoleARN is what starts a task (pulls, secrets, logs), TaskRoleARN what the task itself is; both may be empty.
	ExecutionRoleARN string `json:"execution_role_arn,omitempty"`
	TaskRoleARN      string `json:"task_role_arn,omitempty"`
}

// Container is one container of a task definition.
type Container struct {
	Name        string            `json:"name"`
	Image       string            `json:"image"`
	EntryPoint  []string          `json:"entry_point,omitempty"`
	Command     []string          `json:"command,omitempty"`
	Essential   bool              `json:"essential"`
	Environment map[string]string `json:"environment,omitempty"`
	// Secrets maps an environment variable to the secret's ARN (with an optional :key:stage:version suffix).
	Secrets     map[string]string `json:"secrets,omitempty"`
	Ports       []int             `json:"ports,omitempty"`
	LogGroup    string            `json:"log_group,omitempty"`
	StopTimeout time.Duration     `json:"stop_timeout"`
}

// ScalableTarget bounds a service's desired count.
type ScalableTarget struct {
	Region string `json:"region"`
	// ResourceID is "service/<cluster>/<service>".
	ResourceID string `json:"resource_id"`
	Min        int    `json:"min"`
	Max        int    `json:"max"`
}

// ScalingPolicy is a target-tracking policy.
type ScalingPolicy struct {
	Region           string        `json:"region"`
	Name             string        `json:"name"`
	ResourceID       string        `json:"resource_id"`
	Metric           string        `json:"metric"`
	TargetValue      float64       `json:"target_value"`
	ScaleInCooldown  time.Duration `json:"scale_in_cooldown"`
	ScaleOutCooldown time.Duration `json:"scale_out_cooldown"`
}

// LoadBalancer is an Application Load Balancer.
type LoadBalancer struct {
	Region           string        `json:"region"`
	Name             string        `json:"name"`
	ARN              string        `json:"arn"`
	DNSName          string        `json:"dns_name"`
	ZoneID           string        `json:"zone_id"`
	Internal         bool          `json:"internal"`
	IdleTimeout      time.Duration `json:"idle_timeout"`
	ClientKeepAlive  time.Duration `json:"client_keep_alive"`
	SecurityGroupIDs []string      `json:"security_group_ids"`
	SubnetIDs        []string      `json:"subnet_ids"`
}

// Listener accepts connections on one port of a load balancer.
type Listener struct {
	Region          string `json:"region"`
	ARN             string `json:"arn"`
	LoadBalancerARN string `json:"load_balancer_arn"`
	Port            int    `json:"port"`
	// Protocol is "HTTP" or "HTTPS".
	Protocol string `json:"protocol"`
	Default  Action `json:"default"`
	// Rules are sorted by priority, the first that matches wins.
	Rules []ListenerRule `json:"rules"`
}

// ListenerRule sends matching requests elsewhere than the listener's default action.
type ListenerRule struct {
	ARN      string `json:"arn"`
	Priority int    `json:"priority"`
	// PathPatterns and HostHeaders use * and ?; each list that is not empty must have a match.
	PathPatterns []string `json:"path_patterns,omitempty"`
	HostHeaders  []string `json:"host_headers,omitempty"`
	Action       Action   `json:"action"`
}

// Action is what a listener does with a request.
type Action struct {
	// Type is "forward", "redirect" or "fixed-response".
	Type string `json:"type"`
	// TargetGroupARN is where requests are forwarded to: the only target group, or the one with the largest weight.
	TargetGroupARN string `json:"target_group_arn,omitempty"`
	// TargetGroups lists all target groups of a forward action with more than one, in the order of the state.
	TargetGroups []WeightedTargetGroup `json:"target_groups,omitempty"`
	// StatusCode, ContentType and Body belong to a fixed response; StatusCode and the Redirect fields to a redirect.
	StatusCode       int    `json:"status_code,omitempty"`
	ContentType      string `json:"content_type,omitempty"`
	Body             string `json:"body,omitempty"`
	RedirectProtocol string `json:"redirect_protocol,omitempty"`
	RedirectPort     string `json:"redirect_port,omitempty"`
}

// WeightedTargetGroup is a target group's share of a forward action's requests.
type WeightedTargetGroup struct {
	TargetGroupARN string `json:"target_group_arn"`
	// Weight is from 0 (no request at all) to 999.
	Weight int `json:"weight"`
}

// TargetGroup is a set of targets with one health check.
type TargetGroup struct {
	Region              string            `json:"region"`
	Name                string            `json:"name"`
	ARN                 string            `json:"arn"`
	Port                int               `json:"port"`
	Protocol            string            `json:"protocol"`
	DeregistrationDelay time.Duration     `json:"deregistration_delay"`
	HealthCheck         TargetHealthCheck `json:"health_check"`
}

// TargetHealthCheck is how a load balancer checks a target.
type TargetHealthCheck struct {
	Path string `json:"path"`
	// Port is a number, or "traffic-port".
	Port               string        `json:"port"`
	Protocol           string        `json:"protocol"`
	Interval           time.Duration `json:"interval"`
	Timeout            time.Duration `json:"timeout"`
	HealthyThreshold   int           `json:"healthy_threshold"`
	UnhealthyThreshold int           `json:"unhealthy_threshold"`
	// Matcher is the accepted status codes, as in "200" or "200-299".
	Matcher string `json:"matcher"`
}

// Zone is a Route 53 hosted zone.
type Zone struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Private bool   `json:"private"`
}

// Record is a Route 53 record set.
type Record struct {
	ZoneID        string `json:"zone_id"`
	Name          string `json:"name"`
	Type          string `json:"type"`
	SetIdentifier string `json:"set_identifier,omitempty"`
	// Failover is "PRIMARY", "SECONDARY" or empty.
	Failover      string `json:"failover,omitempty"`
	HealthCheckID string `json:"health_check_id,omitempty"`
	// TTL is zero for an alias, whose answers live 60 s when it points at a load balancer.
	TTL    time.Duration `json:"ttl"`
	Values []string      `json:"values,omitempty"`
	// AliasName is the DNS name of the alias target, empty for a plain record.
	AliasName            string `json:"alias_name,omitempty"`
	AliasZoneID          string `json:"alias_zone_id,omitempty"`
	EvaluateTargetHealth bool   `json:"evaluate_target_health,omitempty"`
}

// HealthCheck is a Route 53 health check.
type HealthCheck struct {
	ID string `json:"id"`
	// Type is "HTTP", "HTTPS" or "TCP".
	Type             string        `json:"type"`
	FQDN             string        `json:"fqdn"`
	Port             int           `json:"port"`
	Path             string        `json:"path"`
	Interval         time.Duration `json:"interval"`
	FailureThreshold int           `json:"failure_threshold"`
}

// Alarm is a CloudWatch metric alarm.
type Alarm struct {
	Region             string            `json:"region"`
	Name               string            `json:"name"`
	ARN                string            `json:"arn"`
	Namespace          string            `json:"namespace"`
	Metric             string            `json:"metric"`
	Dimensions         map[string]string `json:"dimensions"`
	Statistic          string            `json:"statistic"`
	Period             time.Duration     `json:"period"`
	EvaluationPeriods  int               `json:"evaluation_periods"`
	DatapointsToAlarm  int               `json:"datapoints_to_alarm"`
	Threshold          float64           `json:"threshold"`
	ComparisonOperator string            `json:"comparison_operator"`
	TreatMissingData   string            `json:"treat_missing_data"`
	AlarmActions       []string          `json:"alarm_actions"`
	OKActions          []string          `json:"ok_actions"`
}

// CompositeAlarm is a CloudWatch alarm on the states of other alarms of its region.
type CompositeAlarm struct {
	Region string `json:"region"`
	Name   string `json:"name"`
	ARN    string `json:"arn"`
	// Rule is CloudWatch's expression, as in ALARM("a") AND NOT OK("b").
	Rule         string   `json:"rule"`
	AlarmActions []string `json:"alarm_actions"`
	OKActions    []string `json:"ok_actions"`
}

// EventSubscription sends the RDS events of some sources to a topic.
type EventSubscription struct {
	Region   string `json:"region"`
	Name     string `json:"name"`
	TopicARN string `json:"topic_arn"`
	// SourceType is "db-cluster", "db-instance" and so on, empty for all.
	SourceType string `json:"source_type,omitempty"`
	// SourceIDs and Categories bound what is sent; an empty list means all.
	SourceIDs  []string `json:"source_ids,omitempty"`
	Categories []string `json:"categories,omitempty"`
}

// Topic is an SNS topic.
type Topic struct {
	Region string `json:"region"`
	Name   string `json:"name"`
	ARN    string `json:"arn"`
}

// Subscription delivers a topic's messages.
type Subscription struct {
	Region   string `json:"region"`
	TopicARN string `json:"topic_arn"`
	Protocol string `json:"protocol"`
	Endpoint string `json:"endpoint"`
}

// LogGroup is a CloudWatch Logs group.
type LogGroup struct {
	Region        string `json:"region"`
	Name          string `json:"name"`
	RetentionDays int    `json:"retention_days"`
}

// Secret is a Secrets Manager secret; its value is never part of a topology.
type Secret struct {
	Region string `json:"region"`
	Name   string `json:"name"`
	ARN    string `json:"arn"`
	// ReplicaRegions lists the other regions that hold a copy.
	ReplicaRegions []string `json:"replica_regions,omitempty"`
}

// TermTable is the DynamoDB global table that holds the term record.
type TermTable struct {
	Name string `json:"name"`
	// ReplicaRegions hold the data, WitnessRegion only votes.
	ReplicaRegions []string `json:"replica_regions"`
	WitnessRegion  string   `json:"witness_region"`
	// MultiRegionConsistency must be "STRONG".
	MultiRegionConsistency string `json:"multi_region_consistency"`
}
