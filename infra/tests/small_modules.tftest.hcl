# The term table, the site's key, and the account-wide services.

mock_provider "aws" {
  source          = "./tests/mocks/primary"
  override_during = plan
}

run "protected_term_table" {
  command = plan

  module {
    source = "./modules/term_table"
  }

  variables {
    name            = "holdfast-term-t1"
    replica_regions = ["us-east-1", "us-west-2"]
    witness_region  = "us-east-2"
    protected       = true
  }

  assert {
    condition = (
      jsondecode(aws_cloudformation_stack.this.template_body).Resources.TermTable.Type == "AWS::DynamoDB::GlobalTable" &&
      jsondecode(aws_cloudformation_stack.this.template_body).Resources.TermTable.Properties.MultiRegionConsistency == "STRONG"
    )
    error_message = "The term table must be strongly consistent across regions."
  }

  assert {
    condition = (
      [for replica in jsondecode(aws_cloudformation_stack.this.template_body).Resources.TermTable.Properties.Replicas : replica.Region] == ["us-east-1", "us-west-2"] &&
      jsondecode(aws_cloudformation_stack.this.template_body).Resources.TermTable.Properties.GlobalTableWitnesses == [{ Region = "us-east-2" }]
    )
    error_message = "Two replicas and a witness: the loss of any one region must leave a majority."
  }

  assert {
    condition = (
      jsondecode(aws_cloudformation_stack.this.template_body).Resources.TermTable.DeletionPolicy == "Retain" &&
      alltrue([for replica in jsondecode(aws_cloudformation_stack.this.template_body).Resources.TermTable.Properties.Replicas : replica.DeletionProtectionEnabled && replica.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled])
    )
    error_message = "The record must be protected from deletion and restorable."
  }

  assert {
    condition     = !can(jsondecode(aws_cloudformation_stack.this.template_body).Outputs) && !can(jsondecode(aws_cloudformation_stack.this.template_body).Resources.TermTable.Properties.TimeToLiveSpecification)
    error_message = "The template has no outputs, and strong consistency knows no time to live."
  }
}

run "throw_away_term_table" {
  command = plan

  module {
    source = "./modules/term_table"
  }

  variables {
    name            = "holdfast-term-t1"
    replica_regions = ["us-east-1", "us-west-2"]
    witness_region  = "us-east-2"
    protected       = false
  }

  assert {
    condition = (
      jsondecode(aws_cloudformation_stack.this.template_body).Resources.TermTable.DeletionPolicy == "Delete" &&
      alltrue([for replica in jsondecode(aws_cloudformation_stack.this.template_body).Resources.TermTable.Properties.Replicas : !replica.DeletionProtectionEnabled])
    )
    error_message = "A throw-away record must go with its stack."
  }
}

run "site_key" {
  command = plan

  module {
    source = "./modules/kms"
  }

  variables {
    name       = "payment-primary-t1"
    region     = "us-east-1"
    account_id = "123456789012"
    protected  = true
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "The key must rotate, and its deletion must wait."
  }

  assert {
    condition     = !anytrue([for action in flatten([for statement in jsondecode(aws_kms_key.this.policy).Statement : statement.Action]) : strcontains(action, "*")])
    error_message = "No action of the key policy may be a wildcard."
  }
}

run "account_services_asked_for" {
  command = plan

  module {
    source = "./modules/account_security"
  }

  variables {
    suffix     = "t1"
    site       = "dr"
    account_id = "123456789012"
    guardduty  = true
    config     = true
    protected  = true
  }

  assert {
    condition     = aws_guardduty_detector.this[0].enable && aws_config_configuration_recorder_status.this[0].is_enabled
    error_message = "GuardDuty and AWS Config must be on when they are asked for."
  }

  assert {
    condition     = aws_config_configuration_recorder.this[0].recording_group[0].all_supported && !aws_config_configuration_recorder.this[0].recording_group[0].include_global_resource_types
    error_message = "Global resources are recorded in site primary's region only."
  }

  assert {
    condition     = !aws_s3_bucket.config[0].force_destroy && aws_s3_bucket_public_access_block.config[0].restrict_public_buckets
    error_message = "The recorded history must be private, and kept."
  }
}

run "account_services_are_off_by_default" {
  command = plan

  module {
    source = "./modules/account_security"
  }

  variables {
    suffix     = "t1"
    site       = "primary"
    account_id = "123456789012"
    guardduty  = false
    config     = false
    protected  = true
  }

  assert {
    condition     = length(aws_guardduty_detector.this) == 0 && length(aws_config_configuration_recorder.this) == 0 && length(aws_s3_bucket.config) == 0 && length(aws_iam_role.config) == 0
    error_message = "Nothing account-wide may be made unless asked for."
  }
}
