# Failover records and their health check.

mock_provider "aws" {
  source          = "./tests/mocks/us_east_1"
  override_during = plan

  mock_resource "aws_route53_zone" {
    defaults = { zone_id = "Z0000000000000000001" }
  }

  mock_resource "aws_route53_health_check" {
    defaults = { id = "00000000-0000-0000-0000-000000000001" }
  }
}

variables {
  suffix          = "t1"
  zone_name       = "payment-dr-t1.example.com"
  hosted_zone_id  = null
  create_zone     = true
  record_name     = "app.payment-dr-t1.example.com"
  https           = false
  alarm_topic_arn = "arn:aws:sns:us-east-1:123456789012:alarms"
  protected       = false

  sites = {
    primary = { dns_name = "primary.elb.amazonaws.com", zone_id = "Z35SXDOTRQ7X7K" }
    dr      = { dns_name = "dr.elb.amazonaws.com", zone_id = "Z1H1FL5HABSF5" }
  }
}

run "own_zone_over_http" {
  command = plan

  module {
    source = "./modules/route53"
  }

  assert {
    condition     = aws_route53_zone.this[0].name == "payment-dr-t1.example.com" && aws_route53_record.primary.zone_id == aws_route53_zone.this[0].zone_id
    error_message = "The records must lie in the new zone."
  }

  assert {
    condition     = aws_route53_health_check.primary.type == "HTTP" && aws_route53_health_check.primary.port == 80 && aws_route53_health_check.primary.resource_path == "/healthz"
    error_message = "The health check must speak the listener's protocol, on its port."
  }

  assert {
    condition     = aws_route53_health_check.primary.request_interval == 10 && aws_route53_health_check.primary.failure_threshold == 3
    error_message = "The fast check, every ten seconds, three failures."
  }

  assert {
    condition     = aws_route53_record.primary.failover_routing_policy[0].type == "PRIMARY" && aws_route53_record.primary.health_check_id == aws_route53_health_check.primary.id
    error_message = "The primary record must follow the health check."
  }

  assert {
    condition     = aws_route53_record.secondary.failover_routing_policy[0].type == "SECONDARY" && aws_route53_record.secondary.health_check_id == null
    error_message = "The secondary record must have no health check: with one, two failures would answer the primary."
  }

  assert {
    condition     = alltrue([for record in [aws_route53_record.primary, aws_route53_record.secondary] : record.name == "app.payment-dr-t1.example.com" && record.type == "A" && !record.alias[0].evaluate_target_health])
    error_message = "Both records must answer the same name, and the term alone decides."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.health_check.threshold == 1 && aws_cloudwatch_metric_alarm.health_check.comparison_operator == "LessThanThreshold" && aws_cloudwatch_metric_alarm.health_check.period == 60 && aws_cloudwatch_metric_alarm.health_check.evaluation_periods == 2 && aws_cloudwatch_metric_alarm.health_check.metric_name == "HealthCheckStatus"
    error_message = "The health-check alarm: below 1 in two periods of one minute."
  }
}

run "existing_zone_over_https" {
  command = plan

  module {
    source = "./modules/route53"
  }

  variables {
    hosted_zone_id = "Z2FDTNDATAQYW2"
    create_zone    = false
    https          = true
  }

  assert {
    condition     = length(aws_route53_zone.this) == 0 && aws_route53_record.primary.zone_id == "Z2FDTNDATAQYW2" && aws_route53_record.secondary.zone_id == "Z2FDTNDATAQYW2"
    error_message = "An existing zone must be used, and none made."
  }

  assert {
    condition     = aws_route53_health_check.primary.type == "HTTPS" && aws_route53_health_check.primary.port == 443 && aws_route53_health_check.primary.enable_sni
    error_message = "The health check must speak the listener's protocol, on its port."
  }
}

run "a_third_site_is_refused" {
  command = plan

  module {
    source = "./modules/route53"
  }

  variables {
    sites = {
      primary = { dns_name = "primary.elb.amazonaws.com", zone_id = "Z35SXDOTRQ7X7K" }
      dr      = { dns_name = "dr.elb.amazonaws.com", zone_id = "Z1H1FL5HABSF5" }
      third   = { dns_name = "third.elb.amazonaws.com", zone_id = "Z1H1FL5HABSF5" }
    }
  }

  expect_failures = [var.sites]
}
