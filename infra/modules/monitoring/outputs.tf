output "topic_arn" {
  description = "Topic of the site's alarms."
  value       = aws_sns_topic.alarms.arn
}

output "alarm_names" {
  description = "Names of the site's metric alarms by what they watch."
  value       = { for key, alarm in aws_cloudwatch_metric_alarm.this : key => alarm.alarm_name }
}
