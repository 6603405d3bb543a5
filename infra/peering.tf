# The wardens of a site that comes back compare their old tail with the other site's database. Nothing else crosses.

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
