# What the embedded topology of the twin is rendered from: the whole system, as a throw-away environment.
environment_suffix = "twin"
account_id         = "123456789012"
throw_away         = true

container_image = "payd:twin"
warden          = { image = "holdfast:twin" }

tls = { mode = "none" }

# The twin has no firewall to rehearse, and planning its rules takes longer than all the rest.
waf = { enabled = false }

# Mock providers have no ephemeral types, so nothing is generated; the test file gives a password.
generate_db_master_password = false
