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
    path                = var.service.health_check_path
    matcher             = "200"
    interval            = 10
    timeout             = 4
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

# Where a switchover sends the clients that still hold the old address: the wardens of this site, which hand each request
# to the other site's balancer. Its weight is 0 until then.
resource "aws_lb_target_group" "forward" {
  name                          = "payfwd-${var.site}-${var.suffix}"
  vpc_id                        = var.vpc_id
  target_type                   = "ip"
  protocol                      = "HTTP"
  port                          = var.forward_port
  deregistration_delay          = var.service.deregistration_time
  load_balancing_algorithm_type = "least_outstanding_requests"

  # As fast as a balancer checks: a warden that was just started must be a target before the fence closes.
  health_check {
    enabled             = true
    protocol            = "HTTP"
    port                = "traffic-port"
    path                = "/forwardz"
    matcher             = "200"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

# The listener that serves: HTTPS, or HTTP in a throw-away environment without TLS.
resource "aws_lb_listener" "app" {
  load_balancer_arn = aws_lb.this.arn
  port              = var.https ? 443 : 80
  protocol          = var.https ? "HTTPS" : "HTTP"
  ssl_policy        = var.https ? var.ssl_policy : null
  certificate_arn   = var.https ? var.certificate_arn : null

  # Both groups stand here from the start: ECS registers tasks only in a group that a balancer uses.
  default_action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.app.arn
        weight = 1
      }

      target_group {
        arn    = aws_lb_target_group.forward.arn
        weight = 0
      }
    }
  }

  lifecycle {
    # The weights belong to the wardens: while DNS drains after a switchover they send this site's clients to the other
    # one. A plan that put them back would send payments to a site that is fenced.
    ignore_changes = [default_action]
    # What is ignored cannot follow a group that is replaced, and a group in use cannot be deleted.
    replace_triggered_by = [aws_lb_target_group.app.arn, aws_lb_target_group.forward.arn]
  }
}

# With TLS, plain HTTP only redirects.
resource "aws_lb_listener" "redirect" {
  count = var.https ? 1 : 0

  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }

  # Where TLS is switched on later, the serving listener leaves port 80 first.
  depends_on = [aws_lb_listener.app]
}

# Metrics are for scrapers inside the VPC.
resource "aws_lb_listener_rule" "metrics" {
  listener_arn = aws_lb_listener.app.arn
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
