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

locals {
  certificate_arn = { primary = null, dr = null }

  us_east_1_topic_arn = module.monitoring_primary.topic_arn
}
