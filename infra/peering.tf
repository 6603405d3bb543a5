# What ties the two networks together: the wardens of a site that comes back compare their old tail with the other site's
# database, over the peering connection, and while DNS drains they hand requests to the other site's balancer, over the
# internet. Nothing else crosses.

resource "aws_vpc_peering_connection" "this" {
  provider = aws.primary

  vpc_id      = module.vpc_primary.vpc_id
  peer_vpc_id = module.vpc_dr.vpc_id
  peer_region = var.sites.dr.region
  auto_accept = false

  tags = { Name = "payment-${local.suffix}" }
}

resource "aws_vpc_peering_connection_accepter" "this" {
  provider = aws.dr

  vpc_peering_connection_id = aws_vpc_peering_connection.this.id
  auto_accept               = true

  tags = { Name = "payment-${local.suffix}" }
}

resource "aws_route" "primary_to_dr" {
  provider = aws.primary
  for_each = toset(local.zones.primary)

  route_table_id            = module.vpc_primary.private_route_table_ids[each.key]
  destination_cidr_block    = var.sites.dr.vpc_cidr
  vpc_peering_connection_id = aws_vpc_peering_connection.this.id

  # A route into a connection that is not accepted yet is refused.
  depends_on = [aws_vpc_peering_connection_accepter.this]
}

resource "aws_route" "dr_to_primary" {
  provider = aws.dr
  for_each = toset(local.zones.dr)

  route_table_id            = module.vpc_dr.private_route_table_ids[each.key]
  destination_cidr_block    = var.sites.primary.vpc_cidr
  vpc_peering_connection_id = aws_vpc_peering_connection.this.id

  depends_on = [aws_vpc_peering_connection_accepter.this]
}

# A balancer that admits only some clients must admit the other site's wardens too, which call from their NAT gateways.
resource "aws_vpc_security_group_ingress_rule" "primary_from_dr" {
  provider = aws.primary
  for_each = local.everybody_is_a_client ? {} : module.vpc_dr.nat_addresses

  security_group_id = module.vpc_primary.balancer_security_group_id
  description       = "Wardens of site dr, forwarding while DNS drains"
  cidr_ipv4         = "${each.value}/32"
  ip_protocol       = "tcp"
  from_port         = local.https ? 443 : 80
  to_port           = local.https ? 443 : 80
}

resource "aws_vpc_security_group_ingress_rule" "dr_from_primary" {
  provider = aws.dr
  for_each = local.everybody_is_a_client ? {} : module.vpc_primary.nat_addresses

  security_group_id = module.vpc_dr.balancer_security_group_id
  description       = "Wardens of site primary, forwarding while DNS drains"
  cidr_ipv4         = "${each.value}/32"
  ip_protocol       = "tcp"
  from_port         = local.https ? 443 : 80
  to_port           = local.https ? 443 : 80
}

locals {
  everybody_is_a_client = contains(var.network.client_cidrs, "0.0.0.0/0")
}
