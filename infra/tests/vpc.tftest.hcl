# One site's network.

mock_provider "aws" {
  source          = "./tests/mocks/primary"
  override_during = plan
}

variables {
  name                = "payment-primary-t1"
  region              = "us-east-1"
  cidr                = "10.0.0.0/16"
  availability_zones  = ["us-east-1a", "us-east-1b", "us-east-1c"]
  nat                 = "per_zone"
  client_cidrs        = ["0.0.0.0/0"]
  https               = true
  app_port            = 8080
  warden_port         = 9100
  forward_port        = 9101
  db_port             = 5432
  peer_cidr           = "10.1.0.0/17"
  peer_warden_cidr    = "10.1.128.0/21"
  interface_endpoints = ["logs", "secretsmanager"]
  flow_logs           = { enabled = true, traffic_type = "ALL", retention_days = 90 }
  kms_key_arn         = "arn:aws:kms:us-east-1:123456789012:key/00000001-0000-0000-0000-000000000000"
}

run "protected" {
  command = plan

  module {
    source = "./modules/vpc"
  }

  assert {
    condition     = length(aws_subnet.private) == 3 && length(aws_subnet.public) == 3
    error_message = "A site needs three private and three public subnets."
  }

  assert {
    condition     = toset([for subnet in aws_subnet.private : subnet.availability_zone]) == toset(var.availability_zones)
    error_message = "The private subnets must lie in three different zones."
  }

  assert {
    condition     = toset([for subnet in aws_subnet.private : subnet.cidr_block]) == toset(["10.0.0.0/20", "10.0.16.0/20", "10.0.32.0/20"])
    error_message = "The private subnets must lie in the lower half of the VPC."
  }

  assert {
    condition     = toset([for subnet in aws_subnet.public : subnet.cidr_block]) == toset(["10.0.240.0/24", "10.0.241.0/24", "10.0.242.0/24"])
    error_message = "The public subnets must lie in the upper half of the VPC."
  }

  assert {
    condition     = alltrue([for subnet in merge(aws_subnet.private, { for zone, subnet in aws_subnet.warden : "warden-${zone}" => subnet }, { for zone, subnet in aws_subnet.public : "public-${zone}" => subnet }) : !subnet.map_public_ip_on_launch])
    error_message = "No subnet may hand out public addresses."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(aws_eip.nat) == 3
    error_message = "nat = per_zone must make one NAT gateway per zone."
  }

  assert {
    condition     = alltrue([for zone, route in aws_route.nat : route.destination_cidr_block == "0.0.0.0/0"]) && length(aws_route.nat) == 3
    error_message = "Every private route table needs a default route to a NAT gateway."
  }

  assert {
    condition     = toset(keys(aws_vpc_endpoint.gateway)) == toset(["s3", "dynamodb"]) && toset(keys(aws_vpc_endpoint.interface)) == toset(["logs", "secretsmanager"])
    error_message = "VPC endpoints: s3 and dynamodb by gateway, the rest by interface."
  }

  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled])
    error_message = "Without private DNS, tasks would still call the public endpoints."
  }

  assert {
    condition     = aws_flow_log.this[0].traffic_type == "ALL" && aws_cloudwatch_log_group.flow[0].retention_in_days == 90
    error_message = "Flow logs must record all traffic and be kept for the given time."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.balancer : rule.from_port]) == toset([80, 443])
    error_message = "The balancer must take HTTP (to redirect it) and HTTPS."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.app_from_balancer.from_port == 8080 && aws_vpc_security_group_ingress_rule.app_from_balancer.cidr_ipv4 == null
    error_message = "Tasks take connections from the balancer's group only."
  }

  assert {
    condition = alltrue([
      for rule in [aws_vpc_security_group_ingress_rule.database_from_app, aws_vpc_security_group_ingress_rule.database_from_warden, aws_vpc_security_group_ingress_rule.database_from_peer_warden] :
      rule.from_port == 5432 && rule.to_port == 5432 && rule.ip_protocol == "tcp"
    ])
    error_message = "The database takes its own port only."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.database_from_peer_warden.cidr_ipv4 == "10.1.128.0/21"
    error_message = "Of the other site, the database admits the range of the wardens only."
  }

  assert {
    condition     = toset([for subnet in aws_subnet.warden : subnet.cidr_block]) == toset(["10.0.128.0/24", "10.0.129.0/24", "10.0.130.0/24"])
    error_message = "The wardens need subnets of their own, inside the range that the other site's database admits."
  }
}

run "cheap" {
  command = plan

  module {
    source = "./modules/vpc"
  }

  variables {
    nat                 = "single"
    https               = false
    interface_endpoints = []
    flow_logs           = { enabled = false, traffic_type = "ALL", retention_days = 90 }
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_eip.nat) == 1 && length(aws_route.nat) == 3
    error_message = "nat = single must share one NAT gateway between the zones' route tables."
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0 && length(aws_security_group.endpoints) == 0 && length(aws_vpc_endpoint.gateway) == 2
    error_message = "Without interface endpoints, the free gateway endpoints must stay."
  }

  assert {
    condition     = length(aws_flow_log.this) == 0 && length(aws_cloudwatch_log_group.flow) == 0 && length(aws_iam_role.flow) == 0
    error_message = "Flow logs that are off must leave nothing behind."
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.balancer : rule.from_port] == [80]
    error_message = "Without HTTPS the balancer must not open 443."
  }
}

run "two_zones_are_refused_by_the_module_too" {
  command = plan

  module {
    source = "./modules/vpc"
  }

  variables {
    availability_zones = ["us-east-1a", "us-east-1b"]
  }

  expect_failures = [var.availability_zones]
}

run "unknown_nat_is_refused_by_the_module_too" {
  command = plan

  module {
    source = "./modules/vpc"
  }

  variables {
    nat = "none"
  }

  expect_failures = [var.nat]
}
