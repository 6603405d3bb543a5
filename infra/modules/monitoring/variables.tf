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

variable "emails" {
  description = "Addresses that get the site's alarms."
  type        = set(string)
}

variable "kms_key_arn" {
  description = "The site's key."
  type        = string
}

variable "db_cluster_identifier" {
  description = "Database cluster of the site."
  type        = string
}

variable "ecs_cluster_name" {
  description = "ECS cluster of the site."
  type        = string
}

variable "app_service_name" {
  description = "Payment service of the site."
  type        = string
}

variable "load_balancer_arn" {
  description = "Load balancer of the site."
  type        = string
}

variable "app_target_group_arn" {
  description = "Target group of the payment service."
  type        = string
}

variable "warden_target_group_arn" {
  description = "Target group of the wardens."
  type        = string
}

variable "forward_target_group_arn" {
  description = "Target group through which the wardens forward while DNS drains."
  type        = string
}

variable "term_table_name" {
  description = "Name of the term table."
  type        = string
}
