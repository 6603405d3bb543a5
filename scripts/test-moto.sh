#!/usr/bin/env bash
# The Terraform against moto_server with the stock AWS provider: apply, output, second plan, a new password, destroy, by
# TestMoto in infra/infratest. It takes about ten minutes on two cores, most of them waits of the provider.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
cd "$root"

command -v moto_server >/dev/null || die "test-moto: moto_server is not on PATH: pip install 'moto[server]'"
scripts/setup.sh terraform
HOLDFAST_MOTO=1 HOLDFAST_REQUIRE_TOOLS=1 exec go test -count=1 -v -timeout 30m -run '^TestMoto$' ./infra/infratest
