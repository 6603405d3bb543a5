output "primary_vpc_id" {
  description = "VPC of site primary."
  value       = module.vpc_primary.vpc_id
}

output "dr_vpc_id" {
  description = "VPC of site dr."
  value       = module.vpc_dr.vpc_id
}

output "global_cluster_identifier" {
  description = "Identifier of the Aurora Global Database."
  value       = aws_rds_global_cluster.this.global_cluster_identifier
}

output "primary_aurora_cluster_endpoint" {
  description = "Writer endpoint of site primary; it answers while that site's cluster is the writer."
  value       = module.aurora_primary.endpoint
}

output "primary_aurora_reader_endpoint" {
  description = "Reader endpoint of site primary."
  value       = module.aurora_primary.reader_endpoint
}

output "dr_aurora_cluster_endpoint" {
  description = "Writer endpoint of site dr; it answers while that site's cluster is the writer."
  value       = module.aurora_dr.endpoint
}

output "dr_aurora_reader_endpoint" {
  description = "Reader endpoint of site dr."
  value       = module.aurora_dr.reader_endpoint
}

output "primary_ecs_cluster_name" {
  description = "ECS cluster of site primary."
  value       = module.ecs_primary.cluster_name
}

output "dr_ecs_cluster_name" {
  description = "ECS cluster of site dr."
  value       = module.ecs_dr.cluster_name
}

output "primary_alb_dns_name" {
  description = "DNS name of site primary's load balancer."
  value       = module.ecs_primary.load_balancer_dns_name
}

output "dr_alb_dns_name" {
  description = "DNS name of site dr's load balancer."
  value       = module.ecs_dr.load_balancer_dns_name
}

output "route53_zone_id" {
  description = "Zone that holds the failover records."
  value       = module.route53.zone_id
}

output "route53_name_servers" {
  description = "Name servers to delegate the new zone to."
  value       = module.route53.name_servers
}

output "primary_health_check_id" {
  description = "Health check of the primary record."
  value       = module.route53.health_check_ids["primary"]
}

output "dr_health_check_id" {
  description = "Health check of site dr, which no record follows."
  value       = module.route53.health_check_ids["dr"]
}

output "failover_domain" {
  description = "Name that clients resolve."
  value       = module.route53.record_name
}

output "db_secret_arn" {
  description = "Secret with the database password, by site."
  value       = local.db_secret_arn
}

output "holdfast" {
  description = "What the holdfast command reads: the whole deployment in one object."
  value = {
    suffix         = local.suffix
    dns_name       = local.dns_name
    account_id     = local.account_id
    term_table     = local.term_table
    term_regions   = [var.sites.primary.region, var.sites.dr.region]
    witness_region = var.sites.witness_region
    global_cluster = local.global_identifier
    lease_seconds  = var.warden.lease_seconds
    margin_seconds = var.warden.margin_seconds

    sites = [
      for site in ["primary", "dr"] : {
        name                    = site
        region                  = var.sites[site].region
        db_cluster_identifier   = local.clusters[site].cluster_identifier
        db_cluster_arn          = local.clusters[site].cluster_arn
        db_endpoint             = local.clusters[site].endpoint
        db_reader_endpoint      = local.clusters[site].reader_endpoint
        db_port                 = var.database.port
        db_name                 = var.database.name
        db_user                 = var.database.username
        db_secret_arn           = local.db_secret_arn[site]
        ecs_cluster_name        = local.ecs[site].cluster_name
        app_service             = local.ecs[site].service_name
        warden_service          = local.wardens[site].service_name
        load_balancer_arn       = local.ecs[site].load_balancer_arn
        load_balancer_dns_name  = local.ecs[site].load_balancer_dns_name
        app_listener_arn        = local.ecs[site].listener_arn
        app_target_group_arn    = local.ecs[site].target_group_arn
        warden_target_group_arn = local.wardens[site].target_group_arn
      }
    ]
  }
}

locals {
  wardens = {
    primary = module.warden_primary
    dr      = module.warden_dr
  }
}
