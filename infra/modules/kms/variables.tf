variable "name" {
  description = "Alias of the key, without \"alias/\"."
  type        = string
}

variable "region" {
  description = "Region of the key."
  type        = string
}

variable "account_id" {
  description = "Account that owns the key."
  type        = string
}

variable "protected" {
  description = "Whether deleting the key waits thirty days (else seven, the shortest that AWS allows)."
  type        = bool
}
