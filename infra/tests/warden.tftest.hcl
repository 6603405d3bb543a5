# One site's wardens.

mock_provider "aws" {
  source          = "./tests/mocks/primary"
  override_during = plan
}

variables {
  site       = "primary"
  suffix     = "t1"
  region     = "us-east-1"
  account_id = "123456789012"
  protected  = true
  image      = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  warden     = { port = 9100, forward_port = 9101, tasks = 2, cpu_units = 256, memory_mib = 512, cpu_architecture = "X86_64" }

  environment                = { HOLDFAST_EXPORT_DIR = "/var/lib/holdfast/export", HOLDFAST_SITE = "primary" }
  db_secret_arn              = "arn:aws:secretsmanager:us-east-1:123456789012:secret:payment-db-t1-AbCdEf"
  kms_key_arn                = "arn:aws:kms:us-east-1:123456789012:key/00000001-0000-0000-0000-000000000000"
  vpc_id                     = "vpc-1"
  private_subnet_ids         = ["subnet-1", "subnet-2", "subnet-3"]
  warden_subnet_ids          = ["subnet-7", "subnet-8", "subnet-9"]
  security_group_id          = "sg-warden"
  cluster_arn                = "arn:aws:ecs:us-east-1:123456789012:cluster/payment-cluster-primary-t1"
  cluster_name               = "payment-cluster-primary-t1"
  app_service_name           = "payment-service-primary-t1"
  listener_arn               = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/mock/bbbbbbbb/cccccccc"
  forward_target_group_arn   = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/payfwd-primary-t1/ffffffff"
  term_table_name            = "holdfast-term-t1"
  term_regions               = ["us-east-1", "us-west-2"]
  global_cluster_identifier  = "global-aurora-t1"
  db_cluster_identifier      = "aurora-primary-t1"
  peer_region                = "us-west-2"
  peer_db_cluster_identifier = "aurora-dr-t1"
  log_retention_days         = 90
}

run "warden" {
  command = plan

  module {
    source = "./modules/warden"
  }

  assert {
    condition     = aws_ecs_service.this.desired_count == 2 && toset(aws_ecs_service.this.network_configuration[0].subnets) == toset(var.warden_subnet_ids)
    error_message = "Two wardens must run, spread over the zones' warden subnets."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_minimum_healthy_percent == 100 && aws_ecs_service.this.deployment_circuit_breaker[0].rollback
    error_message = "A deployment must never leave the site with fewer wardens."
  }

  assert {
    condition     = [for condition in aws_lb_listener_rule.healthz.condition : condition.path_pattern[0].values] == [toset(["/healthz"])] && aws_lb_listener_rule.healthz.action[0].target_group_arn == aws_lb_target_group.this.arn
    error_message = "/healthz, and nothing else, must go to the wardens."
  }

  assert {
    condition     = aws_lb_target_group.this.health_check[0].path == "/targetz" && aws_lb_target_group.this.port == 9100
    error_message = "The wardens' target group must ask /targetz, not /healthz: a standby's wardens are good targets."
  }

  assert {
    condition     = aws_efs_file_system.export.encrypted && aws_efs_file_system.export.kms_key_id == var.kms_key_arn && aws_efs_backup_policy.export.backup_policy[0].status == "ENABLED" && length(aws_efs_mount_target.export) == 3
    error_message = "Exported tails must be encrypted, backed up, and reachable from every zone."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].mountPoints[0].containerPath == "/var/lib/holdfast/export" && jsondecode(aws_ecs_task_definition.this.container_definitions)[0].command == ["warden"]
    error_message = "The export folder must be the mounted one."
  }

  # While DNS drains, this site's clients come to its wardens.
  assert {
    condition = toset([for target in aws_ecs_service.this.load_balancer : "${target.container_name} ${target.container_port} ${target.target_group_arn}"]) == toset([
      "warden 9100 ${aws_lb_target_group.this.arn}",
      "warden 9101 ${var.forward_target_group_arn}",
    ])
    error_message = "The wardens must be targets of their own group, and of the one through which they forward."
  }

  assert {
    condition     = [for port in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].portMappings : port.containerPort] == [9100, 9101]
    error_message = "The warden must have a port for its endpoints and one for forwarding."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Resource if contains(flatten([statement.Action]), "elasticloadbalancing:ModifyListener")] == [[var.listener_arn]]
    error_message = "A warden must be able to change the serving listener of its own site and no other."
  }

  assert {
    condition     = { for secret in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].secrets : secret.name => secret.valueFrom } == { DB_PASSWORD = var.db_secret_arn }
    error_message = "The password must come from Secrets Manager."
  }

  # Every statement stays in the own region by its resources or by a condition, but for the term table.
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.task.policy).Statement :
      statement.Sid == "TermTable" ||
      try(statement.Condition.StringEquals["aws:RequestedRegion"] == "us-east-1", false) ||
      alltrue([for resource in flatten([statement.Resource]) : strcontains(resource, ":us-east-1:")])
    ])
    error_message = "A warden must not be able to do anything in the other region but use the term table."
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Resource if statement.Sid == "TermTable"] == [[
      "arn:aws:dynamodb:us-east-1:123456789012:table/holdfast-term-t1",
      "arn:aws:dynamodb:us-west-2:123456789012:table/holdfast-term-t1",
    ]]
    error_message = "The term table must be usable in both replicas' regions."
  }

  assert {
    condition     = !anytrue([for action in flatten([for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Action]) : strcontains(action, "*")])
    error_message = "No action may be a wildcard."
  }

  assert {
    condition     = length(setintersection(flatten([for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Action]), ["dynamodb:DeleteItem", "dynamodb:DeleteTable", "rds:DeleteDBCluster", "rds:RemoveFromGlobalCluster", "iam:PassRole"])) == 0
    error_message = "A warden must not be able to delete the record, a database, or widen its rights."
  }
}
