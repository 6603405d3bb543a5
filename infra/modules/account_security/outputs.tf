output "guardduty_detector_id" {
  description = "Id of the GuardDuty detector, null when it is off."
  value       = one(aws_guardduty_detector.this[*].id)
}

output "config_recorder_name" {
  description = "Name of the AWS Config recorder, null when it is off."
  value       = one(aws_config_configuration_recorder.this[*].name)
}
