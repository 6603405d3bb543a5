# One site's payment service and its balancer.

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
  image      = "123456789012.dkr.ecr.us-east-1.amazonaws.com/payd@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  min_tasks  = 2

  forward_port = 9101

  service = {
    port                = 8080
    cpu_units           = 256
    memory_mib          = 512
    cpu_architecture    = "X86_64"
    max_tasks           = 10
    cpu_target_percent  = 60
    stop_timeout        = 60
    deregistration_time = 30
    client_keep_alive   = 120
    health_check_path   = "/up"
    environment         = { LOG_LEVEL = "info", DB_WRITER_HOST = "elsewhere" }
  }

  environment                = { DB_WRITER_HOST = "writer.example.net", PAYD_SITE = "primary" }
  db_secret_arn              = "arn:aws:secretsmanager:us-east-1:123456789012:secret:payment-db-t1-AbCdEf"
  kms_key_arn                = "arn:aws:kms:us-east-1:123456789012:key/00000001-0000-0000-0000-000000000000"
  vpc_id                     = "vpc-1"
  private_subnet_ids         = ["subnet-1", "subnet-2", "subnet-3"]
  public_subnet_ids          = ["subnet-4", "subnet-5", "subnet-6"]
  app_security_group_id      = "sg-app"
  balancer_security_group_id = "sg-balancer"
  https                      = true
  certificate_arn            = "arn:aws:acm:us-east-1:123456789012:certificate/00000001-0000-0000-0000-000000000000"
  ssl_policy                 = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  waf                        = { enabled = true, rate_limit = 10000 }
  peer_nat_addresses         = ["192.0.2.7"]
  log_retention_days         = 90
}

