# A protected deployment as a payments team would run it; the Go tests in infratest look at its state and its plan.
environment_suffix = "prod-abc123"
account_id         = "123456789012"

container_image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/payd@sha256:1111111111111111111111111111111111111111111111111111111111111111"
warden          = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast@sha256:2222222222222222222222222222222222222222222222222222222222222222" }
service         = { acquirer_url = "https://acquirer.acme.test" }

domain_name    = "payments.acme.test"
hosted_zone_id = "Z2FDTNDATAQYW2"

tls = {
  mode = "provided"
  certificate_arns = {
    primary = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
    dr      = "arn:aws:acm:us-west-2:123456789012:certificate/11111111-2222-3333-4444-555555555555"
  }
}

account_security = { guardduty = true, config = true }

# The firewall's rules have a test of their own, and planning them takes longer than all the rest.
waf = { enabled = false }

# Mock providers have no ephemeral types.
generate_db_master_password = false
