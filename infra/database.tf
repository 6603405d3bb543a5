# The Aurora Global Database, and its password's way from a generator to the writer without touching the state.
#
#   generator (ephemeral) -> secret (write-only) -> read back (ephemeral) -> writer (write-only)
#
# The password is read back from the secret rather than handed over from the generator: an apply that stops between
# secret and cluster would generate another one on the next run, and secret and cluster would differ for ever.

resource "aws_rds_global_cluster" "this" {
  provider = aws.primary

  global_cluster_identifier = local.global_identifier
  engine                    = "aurora-postgresql"
  engine_version            = var.engine_version
  storage_encrypted         = true
  deletion_protection       = local.protected
  # Members are removed before the global cluster, by the graph: forcing would detach a writer that serves.
  force_destroy = false

  timeouts {
    create = "60m"
    update = "120m"
    delete = "60m"
  }
}

module "aurora_primary" {
  source    = "./modules/aurora"
  providers = { aws = aws.primary }

  site                      = "primary"
  suffix                    = local.suffix
  born_secondary            = false
  global_cluster_identifier = aws_rds_global_cluster.this.global_cluster_identifier
  engine_version            = var.engine_version
  database                  = var.database
  master_password           = local.db_master_password
  master_password_version   = var.database.writer_site == "primary" ? var.database.password_version : null
  subnet_ids                = module.vpc_primary.private_subnet_ids
  availability_zones        = local.zones.primary
  security_group_id         = module.vpc_primary.database_security_group_id
  kms_key_arn               = module.key_primary.key_arn
  protected                 = local.protected
  log_retention_days        = var.log_retention_days
}

module "aurora_dr" {
  source    = "./modules/aurora"
  providers = { aws = aws.dr }

  site                      = "dr"
  suffix                    = local.suffix
  born_secondary            = true
  global_cluster_identifier = aws_rds_global_cluster.this.global_cluster_identifier
  engine_version            = var.engine_version
  database                  = var.database
  master_password           = local.db_master_password
  master_password_version   = var.database.writer_site == "dr" ? var.database.password_version : null
  subnet_ids                = module.vpc_dr.private_subnet_ids
  availability_zones        = local.zones.dr
  security_group_id         = module.vpc_dr.database_security_group_id
  kms_key_arn               = module.key_dr.key_arn
  protected                 = local.protected
  log_retention_days        = var.log_retention_days

  # A secondary can only join a cluster whose writer instance is up, and must be gone before it.
  depends_on = [module.aurora_primary]
}

resource "aws_secretsmanager_secret" "db" {
  provider = aws.primary

  name                    = "payment-db-${local.suffix}"
  description             = "Master password of ${local.global_identifier}. No endpoint in it: a replica would carry the wrong site's."
  kms_key_id              = module.key_primary.key_arn
  recovery_window_in_days = local.protected ? 30 : 0

  replica {
    region     = var.sites.dr.region
    kms_key_id = module.key_dr.key_arn
  }
}

ephemeral "aws_secretsmanager_random_password" "db" {
  count    = var.generate_db_master_password ? 1 : 0
  provider = aws.ephemeral

  password_length = 40
  # Aurora takes no slash, at sign, quote or space in a master password.
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret_version" "db" {
  provider = aws.primary

  secret_id                = aws_secretsmanager_secret.db.arn
  secret_string_wo         = var.generate_db_master_password ? ephemeral.aws_secretsmanager_random_password.db[0].random_password : var.db_master_password
  secret_string_wo_version = var.database.password_version
}

ephemeral "aws_secretsmanager_secret_version" "db" {
  count    = var.generate_db_master_password ? 1 : 0
  provider = aws.ephemeral

  secret_id = aws_secretsmanager_secret_version.db.secret_id
}

locals {
  db_master_password = var.generate_db_master_password ? ephemeral.aws_secretsmanager_secret_version.db[0].secret_string : var.db_master_password

  # A replica has the ARN of its source but for the region.
  db_secret_arn = {
    primary = aws_secretsmanager_secret.db.arn
    dr      = replace(aws_secretsmanager_secret.db.arn, ":${var.sites.primary.region}:", ":${var.sites.dr.region}:")
  }
}
