output "cluster_name" {
  description = "Name of the ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "cluster_arn" {
  description = "ARN of the ECS cluster."
  value       = aws_ecs_cluster.this.arn
}

output "service_name" {
  description = "Name of the payment service."
  value       = aws_ecs_service.app.name
}

output "load_balancer_arn" {
  description = "ARN of the load balancer."
  value       = aws_lb.this.arn
}

output "load_balancer_dns_name" {
  description = "DNS name of the load balancer."
  value       = aws_lb.this.dns_name
}

output "load_balancer_zone_id" {
  description = "Zone of the load balancer's DNS name, for alias records."
  value       = aws_lb.this.zone_id
}

output "listener_arn" {
  description = "ARN of the listener that serves clients."
  value       = aws_lb_listener.app.arn
}

output "target_group_arn" {
  description = "ARN of the payment service's target group."
  value       = aws_lb_target_group.app.arn
}

output "forward_target_group_arn" {
  description = "ARN of the target group through which the wardens forward while DNS drains."
  value       = aws_lb_target_group.forward.arn
}

output "log_group_name" {
  description = "Log group of the payment service."
  value       = aws_cloudwatch_log_group.app.name
}
