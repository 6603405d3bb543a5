# One site's payment service on Fargate. Its balancer is in balancer.tf, what it may do in iam.tf.

locals {
  name = "payment-service-${var.site}-${var.suffix}"

  environment = merge(var.service.environment, var.environment)
}

resource "aws_ecs_cluster" "this" {
  name = "payment-cluster-${var.site}-${var.suffix}"

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "app" {
  name              = "/ecs/payment-app-${var.site}-${var.suffix}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_task_definition" "app" {
  family                   = local.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.service.cpu_units
  memory                   = var.service.memory_mib
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.service.cpu_architecture
  }

  container_definitions = jsonencode([{
    name                   = "payd"
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = true
    user                   = "65532:65532"
    stopTimeout            = var.service.stop_timeout
    portMappings           = [{ containerPort = var.service.port, hostPort = var.service.port, protocol = "tcp" }]
    environment            = [for key in sort(keys(local.environment)) : { name = key, value = local.environment[key] }]
    secrets                = [{ name = "DB_PASSWORD", valueFrom = var.db_secret_arn }]
    linuxParameters        = { initProcessEnabled = true }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.app.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "payd"
        # A log service in trouble must not block a payment.
        mode            = "non-blocking"
        max-buffer-size = "25m"
      }
    }
  }])

  # The old revision stays, so that the circuit breaker has something to go back to.
  skip_destroy = true
}

resource "aws_ecs_service" "app" {
  name             = local.name
  cluster          = aws_ecs_cluster.this.arn
  task_definition  = aws_ecs_task_definition.app.arn
  desired_count    = var.min_tasks
  launch_type      = "FARGATE"
  platform_version = "LATEST"

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60
  availability_zone_rebalancing      = "ENABLED"
  enable_execute_command             = false
  propagate_tags                     = "SERVICE"

  deployment_controller {
    type = "ECS"
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  # One subnet per zone: Fargate spreads the tasks over them, and a zone without capacity does not stop the service.
  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [var.app_security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.app.arn
    container_name   = "payd"
    container_port   = var.service.port
  }

  lifecycle {
    # The count belongs to autoscaling while the site runs, and to the wardens while it takes over. A plan that put it
    # back could take tasks away in the middle of a takeover.
    ignore_changes = [desired_count]
  }

  depends_on = [aws_lb_listener.app, aws_iam_role_policy.execution]
}

resource "aws_appautoscaling_target" "app" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.app.name}"
  min_capacity       = var.min_tasks
  max_capacity       = var.service.max_tasks

  lifecycle {
    # A takeover raises the floor before the count, or autoscaling would take the new tasks away again. A plan that put
    # it back would do so to the site that serves. To change it for good: apply with -replace on this address.
    ignore_changes = [min_capacity]
  }
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "cpu-${var.site}-${var.suffix}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.app.service_namespace
  scalable_dimension = aws_appautoscaling_target.app.scalable_dimension
  resource_id        = aws_appautoscaling_target.app.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.service.cpu_target_percent
    scale_in_cooldown  = 300
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
