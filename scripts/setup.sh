#!/usr/bin/env bash
# Finds or installs what the project needs beside Go. With names (postgresql, terraform, tflint) it does only these;
# without, the first two. Nothing is installed that is there already; what cannot be installed is named, with the remedy.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

# The version that is built when there is none. The tests name no feature that is newer than terraform_minimum.
terraform_source=github.com/hashicorp/terraform@v1.11.4
# Only on request: it takes minutes to build and finds little that terraform validate does not.
tflint_source=github.com/terraform-linters/tflint@v0.61.0

have_go() {
	local version
	version=$(go env GOVERSION 2>/dev/null) || die "setup: Go is not on PATH: install Go 1.26 or later"
	version=${version#go}
	newer_or_same "${version%% *}" 1.26 || die "setup: Go is $version: install Go 1.26 or later, or unset GOTOOLCHAIN so that Go fetches it"
	say "go          $version"
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install_postgresql() {
	local manual="install PostgreSQL $postgresql_minimum or later (only the server binaries are needed, no running server) and, if it is in an unusual place, set HOLDFAST_PG_BINDIR to the folder of initdb and postgres"
	[ -z "${HOLDFAST_PG_BINDIR:-}" ] || die "setup: HOLDFAST_PG_BINDIR=$HOLDFAST_PG_BINDIR has no PostgreSQL server of version $postgresql_minimum or later: correct it or unset it"
	command -v apt-get >/dev/null || die "setup: no PostgreSQL, and no apt-get to install it with: $manual"
	[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "setup: no PostgreSQL, and neither root nor sudo to install it with: $manual"
	say "postgresql  not found, installing it with apt-get"
	# Debian's package makes and starts a server of its own, which nobody here needs; an existing setting is left alone.
	if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
		as_root sh -c 'mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf'
	fi
	{
		as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
			as_root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold postgresql
	} >&2 || die "setup: apt-get could not install the package postgresql: $manual"
}

setup_postgresql() {
	local dir
	if ! dir=$(postgresql_find); then
		install_postgresql
		dir=$(postgresql_find) || die "setup: the package postgresql of this system is older than $postgresql_minimum: add the packages of postgresql.org to apt and run 'make setup' again"
	fi
	say "postgresql  $("$dir/postgres" --version | sed -E 's/^postgres \(PostgreSQL\) //') in $dir"
	if [ "$(id -u)" -eq 0 ] && [ -z "${HOLDFAST_PG_USER:-}" ] && ! id postgres >/dev/null 2>&1 && ! id nobody >/dev/null 2>&1; then
		die "setup: PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody: create one, or set HOLDFAST_PG_USER"
	fi
}

# build_terraform builds Terraform from the Go module proxy. Most remote state backends are modules of their own that
# exist only in Terraform's repository, so the module cannot be built as it is; without them it has all that the tests
# and the renderer need: fmt, validate, test, and the local backend.
build_terraform() {
	local source copy
	say "terraform   not found, building ${terraform_source#*@} from source, about two minutes on two cores"
	source=$(GOFLAGS=-mod=mod go mod download -json "$terraform_source" | sed -nE 's/^[[:space:]]*"Dir": "(.*)",?$/\1/p')
	[ -n "$source" ] || die "setup: the Go module proxy does not give $terraform_source: install Terraform $terraform_minimum or later by hand"
	mkdir -p "$tools/bin"
	copy=$(mktemp -d "$tools/terraform-source.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$copy'" EXIT
	cp -R "$source/." "$copy/"
	chmod -R u+w "$copy"
	local backends='azure|consul|cos|gcs|kubernetes|oss|pg|s3' constructors='Azure|Consul|Cos|GCS|Kubernetes|OSS|Pg|S3'
	sed -i.orig -E "/remote-state\/($backends)\"/d; /backend($constructors)\.New\(/d" "$copy/internal/backend/init/init.go"
	# Newer Go refuses settings of older Go that it no longer knows.
	sed -i.orig -E '/^(replace|godebug) /d; /internal\/(backend\/remote-state|legacy)/d' "$copy/go.mod"
	(cd "$copy" && GOFLAGS=-mod=mod GOWORK=off go build -trimpath -ldflags '-s -w' -o "$tools/bin/terraform.new" .) ||
		die "setup: Terraform could not be built: install Terraform $terraform_minimum or later by hand"
	mv "$tools/bin/terraform.new" "$tools/bin/terraform"
	rm -rf "$copy"
	trap - EXIT
}

setup_terraform() {
	local command mirror
	if ! command=$(terraform_find); then
		[ -z "${HOLDFAST_TERRAFORM:-}" ] || die "setup: HOLDFAST_TERRAFORM=$HOLDFAST_TERRAFORM is no Terraform $terraform_minimum or later: correct it or unset it"
		build_terraform
		command=$(terraform_find) || die "setup: the Terraform that was built does not run: remove $tools and try again"
	fi
	say "terraform   $(terraform_version "$command") in $command"
	if mirror=$(provider_mirror); then
		say "aws provider in $mirror"
	else
		say "aws provider from the registry, at the first 'terraform init' (700 MB on disk)"
	fi
}

setup_tflint() {
	if ! command -v tflint >/dev/null && [ ! -x "$tools/bin/tflint" ]; then
		say "tflint      not found, building ${tflint_source#*@} from source, about ten minutes on two cores"
		GOFLAGS='' GOBIN=$tools/bin go install "$tflint_source" || die "setup: tflint could not be built; 'make lint' goes on without it"
	fi
	say "tflint      $(PATH=$tools/bin:$PATH command -v tflint)"
}

[ $# -gt 0 ] || set -- postgresql terraform
have_go
for part in "$@"; do
	case $part in
	postgresql | terraform | tflint) "setup_$part" ;;
	*) die "setup: unknown part '$part': postgresql, terraform or tflint" ;;
	esac
done
