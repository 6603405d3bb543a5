# The whole: how the parts are wired together, and what a plan says about a database that has moved.

mock_provider "aws" {
  alias           = "primary"
  source          = "./tests/mocks/primary"
  override_during = plan

  mock_resource "aws_acm_certificate" {
    defaults = {
      arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000001-0000-0000-0000-000000000000"
      domain_validation_options = [{
        domain_name           = "app.payments.acme.test"
        resource_record_name  = "_x1.app.payments.acme.test."
        resource_record_type  = "CNAME"
        resource_record_value = "_y1.acm-validations.aws."
      }]
    }
  }
}

mock_provider "aws" {
  alias           = "dr"
  source          = "./tests/mocks/dr"
  override_during = plan
}

mock_provider "aws" {
  alias           = "us_east_1"
  source          = "./tests/mocks/us_east_1"
  override_during = plan
}

provider "aws" {
  alias                       = "ephemeral"
  region                      = "us-east-1"
  access_key                  = "unused"
  secret_key                  = "unused"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}

variables {
  environment_suffix = "prod-abc123"
  account_id         = "123456789012"
  container_image    = "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/payd@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  warden             = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000" }
  service            = { acquirer_url = "https://acquirer.acme.test" }
  domain_name        = "payments.acme.test"
  hosted_zone_id     = "Z2FDTNDATAQYW2"
  throw_away         = false
  tls                = { mode = "acm" }
  # The firewall's rules have their own test; planning them here takes longer than all the rest.
  waf = { enabled = false }

  # Mock providers have no ephemeral types.
  generate_db_master_password = false
  db_master_password          = "a-long-enough-password"
}

