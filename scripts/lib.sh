# Functions that several scripts share. To be sourced, with the project's root in $root.
# shellcheck shell=bash disable=SC2154

tools=$root/.tools

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# newer_or_same VERSION WANTED: both as in 1.11.4
newer_or_same() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# --- PostgreSQL ----------------------------------------------------------------------------------------------------

postgresql_minimum=15

# postgresql_major DIR: the major version of the server in a folder, or nothing
postgresql_major() {
	[ -x "$1/postgres" ] && [ -x "$1/initdb" ] || return 0
	"$1/postgres" --version 2>/dev/null | sed -nE 's/^postgres \(PostgreSQL\) ([0-9]+).*/\1/p'
}

# postgresql_find: the folder of the newest server that is new enough. HOLDFAST_PG_BINDIR, if set, is the only place.
postgresql_find() {
	local dir major best='' best_major=0
	local -a places
	if [ -n "${HOLDFAST_PG_BINDIR:-}" ]; then
		places=("$HOLDFAST_PG_BINDIR")
	else
		places=(/usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin)
		if command -v pg_config >/dev/null; then places+=("$(pg_config --bindir)"); fi
		if command -v postgres >/dev/null; then places+=("$(dirname "$(command -v postgres)")"); fi
	fi
	for dir in "${places[@]}"; do
		major=$(postgresql_major "$dir")
		if [ "${major:-0}" -ge "$postgresql_minimum" ] && [ "$major" -gt "$best_major" ]; then
			best=$dir best_major=$major
		fi
	done
	[ -n "$best" ] && printf '%s\n' "$best"
}

# --- Terraform -----------------------------------------------------------------------------------------------------

terraform_minimum=1.11.0

terraform_version() { CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=/dev/null "$1" version 2>/dev/null | sed -nE '1s/^Terraform v([0-9.]+).*/\1/p'; }

# terraform_find: a command that is new enough. HOLDFAST_TERRAFORM, if set, is the only one looked at.
terraform_find() {
	local candidate version
	local -a places=("$tools/bin/terraform")
	if [ -n "${HOLDFAST_TERRAFORM:-}" ]; then
		places=("$HOLDFAST_TERRAFORM")
	elif command -v terraform >/dev/null; then
		places=("$(command -v terraform)" "${places[@]}")
	fi
	for candidate in "${places[@]}"; do
		version=$(terraform_version "$candidate")
		if [ -n "$version" ] && newer_or_same "$version" "$terraform_minimum"; then
			printf '%s\n' "$candidate"
			return
		fi
	done
	return 1
}

# provider_mirror: a folder that has the provider hashicorp/aws for this machine, if there is one
provider_mirror() {
	local dir platform
	platform=$(go env GOOS)_$(go env GOARCH)
	for dir in "${HOLDFAST_TF_PLUGIN_DIR:-}" "$HOME/.terraform.d/plugins" /opt/tf-plugins /usr/local/share/terraform/plugins /usr/share/terraform/plugins; do
		if [ -n "$dir" ] && compgen -G "$dir/registry.terraform.io/hashicorp/aws/5.*/$platform/*" >/dev/null; then
			printf '%s\n' "$dir"
			return
		fi
	done
	return 1
}

# terraform_configure: where providers come from. A configuration of the user's own wins.
terraform_configure() {
	if [ -n "${TF_CLI_CONFIG_FILE:-}" ] && [ -f "$TF_CLI_CONFIG_FILE" ] || [ -z "${TF_CLI_CONFIG_FILE:-}" ] && [ -f "$HOME/.terraformrc" ]; then
		return
	fi
	local mirror
	mkdir -p "$tools"
	export TF_CLI_CONFIG_FILE=$tools/terraformrc
	if mirror=$(provider_mirror); then
		printf 'provider_installation {\n  filesystem_mirror {\n    path    = "%s"\n    include = ["registry.terraform.io/hashicorp/aws"]\n  }\n  direct {\n    exclude = ["registry.terraform.io/hashicorp/aws"]\n  }\n}\n' "$mirror" >"$TF_CLI_CONFIG_FILE.$$"
	else
		# One download of a big provider is enough for all the folders that want it.
		mkdir -p "$tools/plugin-cache"
		printf 'plugin_cache_dir = "%s"\nplugin_cache_may_break_dependency_lock_file = true\n' "$tools/plugin-cache" >"$TF_CLI_CONFIG_FILE.$$"
	fi
	mv "$TF_CLI_CONFIG_FILE.$$" "$TF_CLI_CONFIG_FILE"
}
