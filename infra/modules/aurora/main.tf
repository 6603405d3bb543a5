# One site's cluster of the Aurora Global Database. Which of the two clusters is the writer is the wardens' business:
# nothing here may move it, which is what the ignore_changes below are for.

locals {
  identifier = "aurora-${var.site}-${var.suffix}"
  family     = "aurora-postgresql${split(".", var.engine_version)[0]}"
  name       = "${local.identifier}-pg${split(".", var.engine_version)[0]}"

  cluster_parameters = merge(
    {
      # Clients that do not speak TLS are turned away.
      "rds.force_ssl" = { value = "1", apply_method = "immediate" }
      # The age of a lost tail is read from commit timestamps.
      "track_commit_timestamp" = { value = "1", apply_method = "pending-reboot" }
      # COMMIT PREPARED would step around the write fence.
      "max_prepared_transactions" = { value = "0", apply_method = "pending-reboot" }
      "password_encryption"       = { value = "scram-sha-256", apply_method = "immediate" }
    },
    # With two regions this belongs on the first writer only: on the other one it would stall commits after a
    # failover, when no secondary is left that could keep up.
    var.database.global_rpo_seconds != null && !var.born_secondary ? {
      "rds.global_db_rpo" = { value = tostring(var.database.global_rpo_seconds), apply_method = "immediate" }
    } : {},
  )
}

resource "aws_db_subnet_group" "this" {
  name        = local.identifier
  description = "Private subnets of ${local.identifier}"
  subnet_ids  = var.subnet_ids
}

resource "aws_rds_cluster_parameter_group" "this" {
  name        = local.name
  family      = local.family
  description = "Cluster settings of ${local.identifier}"

  dynamic "parameter" {
    for_each = local.cluster_parameters

    content {
      name         = parameter.key
      value        = parameter.value.value
      apply_method = parameter.value.apply_method
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_parameter_group" "this" {
  name        = local.name
  family      = local.family
  description = "Instance settings of ${local.identifier}"

  parameter {
    name         = "log_min_duration_statement"
    value        = "1000"
    apply_method = "immediate"
  }

  parameter {
    name         = "log_lock_waits"
    value        = "1"
    apply_method = "immediate"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudwatch_log_group" "postgresql" {
  name              = "/aws/rds/cluster/${local.identifier}/postgresql"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_rds_cluster" "this" {
  cluster_identifier        = local.identifier
  global_cluster_identifier = var.global_cluster_identifier
  engine                    = "aurora-postgresql"
  engine_mode               = "provisioned"
  engine_version            = var.engine_version
  port                      = var.database.port

  database_name   = var.born_secondary ? null : var.database.name
  master_username = var.born_secondary ? null : var.database.username
  # Write-only: sent to AWS, kept out of state and plan.
  master_password_wo         = var.master_password_version == null ? null : var.master_password
  master_password_wo_version = var.master_password_version

  db_subnet_group_name            = aws_db_subnet_group.this.name
  vpc_security_group_ids          = [var.security_group_id]
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.this.name

  storage_encrypted = true
  kms_key_id        = var.kms_key_arn

  backup_retention_period      = var.database.backup_retention_days
  preferred_backup_window      = "03:00-04:00"
  preferred_maintenance_window = "sun:05:00-sun:06:00"
  copy_tags_to_snapshot        = true
  delete_automated_backups     = !var.protected
  deletion_protection          = var.protected
  skip_final_snapshot          = !var.protected
  final_snapshot_identifier    = var.protected ? "${local.identifier}-final" : null

  enabled_cloudwatch_logs_exports = ["postgresql"]
  apply_immediately               = true

  dynamic "serverlessv2_scaling_configuration" {
    for_each = var.database.serverless == null ? [] : [var.database.serverless]

    content {
      min_capacity = serverlessv2_scaling_configuration.value.min_acu
      max_capacity = serverlessv2_scaling_configuration.value.max_acu
    }
  }

  # Aurora takes 20 to 30 minutes per cluster on a bad day, longer than the provider's patience by default.
  timeouts {
    create = "120m"
    update = "120m"
    delete = "120m"
  }

  lifecycle {
    ignore_changes = [
      # Set by Aurora, and swapped at every failover: the wardens own the role. A plan after a failover would
      # otherwise set it to null, which promotes the secondary.
      replication_source_identifier,
      # A failover detaches and re-attaches members; a plan in that window must not take part. What this hides, a
      # real detachment, is reported by the check "global_cluster_members" of the root module.
      global_cluster_identifier,
      # Upgrades go through the global cluster, which brings its members along in the right order.
      engine_version,
    ]
  }

  depends_on = [aws_cloudwatch_log_group.postgresql]
}

resource "aws_iam_role" "monitoring" {
  count = var.database.enhanced_monitoring_seconds > 0 ? 1 : 0

  name = "${local.identifier}-monitoring"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  count = var.database.enhanced_monitoring_seconds > 0 ? 1 : 0

  role       = aws_iam_role.monitoring[0].name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

resource "aws_rds_cluster_instance" "this" {
  count = var.database.instances_per_site

  identifier              = "${local.identifier}-${count.index + 1}"
  cluster_identifier      = aws_rds_cluster.this.cluster_identifier
  engine                  = "aurora-postgresql"
  instance_class          = var.database.serverless == null ? var.database.instance_class : "db.serverless"
  availability_zone       = var.availability_zones[count.index % length(var.availability_zones)]
  promotion_tier          = count.index
  publicly_accessible     = false
  db_subnet_group_name    = aws_db_subnet_group.this.name
  db_parameter_group_name = aws_db_parameter_group.this.name
  apply_immediately       = true
  # Upgrades go through the global cluster; an instance that upgrades by itself stops replication.
  auto_minor_version_upgrade = false

  performance_insights_enabled          = true
  performance_insights_kms_key_id       = var.kms_key_arn
  performance_insights_retention_period = var.database.performance_insights_retention_days
  monitoring_interval                   = var.database.enhanced_monitoring_seconds
  monitoring_role_arn                   = var.database.enhanced_monitoring_seconds > 0 ? aws_iam_role.monitoring[0].arn : null

  timeouts {
    create = "120m"
    update = "120m"
    delete = "120m"
  }
}
