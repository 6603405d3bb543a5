# One provider per place. Nothing uses a default provider: a resource in the wrong region is the mistake that a
# multi-region configuration must not be able to make.

provider "aws" {
  alias               = "primary"
  region              = var.sites.primary.region
  allowed_account_ids = local.allowed_account_ids

  default_tags {
    tags = local.tags
  }
}

provider "aws" {
  alias               = "dr"
  region              = var.sites.dr.region
  allowed_account_ids = local.allowed_account_ids

  default_tags {
    tags = local.tags
  }
}

# Route 53 publishes its health-check metrics in us-east-1 only, wherever the sites are.
provider "aws" {
  alias               = "us_east_1"
  region              = "us-east-1"
  allowed_account_ids = local.allowed_account_ids

  default_tags {
    tags = local.tags
  }
}

# For ephemeral values only (the generated database password). It has an alias of its own because Terraform's mock
# providers have no ephemeral types: tests mock the others and leave this one alone.
provider "aws" {
  alias               = "ephemeral"
  region              = var.sites.primary.region
  allowed_account_ids = local.allowed_account_ids
}
