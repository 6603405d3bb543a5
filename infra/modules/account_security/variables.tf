variable "suffix" {
  description = "The deployment's environment_suffix."
  type        = string
}

variable "site" {
  description = "Name of the site, \"primary\" or \"dr\"."
  type        = string
}

variable "account_id" {
  description = "Account of the deployment."
  type        = string
}

variable "guardduty" {
  description = "Whether GuardDuty watches the account in this region."
  type        = bool
}

variable "config" {
  description = "Whether AWS Config records the account's configuration in this region."
  type        = bool
}

variable "protected" {
  description = "Whether the recorded history is kept on destroy."
  type        = bool
}
