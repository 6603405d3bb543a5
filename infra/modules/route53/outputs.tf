output "zone_id" {
  description = "Zone that holds the records."
  value       = local.zone_id
}

output "name_servers" {
  description = "Name servers to delegate to, empty with an existing zone."
  value       = var.create_zone ? aws_route53_zone.this[0].name_servers : []
}

output "health_check_id" {
  description = "Health check of the primary record."
  value       = aws_route53_health_check.primary.id
}

output "record_name" {
  description = "Name that clients resolve."
  value       = aws_route53_record.primary.name
}
