# One site's alarms, in the region where their metrics live, and the topic that they notify.

locals {
  # CloudWatch names a balancer by the end of its ARN. It is cut out of the ARN rather than read from arn_suffix, so
  # that a mocked state stays consistent. (element wraps around: an ARN without the marker yields itself.)
  load_balancer = element(split(":loadbalancer/", var.load_balancer_arn), 1)
  target_groups = {
    ecs    = { arn = element(split(":", var.app_target_group_arn), 5), what = "healthy payment tasks" }
    warden = { arn = element(split(":", var.warden_target_group_arn), 5), what = "healthy wardens" }
    # Idle until a switchover, and then needed at once.
    forward = { arn = element(split(":", var.forward_target_group_arn), 5), what = "wardens that can forward" }
  }

  topic_name = "payment-alarms-${var.site}-${var.suffix}"

  alarms = merge(
    {
      # Published in secondary regions only, in milliseconds. Either site may be the secondary, so each has the alarm;
      # in the active one the metric has no data, which is not a breach.
      "aurora-replication-lag" = {
        description = "Replication lag of ${var.db_cluster_identifier} above 30 s: a failover now would lose that much."
        namespace   = "AWS/RDS"
        metric      = "AuroraGlobalDBReplicationLag"
        dimensions  = { DBClusterIdentifier = var.db_cluster_identifier }
        statistic   = "Maximum"
        period      = 60
        threshold   = 30000
        comparison  = "GreaterThanThreshold"
        missing     = "notBreaching"
      }
      "aurora-cpu" = {
        description = "CPU of ${var.db_cluster_identifier} above 80 %."
        namespace   = "AWS/RDS"
        metric      = "CPUUtilization"
        dimensions  = { DBClusterIdentifier = var.db_cluster_identifier }
        statistic   = "Average"
        period      = 300
        threshold   = 80
        comparison  = "GreaterThanThreshold"
        missing     = "missing"
      }
      "aurora-engine" = {
        description = "No instance of ${var.db_cluster_identifier} reports that its engine runs."
        namespace   = "AWS/RDS"
        metric      = "EngineUptime"
        dimensions  = { DBClusterIdentifier = var.db_cluster_identifier }
        statistic   = "Maximum"
        period      = 60
        threshold   = 1
        comparison  = "LessThanThreshold"
        missing     = "breaching"
      }
    },
    {
      for name, group in local.target_groups : "${name}-healthy-hosts" => {
        description = "Fewer than one of the ${group.what} of site ${var.site}."
        namespace   = "AWS/ApplicationELB"
        metric      = "HealthyHostCount"
        dimensions  = { LoadBalancer = local.load_balancer, TargetGroup = group.arn }
        statistic   = "Minimum"
        period      = 60
        threshold   = 1
        comparison  = "LessThanThreshold"
        missing     = "breaching"
      }
    },
    {
      for operation in ["GetItem", "PutItem"] : "term-table-${lower(operation)}" => {
        description = "The term table fails ${operation}: renewals are at risk, and without them writes stop."
        namespace   = "AWS/DynamoDB"
        metric      = "SystemErrors"
        dimensions  = { TableName = var.term_table_name, Operation = operation }
        statistic   = "Sum"
        period      = 60
        threshold   = 0
        comparison  = "GreaterThanThreshold"
        missing     = "notBreaching"
      }
    },
  )
}

resource "aws_sns_topic" "alarms" {
  name              = local.topic_name
  kms_master_key_id = var.kms_key_arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AlarmsAndDatabaseEvents"
      Effect    = "Allow"
      Principal = { Service = ["cloudwatch.amazonaws.com", "events.rds.amazonaws.com"] }
      Action    = ["sns:Publish"]
      Resource  = "arn:aws:sns:${var.region}:${var.account_id}:${local.topic_name}"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${each.key}-${var.site}-${var.suffix}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = 2
  datapoints_to_alarm = 2
  threshold           = each.value.threshold
  comparison_operator = each.value.comparison
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# One task or one instance that fails is repaired by its service. Two layers failing at once is what a region in
# trouble looks like.
resource "aws_cloudwatch_composite_alarm" "region_impaired" {
  alarm_name        = "region-impaired-${var.site}-${var.suffix}"
  alarm_description = "At least two of tasks, wardens and database of site ${var.site} fail at the same time."

  alarm_rule = join(" OR ", [
    for pair in [["ecs-healthy-hosts", "warden-healthy-hosts"], ["ecs-healthy-hosts", "aurora-engine"], ["warden-healthy-hosts", "aurora-engine"]] :
    "(ALARM(\"${aws_cloudwatch_metric_alarm.this[pair[0]].alarm_name}\") AND ALARM(\"${aws_cloudwatch_metric_alarm.this[pair[1]].alarm_name}\"))"
  ])

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]
}

# What Aurora itself reports about a failover, in words.
resource "aws_db_event_subscription" "cluster" {
  name             = "payment-${var.site}-${var.suffix}"
  sns_topic        = aws_sns_topic.alarms.arn
  source_type      = "db-cluster"
  source_ids       = [var.db_cluster_identifier]
  event_categories = ["failover", "failure", "global-failover", "maintenance", "notification"]

  depends_on = [aws_sns_topic_policy.alarms]
}
