# One site's cluster of the global database.

mock_provider "aws" {
  source          = "./tests/mocks/primary"
  override_during = plan
}

variables {
  site                      = "primary"
  suffix                    = "t1"
  born_secondary            = false
  global_cluster_identifier = "global-aurora-t1"
  engine_version            = "16.8"
  master_password           = "a-long-enough-password"
  master_password_version   = 1
  subnet_ids                = ["subnet-1", "subnet-2", "subnet-3"]
  availability_zones        = ["us-east-1a", "us-east-1b", "us-east-1c"]
  security_group_id         = "sg-1"
  kms_key_arn               = "arn:aws:kms:us-east-1:123456789012:key/00000001-0000-0000-0000-000000000000"
  protected                 = true
  log_retention_days        = 90

  database = {
    name                                = "payments"
    username                            = "payments"
    port                                = 5432
    instance_class                      = "db.r6g.large"
    instances_per_site                  = 2
    backup_retention_days               = 7
    global_rpo_seconds                  = 20
    performance_insights_retention_days = 7
    enhanced_monitoring_seconds         = 60
  }
}

run "writer" {
  command = plan

  module {
    source = "./modules/aurora"
  }

  assert {
    condition     = aws_rds_cluster.this.cluster_identifier == "aurora-primary-t1" && aws_rds_cluster.this.global_cluster_identifier == "global-aurora-t1"
    error_message = "The cluster must have the name that the runbook uses, and be a member of the global cluster."
  }

  assert {
    condition     = aws_rds_cluster.this.database_name == "payments" && aws_rds_cluster.this.master_username == "payments"
    error_message = "The first writer makes the database and its master user."
  }

  assert {
    condition     = aws_rds_cluster.this.master_password == null && aws_rds_cluster.this.master_password_wo_version == 1
    error_message = "The master password must travel write-only."
  }

  assert {
    condition     = length(aws_rds_cluster_instance.this) == 2 && alltrue([for instance in aws_rds_cluster_instance.this : instance.instance_class == "db.r6g.large"])
    error_message = "A site needs two instances."
  }

  assert {
    condition     = aws_rds_cluster_instance.this[0].availability_zone != aws_rds_cluster_instance.this[1].availability_zone
    error_message = "The instances must lie in different zones."
  }

  assert {
    condition     = aws_rds_cluster_instance.this[0].promotion_tier < aws_rds_cluster_instance.this[1].promotion_tier
    error_message = "Who is promoted first within the site must be decided."
  }

  assert {
    condition     = alltrue([for instance in aws_rds_cluster_instance.this : !instance.publicly_accessible && !instance.auto_minor_version_upgrade])
    error_message = "No instance may be public or upgrade by itself."
  }

  assert {
    condition     = alltrue([for instance in aws_rds_cluster_instance.this : instance.performance_insights_enabled && instance.performance_insights_kms_key_id == var.kms_key_arn])
    error_message = "Performance insights must be on, under the site's key."
  }

  assert {
    condition     = aws_rds_cluster.this.backup_retention_period == 7 && aws_rds_cluster.this.copy_tags_to_snapshot
    error_message = "Backups must be kept for seven days."
  }

  assert {
    condition     = aws_rds_cluster.this.storage_encrypted && aws_rds_cluster.this.kms_key_id == var.kms_key_arn
    error_message = "Storage must be encrypted under the site's key."
  }

  assert {
    condition     = aws_rds_cluster.this.deletion_protection && !aws_rds_cluster.this.skip_final_snapshot && aws_rds_cluster.this.final_snapshot_identifier == "aurora-primary-t1-final" && !aws_rds_cluster.this.delete_automated_backups
    error_message = "A protected cluster must have deletion protection, a final snapshot and kept backups."
  }

  assert {
    condition     = contains(aws_rds_cluster.this.enabled_cloudwatch_logs_exports, "postgresql")
    error_message = "The PostgreSQL log must be exported."
  }

  assert {
    condition = { for parameter in aws_rds_cluster_parameter_group.this.parameter : parameter.name => parameter.value } == {
      "rds.force_ssl"             = "1"
      "track_commit_timestamp"    = "1"
      "max_prepared_transactions" = "0"
      "password_encryption"       = "scram-sha-256"
      "rds.global_db_rpo"         = "20"
    }
    error_message = "TLS must be required, commit timestamps kept, prepared transactions off, and the opt-in RPO set on the first writer."
  }

  assert {
    condition     = aws_rds_cluster_parameter_group.this.family == "aurora-postgresql16" && aws_db_parameter_group.this.family == "aurora-postgresql16"
    error_message = "The parameter groups must be of the engine's major version."
  }
}

run "secondary" {
  command = plan

  module {
    source = "./modules/aurora"
  }

  variables {
    site                    = "dr"
    born_secondary          = true
    master_password_version = null
  }

  assert {
    condition     = aws_rds_cluster.this.cluster_identifier == "aurora-dr-t1"
    error_message = "The cluster must have the name that the runbook uses."
  }

  assert {
    condition     = aws_rds_cluster.this.master_password_wo_version == null
    error_message = "A secondary takes no password."
  }

  assert {
    condition     = !contains([for parameter in aws_rds_cluster_parameter_group.this.parameter : parameter.name], "rds.global_db_rpo")
    error_message = "rds.global_db_rpo on the secondary would stall commits after a failover."
  }

  assert {
    condition     = aws_rds_cluster.this.backup_retention_period == 7 && length(aws_rds_cluster_instance.this) == 2
    error_message = "The second site keeps backups and instances like the first."
  }
}

run "rotation_after_a_failover_goes_to_the_writer" {
  command = plan

  module {
    source = "./modules/aurora"
  }

  variables {
    site                    = "dr"
    born_secondary          = true
    master_password_version = 2
  }

  assert {
    condition     = aws_rds_cluster.this.master_password_wo_version == 2
    error_message = "A cluster that became the writer must take the new password."
  }
}

run "serverless_and_throw_away" {
  command = plan

  module {
    source = "./modules/aurora"
  }

  variables {
    protected = false
    database = {
      name                                = "payments"
      username                            = "payments"
      port                                = 5432
      instance_class                      = "db.r6g.large"
      instances_per_site                  = 1
      backup_retention_days               = 1
      serverless                          = { min_acu = 8, max_acu = 64 }
      performance_insights_retention_days = 7
      enhanced_monitoring_seconds         = 0
    }
  }

  assert {
    condition     = aws_rds_cluster_instance.this[0].instance_class == "db.serverless" && aws_rds_cluster.this.serverlessv2_scaling_configuration[0].min_capacity == 8 && aws_rds_cluster.this.serverlessv2_scaling_configuration[0].max_capacity == 64
    error_message = "Serverless v2 must replace the instance class and bound the capacity."
  }

  assert {
    condition     = !aws_rds_cluster.this.deletion_protection && aws_rds_cluster.this.skip_final_snapshot && aws_rds_cluster.this.final_snapshot_identifier == null
    error_message = "A throw-away cluster must be destroyable without a snapshot."
  }

  assert {
    condition     = aws_rds_cluster.this.storage_encrypted
    error_message = "Encryption is not part of what may be thrown away."
  }

  assert {
    condition     = length(aws_iam_role.monitoring) == 0
    error_message = "Enhanced monitoring that is off needs no role."
  }
}
