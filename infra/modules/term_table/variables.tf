variable "name" {
  description = "Name of the table."
  type        = string
}

variable "replica_regions" {
  description = "The two sites' regions, which hold the data."
  type        = list(string)
}

variable "witness_region" {
  description = "Third region, which only votes."
  type        = string
}

variable "protected" {
  description = "Whether the table survives the deletion of its stack."
  type        = bool
}