run "protected" {
  command = plan

  module {
    source = "./modules/ecs"
  }

  assert {
    condition     = aws_ecs_service.app.name == "payment-service-primary-t1" && aws_cloudwatch_log_group.app.name == "/ecs/payment-app-primary-t1"
    error_message = "Service and log group must have the names that the runbook uses."
  }

  assert {
    condition     = aws_ecs_service.app.launch_type == "FARGATE" && aws_ecs_task_definition.app.network_mode == "awsvpc" && tonumber(aws_ecs_task_definition.app.cpu) == 256 && tonumber(aws_ecs_task_definition.app.memory) == 512
    error_message = "The service must run on Fargate with the given size."
  }

  assert {
    condition     = aws_ecs_service.app.deployment_circuit_breaker[0].enable && aws_ecs_service.app.deployment_circuit_breaker[0].rollback && aws_ecs_task_definition.app.skip_destroy
    error_message = "A bad deployment must be rolled back, and its predecessor must still exist."
  }

  assert {
    condition     = aws_ecs_service.app.deployment_minimum_healthy_percent == 100 && aws_ecs_service.app.availability_zone_rebalancing == "ENABLED"
    error_message = "Deployments keep the capacity, and tasks stay spread over the zones."
  }

  assert {
    condition     = toset(aws_ecs_service.app.network_configuration[0].subnets) == toset(var.private_subnet_ids) && !aws_ecs_service.app.network_configuration[0].assign_public_ip
    error_message = "Tasks must run in the private subnets of all zones."
  }

  assert {
    condition     = aws_appautoscaling_target.app.min_capacity == 2 && aws_appautoscaling_target.app.max_capacity == 10
    error_message = "Autoscaling must keep two to ten tasks."
  }

  assert {
    condition     = aws_appautoscaling_policy.cpu.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type == "ECSServiceAverageCPUUtilization" && aws_appautoscaling_policy.cpu.target_tracking_scaling_policy_configuration[0].target_value == 60
    error_message = "Autoscaling must track the CPU target."
  }

  assert {
    condition = jsondecode(aws_ecs_task_definition.app.container_definitions)[0].environment == [
      { name = "DB_WRITER_HOST", value = "writer.example.net" },
      { name = "LOG_LEVEL", value = "info" },
      { name = "PAYD_SITE", value = "primary" },
    ]
    error_message = "The site's own environment must win over further settings."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.app.container_definitions)[0].secrets == [{ name = "DB_PASSWORD", valueFrom = var.db_secret_arn }]
    error_message = "The password must come from Secrets Manager."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.app.container_definitions)[0].readonlyRootFilesystem && jsondecode(aws_ecs_task_definition.app.container_definitions)[0].user == "65532:65532"
    error_message = "The container must run unprivileged on a read-only file system."
  }

  assert {
    condition     = aws_lb.this.client_keep_alive <= 300 && aws_lb.this.enable_deletion_protection && aws_lb.this.drop_invalid_header_fields && aws_lb.this.access_logs[0].enabled
    error_message = "The balancer must close old connections, be protected, drop invalid headers and log."
  }

  assert {
    condition     = aws_lb_listener.redirect[0].port == 80 && aws_lb_listener.redirect[0].default_action[0].type == "redirect" && aws_lb_listener.redirect[0].default_action[0].redirect[0].protocol == "HTTPS" && aws_lb_listener.redirect[0].default_action[0].redirect[0].status_code == "HTTP_301"
    error_message = "HTTP must only be redirected."
  }

  assert {
    condition     = aws_lb_listener.app.port == 443 && aws_lb_listener.app.protocol == "HTTPS" && aws_lb_listener.app.certificate_arn == var.certificate_arn && aws_lb_listener.app.ssl_policy == var.ssl_policy
    error_message = "HTTPS must serve with the site's certificate."
  }

  assert {
    condition     = aws_lb_target_group.forward.port == 9101 && aws_lb_target_group.forward.target_type == "ip" && aws_lb_target_group.forward.health_check[0].path == "/forwardz" && aws_lb_target_group.forward.health_check[0].interval == 5
    error_message = "The wardens' forwarding must be checked at its own port, as often as a balancer does."
  }

  assert {
    condition     = aws_lb_target_group.app.health_check[0].path == "/up" && aws_lb_target_group.app.health_check[0].matcher == "200" && aws_lb_target_group.app.target_type == "ip"
    error_message = "The target group must ask the path that was given."
  }

  assert {
    condition     = aws_lb_listener_rule.metrics.action[0].fixed_response[0].status_code == "404"
    error_message = "Metrics are not for the internet."
  }

  assert {
    condition     = [for rule in aws_wafv2_web_acl.this[0].rule : rule.name if rule.priority == 0] == ["health-check"] && toset([for rule in aws_wafv2_web_acl.this[0].rule : rule.name if rule.priority >= 10]) == toset(local.managed_rule_groups)
    error_message = "The firewall must let the health checks through first, and use the managed rules."
  }

  assert {
    condition = aws_wafv2_ip_set.peer[0].addresses == toset(["192.0.2.7/32"]) && [
      for rule in aws_wafv2_web_acl.this[0].rule :
      one(one(one(one(rule.statement).rate_based_statement).scope_down_statement).not_statement[0].statement).ip_set_reference_statement[0].arn if rule.name == "rate-limit"
    ] == [aws_wafv2_ip_set.peer[0].arn]
    error_message = "The rate limit must not take the other site's wardens, who forward for all its clients, for one client."
  }

  assert {
    condition     = startswith(aws_cloudwatch_log_group.waf[0].name, "aws-waf-logs-") && length(aws_wafv2_web_acl_association.this) == 1
    error_message = "The firewall must be attached, and log to a group of the name that it accepts."
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Action])) == toset([
      "logs:CreateLogStream", "logs:PutLogEvents", "secretsmanager:GetSecretValue", "kms:Decrypt",
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:GetAuthorizationToken",
    ])
    error_message = "The execution role must be able to start tasks and nothing else."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Resource if statement.Sid == "PullImage"] == [["arn:aws:ecr:us-east-1:123456789012:repository/payd"]]
    error_message = "Only the image's own repository may be pulled from."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.access_logs.restrict_public_buckets && aws_s3_bucket_public_access_block.access_logs.block_public_policy && !aws_s3_bucket.access_logs.force_destroy
    error_message = "Access logs must be private, and kept in a protected environment."
  }
}

run "plain_and_throw_away" {
  command = plan

  module {
    source = "./modules/ecs"
  }

  variables {
    protected       = false
    image           = "payd:twin"
    https           = false
    certificate_arn = null
    waf             = { enabled = false, rate_limit = 10000 }
    min_tasks       = 0
  }

  assert {
    condition     = aws_lb_listener.app.port == 80 && aws_lb_listener.app.protocol == "HTTP" && length(aws_lb_listener.redirect) == 0
    error_message = "Without TLS the HTTP listener must serve."
  }

  assert {
    condition     = length(aws_wafv2_web_acl.this) == 0 && length(aws_wafv2_web_acl_association.this) == 0 && length(aws_cloudwatch_log_group.waf) == 0
    error_message = "A firewall that is off must leave nothing behind."
  }

  assert {
    condition     = !aws_lb.this.enable_deletion_protection && aws_s3_bucket.access_logs.force_destroy
    error_message = "A throw-away site must be destroyable."
  }

  assert {
    condition     = aws_appautoscaling_target.app.min_capacity == 0
    error_message = "A standby site may be scaled down to nothing."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.execution.policy, "ecr:")
    error_message = "An image from elsewhere needs no rights in ECR."
  }
}
