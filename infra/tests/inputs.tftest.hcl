# One failing case for every validation of an input. The configuration under test is tests/inputs, which holds nothing
# but the root module's variables.tf, so that a case costs milliseconds. Each case spoils one thing of a valid set.

variables {
  environment_suffix = "prod-abc123"
  account_id         = "123456789012"
  container_image    = "123456789012.dkr.ecr.us-east-1.amazonaws.com/payd@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  warden             = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000" }
  service            = { acquirer_url = "https://acquirer.acme.test" }
  domain_name        = "payments.acme.test"
  hosted_zone_id     = "Z2FDTNDATAQYW2"

  # The defaults, named because tests/twin.tfvars changes them.
  throw_away                  = false
  tls                         = {}
  waf                         = {}
  generate_db_master_password = true
}

run "a_protected_environment_is_accepted" {
  command = plan

  module {
    source = "./tests/inputs"
  }
}

run "a_throw_away_environment_is_accepted" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    throw_away                  = true
    container_image             = "payd:twin"
    warden                      = { image = "holdfast:twin", lease_seconds = 5, margin_seconds = 1 }
    service                     = { acquirer_url = "http://acquirer.example.com" }
    domain_name                 = null
    hosted_zone_id              = null
    tls                         = { mode = "none" }
    generate_db_master_password = false
    db_master_password          = "a-long-enough-password"
    database                    = { instances_per_site = 1, backup_retention_days = 1 }
    sites                       = { primary = { min_tasks = 0 }, dr = { min_tasks = 0 } }
  }
}

run "another_region_set_is_accepted" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = {
      primary        = { region = "eu-west-1", vpc_cidr = "10.8.0.0/17", availability_zones = ["eu-west-1a", "eu-west-1b", "eu-west-1c"] }
      dr             = { region = "eu-central-1", vpc_cidr = "10.8.128.0/17" }
      witness_region = "eu-west-3"
    }
    engine_version = "14.7"
    database       = { serverless = { min_acu = 8, max_acu = 64 }, global_rpo_seconds = 20, writer_site = "dr", password_version = 2 }
  }
}

run "suffix_with_capitals" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    environment_suffix = "Prod"
  }

  expect_failures = [var.environment_suffix]
}

run "suffix_with_double_hyphen" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    environment_suffix = "prod--1"
  }

  expect_failures = [var.environment_suffix]
}

run "suffix_too_long_for_a_load_balancer" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    environment_suffix = "production-123456"
  }

  expect_failures = [var.environment_suffix]
}

run "account_id_with_letters" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    account_id = "12345678901x"
  }

  expect_failures = [var.account_id]
}

run "tags_that_belong_to_the_configuration" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    tags = { ManagedBy = "me" }
  }

  expect_failures = [var.tags]
}

run "unknown_region_pair" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { dr = { region = "eu-west-1" } }
  }

  expect_failures = [var.sites]
}

run "witness_in_another_region_set" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { witness_region = "eu-west-1" }
  }

  expect_failures = [var.sites]
}

run "both_sites_in_one_region" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { dr = { region = "us-east-1" } }
  }

  expect_failures = [var.sites]
}

run "witness_in_a_site_region" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { witness_region = "us-west-2" }
  }

  expect_failures = [var.sites]
}

run "vpc_too_small" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { dr = { vpc_cidr = "10.1.0.0/24" } }
  }

  expect_failures = [var.sites]
}

run "vpc_with_host_bits" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { dr = { vpc_cidr = "10.1.0.1/16" } }
  }

  expect_failures = [var.sites]
}

run "vpc_not_a_range" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { dr = { vpc_cidr = "ten" } }
  }

  expect_failures = [var.sites]
}

run "equal_vpc_ranges" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { dr = { vpc_cidr = "10.0.0.0/16" } }
  }

  expect_failures = [var.sites]
}

run "dr_range_inside_primary_range" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { dr = { vpc_cidr = "10.0.128.0/17" } }
  }

  expect_failures = [var.sites]
}

run "primary_range_inside_dr_range" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { primary = { vpc_cidr = "10.1.32.0/19" } }
  }

  expect_failures = [var.sites]
}

run "fewer_than_three_zones" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { primary = { availability_zones = ["us-east-1a", "us-east-1b"] } }
  }

  expect_failures = [var.sites]
}

run "the_same_zone_twice" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { primary = { availability_zones = ["us-east-1a", "us-east-1b", "us-east-1b"] } }
  }

  expect_failures = [var.sites]
}

run "zone_of_another_region" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { primary = { availability_zones = ["us-east-1a", "us-east-1b", "us-west-2c"] } }
  }

  expect_failures = [var.sites]
}

run "more_minimum_than_maximum_tasks" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { dr = { min_tasks = 11 } }
  }

  expect_failures = [var.sites]
}

