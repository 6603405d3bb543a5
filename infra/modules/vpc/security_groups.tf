# Who may talk to whom. All groups are made in one place because they name each other; each rule is a resource of its
# own, so that a rule can be added or removed without touching the rest.
#
#   clients -> balancer -> payment tasks -> database
#                       -> wardens ------^   (and the other site's wardens, over the peering connection)

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "Load balancer: the only thing that the internet reaches"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-balancer" }
}

resource "aws_security_group" "app" {
  name        = "${var.name}-app"
  description = "Tasks of the payment service"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-app" }
}

resource "aws_security_group" "warden" {
  name        = "${var.name}-warden"
  description = "Wardens"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-warden" }
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "Aurora: accepts its clients, calls nobody"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-database" }
}

resource "aws_security_group" "endpoints" {
  count = length(var.interface_endpoints) > 0 ? 1 : 0

  name        = "${var.name}-endpoints"
  description = "VPC endpoints of AWS services"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  for_each = {
    for pair in setproduct(var.client_cidrs, var.https ? [80, 443] : [80]) :
    "${pair[0]}:${pair[1]}" => { cidr = pair[0], port = pair[1] }
  }

  security_group_id = aws_security_group.balancer.id
  description       = "Clients"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "balancer_to_app" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "Payment service"
  referenced_security_group_id = aws_security_group.app.id
  ip_protocol                  = "tcp"
  from_port                    = var.app_port
  to_port                      = var.app_port
}

resource "aws_vpc_security_group_egress_rule" "balancer_to_warden" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "Wardens: /healthz, and their own target check"
  referenced_security_group_id = aws_security_group.warden.id
  ip_protocol                  = "tcp"
  from_port                    = var.warden_port
  to_port                      = var.warden_port
}

resource "aws_vpc_security_group_egress_rule" "balancer_to_forward" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "Wardens: what they forward to the other site while DNS drains"
  referenced_security_group_id = aws_security_group.warden.id
  ip_protocol                  = "tcp"
  from_port                    = var.forward_port
  to_port                      = var.forward_port
}

resource "aws_vpc_security_group_ingress_rule" "app_from_balancer" {
  security_group_id            = aws_security_group.app.id
  description                  = "Load balancer"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = var.app_port
  to_port                      = var.app_port
}

resource "aws_vpc_security_group_ingress_rule" "warden_from_balancer" {
  security_group_id            = aws_security_group.warden.id
  description                  = "Load balancer"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = var.warden_port
  to_port                      = var.warden_port
}

resource "aws_vpc_security_group_ingress_rule" "forward_from_balancer" {
  security_group_id            = aws_security_group.warden.id
  description                  = "Load balancer, while DNS drains"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = var.forward_port
  to_port                      = var.forward_port
}

resource "aws_vpc_security_group_egress_rule" "app_to_database" {
  security_group_id            = aws_security_group.app.id
  description                  = "Database of this site"
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = var.db_port
  to_port                      = var.db_port
}

resource "aws_vpc_security_group_egress_rule" "app_to_https" {
  security_group_id = aws_security_group.app.id
  description       = "Acquirer and AWS services"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "warden_to_database" {
  security_group_id            = aws_security_group.warden.id
  description                  = "Database of this site: fence, lineage, position"
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = var.db_port
  to_port                      = var.db_port
}

resource "aws_vpc_security_group_egress_rule" "warden_to_peer_database" {
  security_group_id = aws_security_group.warden.id
  description       = "Database of the other site: what of the own tail never arrived there"
  cidr_ipv4         = var.peer_cidr
  ip_protocol       = "tcp"
  from_port         = var.db_port
  to_port           = var.db_port
}

resource "aws_vpc_security_group_egress_rule" "warden_to_https" {
  security_group_id = aws_security_group.warden.id
  description       = "AWS services, the term table's replica in the other region, and the other site's balancer"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# The other site's balancer has public addresses that change, so the rule cannot name them.
resource "aws_vpc_security_group_egress_rule" "warden_to_http" {
  count = var.https ? 0 : 1

  security_group_id = aws_security_group.warden.id
  description       = "The other site's balancer, where it serves without TLS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}

resource "aws_vpc_security_group_ingress_rule" "database_from_app" {
  security_group_id            = aws_security_group.database.id
  description                  = "Payment service of this site"
  referenced_security_group_id = aws_security_group.app.id
  ip_protocol                  = "tcp"
  from_port                    = var.db_port
  to_port                      = var.db_port
}

resource "aws_vpc_security_group_ingress_rule" "database_from_warden" {
  security_group_id            = aws_security_group.database.id
  description                  = "Wardens of this site"
  referenced_security_group_id = aws_security_group.warden.id
  ip_protocol                  = "tcp"
  from_port                    = var.db_port
  to_port                      = var.db_port
}

# Security groups cannot be named across regions, so this rule names the range of the other site's warden subnets, in which
# nothing but wardens lives.
resource "aws_vpc_security_group_ingress_rule" "database_from_peer_warden" {
  security_group_id = aws_security_group.database.id
  description       = "Wardens of the other site, reading the tail"
  cidr_ipv4         = var.peer_warden_cidr
  ip_protocol       = "tcp"
  from_port         = var.db_port
  to_port           = var.db_port
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = length(var.interface_endpoints) > 0 ? {
    app    = aws_security_group.app.id
    warden = aws_security_group.warden.id
  } : {}

  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "AWS calls of the ${each.key} tasks"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}
