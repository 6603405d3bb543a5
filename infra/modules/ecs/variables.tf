variable "site" {
  description = "Name of the site, \"primary\" or \"dr\": a name, not a role."
  type        = string
}

variable "suffix" {
  description = "The deployment's environment_suffix."
  type        = string
}

variable "region" {
  description = "Region of the site."
  type        = string
}

variable "account_id" {
  description = "Account of the deployment."
  type        = string
}

variable "protected" {
  description = "Whether the balancer is protected from deletion and its access logs are kept on destroy."
  type        = bool
}

variable "image" {
  description = "Image of the payment service, in this site's own registry where it has one."
  type        = string
}

variable "service" {
  description = "The root module's service object."
  type = object({
    port                = number
    cpu_units           = number
    memory_mib          = number
    max_tasks           = number
    cpu_target_percent  = number
    stop_timeout        = number
    deregistration_time = number
    environment         = map(string)
    cpu_architecture    = string
    client_keep_alive   = number
    health_check_path   = string
  })
}

variable "forward_port" {
  description = "Port on which the site's wardens forward requests to the other site."
  type        = number
}

variable "min_tasks" {
  description = "Smallest number of tasks that autoscaling keeps in this site."
  type        = number
}

variable "environment" {
  description = "Environment of the payment service. It wins over service.environment, so that nobody can point a site at another one's database."
  type        = map(string)
}

variable "db_secret_arn" {
  description = "Secret with the database password, in this site's region."
  type        = string
}

variable "kms_key_arn" {
  description = "The site's key."
  type        = string
}

variable "vpc_id" {
  description = "Id of the site's VPC."
  type        = string
}

variable "private_subnet_ids" {
  description = "Subnets of the tasks, one per zone."
  type        = list(string)
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer, one per zone."
  type        = list(string)
}

variable "app_security_group_id" {
  description = "Security group of the tasks."
  type        = string
}

variable "balancer_security_group_id" {
  description = "Security group of the load balancer."
  type        = string
}

variable "https" {
  description = "Whether clients speak HTTPS; HTTP is then only redirected."
  type        = bool
}

variable "certificate_arn" {
  description = "Certificate of the HTTPS listener, null without HTTPS."
  type        = string
  default     = null
}

variable "ssl_policy" {
  description = "TLS policy of the HTTPS listener."
  type        = string
}

variable "waf" {
  description = "Web application firewall: whether, and how many requests one address may make in five minutes."
  type = object({
    enabled    = bool
    rate_limit = number
  })
}

variable "peer_nat_addresses" {
  description = "Public addresses from which the other site's wardens forward requests: many clients behind few addresses, so the firewall's rate limit leaves them out."
  type        = list(string)
}

variable "log_retention_days" {
  description = "Days for which logs are kept."
  type        = number
}
