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

variable "image" {
  description = "Image of the warden, in this site's own registry where it has one."
  type        = string
}

variable "warden" {
  description = "The root module's warden object."
  type = object({
    port             = number
    forward_port     = number
    tasks            = number
    cpu_units        = number
    memory_mib       = number
    cpu_architecture = string
  })
}

variable "environment" {
  description = "Environment of the warden: its contract with the program."
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
  description = "Private subnets for the mount targets of exported tails, one per zone."
  type        = list(string)
}

variable "warden_subnet_ids" {
  description = "Subnets of the wardens, one per zone, in which nothing else lives."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the wardens."
  type        = string
}

variable "cluster_arn" {
  description = "ECS cluster of the site."
  type        = string
}

variable "cluster_name" {
  description = "Name of the ECS cluster of the site."
  type        = string
}

variable "app_service_name" {
  description = "Name of the payment service that the warden may scale."
  type        = string
}

variable "listener_arn" {
  description = "Listener whose /healthz the wardens answer, and whose weights they change while DNS drains."
  type        = string
}

variable "forward_target_group_arn" {
  description = "Target group of that listener through which the wardens forward."
  type        = string
}

variable "term_table_name" {
  description = "Name of the term table."
  type        = string
}

variable "term_regions" {
  description = "Regions of the term table's replicas."
  type        = list(string)
}

variable "global_cluster_identifier" {
  description = "Global cluster that the warden may move."
  type        = string
}

variable "db_cluster_identifier" {
  description = "Cluster of this site."
  type        = string
}

variable "peer_region" {
  description = "Region of the other site, only to name the other cluster's ARN as the target of a switchover."
  type        = string
}

variable "peer_db_cluster_identifier" {
  description = "Cluster of the other site, the target of a switchover."
  type        = string
}

variable "protected" {
  description = "Whether exported tails are backed up."
  type        = bool
}

variable "log_retention_days" {
  description = "Days for which logs are kept."
  type        = number
}
