# The term store: a DynamoDB global table with strong consistency across regions. Two replicas and a witness answer
# while any one region is gone. The provider has no argument for the consistency mode or the witness, so a stack makes
# the table. The template has no Outputs: what the rest needs is the name, which is known beforehand.

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
          AttributeDefinitions = [
            { AttributeName = "deployment", AttributeType = "S" },
            { AttributeName = "item", AttributeType = "S" },
          ]
          KeySchema = [
            { AttributeName = "deployment", KeyType = "HASH" },
            { AttributeName = "item", KeyType = "RANGE" },
          ]
          MultiRegionConsistency = "STRONG"
          GlobalTableWitnesses   = [{ Region = var.witness_region }]
          Replicas               = [for region in var.replica_regions : merge(local.replica, { Region = region })]
          SSESpecification       = { SSEEnabled = true, SSEType = "KMS" }
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
