output "key_arn" {
  description = "ARN of the site's key."
  value       = aws_kms_key.this.arn
}
