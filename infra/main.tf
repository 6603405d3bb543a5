# Two equal sites, and between them what ties them together: peering.tf, database.tf, dns.tf. Which site is active is
# nowhere in here; that is the term table's business.

module "key_primary" {
  source    = "./modules/kms"
  providers = { aws = aws.primary }

  name       = "payment-primary-${local.suffix}"
  region     = var.sites.primary.region
  account_id = local.account_id
  protected  = local.protected
}

module "key_dr" {
  source    = "./modules/kms"
  providers = { aws = aws.dr }

  name       = "payment-dr-${local.suffix}"
  region     = var.sites.dr.region
  account_id = local.account_id
  protected  = local.protected
}

module "vpc_primary" {
  source    = "./modules/vpc"
  providers = { aws = aws.primary }

  name                = "payment-primary-${local.suffix}"
  region              = var.sites.primary.region
  cidr                = var.sites.primary.vpc_cidr
  availability_zones  = local.zones.primary
  peer_cidr           = local.private_half.dr
  peer_warden_cidr    = local.warden_range.dr
  nat                 = var.network.nat
  client_cidrs        = var.network.client_cidrs
  interface_endpoints = var.network.interface_endpoints
  https               = local.https
  app_port            = var.service.port
  warden_port         = var.warden.port
  forward_port        = var.warden.forward_port
  db_port             = var.database.port
  flow_logs           = merge(var.network.flow_logs, { retention_days = var.log_retention_days })
  kms_key_arn         = module.key_primary.key_arn
}

module "vpc_dr" {
  source    = "./modules/vpc"
  providers = { aws = aws.dr }

  name                = "payment-dr-${local.suffix}"
  region              = var.sites.dr.region
  cidr                = var.sites.dr.vpc_cidr
  availability_zones  = local.zones.dr
  peer_cidr           = local.private_half.primary
  peer_warden_cidr    = local.warden_range.primary
  nat                 = var.network.nat
  client_cidrs        = var.network.client_cidrs
  interface_endpoints = var.network.interface_endpoints
  https               = local.https
  app_port            = var.service.port
  warden_port         = var.warden.port
  forward_port        = var.warden.forward_port
  db_port             = var.database.port
  flow_logs           = merge(var.network.flow_logs, { retention_days = var.log_retention_days })
  kms_key_arn         = module.key_dr.key_arn
}

module "ecs_primary" {
  source    = "./modules/ecs"
  providers = { aws = aws.primary }

  site                       = "primary"
  suffix                     = local.suffix
  region                     = var.sites.primary.region
  account_id                 = local.account_id
  protected                  = local.protected
  image                      = local.images.app.primary
  service                    = var.service
  forward_port               = var.warden.forward_port
  min_tasks                  = var.sites.primary.min_tasks
  environment                = local.app_environment.primary
  db_secret_arn              = local.db_secret_arn.primary
  kms_key_arn                = module.key_primary.key_arn
  vpc_id                     = module.vpc_primary.vpc_id
  private_subnet_ids         = module.vpc_primary.private_subnet_ids
  public_subnet_ids          = module.vpc_primary.public_subnet_ids
  app_security_group_id      = module.vpc_primary.app_security_group_id
  balancer_security_group_id = module.vpc_primary.balancer_security_group_id
  https                      = local.https
  certificate_arn            = local.certificate_arn.primary
  ssl_policy                 = var.tls.ssl_policy
  waf                        = var.waf
  peer_nat_addresses         = values(module.vpc_dr.nat_addresses)
  log_retention_days         = var.log_retention_days
}

module "ecs_dr" {
  source    = "./modules/ecs"
  providers = { aws = aws.dr }

  site                       = "dr"
  suffix                     = local.suffix
  region                     = var.sites.dr.region
  account_id                 = local.account_id
  protected                  = local.protected
  image                      = local.images.app.dr
  service                    = var.service
  forward_port               = var.warden.forward_port
  min_tasks                  = var.sites.dr.min_tasks
  environment                = local.app_environment.dr
  db_secret_arn              = local.db_secret_arn.dr
  kms_key_arn                = module.key_dr.key_arn
  vpc_id                     = module.vpc_dr.vpc_id
  private_subnet_ids         = module.vpc_dr.private_subnet_ids
  public_subnet_ids          = module.vpc_dr.public_subnet_ids
  app_security_group_id      = module.vpc_dr.app_security_group_id
  balancer_security_group_id = module.vpc_dr.balancer_security_group_id
  https                      = local.https
  certificate_arn            = local.certificate_arn.dr
  ssl_policy                 = var.tls.ssl_policy
  waf                        = var.waf
  peer_nat_addresses         = values(module.vpc_primary.nat_addresses)
  log_retention_days         = var.log_retention_days
}

module "term_table" {
  source    = "./modules/term_table"
  providers = { aws = aws.primary }

  name            = local.term_table
  replica_regions = [var.sites.primary.region, var.sites.dr.region]
  witness_region  = var.sites.witness_region
  protected       = local.protected
}

module "warden_primary" {
  source    = "./modules/warden"
  providers = { aws = aws.primary }

