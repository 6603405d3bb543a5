# A throw-away deployment with everything that moto_server can hold, for TestMoto. The password is generated.
environment_suffix = "moto"
throw_away         = true
container_image    = "123456789012.dkr.ecr.us-east-1.amazonaws.com/payd:moto"
warden             = { image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/holdfast:moto" }
domain_name        = "payments.moto.test"
tls                = { mode = "acm" } # the test makes the zone first
account_security   = { guardduty = true, config = true }
