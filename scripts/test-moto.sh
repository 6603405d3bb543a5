#!/usr/bin/env bash
# Applies infra/ with the real AWS provider to a fresh moto_server: the API's own validation, which mocks leave out. What
# moto cannot do is listed below; any other error fails. The server is thrown away, so nothing is destroyed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

# moto 5.2 answers 500 to the calls that these resources make.
unsupported='aws_appautoscaling_target|aws_cloudwatch_composite_alarm|aws_efs_backup_policy'
# Resources that must exist afterwards, of these types at least.
expected='aws_rds_global_cluster aws_rds_cluster aws_rds_cluster_instance aws_ecs_cluster aws_ecs_service aws_lb_listener aws_lb_listener_rule aws_cloudformation_stack aws_sns_topic aws_secretsmanager_secret'
limit=900

command -v moto_server >/dev/null || die "test-moto: moto_server is not on PATH: pip install 'moto[server]'"
work=$(mktemp -d)
server=
finish() {
	if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
	rm -rf "$work"
}
trap finish EXIT

cp -R "$root/infra/." "$work/"
rm -rf "$work/.terraform" "$work"/*.tfstate*
for alias in $(sed -nE 's/^[[:space:]]*alias[[:space:]]*=[[:space:]]*"([a-z0-9_]+)".*/\1/p' "$work/providers.tf"); do
	cat >>"$work/moto_override.tf" <<-END
		provider "aws" {
		  alias                       = "$alias"
		  skip_credentials_validation = true
		  skip_metadata_api_check     = true
		  s3_use_path_style           = true
		  max_retries                 = 2
		}
	END
done

export AWS_ACCESS_KEY_ID=moto AWS_SECRET_ACCESS_KEY=moto AWS_EC2_METADATA_DISABLED=true MOTO_IAM_LOAD_MANAGED_POLICIES=true
unset AWS_PROFILE AWS_SESSION_TOKEN
port=$((20000 + RANDOM % 20000))
moto_server -H 127.0.0.1 -p "$port" >"$work/moto.log" 2>&1 &
server=$!
export AWS_ENDPOINT_URL=http://127.0.0.1:$port
for _ in $(seq 100); do
	if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
	kill -0 "$server" 2>/dev/null || die "test-moto: moto_server ended: $(tail -n 3 "$work/moto.log")"
	sleep 0.2
done

cd "$work"
"$root/scripts/terraform" init -backend=false -no-color >init.log || die "test-moto: terraform init: $(tail -n 5 init.log)"
say "test-moto: applying to moto, about four minutes"
timeout "$limit" "$root/scripts/terraform" apply -auto-approve -input=false -no-color -var-file=tests/twin.tfvars \
	-var db_master_password=only-for-this-test >apply.log 2>&1 || [ $? -ne 124 ] || die "test-moto: the apply took longer than $limit s"

# Each error names its resource in a line "with ADDRESS,"; one without an address is unexpected too.
errors=$(grep -c '^Error: ' apply.log || true)
known=$(grep -cE "^  with ([a-z0-9_]+\.|module\.[^,]*\.)?($unsupported)\." apply.log || true)
if [ "$errors" -ne "$known" ]; then
	grep -A 4 '^Error: ' apply.log >&2
	die "test-moto: $errors errors, of which only $known are gaps of moto"
fi
addresses=$("$root/scripts/terraform" state list)
for type in $expected; do
	grep -qE "(^|\.)$type\." <<<"$addresses" || die "test-moto: there is no $type in the state: $(tail -n 5 apply.log)"
done
say "test-moto: $(wc -l <<<"$addresses") resources, $known known gaps of moto"
