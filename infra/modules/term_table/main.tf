# The term store: a DynamoDB global table with strong consistency across regions. Two replicas and a witness answer
# while any one region is gone. The provider has no argument for the consistency mode or the witness, so a stack makes
# the table. The template has no Outputs: what the rest needs is the name, which is known beforehand.
#
# DynamoDB encrypts every table. Without an SSESpecification it uses a key of its own, which is what is wanted here: the
# record holds no secret, and a lease must not hang on one more service in every region.

locals {
  replica = {
    PointInTimeRecoverySpecification = { PointInTimeRecoveryEnabled = true }
    DeletionProtectionEnabled        = var.protected
  }
}

resource "aws_cloudformation_stack" "this" {
  name               = var.name
  timeout_in_minutes = 30

  template_body = jsonencode({
    AWSTemplateFormatVersion = "2010-09-09"
    Description              = "Holdfast: the record that decides which site is active"
    Resources = {
      TermTable = {
        Type                = "AWS::DynamoDB::GlobalTable"
        DeletionPolicy      = var.protected ? "Retain" : "Delete"
        UpdateReplacePolicy = var.protected ? "Retain" : "Delete"
        Properties = {
          TableName   = var.name
          BillingMode = "PAY_PER_REQUEST"
          # One item for the record, one beacon per site: "<deployment>", "<deployment>/beacon/<site>".
          AttributeDefinitions   = [{ AttributeName = "id", AttributeType = "S" }]
          KeySchema              = [{ AttributeName = "id", KeyType = "HASH" }]
          MultiRegionConsistency = "STRONG"
          GlobalTableWitnesses   = [{ Region = var.witness_region }]
          Replicas               = [for region in var.replica_regions : merge(local.replica, { Region = region })]
        }
      }
    }
  })

  timeouts {
    create = "60m"
    update = "60m"
    delete = "60m"
  }
}