run "no_task_in_the_first_active_site" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    sites = { primary = { min_tasks = 0 } }
  }

  expect_failures = [var.sites]
}

run "unknown_nat_layout" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    network = { nat = "none" }
  }

  expect_failures = [var.network]
}

run "nobody_may_reach_the_balancer" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    network = { client_cidrs = [] }
  }

  expect_failures = [var.network]
}

run "client_range_that_is_none" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    network = { client_cidrs = ["everywhere"] }
  }

  expect_failures = [var.network]
}

run "interface_endpoint_for_s3" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    network = { interface_endpoints = ["s3"] }
  }

  expect_failures = [var.network]
}

run "unknown_flow_log_traffic" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    network = { flow_logs = { traffic_type = "SOME" } }
  }

  expect_failures = [var.network]
}

run "engine_version_without_minor" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    engine_version = "16"
  }

  expect_failures = [var.engine_version]
}

run "engine_minor_that_cannot_be_global" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    engine_version = "14.2"
  }

  expect_failures = [var.engine_version]
}

run "engine_major_that_cannot_be_global" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    engine_version = "13.9"
  }

  expect_failures = [var.engine_version]
}

run "database_name_of_the_engine" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { name = "postgres" }
  }

  expect_failures = [var.database]
}

run "database_name_with_hyphen" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { name = "pay-ments" }
  }

  expect_failures = [var.database]
}

run "reserved_user_name" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { username = "rdsadmin" }
  }

  expect_failures = [var.database]
}

run "database_port_too_low" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { port = 80 }
  }

  expect_failures = [var.database]
}

run "instance_class_without_global_database" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { instance_class = "db.t4g.medium" }
  }

  expect_failures = [var.database]
}

run "no_instance" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    throw_away = true
    database   = { instances_per_site = 0 }
  }

  expect_failures = [var.database]
}

run "more_instances_than_aurora_takes" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { instances_per_site = 17 }
  }

  expect_failures = [var.database]
}

run "a_single_instance_in_a_protected_environment" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { instances_per_site = 1 }
  }

  expect_failures = [var.database]
}

run "backups_for_less_than_a_week" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { backup_retention_days = 6 }
  }

  expect_failures = [var.database]
}

run "serverless_upside_down" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { serverless = { min_acu = 16, max_acu = 8 } }
  }

  expect_failures = [var.database]
}

run "serverless_in_thirds" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { serverless = { min_acu = 1, max_acu = 8.3 } }
  }

  expect_failures = [var.database]
}

run "rpo_below_the_engine_minimum" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { global_rpo_seconds = 5 }
  }

  expect_failures = [var.database]
}

run "performance_insights_for_ten_days" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { performance_insights_retention_days = 10 }
  }

  expect_failures = [var.database]
}

run "enhanced_monitoring_every_two_seconds" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { enhanced_monitoring_seconds = 2 }
  }

  expect_failures = [var.database]
}

run "password_version_zero" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { password_version = 0 }
  }

  expect_failures = [var.database]
}

run "unknown_writer_site" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    database = { writer_site = "west" }
  }

  expect_failures = [var.database]
}

run "short_password" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    generate_db_master_password = false
    db_master_password          = "short"
  }

  expect_failures = [var.db_master_password]
}

run "password_with_a_slash" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    generate_db_master_password = false
    db_master_password          = "long/enough/but/slashed"
  }

  expect_failures = [var.db_master_password]
}

run "password_both_given_and_generated" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    db_master_password = "a-long-enough-password"
  }

  expect_failures = [var.db_master_password]
}

run "password_neither_given_nor_generated" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    generate_db_master_password = false
  }

  expect_failures = [var.db_master_password]
}

run "no_image" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    throw_away      = true
    container_image = ""
  }

  expect_failures = [var.container_image]
}

run "mutable_image_tag_in_a_protected_environment" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    container_image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/payd:v2.0.0"
  }

  expect_failures = [var.container_image]
}

run "privileged_service_port" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "https://acquirer.acme.test", port = 80 }
  }

  expect_failures = [var.service]
}

run "size_that_fargate_has_not" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "https://acquirer.acme.test", cpu_units = 256, memory_mib = 4096 }
  }

  expect_failures = [var.service]
}

run "unknown_architecture" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "https://acquirer.acme.test", cpu_architecture = "RISCV" }
  }

  expect_failures = [var.service]
}

run "no_task_at_most" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service    = { acquirer_url = "https://acquirer.acme.test", max_tasks = 0 }
    sites      = { primary = { min_tasks = 0 }, dr = { min_tasks = 0 } }
    throw_away = true
  }

  expect_failures = [var.service]
}

