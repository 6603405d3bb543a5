# The way in: certificates, the failover records, and the alarms on the sites' health checks.

locals {
  acm = var.tls.mode == "acm"

  certificate_arn = {
    primary = local.acm ? aws_acm_certificate_validation.primary[0].certificate_arn : try(var.tls.certificate_arns.primary, null)
    dr      = local.acm ? aws_acm_certificate_validation.dr[0].certificate_arn : try(var.tls.certificate_arns.dr, null)
  }
}

# A balancer takes certificates of its own region only.
resource "aws_acm_certificate" "primary" {
  count    = local.acm ? 1 : 0
  provider = aws.primary

  domain_name       = local.dns_name
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_acm_certificate" "dr" {
  count    = local.acm ? 1 : 0
  provider = aws.dr

  domain_name       = local.dns_name
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

# ACM asks for the same record in every region: it depends on the account and the name alone.
resource "aws_route53_record" "certificate" {
  count    = local.acm ? 1 : 0
  provider = aws.us_east_1

  zone_id         = var.hosted_zone_id
  name            = one([for option in aws_acm_certificate.primary[0].domain_validation_options : option.resource_record_name])
  type            = one([for option in aws_acm_certificate.primary[0].domain_validation_options : option.resource_record_type])
  records         = [one([for option in aws_acm_certificate.primary[0].domain_validation_options : option.resource_record_value])]
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "primary" {
  count    = local.acm ? 1 : 0
  provider = aws.primary

  certificate_arn         = aws_acm_certificate.primary[0].arn
  validation_record_fqdns = [aws_route53_record.certificate[0].fqdn]
}

resource "aws_acm_certificate_validation" "dr" {
  count    = local.acm ? 1 : 0
  provider = aws.dr

  certificate_arn         = aws_acm_certificate.dr[0].arn
  validation_record_fqdns = [aws_route53_record.certificate[0].fqdn]
}

module "route53" {
  source    = "./modules/route53"
  providers = { aws = aws.us_east_1 }

  suffix          = local.suffix
  zone_name       = local.domain_name
  create_zone     = var.hosted_zone_id == null
  hosted_zone_id  = var.hosted_zone_id
  record_name     = local.dns_name
  https           = local.https
  alarm_topic_arn = local.us_east_1_topic_arn
  protected       = local.protected

  sites = {
    for site in ["primary", "dr"] : site => {
      dns_name = local.ecs[site].load_balancer_dns_name
      zone_id  = local.ecs[site].load_balancer_zone_id
    }
  }
}

# Health-check metrics exist in us-east-1 only, and an alarm notifies topics of its own region. Where no site lives
# there, that region gets a topic of its own.
locals {
  us_east_1_site = one([for site in ["primary", "dr"] : site if var.sites[site].region == "us-east-1"])
  us_east_1_topic_arn = local.us_east_1_site == null ? aws_sns_topic.us_east_1[0].arn : {
    primary = module.monitoring_primary.topic_arn
    dr      = module.monitoring_dr.topic_arn
  }[local.us_east_1_site]
}

resource "aws_sns_topic" "us_east_1" {
  count    = local.us_east_1_site == null ? 1 : 0
  provider = aws.us_east_1

  name = "payment-alarms-route53-${local.suffix}"
}

resource "aws_sns_topic_subscription" "us_east_1" {
  for_each = local.us_east_1_site == null ? var.alarm_emails : []
  provider = aws.us_east_1

  topic_arn = aws_sns_topic.us_east_1[0].arn
  protocol  = "email"
  endpoint  = each.key
}
