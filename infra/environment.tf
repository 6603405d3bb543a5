# What payd and the wardens read from their environment. The programs know nothing else of the deployment.

locals {
  clusters = {
    primary = module.aurora_primary
    dr      = module.aurora_dr
  }

  peers = { primary = "dr", dr = "primary" }

  database_environment = {
    for site in ["primary", "dr"] : site => {
      DB_WRITER_HOST = local.clusters[site].endpoint
      DB_READER_HOST = local.clusters[site].reader_endpoint
      DB_PORT        = tostring(var.database.port)
      DB_NAME        = var.database.name
      DB_USER        = var.database.username
      DB_SSLMODE     = "require"
    }
  }

  app_environment = {
    for site in ["primary", "dr"] : site => merge(local.database_environment[site], {
      PAYD_SITE         = site
      PAYD_PORT         = tostring(var.service.port)
      PAYD_ACQUIRER_URL = var.service.acquirer_url
    })
  }

  ecs = {
    primary = module.ecs_primary
    dr      = module.ecs_dr
  }

  warden_environment = {
    for site, peer in local.peers : site => merge(local.database_environment[site], {
      AWS_REGION                    = var.sites[site].region
      HOLDFAST_DEPLOYMENT           = local.suffix
      HOLDFAST_SITE                 = site
      HOLDFAST_PEER_SITE            = peer
      HOLDFAST_MODE                 = var.warden.mode
      HOLDFAST_TERM_TABLE           = local.term_table
      HOLDFAST_TERM_REGIONS         = "${var.sites[site].region},${var.sites[peer].region}"
      HOLDFAST_GLOBAL_CLUSTER       = local.global_identifier
      HOLDFAST_DB_CLUSTER_ARN       = local.clusters[site].cluster_arn
      HOLDFAST_PEER_DB_CLUSTER_ARN  = local.clusters[peer].cluster_arn
      HOLDFAST_PEER_DB_HOST         = local.clusters[peer].endpoint
      HOLDFAST_ECS_CLUSTER          = local.ecs[site].cluster_name
      HOLDFAST_APP_SERVICE          = local.ecs[site].service_name
      HOLDFAST_APP_TARGET_GROUP_ARN = local.ecs[site].target_group_arn
      HOLDFAST_PORT                 = tostring(var.warden.port)
      HOLDFAST_EXPORT_DIR           = "/var/lib/holdfast/export"
      HOLDFAST_MAX_LAG              = var.warden.max_lag
      HOLDFAST_DATABASE_THRESHOLD   = var.warden.database_threshold
      HOLDFAST_APP_THRESHOLD        = var.warden.app_threshold
      HOLDFAST_BALANCER_THRESHOLD   = var.warden.balancer_threshold
      HOLDFAST_HANDOFF_TIMEOUT      = var.warden.handoff_timeout
      HOLDFAST_BEACON_MAX_AGE       = var.warden.beacon_max_age
      HOLDFAST_COOL_DOWN            = var.warden.cool_down

      # Capacity first, then the term, then DNS; and while DNS drains, the old site hands requests on to the new one.
      HOLDFAST_APP_MIN_TASKS            = tostring(var.sites[site].min_tasks)
      HOLDFAST_APP_LISTENER_ARN         = local.ecs[site].listener_arn
      HOLDFAST_APP_DNS_NAME             = local.dns_name
      HOLDFAST_CAPACITY_FOR             = var.warden.capacity_for
      HOLDFAST_FORWARD_FOR              = var.warden.forward_for
      HOLDFAST_FORWARD_PORT             = tostring(var.warden.forward_port)
      HOLDFAST_FORWARD_TARGET_GROUP_ARN = local.ecs[site].forward_target_group_arn
      HOLDFAST_PEER_APP_URL             = local.https ? "https://${local.ecs[peer].load_balancer_dns_name}:443" : "http://${local.ecs[peer].load_balancer_dns_name}:80"
    })
  }
}
