variable "suffix" {
  description = "The deployment's environment_suffix."
  type        = string
}

variable "zone_name" {
  description = "Name of the zone that is created when hosted_zone_id is null."
  type        = string
}

variable "hosted_zone_id" {
  description = "Existing zone to put the records into, or null."
  type        = string
  default     = null
}

variable "create_zone" {
  description = "Whether a zone is created; a plain bool, because hosted_zone_id may be known only after apply."
  type        = bool
}

variable "record_name" {
  description = "Full name that clients resolve."
  type        = string
}

variable "https" {
  description = "Whether the serving listener speaks HTTPS: the health check must match it."
  type        = bool
}

variable "sites" {
  description = "Load balancers of the two sites: DNS name and zone of the name."
  type = map(object({
    dns_name = string
    zone_id  = string
  }))

  validation {
    condition     = toset(keys(var.sites)) == toset(["primary", "dr"])
    error_message = "sites must have exactly the keys primary and dr."
  }
}

variable "alarm_topic_arn" {
  description = "Topic in us-east-1, where health-check metrics live."
  type        = string
}

variable "protected" {
  description = "Whether the zone keeps its records when it is destroyed (then destroying a zone with foreign records fails)."
  type        = bool
}
