output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "cidr" {
  description = "IPv4 range of the VPC."
  value       = aws_vpc.this.cidr_block
}

output "private_subnet_ids" {
  description = "Ids of the private subnets, in the order of the zones."
  value       = [for zone in var.availability_zones : aws_subnet.private[zone].id]
}

output "warden_subnet_ids" {
  description = "Ids of the wardens' subnets, in the order of the zones."
  value       = [for zone in var.availability_zones : aws_subnet.warden[zone].id]
}

output "public_subnet_ids" {
  description = "Ids of the public subnets, in the order of the zones."
  value       = [for zone in var.availability_zones : aws_subnet.public[zone].id]
}

output "private_route_table_ids" {
  description = "Private route tables by zone."
  value       = { for zone in var.availability_zones : zone => aws_route_table.private[zone].id }
}

output "nat_gateway_ids" {
  description = "NAT gateways by zone."
  value       = { for zone, nat in aws_nat_gateway.this : zone => nat.id }
}

output "nat_addresses" {
  description = "Public addresses that this VPC's tasks call from, by zone of the NAT gateway."
  value       = { for zone, address in aws_eip.nat : zone => address.public_ip }
}

output "balancer_security_group_id" {
  description = "Security group of the load balancer."
  value       = aws_security_group.balancer.id
}

output "app_security_group_id" {
  description = "Security group of the payment service's tasks."
  value       = aws_security_group.app.id
}

output "warden_security_group_id" {
  description = "Security group of the wardens."
  value       = aws_security_group.warden.id
}

output "database_security_group_id" {
  description = "Security group of the database."
  value       = aws_security_group.database.id
}
