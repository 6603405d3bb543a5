output "topic_arn" {
  description = "Topic of the site's alarms."
  value       = aws_sns_topic.alarms.arn
}

output "alarm_names" {
  description = "Names of the site's metric alarms by what they watch."
  value       = { for key, alarm in aws_cloudwatch_metric_alarm.this : key => alarm.alarm_name }
}

output "region_impaired_alarm_name" {
  description = "Name of the composite alarm."
  value       = aws_cloudwatch_composite_alarm.region_impaired.alarm_name
}

output "dashboard_name" {
  description = "Name of the site's dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}
