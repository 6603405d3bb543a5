#!/usr/bin/env bash
# All linters; every one runs before the first failure ends the script.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
cd "$root"
# What setup built stands here.
PATH=$tools/bin:$PATH

failed=0
check() { # NAME COMMAND...
	local name=$1 started=$SECONDS
	shift
	if "$@"; then
		say "  ok   $name ($((SECONDS - started)) s)"
	else
		say "  FAIL $name"
		failed=1
	fi
}

formatted() {
	local unformatted
	unformatted=$(git ls-files '*.go' | xargs go tool gofumpt -l)
	[ -z "$unformatted" ] || { say "not formatted, run 'make fmt':"; say "$unformatted"; return 1; }
}

# The folders below tests are inputs of tests and not configurations.
terraform_lint() {
	local folder result=0
	for folder in infra infra/modules/*/; do timeout 120 tflint --chdir="$folder" || result=1; done
	return "$result"
}

terraform_validate() {
	scripts/terraform -chdir=infra init -backend=false -no-color >/dev/null && scripts/terraform -chdir=infra validate -no-color >/dev/null
}

scripts() { git ls-files '*.sh' .ci/run scripts/terraform | xargs shellcheck; }

check gofumpt formatted
check vet go vet ./...
check staticcheck go tool staticcheck ./...
if command -v shellcheck >/dev/null; then check shellcheck scripts; else say "  --   shellcheck is not installed"; fi
if terraform_find >/dev/null; then
	check "terraform fmt" scripts/terraform fmt -check -recursive infra
	check "terraform validate" terraform_validate
else say "  --   terraform is not there: make setup"; fi
if command -v tflint >/dev/null; then check tflint terraform_lint; else say "  --   tflint is not there, so it did not run: 'make tflint' builds it, once, for about ten minutes"; fi
exit "$failed"
