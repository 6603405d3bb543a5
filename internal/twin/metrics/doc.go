// Package metrics measures what the twin's parts do and publishes it as the AWS services publish theirs to CloudWatch:
// under the same names, dimensions and units, in the same regions, once a minute (divided by the speed). Nothing is made
// up: a metric comes from the kernel's figures of a process, from a server's own statistics, from the balancer's counters
// or from what a checker saw. A region that is lost or frozen publishes nothing.
//
//   - AWS/RDS: CPUUtilization, EngineUptime, DatabaseConnections, CommitThroughput and AuroraReplicaLag for each instance and
//     for each cluster; AuroraGlobalDBReplicationLag and AuroraGlobalDBRPOLag, in milliseconds, in the region of a
//     secondary cluster only.
//     https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html
//   - AWS/ECS: CPUUtilization and MemoryUtilization, relative to the size in the task definition.
//     https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html
//   - AWS/ApplicationELB: HealthyHostCount and UnHealthyHostCount while targets are registered; requests, answers and
//     errors while there are some; TargetResponseTime.
//     https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
//   - AWS/Route53: HealthCheckStatus and HealthCheckPercentageHealthy, in us-east-1 only.
//     https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/monitoring-health-checks.html
//   - AWS/DynamoDB, of the term table: SuccessfulRequestLatency, and SystemErrors while there are some.
//     https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
//
// What is different: a database instance has not a machine of its own, so the time that its processes were ready to run and
// waited for one of this machine's processors counts as if they had run, up to the processors of the instance's class; and
// the term table answers a request that finds no majority with silence rather than with an error 500, so SystemErrors
// counts the requests that have waited for a second. The CPU of a task is processor time alone.
package metrics