run "protected_deployment" {
  command = plan

  # As after a failover that took its time: the clusters have swapped roles, and one of them has not come back yet.
  override_resource {
    override_during = plan
    target          = aws_rds_global_cluster.this
    values = {
      global_cluster_members = [{ db_cluster_arn = "arn:aws:rds:us-west-2:123456789012:cluster:mock", is_writer = true }]
    }
  }

  expect_failures = [check.global_cluster_members, check.writer_site]

  assert {
    condition     = aws_rds_global_cluster.this.global_cluster_identifier == "global-aurora-prod-abc123" && output.failover_domain == "app.payments.acme.test"
    error_message = "The runbook's names must hold."
  }

  assert {
    condition     = output.primary_ecs_cluster_name == "payment-cluster-primary-prod-abc123" && output.dr_ecs_cluster_name == "payment-cluster-dr-prod-abc123"
    error_message = "Each site has a cluster of its own."
  }

  assert {
    condition     = aws_rds_global_cluster.this.storage_encrypted && aws_rds_global_cluster.this.deletion_protection && !aws_rds_global_cluster.this.force_destroy
    error_message = "The global cluster must be encrypted and protected."
  }

  assert {
    condition     = local.images.app.dr == "123456789012.dkr.ecr.us-west-2.amazonaws.com/team/payd@sha256:0000000000000000000000000000000000000000000000000000000000000000" && local.images.warden.dr == "123456789012.dkr.ecr.us-west-2.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    error_message = "Site dr must pull from its own region."
  }

  assert {
    condition = (
      toset([for filter in aws_ecr_replication_configuration.this[0].replication_configuration[0].rule[0].repository_filter : filter.filter]) == toset(["team/payd", "holdfast"]) &&
      [for destination in aws_ecr_replication_configuration.this[0].replication_configuration[0].rule[0].destination : destination.region] == ["us-west-2"]
    )
    error_message = "ECR must copy both repositories to site dr's region."
  }

  assert {
    condition     = [for replica in aws_secretsmanager_secret.db.replica : replica.region] == ["us-west-2"] && local.db_secret_arn.dr == "arn:aws:secretsmanager:us-west-2:123456789012:secret:mock-AbCdEf"
    error_message = "The secret must have a replica in site dr's region, and site dr must read that one."
  }

  assert {
    condition     = aws_secretsmanager_secret.db.recovery_window_in_days == 30 && aws_secretsmanager_secret_version.db.secret_string == null
    error_message = "The secret must be recoverable, and its value must not be in the plan."
  }

  assert {
    condition     = aws_acm_certificate.primary[0].domain_name == "app.payments.acme.test" && aws_acm_certificate.dr[0].domain_name == "app.payments.acme.test" && aws_route53_record.certificate[0].zone_id == "Z2FDTNDATAQYW2"
    error_message = "Each site needs a certificate for the one name, validated in the given zone."
  }

  assert {
    condition     = local.app_environment.primary.DB_WRITER_HOST == module.aurora_primary.endpoint && local.app_environment.dr.DB_WRITER_HOST == module.aurora_dr.endpoint
    error_message = "A site's tasks use their own site's database."
  }

  assert {
    condition = toset(keys(local.app_environment.primary)) == toset([
      "PAYD_SITE", "PAYD_PORT", "PAYD_ACQUIRER_URL", "DB_WRITER_HOST", "DB_READER_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_SSLMODE",
    ])
    error_message = "payd's environment is a contract."
  }

  assert {
    condition = toset(keys(local.warden_environment.dr)) == toset([
      "AWS_REGION", "DB_WRITER_HOST", "DB_READER_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_SSLMODE",
      "HOLDFAST_DEPLOYMENT", "HOLDFAST_SITE", "HOLDFAST_PEER_SITE", "HOLDFAST_MODE", "HOLDFAST_TERM_TABLE", "HOLDFAST_TERM_REGIONS",
      "HOLDFAST_GLOBAL_CLUSTER", "HOLDFAST_DB_CLUSTER_ARN", "HOLDFAST_PEER_DB_CLUSTER_ARN", "HOLDFAST_PEER_DB_HOST", "HOLDFAST_ECS_CLUSTER",
      "HOLDFAST_APP_SERVICE", "HOLDFAST_APP_TARGET_GROUP_ARN", "HOLDFAST_PORT", "HOLDFAST_EXPORT_DIR", "HOLDFAST_MAX_LAG",
      "HOLDFAST_DATABASE_THRESHOLD", "HOLDFAST_APP_THRESHOLD", "HOLDFAST_BALANCER_THRESHOLD", "HOLDFAST_HANDOFF_TIMEOUT", "HOLDFAST_BEACON_MAX_AGE",
      "HOLDFAST_COOL_DOWN", "HOLDFAST_APP_MIN_TASKS", "HOLDFAST_CAPACITY_FOR", "HOLDFAST_FORWARD_FOR", "HOLDFAST_APP_LISTENER_ARN", "HOLDFAST_APP_DNS_NAME",
      "HOLDFAST_FORWARD_PORT", "HOLDFAST_FORWARD_TARGET_GROUP_ARN", "HOLDFAST_PEER_APP_URL",
    ])
    error_message = "The wardens' environment is a contract."
  }

  assert {
    condition = (
      local.warden_environment.dr.HOLDFAST_TERM_REGIONS == "us-west-2,us-east-1" && local.warden_environment.dr.HOLDFAST_PEER_SITE == "primary" &&
      local.warden_environment.dr.HOLDFAST_PEER_DB_HOST == module.aurora_primary.endpoint && local.warden_environment.dr.AWS_REGION == "us-west-2"
    )
    error_message = "A warden must ask its own region first, and know its peer."
  }

  assert {
    condition = (
      local.warden_environment.dr.HOLDFAST_PEER_APP_URL == "https://${module.ecs_primary.load_balancer_dns_name}:443" &&
      local.warden_environment.dr.HOLDFAST_APP_DNS_NAME == "app.payments.acme.test" &&
      local.warden_environment.dr.HOLDFAST_APP_LISTENER_ARN == module.ecs_dr.listener_arn &&
      local.warden_environment.dr.HOLDFAST_FORWARD_TARGET_GROUP_ARN == module.ecs_dr.forward_target_group_arn
    )
    error_message = "A warden forwards from its own site's listener to the other site's balancer, under the name that clients use."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.primary_from_dr) == 0 && length(aws_vpc_security_group_ingress_rule.dr_from_primary) == 0
    error_message = "Balancers that admit everybody need no rule for the other site's wardens."
  }

  assert {
    condition     = toset(keys(output.holdfast.sites[0])) == toset(["name", "region", "db_cluster_identifier", "db_cluster_arn", "db_endpoint", "db_reader_endpoint", "db_port", "db_name", "db_user", "db_secret_arn", "ecs_cluster_name", "app_service", "warden_service", "load_balancer_arn", "load_balancer_dns_name", "app_listener_arn", "app_target_group_arn", "warden_target_group_arn"])
    error_message = "The output holdfast is a contract with the command."
  }

  assert {
    condition     = [for site in output.holdfast.sites : site.name] == ["primary", "dr"] && output.holdfast.witness_region == "us-east-2" && output.holdfast.term_table == "holdfast-term-prod-abc123" && output.holdfast.lease_seconds == 20 && output.holdfast.margin_seconds == 2.5
    error_message = "The output holdfast must describe the deployment."
  }

  assert {
    condition     = length(aws_route.primary_to_dr) == 3 && length(aws_route.dr_to_primary) == 3 && alltrue([for route in aws_route.primary_to_dr : route.destination_cidr_block == "10.1.0.0/16"]) && alltrue([for route in aws_route.dr_to_primary : route.destination_cidr_block == "10.0.0.0/16"])
    error_message = "Every private route table of either site must lead to the other."
  }

  assert {
    condition     = aws_vpc_peering_connection.this.peer_region == "us-west-2" && aws_vpc_peering_connection_accepter.this.auto_accept
    error_message = "The sites must be peered."
  }

  assert {
    condition     = module.account_security_primary.guardduty_detector_id == null && module.account_security_dr.config_recorder_name == null
    error_message = "Account-wide services are off unless asked for."
  }

  assert {
    condition     = length(aws_sns_topic.us_east_1) == 0
    error_message = "A site in us-east-1 has the topic for the health check already."
  }
}

