# DNS follows the term: the primary record is answered while its /healthz says 200, which the primary site's wardens
# say only while the site holds a trusted term, is the writer and has a healthy application. No API call is needed to
# fail over, so the control plane in us-east-1 may be gone.

locals {
  zone_id = var.create_zone ? aws_route53_zone.this[0].zone_id : var.hosted_zone_id
}

resource "aws_route53_zone" "this" {
  count = var.create_zone ? 1 : 0

  name          = var.zone_name
  comment       = "Holdfast ${var.suffix}"
  force_destroy = !var.protected
}

# One of each site, with the same settings: only the primary's decides what DNS answers. The other one is there to be
# looked at, and is attached to no record.
resource "aws_route53_health_check" "this" {
  for_each = var.sites

  reference_name    = "payment-${each.key}-${var.suffix}"
  type              = var.https ? "HTTPS" : "HTTP"
  port              = var.https ? 443 : 80
  fqdn              = each.value.dns_name
  resource_path     = "/healthz"
  enable_sni        = var.https
  request_interval  = 10
  failure_threshold = 3
  measure_latency   = false
  disabled          = false

  tags = { Name = "payment-${each.key}-${var.suffix}" }
}

moved {
  from = aws_route53_health_check.primary
  to   = aws_route53_health_check.this["primary"]
}

resource "aws_route53_record" "primary" {
  zone_id         = local.zone_id
  name            = var.record_name
  type            = "A"
  set_identifier  = "primary"
  health_check_id = aws_route53_health_check.this["primary"].id

  failover_routing_policy {
    type = "PRIMARY"
  }

  alias {
    name    = var.sites["primary"].dns_name
    zone_id = var.sites["primary"].zone_id
    # The term alone decides. Target health would be a second opinion that the wardens cannot fence.
    evaluate_target_health = false
  }
}

# Without a health check on purpose: with one, and both unhealthy, Route 53 answers the primary whatever its state. So
# an unhealthy primary always yields the secondary.
resource "aws_route53_record" "secondary" {
  zone_id        = local.zone_id
  name           = var.record_name
  type           = "A"
  set_identifier = "dr"

  failover_routing_policy {
    type = "SECONDARY"
  }

  alias {
    name                   = var.sites["dr"].dns_name
    zone_id                = var.sites["dr"].zone_id
    evaluate_target_health = false
  }
}

# Health-check metrics exist in us-east-1 only, so these alarms cannot live anywhere else. Nothing waits for them. One of
# them is always in ALARM, because a standby's balancer answers 503. The primary's tells people, because with it DNS
# moves; that of dr moves nothing, and speaks through no-site-serves.
#
# Maximum: a minute in which the check ever passed is a good one. So in a planned move the site that begins to serve is
# OK again two minutes before the other one is in ALARM, and no-site-serves stays quiet.
resource "aws_cloudwatch_metric_alarm" "health_check" {
  for_each = var.sites

  alarm_name = "route53-health-check-${each.key}-${var.suffix}"
  alarm_description = each.key == "primary" ? (
    "The primary record's health check fails: DNS answers with the other site."
    ) : (
    "Site ${each.key} does not serve, which is as it should be while it stands by."
  )
  namespace           = "AWS/Route53"
  metric_name         = "HealthCheckStatus"
  dimensions          = { HealthCheckId = aws_route53_health_check.this[each.key].id }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  datapoints_to_alarm = 2
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = each.key == "primary" ? [var.alarm_topic_arn] : []
  ok_actions          = each.key == "primary" ? [var.alarm_topic_arn] : []
}

moved {
  from = aws_cloudwatch_metric_alarm.health_check
  to   = aws_cloudwatch_metric_alarm.health_check["primary"]
}

# Whichever site is active: nobody answers 200, so nobody takes payments.
resource "aws_cloudwatch_composite_alarm" "no_site_serves" {
  alarm_name        = "no-site-serves-${var.suffix}"
  alarm_description = "Neither site's health check passes: no site takes payments."

  alarm_rule = join(" AND ", [for site in ["primary", "dr"] : "ALARM(\"${aws_cloudwatch_metric_alarm.health_check[site].alarm_name}\")"])

  alarm_actions = [var.alarm_topic_arn]
  ok_actions    = [var.alarm_topic_arn]
}
