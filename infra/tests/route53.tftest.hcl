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
    condition     = aws_route53_health_check.this["primary"].type == "HTTP" && aws_route53_health_check.this["primary"].port == 80 && aws_route53_health_check.this["primary"].resource_path == "/healthz"
    error_message = "The health check must speak the listener's protocol, on its port."
  }

  assert {
    condition     = aws_route53_health_check.this["primary"].request_interval == 10 && aws_route53_health_check.this["primary"].failure_threshold == 3
    error_message = "The fast check, every ten seconds, three failures."
  }

  assert {
    condition     = aws_route53_record.primary.failover_routing_policy[0].type == "PRIMARY" && aws_route53_record.primary.health_check_id == aws_route53_health_check.this["primary"].id
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
    condition = alltrue([
      for site in ["primary", "dr"] : (
        aws_cloudwatch_metric_alarm.health_check[site].threshold == 1 &&
        aws_cloudwatch_metric_alarm.health_check[site].comparison_operator == "LessThanThreshold" &&
        aws_cloudwatch_metric_alarm.health_check[site].period == 60 &&
        aws_cloudwatch_metric_alarm.health_check[site].evaluation_periods == 2 &&
        aws_cloudwatch_metric_alarm.health_check[site].treat_missing_data == "breaching" &&
        aws_cloudwatch_metric_alarm.health_check[site].metric_name == "HealthCheckStatus"
      )
    ])
    error_message = "The health-check alarms: below 1 in two periods of one minute, and silence counts."
  }

  assert {
    condition = alltrue([
      for attribute in ["type", "port", "resource_path", "request_interval", "failure_threshold", "enable_sni"] :
      aws_route53_health_check.this["dr"][attribute] == aws_route53_health_check.this["primary"][attribute]
    ]) && aws_route53_health_check.this["dr"].fqdn == "dr.elb.amazonaws.com"
    error_message = "Site dr must be asked as the primary is, at its own balancer."
  }

  assert {
    condition     = tolist(aws_cloudwatch_metric_alarm.health_check["primary"].alarm_actions) == tolist([var.alarm_topic_arn]) && length(aws_cloudwatch_metric_alarm.health_check["dr"].alarm_actions) == 0
    error_message = "One of the two alarms is always in ALARM: only the primary's, with which DNS moves, tells people."
  }

  assert {
    condition = (
      aws_cloudwatch_composite_alarm.no_site_serves.alarm_rule == "ALARM(\"route53-health-check-primary-t1\") AND ALARM(\"route53-health-check-dr-t1\")" &&
      tolist(aws_cloudwatch_composite_alarm.no_site_serves.alarm_actions) == tolist([var.alarm_topic_arn]) &&
      tolist(aws_cloudwatch_composite_alarm.no_site_serves.ok_actions) == tolist([var.alarm_topic_arn])
    )
    error_message = "Both health checks failing means that no site serves, whichever is active."
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
    condition     = aws_route53_health_check.this["primary"].type == "HTTPS" && aws_route53_health_check.this["primary"].port == 443 && aws_route53_health_check.this["primary"].enable_sni
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
