# Not a test of its own: the renderer of the twin's topology runs this file and reads the state that it prints,
#
#   terraform test -filter=tests/render.tftest.hcl -var-file=tests/twin.tfvars -json -verbose
#
# after adding one override per resource, so that every id and ARN is distinct and stays the same.

mock_provider "aws" {
  alias  = "primary"
  source = "./tests/mocks/primary"
}

mock_provider "aws" {
  alias  = "dr"
  source = "./tests/mocks/dr"
}

mock_provider "aws" {
  alias  = "us_east_1"
  source = "./tests/mocks/us_east_1"
}

provider "aws" {
  alias                       = "ephemeral"
  region                      = "us-east-1"
  access_key                  = "unused"
  secret_key                  = "unused"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}

run "render" {
  command = apply

  variables {
    db_master_password = "rendered-and-then-redacted"
  }

  assert {
    condition     = output.holdfast.suffix == var.environment_suffix
    error_message = "The output holdfast names another deployment."
  }
}
