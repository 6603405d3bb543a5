variable "name" {
  description = "Prefix of every name in this VPC, as in payment-primary-prod1."
  type        = string
}

variable "region" {
  description = "Region of the VPC, needed to name the endpoints' services."
  type        = string
}

variable "cidr" {
  description = "IPv4 range of the VPC, /16 to /19."
  type        = string
}

variable "availability_zones" {
  description = "Zones of the subnets, at least three."
  type        = list(string)

  validation {
    condition     = length(distinct(var.availability_zones)) == length(var.availability_zones) && length(var.availability_zones) >= 3 && length(var.availability_zones) <= 6
    error_message = "Give three to six different availability zones: the loss of one must leave two."
  }
}

variable "nat" {
  description = "NAT gateways: \"single\" shares one, \"per_zone\" survives the loss of any zone."
  type        = string

  validation {
    condition     = contains(["single", "per_zone"], var.nat)
    error_message = "nat must be \"single\" or \"per_zone\"."
  }
}

variable "client_cidrs" {
  description = "Ranges that may reach the load balancer."
  type        = list(string)
}

variable "https" {
  description = "Whether the load balancer listens on 443 too."
  type        = bool
}

variable "app_port" {
  description = "Port of the payment service's tasks."
  type        = number
}

variable "warden_port" {
  description = "Port of the wardens."
  type        = number
}

variable "forward_port" {
  description = "Port on which the wardens forward requests to the other site."
  type        = number
}

variable "db_port" {
  description = "Port of the database."
  type        = number
}

variable "peer_cidr" {
  description = "Range of the other site's private subnets, where its database is: this site's wardens compare the lost tail with it."
  type        = string
}

variable "peer_warden_cidr" {
  description = "Range of the other site's warden subnets: the only one that this site's database admits from there."
  type        = string
}

variable "interface_endpoints" {
  description = "Services reached through interface endpoints instead of the NAT gateway, as in \"secretsmanager\"."
  type        = set(string)
}

variable "flow_logs" {
  description = "Flow logs: whether, which traffic, and for how many days they are kept."
  type = object({
    enabled        = bool
    traffic_type   = string
    retention_days = number
  })
}

variable "kms_key_arn" {
  description = "Key that encrypts the flow logs."
  type        = string
}
