output "cluster_identifier" {
  description = "Identifier of the cluster."
  value       = aws_rds_cluster.this.cluster_identifier
}

output "cluster_arn" {
  description = "ARN of the cluster."
  value       = aws_rds_cluster.this.arn
}

output "endpoint" {
  description = "Writer endpoint; it answers only while this cluster is the global writer."
  value       = aws_rds_cluster.this.endpoint
}

output "reader_endpoint" {
  description = "Reader endpoint; it answers in both roles."
  value       = aws_rds_cluster.this.reader_endpoint
}

output "instance_identifiers" {
  description = "Identifiers of the instances, the first in line for promotion first."
  value       = aws_rds_cluster_instance.this[*].identifier
}