run "cpu_target_of_a_hundred" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "https://acquirer.acme.test", cpu_target_percent = 100 }
  }

  expect_failures = [var.service]
}

run "stop_timeout_beyond_fargate" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "https://acquirer.acme.test", stop_timeout = 300 }
  }

  expect_failures = [var.service]
}

run "killed_while_draining" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "https://acquirer.acme.test", stop_timeout = 30, deregistration_time = 60 }
  }

  expect_failures = [var.service]
}

run "keep_alive_that_outlives_dns" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "https://acquirer.acme.test", client_keep_alive = 3600 }
  }

  expect_failures = [var.service]
}

run "health_check_path_without_a_slash" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "https://acquirer.acme.test", health_check_path = "readyz" }
  }

  expect_failures = [var.service]
}

run "acquirer_without_tls" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "http://acquirer.acme.test" }
  }

  expect_failures = [var.service]
}

run "acquirer_of_the_example" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "https://acquirer.example.com" }
  }

  expect_failures = [var.service]
}

run "environment_that_points_elsewhere" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    service = { acquirer_url = "https://acquirer.acme.test", environment = { DB_WRITER_HOST = "elsewhere" } }
  }

  expect_failures = [var.service]
}

run "warden_by_tag_in_a_protected_environment" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "holdfast:v1" }
  }

  expect_failures = [var.warden]
}

run "unknown_warden_mode" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000", mode = "auto" }
  }

  expect_failures = [var.warden]
}

run "privileged_warden_port" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000", port = 91 }
  }

  expect_failures = [var.warden]
}

run "wardens_with_one_port_for_two_things" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000", forward_port = 9100 }
  }

  expect_failures = [var.warden]
}

run "a_single_warden" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000", tasks = 1 }
  }

  expect_failures = [var.warden]
}

run "warden_size_that_fargate_has_not" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000", cpu_units = 300 }
  }

  expect_failures = [var.warden]
}

run "unknown_warden_architecture" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000", cpu_architecture = "RISCV" }
  }

  expect_failures = [var.warden]
}

run "margin_longer_than_half_the_lease" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000", lease_seconds = 6, margin_seconds = 4 }
  }

  expect_failures = [var.warden]
}

run "lease_too_short" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000", lease_seconds = 2, margin_seconds = 1 }
  }

  expect_failures = [var.warden]
}

run "time_without_a_unit" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000", max_lag = "300" }
  }

  expect_failures = [var.warden]
}

run "threshold_of_the_balancer_without_a_unit" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    warden = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000", balancer_threshold = "60" }
  }

  expect_failures = [var.warden]
}

run "domain_with_trailing_dot" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    domain_name = "payments.acme.test."
  }

  expect_failures = [var.domain_name]
}

run "domain_of_the_example" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    domain_name = "payment-dr.example.com"
  }

  expect_failures = [var.domain_name]
}

run "no_domain_in_a_protected_environment" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    domain_name = null
  }

  expect_failures = [var.domain_name]
}

run "zone_id_that_is_a_name" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    hosted_zone_id = "payments.acme.test"
  }

  expect_failures = [var.hosted_zone_id]
}

run "unknown_tls_mode" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    tls = { mode = "letsencrypt" }
  }

  expect_failures = [var.tls]
}

run "plain_http_in_a_protected_environment" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    tls = { mode = "none" }
  }

  expect_failures = [var.tls]
}

run "acm_without_a_delegated_zone" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    hosted_zone_id = null
  }

  expect_failures = [var.tls]
}

run "provided_without_certificates" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    tls = { mode = "provided" }
  }

  expect_failures = [var.tls]
}

run "certificates_that_nobody_uses" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    tls = { mode = "acm", certificate_arns = { primary = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555", dr = "arn:aws:acm:us-west-2:123456789012:certificate/11111111-2222-3333-4444-555555555555" } }
  }

  expect_failures = [var.tls]
}

run "certificate_of_the_other_region" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    tls = { mode = "provided", certificate_arns = { primary = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555", dr = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555" } }
  }

  expect_failures = [var.tls]
}

run "tls_before_1_2" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    tls = { ssl_policy = "ELBSecurityPolicy-2016-08" }
  }

  expect_failures = [var.tls]
}

run "rate_limit_below_the_firewall_minimum" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    waf = { rate_limit = 5 }
  }

  expect_failures = [var.waf]
}

run "nobody_gets_the_alarms" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    alarm_emails = []
  }

  expect_failures = [var.alarm_emails]
}

run "address_that_is_none" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    alarm_emails = ["admin"]
  }

  expect_failures = [var.alarm_emails]
}

run "retention_that_cloudwatch_has_not" {
  command = plan

  module {
    source = "./tests/inputs"
  }

  variables {
    log_retention_days = 10
  }

  expect_failures = [var.log_retention_days]
}
