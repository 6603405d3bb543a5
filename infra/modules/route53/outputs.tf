output "zone_id" {
  description = "Zone that holds the records."
  value       = local.zone_id
}

output "name_servers" {
  description = "Name servers to delegate to, empty with an existing zone."
  value       = var.create_zone ? aws_route53_zone.this[0].name_servers : []
}

output "health_check_ids" {
  description = "Health checks by site; the primary record follows that of primary."
  value       = { for site, check in aws_route53_health_check.this : site => check.id }
}

output "no_site_serves_alarm_name" {
  description = "Name of the composite alarm over both health checks."
  value       = aws_cloudwatch_composite_alarm.no_site_serves.alarm_name
}

output "record_name" {
  description = "Name that clients resolve."
  value       = aws_route53_record.primary.name
}
