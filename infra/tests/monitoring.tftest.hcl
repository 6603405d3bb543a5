# One site's alarms.

mock_provider "aws" {
  source          = "./tests/mocks/primary"
  override_during = plan
}

variables {
  site                     = "dr"
  suffix                   = "t1"
  region                   = "us-west-2"
  account_id               = "123456789012"
  emails                   = ["admin@example.com", "duty@example.com"]
  kms_key_arn              = "arn:aws:kms:us-west-2:123456789012:key/00000002-0000-0000-0000-000000000000"
  db_cluster_identifier    = "aurora-dr-t1"
  ecs_cluster_name         = "payment-cluster-dr-t1"
  app_service_name         = "payment-service-dr-t1"
  load_balancer_arn        = "arn:aws:elasticloadbalancing:us-west-2:123456789012:loadbalancer/app/pay-alb-dr-t1/1111"
  app_target_group_arn     = "arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/payapp-dr-t1/2222"
  warden_target_group_arn  = "arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/warden-dr-t1/3333"
  forward_target_group_arn = "arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/payfwd-dr-t1/4444"
  term_table_name          = "holdfast-term-t1"
}

run "alarms" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  # Milliseconds: 30 s of lag. Only a secondary publishes it, so the active site has no data, which is no breach.
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["aurora-replication-lag"].metric_name == "AuroraGlobalDBReplicationLag" &&
      aws_cloudwatch_metric_alarm.this["aurora-replication-lag"].threshold == 30000 &&
      aws_cloudwatch_metric_alarm.this["aurora-replication-lag"].period == 60 &&
      aws_cloudwatch_metric_alarm.this["aurora-replication-lag"].evaluation_periods == 2 &&
      aws_cloudwatch_metric_alarm.this["aurora-replication-lag"].treat_missing_data == "notBreaching"
    )
    error_message = "Replication lag: above 30 s in two periods of one minute."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["aurora-cpu"].metric_name == "CPUUtilization" &&
      aws_cloudwatch_metric_alarm.this["aurora-cpu"].threshold == 80 &&
      aws_cloudwatch_metric_alarm.this["aurora-cpu"].period == 300 &&
      aws_cloudwatch_metric_alarm.this["aurora-cpu"].evaluation_periods == 2
    )
    error_message = "Database CPU: above 80 % in two periods of five minutes."
  }

  assert {
    condition = alltrue([
      for key in ["ecs-healthy-hosts", "warden-healthy-hosts", "forward-healthy-hosts"] : (
        aws_cloudwatch_metric_alarm.this[key].metric_name == "HealthyHostCount" &&
        aws_cloudwatch_metric_alarm.this[key].threshold == 1 &&
        aws_cloudwatch_metric_alarm.this[key].comparison_operator == "LessThanThreshold" &&
        aws_cloudwatch_metric_alarm.this[key].period == 60 &&
        aws_cloudwatch_metric_alarm.this[key].evaluation_periods == 2 &&
        aws_cloudwatch_metric_alarm.this[key].treat_missing_data == "breaching"
      )
    ])
    error_message = "Healthy hosts of tasks and wardens: fewer than one in two periods of one minute, and silence counts."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["ecs-healthy-hosts"].dimensions == tomap({ LoadBalancer = "app/pay-alb-dr-t1/1111", TargetGroup = "targetgroup/payapp-dr-t1/2222" })
    error_message = "The dimensions must be what CloudWatch calls balancer and target group."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : tolist(alarm.alarm_actions) == tolist([aws_sns_topic.alarms.arn]) && tolist(alarm.ok_actions) == tolist([aws_sns_topic.alarms.arn])])
    error_message = "Every alarm must notify, and say when it is over."
  }

  assert {
    condition     = strcontains(aws_cloudwatch_composite_alarm.region_impaired.alarm_rule, "(ALARM(\"ecs-healthy-hosts-dr-t1\") AND ALARM(\"aurora-engine-dr-t1\"))")
    error_message = "Two layers failing together must raise region-impaired."
  }

  assert {
    condition     = toset([for subscription in aws_sns_topic_subscription.email : subscription.endpoint]) == toset(["admin@example.com", "duty@example.com"]) && alltrue([for subscription in aws_sns_topic_subscription.email : subscription.protocol == "email"])
    error_message = "Every address must be subscribed."
  }

  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == var.kms_key_arn
    error_message = "The topic must be encrypted under the site's key."
  }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets) == 9 && alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.properties.region == "us-west-2" if widget.type == "metric"])
    error_message = "The dashboard must show the site's own metrics."
  }

  assert {
    condition     = contains(aws_db_event_subscription.cluster.event_categories, "global-failover") && tolist(aws_db_event_subscription.cluster.source_ids) == tolist(["aurora-dr-t1"])
    error_message = "Aurora's own words about a failover must arrive."
  }
}
