# The ruleset for the Terraform language comes with tflint; the one for AWS is a download that needs a network, and the
# provider's own validation covers most of it.
plugin "terraform" {
  enabled = true
  preset  = "all"
}

# locals, checks and outputs stand beside what they belong to.
rule "terraform_standard_module_structure" {
  enabled = false
}
