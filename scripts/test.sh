#!/usr/bin/env bash
# Runs the test stages in order, the quick ones first, and prints how long each took. With names it runs only these.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
cd "$root" || exit 1

module=$(go list -m)
# The packages that start servers and whole twins.
heavy="^$module/(cmd|internal/(twin|drill|warden|cli|preflight))(/|$)"
simulation="^$module/internal/failover/simulation(/|$)"
# These run Terraform, for a minute each.
terraform="^$module/(internal/topology/render|infra/infratest)(/|$)"

packages() { go list ./... | grep -E "$1"; }
others() { go list ./... | grep -vE "$heavy|$simulation|$terraform"; }

stage_unit() {
	# shellcheck disable=SC2046
	go test -timeout 5m $(others)
}

stage_simulation() {
	# shellcheck disable=SC2046
	go test -timeout 5m $(packages "$simulation")
}

# The drill whose recovery time is asserted has the machine to itself. The others wait more than they work, so two
# packages share it; they judge what happened and not how long it took. The runbooks need somebody else's program, as moto
# is, and have a target of their own.
alone='^TestDrillOfALostRegion$'
typed='^TestTypedAtATwin$'

# go keeps a result by what a test was built from and has read; what the programs do that these tests start is neither.
stage_twin() {
	make build &&
		go test -count=1 -timeout 5m -run "$alone" ./cmd/holdfast &&
		lint_beside &&
		# shellcheck disable=SC2046
		go test -count=1 -p 2 -timeout 15m -skip "$alone|$typed" $(packages "$heavy")
}

# Terraform's own tests run beside the packages, and are shown after them.
stage_terraform() {
	local result=0 log=$scratch/terraform own
	scripts/terraform -chdir=infra init -backend=false -no-color >/dev/null || return 1
	scripts/terraform -chdir=infra test -no-color >"$log" 2>&1 &
	own=$!
	# shellcheck disable=SC2046
	go test -p 2 -timeout 10m $(packages "$terraform") || result=1
	wait "$own" || result=1
	cat "$log"
	return "$result"
}

# The twin's tests wait more than they work, so the linters run beside them, where both are wanted, and are shown in their turn.
lint=
lint_beside() {
	[[ " ${stages[*]} " == *" lint "* ]] || return 0
	# A kernel that shares the processors out among sessions (sched(7), autogroup) looks at the session's priority first.
	setsid nice -n 19 sh -c '{ echo 19 >/proc/self/autogroup; } 2>/dev/null; exec scripts/lint.sh' >"$scratch/lint" 2>&1 &
	lint=$!
}

stage_lint() {
	[ -n "$lint" ] || { scripts/lint.sh; return; }
	local result=0
	wait "$lint" || result=1
	lint=
	cat "$scratch/lint"
	return "$result"
}

[ $# -gt 0 ] || set -- unit simulation twin terraform lint
stages=("$@")
scripts/setup.sh || exit 1
# What setup provides must not be skipped quietly.
export HOLDFAST_REQUIRE_TOOLS=1
# The lint stage vets, and nobody debugs what is built here, so it is linked without the debugger's tables.
export GOFLAGS="${GOFLAGS:+$GOFLAGS }-vet=off -ldflags=-w"

# initdb is run once; see internal/pgserver/pgservertest. The folder is the same each time, or go would not find the results
# of tests that need not run again.
HOLDFAST_TEST_PATTERNS=${TMPDIR:-/tmp}/holdfast-patterns-$(printf %s "$root" | cksum | cut -d ' ' -f 1)
export HOLDFAST_TEST_PATTERNS
rm -rf "$HOLDFAST_TEST_PATTERNS"
mkdir -m 755 "$HOLDFAST_TEST_PATTERNS" || exit 1
scratch=$(mktemp -d) || exit 1
trap '[ -z "$lint" ] || kill -- -"$lint" 2>/dev/null; rm -rf "$HOLDFAST_TEST_PATTERNS" "$scratch"' EXIT

report=() failed=0 all=$SECONDS
for stage in "${stages[@]}"; do
	declare -F "stage_$stage" >/dev/null || die "test: unknown stage '$stage': unit, simulation, twin, terraform or lint"
	say "== $stage"
	started=$SECONDS
	if "stage_$stage"; then result=ok; else result=FAILED failed=1; fi
	report+=("$(printf '%-11s %-6s %4d s' "$stage" "$result" $((SECONDS - started)))")
done
say "=="
printf '%s\n' "${report[@]}" "$(printf '%-11s %-6s %4d s' all "$([ $failed = 0 ] && echo ok || echo FAILED)" $((SECONDS - all)))" >&2
exit "$failed"
