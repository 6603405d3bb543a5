# The token with which an operator proves to a warden that an order is meant. Generated and replicated like the database
# password, and like it in no state and no plan.

resource "aws_secretsmanager_secret" "operator" {
  provider = aws.primary

  name                    = "holdfast-operator-${local.suffix}"
  description             = "Token of the operator endpoints of holdfast-warden-*-${local.suffix}."
  kms_key_id              = module.key_primary.key_arn
  recovery_window_in_days = local.protected ? 30 : 0

  replica {
    region     = var.sites.dr.region
    kms_key_id = module.key_dr.key_arn
  }
}

ephemeral "aws_secretsmanager_random_password" "operator" {
  count    = var.generate_secrets ? 1 : 0
  provider = aws.ephemeral

  password_length = 48
  # It travels in an HTTP header.
  exclude_punctuation = true
}

# Nothing else is given the token by Terraform, so it need not be read back: the tasks fetch it when they start.
resource "aws_secretsmanager_secret_version" "operator" {
  provider = aws.primary

  secret_id                = aws_secretsmanager_secret.operator.arn
  secret_string_wo         = var.generate_secrets ? ephemeral.aws_secretsmanager_random_password.operator[0].random_password : var.operator_token
  secret_string_wo_version = var.warden.operator_token_version
}

locals {
  # A replica has the ARN of its source but for the region.
  operator_secret_arn = {
    primary = aws_secretsmanager_secret.operator.arn
    dr      = replace(aws_secretsmanager_secret.operator.arn, ":${var.sites.primary.region}:", ":${var.sites.dr.region}:")
  }
}
