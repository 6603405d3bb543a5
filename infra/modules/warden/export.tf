# Where the wardens keep an exported tail. It must outlive the task that wrote it, or the proof of what was lost would
# be lost too.

resource "aws_efs_file_system" "export" {
  creation_token   = local.name
  encrypted        = true
  kms_key_id       = var.kms_key_arn
  performance_mode = "generalPurpose"
  throughput_mode  = "elastic"

  tags = { Name = local.name }
}

resource "aws_efs_backup_policy" "export" {
  file_system_id = aws_efs_file_system.export.id

  backup_policy {
    status = var.protected ? "ENABLED" : "DISABLED"
  }
}

resource "aws_efs_access_point" "export" {
  file_system_id = aws_efs_file_system.export.id

  posix_user {
    uid = 65532
    gid = 65532
  }

  root_directory {
    path = "/export"

    creation_info {
      owner_uid   = 65532
      owner_gid   = 65532
      permissions = "0700"
    }
  }
}

resource "aws_security_group" "export" {
  name        = "${local.name}-export"
  description = "Exported tails: wardens only"
  vpc_id      = var.vpc_id

  tags = { Name = "${local.name}-export" }
}

resource "aws_vpc_security_group_ingress_rule" "export" {
  security_group_id            = aws_security_group.export.id
  description                  = "Wardens"
  referenced_security_group_id = var.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

resource "aws_vpc_security_group_egress_rule" "export" {
  security_group_id            = var.security_group_id
  description                  = "Exported tails"
  referenced_security_group_id = aws_security_group.export.id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

resource "aws_efs_mount_target" "export" {
  count = length(var.private_subnet_ids)

  file_system_id  = aws_efs_file_system.export.id
  subnet_id       = var.private_subnet_ids[count.index]
  security_groups = [aws_security_group.export.id]
}
