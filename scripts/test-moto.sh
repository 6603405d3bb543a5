#!/usr/bin/env bash
# Applies and destroys the Terraform against a fresh moto_server, with tests/moto.tfvars and tests/moto_override.tf if
# the folder infra/tests has them.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
cd "$root"

command -v moto_server >/dev/null || die "test-moto: moto_server is not on PATH: pip install 'moto[server]'"
if [ ! -x infra/tests/moto.sh ]; then
	say "test-moto: infra/tests/moto.sh is not there, nothing to do"
	exit 0
fi
exec infra/tests/moto.sh
