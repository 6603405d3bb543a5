# This folder is nothing but the root module's inputs (a link), for the tests of their validations.
plugin "terraform" {
  enabled = false
}
