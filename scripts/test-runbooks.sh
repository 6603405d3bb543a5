#!/usr/bin/env bash
# Every runbook, typed with the stock aws command into a shell that means a twin, and what it prints compared: by
# TestTypedAtATwin in cmd/holdfast. It takes about five minutes on two cores.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
cd "$root"

command -v aws >/dev/null || die "test-runbooks: the aws command is not on PATH: pip install awscli"
scripts/setup.sh postgresql
make build
HOLDFAST_REQUIRE_TOOLS=1 exec go test -count=1 -v -timeout 15m -run '^TestTypedAtATwin$' ./cmd/holdfast
