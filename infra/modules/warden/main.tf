# One site's wardens: the tasks that hold the site's lease, fence its database and move it. At least two, in different
# zones; any of them can carry on where another one stopped.

locals {
  name = "holdfast-warden-${var.site}-${var.suffix}"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${local.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_lb_target_group" "this" {
  name                          = "warden-${var.site}-${var.suffix}"
  vpc_id                        = var.vpc_id
  target_type                   = "ip"
  protocol                      = "HTTP"
  port                          = var.warden.port
  deregistration_delay          = 10
  load_balancing_algorithm_type = "round_robin"

  # /targetz says whether this warden can answer for the site; /healthz, behind the listener rule, says whether the
  # site serves. A standby's wardens are good targets that answer 503 to Route 53.
  health_check {
    enabled             = true
    protocol            = "HTTP"
    port                = "traffic-port"
    path                = "/targetz"
    matcher             = "200"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener_rule" "healthz" {
  listener_arn = var.listener_arn
  priority     = 10

  condition {
    path_pattern {
      values = ["/healthz"]
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = local.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.warden.cpu_units
  memory                   = var.warden.memory_mib
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.warden.cpu_architecture
  }

  volume {
    name = "export"

    efs_volume_configuration {
      file_system_id     = aws_efs_file_system.export.id
      transit_encryption = "ENABLED"

      authorization_config {
        access_point_id = aws_efs_access_point.export.id
        iam             = "ENABLED"
      }
    }
  }

  container_definitions = jsonencode([{
    name                   = "warden"
    image                  = var.image
    command                = ["warden"]
    essential              = true
    readonlyRootFilesystem = true
    user                   = "65532:65532"
    stopTimeout            = 30
    portMappings           = [for port in [var.warden.port, var.warden.forward_port] : { containerPort = port, hostPort = port, protocol = "tcp" }]
    mountPoints            = [{ sourceVolume = "export", containerPath = var.environment["HOLDFAST_EXPORT_DIR"], readOnly = false }]
    environment            = [for key in sort(keys(var.environment)) : { name = key, value = var.environment[key] }]
    secrets                = [{ name = "DB_PASSWORD", valueFrom = var.db_secret_arn }]
    linuxParameters        = { initProcessEnabled = true }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "warden"
        # A log service in trouble must not hold up a renewal.
        mode            = "non-blocking"
        max-buffer-size = "25m"
      }
    }
  }])

  # The old revision stays, so that the circuit breaker has something to go back to.
  skip_destroy = true
}

resource "aws_ecs_service" "this" {
  name             = local.name
  cluster          = var.cluster_arn
  task_definition  = aws_ecs_task_definition.this.arn
  desired_count    = var.warden.tasks
  launch_type      = "FARGATE"
  platform_version = "LATEST"

  # A new warden must hold before an old one goes.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  # A warden that has no trust fails /targetz on purpose, to leave the answering to its siblings. Replacing it would throw
  # away what it has watched, in the very minutes in which that counts; so ECS never judges it by the target group, and
  # replaces it only when its process ends.
  health_check_grace_period_seconds = 2147483647
  availability_zone_rebalancing     = "ENABLED"
  enable_execute_command            = false
  propagate_tags                    = "SERVICE"

  deployment_controller {
    type = "ECS"
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.warden_subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "warden"
    container_port   = var.warden.port
  }

  load_balancer {
    target_group_arn = var.forward_target_group_arn
    container_name   = "warden"
    container_port   = var.warden.forward_port
  }

  lifecycle {
    # Break glass needs it: before a site is pinned, the other site's wardens are stopped (count 0), and no plan may
    # start them again while the pin holds.
    ignore_changes = [desired_count]
  }

  depends_on = [
    aws_lb_listener_rule.healthz, aws_efs_mount_target.export, aws_iam_role_policy.execution, aws_iam_role_policy.task,
  ]
}
