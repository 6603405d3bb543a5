locals {
  cluster_dimension = ["DBClusterIdentifier", var.db_cluster_identifier]
  service_dimension = ["ClusterName", var.ecs_cluster_name, "ServiceName", var.app_service_name]

  graphs = [
    {
      title   = "Payments through the balancer"
      metrics = [for name in ["RequestCount", "HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"] : ["AWS/ApplicationELB", name, "LoadBalancer", local.load_balancer]]
      stat    = "Sum"
    },
    {
      title   = "Answer time"
      metrics = [["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", local.load_balancer]]
      stat    = "p99"
    },
    {
      title   = "Healthy targets"
      metrics = [for group in local.target_groups : ["AWS/ApplicationELB", "HealthyHostCount", "TargetGroup", group.arn, "LoadBalancer", local.load_balancer]]
      stat    = "Minimum"
    },
    {
      title   = "Tasks: CPU and memory"
      metrics = [for name in ["CPUUtilization", "MemoryUtilization"] : concat(["AWS/ECS", name], local.service_dimension)]
      stat    = "Average"
    },
    {
      title   = "Replication from the other site (ms; empty while this site is the writer)"
      metrics = [for name in ["AuroraGlobalDBReplicationLag", "AuroraGlobalDBRPOLag"] : concat(["AWS/RDS", name], local.cluster_dimension)]
      stat    = "Maximum"
    },
    {
      title   = "Database: CPU"
      metrics = [concat(["AWS/RDS", "CPUUtilization"], local.cluster_dimension)]
      stat    = "Average"
    },
    {
      title   = "Database: connections and commits"
      metrics = [for name in ["DatabaseConnections", "CommitThroughput"] : concat(["AWS/RDS", name], local.cluster_dimension)]
      stat    = "Average"
    },
    {
      title   = "Term table"
      metrics = [for operation in ["GetItem", "PutItem"] : ["AWS/DynamoDB", "SuccessfulRequestLatency", "TableName", var.term_table_name, "Operation", operation]]
      stat    = "Maximum"
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = "payment-${var.site}-${var.suffix}"
  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type   = "alarm"
        x      = 0
        y      = 0
        width  = 24
        height = 3
        properties = {
          title = "Alarms of site ${var.site}"
          # Built from the name, because a dashboard must not wait for the alarms.
          alarms = [for key in keys(local.alarms) : "arn:aws:cloudwatch:${var.region}:${var.account_id}:alarm:${key}-${var.site}-${var.suffix}"]
        }
      }],
      [
        for i, graph in local.graphs : {
          type   = "metric"
          x      = (i % 2) * 12
          y      = 3 + floor(i / 2) * 6
          width  = 12
          height = 6
          properties = {
            title   = graph.title
            region  = var.region
            view    = "timeSeries"
            period  = 60
            stat    = graph.stat
            metrics = graph.metrics
          }
        }
      ],
    )
  })
}
