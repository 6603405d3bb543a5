# ARNs of mocked resources that the provider would refuse if they were random. One per type: tests that need
# two different ones override them by address.

mock_resource "aws_acm_certificate" {
  defaults = {
    arn = "arn:aws:acm:us-west-2:123456789012:certificate/00000002-0000-0000-0000-000000000000"
  }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = {
    arn = "arn:aws:logs:us-west-2:123456789012:log-group:mock"
  }
}

mock_resource "aws_ecs_cluster" {
  defaults = {
    arn = "arn:aws:ecs:us-west-2:123456789012:cluster/mock"
  }
}

mock_resource "aws_ecs_task_definition" {
  defaults = {
    arn = "arn:aws:ecs:us-west-2:123456789012:task-definition/mock:1"
  }
}

mock_resource "aws_efs_access_point" {
  defaults = {
    arn = "arn:aws:elasticfilesystem:us-west-2:123456789012:access-point/fsap-2a2a2a2a2a2a2a2a"
  }
}

mock_resource "aws_efs_file_system" {
  defaults = {
    arn = "arn:aws:elasticfilesystem:us-west-2:123456789012:file-system/fs-2a2a2a2a2a2a2a2a"
  }
}

mock_resource "aws_eip" {
  defaults = {
    arn       = "arn:aws:ec2:us-west-2:123456789012:elastic-ip/eipalloc-2a2a2a2a2a2a2a2"
    public_ip = "192.0.2.2"
  }
}

mock_resource "aws_iam_role" {
  defaults = {
    arn = "arn:aws:iam::123456789012:role/mock-2"
  }
}

mock_resource "aws_kms_key" {
  defaults = {
    arn = "arn:aws:kms:us-west-2:123456789012:key/00000002-0000-0000-0000-000000000000"
  }
}

mock_resource "aws_lb" {
  defaults = {
    arn = "arn:aws:elasticloadbalancing:us-west-2:123456789012:loadbalancer/app/mock/2b2b2b2b2b2b2b2b"
  }
}

mock_resource "aws_lb_listener" {
  defaults = {
    arn = "arn:aws:elasticloadbalancing:us-west-2:123456789012:listener/app/mock/2b2b2b2b2b2b2b2b/2c2c2c2c2c2c2c2c"
  }
}

mock_resource "aws_lb_listener_rule" {
  defaults = {
    arn = "arn:aws:elasticloadbalancing:us-west-2:123456789012:listener-rule/app/mock/2b2b2b2b2b2b2b2b/2c2c2c2c2c2c2c2c/2d2d2d2d2d2d2d2d"
  }
}

mock_resource "aws_lb_target_group" {
  defaults = {
    arn = "arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/mock/2e2e2e2e2e2e2e2e"
  }
}

mock_resource "aws_rds_cluster" {
  defaults = {
    arn = "arn:aws:rds:us-west-2:123456789012:cluster:mock"
  }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = {
    arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:mock-AbCdEf"
  }
}

mock_resource "aws_sns_topic" {
  defaults = {
    arn = "arn:aws:sns:us-west-2:123456789012:mock"
  }
}

mock_resource "aws_wafv2_ip_set" {
  defaults = {
    arn = "arn:aws:wafv2:us-west-2:123456789012:regional/ipset/mock/00000002-0000-0000-0000-000000000000"
  }
}

mock_resource "aws_wafv2_web_acl" {
  defaults = {
    arn = "arn:aws:wafv2:us-west-2:123456789012:regional/webacl/mock/00000002-0000-0000-0000-000000000000"
  }
}