  site                       = "primary"
  suffix                     = local.suffix
  region                     = var.sites.primary.region
  account_id                 = local.account_id
  protected                  = local.protected
  image                      = local.images.warden.primary
  warden                     = var.warden
  environment                = local.warden_environment.primary
  db_secret_arn              = local.db_secret_arn.primary
  kms_key_arn                = module.key_primary.key_arn
  vpc_id                     = module.vpc_primary.vpc_id
  private_subnet_ids         = module.vpc_primary.private_subnet_ids
  warden_subnet_ids          = module.vpc_primary.warden_subnet_ids
  security_group_id          = module.vpc_primary.warden_security_group_id
  cluster_arn                = module.ecs_primary.cluster_arn
  cluster_name               = module.ecs_primary.cluster_name
  app_service_name           = module.ecs_primary.service_name
  listener_arn               = module.ecs_primary.listener_arn
  forward_target_group_arn   = module.ecs_primary.forward_target_group_arn
  term_table_name            = local.term_table
  term_regions               = [var.sites.primary.region, var.sites.dr.region]
  global_cluster_identifier  = local.global_identifier
  db_cluster_identifier      = module.aurora_primary.cluster_identifier
  peer_region                = var.sites.dr.region
  peer_db_cluster_identifier = module.aurora_dr.cluster_identifier
  log_retention_days         = var.log_retention_days

  depends_on = [module.term_table]
}

module "warden_dr" {
  source    = "./modules/warden"
  providers = { aws = aws.dr }

  site                       = "dr"
  suffix                     = local.suffix
  region                     = var.sites.dr.region
  account_id                 = local.account_id
  protected                  = local.protected
  image                      = local.images.warden.dr
  warden                     = var.warden
  environment                = local.warden_environment.dr
  db_secret_arn              = local.db_secret_arn.dr
  kms_key_arn                = module.key_dr.key_arn
  vpc_id                     = module.vpc_dr.vpc_id
  private_subnet_ids         = module.vpc_dr.private_subnet_ids
  warden_subnet_ids          = module.vpc_dr.warden_subnet_ids
  security_group_id          = module.vpc_dr.warden_security_group_id
  cluster_arn                = module.ecs_dr.cluster_arn
  cluster_name               = module.ecs_dr.cluster_name
  app_service_name           = module.ecs_dr.service_name
  listener_arn               = module.ecs_dr.listener_arn
  forward_target_group_arn   = module.ecs_dr.forward_target_group_arn
  term_table_name            = local.term_table
  term_regions               = [var.sites.dr.region, var.sites.primary.region]
  global_cluster_identifier  = local.global_identifier
  db_cluster_identifier      = module.aurora_dr.cluster_identifier
  peer_region                = var.sites.primary.region
  peer_db_cluster_identifier = module.aurora_primary.cluster_identifier
  log_retention_days         = var.log_retention_days

  depends_on = [module.term_table]
}

module "monitoring_primary" {
  source    = "./modules/monitoring"
  providers = { aws = aws.primary }

  site                     = "primary"
  suffix                   = local.suffix
  region                   = var.sites.primary.region
  account_id               = local.account_id
  emails                   = var.alarm_emails
  kms_key_arn              = module.key_primary.key_arn
  db_cluster_identifier    = module.aurora_primary.cluster_identifier
  ecs_cluster_name         = module.ecs_primary.cluster_name
  app_service_name         = module.ecs_primary.service_name
  load_balancer_arn        = module.ecs_primary.load_balancer_arn
  app_target_group_arn     = module.ecs_primary.target_group_arn
  warden_target_group_arn  = module.warden_primary.target_group_arn
  forward_target_group_arn = module.ecs_primary.forward_target_group_arn
  term_table_name          = local.term_table
}

module "monitoring_dr" {
  source    = "./modules/monitoring"
  providers = { aws = aws.dr }

  site                     = "dr"
  suffix                   = local.suffix
  region                   = var.sites.dr.region
  account_id               = local.account_id
  emails                   = var.alarm_emails
  kms_key_arn              = module.key_dr.key_arn
  db_cluster_identifier    = module.aurora_dr.cluster_identifier
  ecs_cluster_name         = module.ecs_dr.cluster_name
  app_service_name         = module.ecs_dr.service_name
  load_balancer_arn        = module.ecs_dr.load_balancer_arn
  app_target_group_arn     = module.ecs_dr.target_group_arn
  warden_target_group_arn  = module.warden_dr.target_group_arn
  forward_target_group_arn = module.ecs_dr.forward_target_group_arn
  term_table_name          = local.term_table
}

module "account_security_primary" {
  source    = "./modules/account_security"
  providers = { aws = aws.primary }

  site       = "primary"
  suffix     = local.suffix
  account_id = local.account_id
  guardduty  = var.account_security.guardduty
  config     = var.account_security.config
  protected  = local.protected
}

module "account_security_dr" {
  source    = "./modules/account_security"
  providers = { aws = aws.dr }

  site       = "dr"
  suffix     = local.suffix
  account_id = local.account_id
  guardduty  = var.account_security.guardduty
  config     = var.account_security.config
  protected  = local.protected
}
