locals {
  suffix    = var.environment_suffix
  protected = !var.throw_away
  https     = var.tls.mode != "none"

  allowed_account_ids = var.account_id == null ? null : [var.account_id]
  account_id          = var.account_id == null ? data.aws_caller_identity.this[0].account_id : var.account_id

  tags = merge(var.tags, { Deployment = local.suffix, ManagedBy = "terraform" })

  domain_name = coalesce(var.domain_name, "payment-dr-${local.suffix}.example.com")
  dns_name    = "app.${local.domain_name}"

  term_table        = "holdfast-term-${local.suffix}"
  global_identifier = "global-aurora-${local.suffix}"

  # Zones that exist in every account, where they are not simply a, b and c.
  zone_letters = { "ap-northeast-1" = ["a", "c", "d"] }

  zones = {
    for name in ["primary", "dr"] : name => coalesce(
      var.sites[name].availability_zones,
      [for letter in lookup(local.zone_letters, var.sites[name].region, ["a", "b", "c"]) : "${var.sites[name].region}${letter}"],
    )
  }

  # The lower half of a VPC holds its private subnets; the upper half begins with the wardens' and ends with the public
  # ones (modules/vpc).
  private_half = { for name in ["primary", "dr"] : name => cidrsubnet(var.sites[name].vpc_cidr, 1, 0) }
  warden_range = { for name in ["primary", "dr"] : name => cidrsubnet(var.sites[name].vpc_cidr, 5, 16) }

  # A site pulls its images from its own region, or it could not start a task while the other region is gone.
  images = {
    for part, image in { app = var.container_image, warden = var.warden.image } : part => {
      primary                = image
      dr                     = replace(image, ".dkr.ecr.${var.sites.primary.region}.", ".dkr.ecr.${var.sites.dr.region}.")
    }
  }
}

# Only when the account is not given: a plan without credentials must not call anything.
data "aws_caller_identity" "this" {
  count    = var.account_id == null ? 1 : 0
  provider = aws.primary
}
