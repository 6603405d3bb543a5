output "service_name" {
  description = "Name of the wardens' service."
  value       = aws_ecs_service.this.name
}

output "target_group_arn" {
  description = "ARN of the wardens' target group."
  value       = aws_lb_target_group.this.arn
}

output "log_group_name" {
  description = "Log group of the wardens."
  value       = aws_cloudwatch_log_group.this.name
}
