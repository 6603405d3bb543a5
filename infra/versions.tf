terraform {
  # 1.11 is the first version with write-only arguments: the database password never enters the state.
  required_version = ">= 1.11.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