run "european_throw_away_deployment_after_a_failover" {
  command = plan

  variables {
    throw_away       = true
    tls              = { mode = "none" }
    domain_name      = null
    hosted_zone_id   = null
    replicate_images = false
    database         = { writer_site = "dr", password_version = 2 }
    network          = { client_cidrs = ["198.51.100.0/24"], nat = "single" }
    sites = {
      primary        = { region = "eu-west-1" }
      dr             = { region = "eu-central-1" }
      witness_region = "eu-west-3"
    }
  }

  override_resource {
    override_during = plan
    target          = aws_rds_global_cluster.this
    values = {
      global_cluster_members = [
        { db_cluster_arn = "arn:aws:rds:us-east-1:123456789012:cluster:mock", is_writer = false },
        { db_cluster_arn = "arn:aws:rds:us-west-2:123456789012:cluster:mock", is_writer = true },
      ]
    }
  }

  # The mocked ARNs keep their regions; what counts is which topic is chosen.
  assert {
    condition     = length(aws_sns_topic.us_east_1) == 1 && length(aws_sns_topic_subscription.us_east_1) == 1
    error_message = "Without a site in us-east-1, the health check's alarm needs a topic there."
  }

  assert {
    condition = (
      [for rule in aws_vpc_security_group_ingress_rule.primary_from_dr : "${rule.cidr_ipv4} ${rule.from_port}"] == ["192.0.2.2/32 80"] &&
      [for rule in aws_vpc_security_group_ingress_rule.dr_from_primary : "${rule.cidr_ipv4} ${rule.from_port}"] == ["192.0.2.1/32 80"]
    )
    error_message = "A balancer that admits some clients only must admit the other site's wardens, by the address of their NAT gateway."
  }

  assert {
    condition     = local.zones.primary == tolist(["eu-west-1a", "eu-west-1b", "eu-west-1c"])
    error_message = "The zones must follow the region."
  }

  assert {
    condition     = output.failover_domain == "app.payment-dr-prod-abc123.example.com" && length(aws_acm_certificate.primary) == 0
    error_message = "A rehearsal keeps the name of the runbook, and needs no certificate."
  }

  assert {
    condition     = length(aws_ecr_replication_configuration.this) == 0
    error_message = "Replication that is managed elsewhere must be left alone."
  }

  assert {
    condition     = !aws_rds_global_cluster.this.deletion_protection && aws_secretsmanager_secret.db.recovery_window_in_days == 0
    error_message = "A throw-away deployment must be destroyable, and its suffix free again."
  }
}
