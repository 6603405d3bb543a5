# Images are pushed to site primary's registry; ECR copies them to site dr's. Only images pushed after the rule exists
# are copied: push (again) after the first apply.

locals {
  # Repositories of the images that live in this account's registry in site primary's region.
  repositories = toset([
    for image in [var.container_image, var.warden.image] :
    regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com/([^:@]+)", image)[0]
    if can(regex("^[0-9]{12}\\.dkr\\.ecr\\.${var.sites.primary.region}\\.amazonaws\\.com/", image))
  ])
}

resource "aws_ecr_replication_configuration" "this" {
  count    = var.replicate_images && length(local.repositories) > 0 ? 1 : 0
  provider = aws.primary

  replication_configuration {
    rule {
      destination {
        region      = var.sites.dr.region
        registry_id = local.account_id
      }

      dynamic "repository_filter" {
        for_each = local.repositories

        content {
          filter      = repository_filter.value
          filter_type = "PREFIX_MATCH"
        }
      }
    }
  }
}
