variable "site" {
  description = "Name of the site, \"primary\" or \"dr\": a name, not a role."
  type        = string
}

variable "suffix" {
  description = "The deployment's environment_suffix."
  type        = string
}

variable "global_cluster_identifier" {
  description = "Global cluster that this cluster joins when it is created."
  type        = string
}

variable "born_secondary" {
  description = "Whether the cluster is created as a secondary. Only the cluster that is born as the writer takes a database name and a master user."
  type        = bool
}

variable "engine_version" {
  description = "Engine version at creation; later versions come through the global cluster."
  type        = string
}

variable "database" {
  description = "The root module's database object."
  type = object({
    name                                = string
    username                            = string
    port                                = number
    instance_class                      = string
    instances_per_site                  = number
    backup_retention_days               = number
    serverless                          = optional(object({ min_acu = number, max_acu = number }))
    global_rpo_seconds                  = optional(number)
    performance_insights_retention_days = number
    enhanced_monitoring_seconds         = number
  })
}

variable "master_password" {
  description = "Master password, sent to the writer only and never stored in the state."
  type        = string
  default     = null
  ephemeral   = true
}

variable "master_password_version" {
  description = "Raised to send a new master password; null on a cluster that is not the writer."
  type        = number
  default     = null
}

variable "subnet_ids" {
  description = "Private subnets of the site."
  type        = list(string)
}

variable "availability_zones" {
  description = "Zones over which the instances are spread."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the database."
  type        = string
}

variable "kms_key_arn" {
  description = "The site's key."
  type        = string
}

variable "protected" {
  description = "Whether deletion protection, final snapshot and kept backups are on."
  type        = bool
}

variable "log_retention_days" {
  description = "Days for which the exported PostgreSQL log is kept."
  type        = number
}
