resource "aws_lb" "this" {
  name               = "pay-alb-${var.site}-${var.suffix}"
  load_balancer_type = "application"
  internal           = false
  security_groups    = [var.balancer_security_group_id]
  subnets            = var.public_subnet_ids

  idle_timeout = 60
  # A kept-alive connection knows nothing of DNS: it stays with the old site for as long as this allows.
  client_keep_alive                = var.service.client_keep_alive
  enable_deletion_protection       = var.protected
  enable_cross_zone_load_balancing = true
  drop_invalid_header_fields       = true
  desync_mitigation_mode           = "defensive"

  access_logs {
    bucket  = aws_s3_bucket.access_logs.bucket
    enabled = true
  }

  depends_on = [aws_s3_bucket_policy.access_logs]
}

resource "aws_lb_target_group" "app" {
  name                          = "payapp-${var.site}-${var.suffix}"
  vpc_id                        = var.vpc_id
  target_type                   = "ip"
  protocol                      = "HTTP"
  port                          = var.service.port
  deregistration_delay          = var.service.deregistration_time
  load_balancing_algorithm_type = "least_outstanding_requests"

  health_check {
    enabled             = true
    protocol            = "HTTP"
    port                = "traffic-port"
    path                = "/readyz"
    matcher             = "200"
    interval            = 10
    timeout             = 4
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

# Serves in a throw-away environment without TLS; otherwise it only redirects.
resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = var.https ? "redirect" : "forward"
    target_group_arn = var.https ? null : aws_lb_target_group.app.arn

    dynamic "redirect" {
      for_each = var.https ? [1] : []

      content {
        protocol    = "HTTPS"
        port        = "443"
        status_code = "HTTP_301"
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  count = var.https ? 1 : 0

  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = var.ssl_policy
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.app.arn
  }
}

locals {
  serving_listener_arn = var.https ? aws_lb_listener.https[0].arn : aws_lb_listener.http.arn
}

# Metrics are for scrapers inside the VPC.
resource "aws_lb_listener_rule" "metrics" {
  listener_arn = local.serving_listener_arn
  priority     = 20

  condition {
    path_pattern {
      values = ["/metrics"]
    }
  }

  action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      message_body = "not here"
      status_code  = "404"
    }
  }
}
