package api

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"holdfast/internal/twin/alarms"
)

// awsCLI runs the stock aws command against an endpoint, without anything of the machine's own configuration.
func awsCLI(t *testing.T, url string, args ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "aws", append([]string{"--endpoint-url", url, "--output", "json"}, args...)...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_ACCESS_KEY_ID=" + AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + SecretAccessKey, "AWS_DEFAULT_REGION=" + east, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_MAX_ATTEMPTS=1", "AWS_PAGER=",
		"PYENV_VERSION=" + os.Getenv("PYENV_VERSION"), "PYENV_ROOT=" + os.Getenv("PYENV_ROOT"),
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	return string(stdout) + stderr.String(), err
}

// TestStockCommand runs the runbook's commands, at least one in each protocol that the command speaks. Tried with
// aws-cli/1.45.11 (botocore 1.43.11).
func TestStockCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("the aws command takes a second each time")
	}
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("SKIPPED: the aws command is not installed, so nothing shows that it works against the twin")
	}
	b := newBackends(t)
	b.metrics.Put(east, "Holdfast", alarms.One("Term", 4, "Count", map[string]string{"Site": "primary"}))
	b.ecs.log(t, paymentTask, "2026-11-22T10:00:00Z a payment\n")
	url := serve(t, newEndpoint(t, b), "")
	version, err := awsCLI(t, url, "--version")
	if err != nil {
		t.Skipf("SKIPPED: the aws command does not run here: %s", version)
	}
	t.Log(version)
	table := b.topology.TermTable.Name
	tests := []struct {
		name, args string
		// want is text in the output; fails says that the command must fail with it.
		want  string
		fails bool
	}{
		{"sts", "sts get-caller-identity", `"Account": "123456789012"`, false},
		{"logs", "logs filter-log-events --log-group-name " + paymentGroup, "a payment", false},
		{"ecs update", "ecs update-service --cluster payment-cluster-primary-twin --service payment-service-primary-twin --desired-count 0 --region us-east-1", `"desiredCount": 0`, false},
		{"ecs describe", "ecs describe-services --cluster payment-cluster-dr-twin --services payment-service-dr-twin --region us-west-2", `"runningCount"`, false},
		{"route53", "route53 get-health-check-status --health-check-id " + b.topology.HealthChecks[0].ID, "Success: HTTP Status Code 200, OK", false},
		{"route53 records", "route53 list-resource-record-sets --hosted-zone-id " + b.topology.Zones[0].ID, `"Failover": "PRIMARY"`, false},
		{"rds failover", "rds failover-global-cluster --global-cluster-identifier global-aurora-twin --target-db-cluster-identifier aurora-dr-twin --region us-west-2", `"GlobalClusterIdentifier": "global-aurora-twin"`, false},
		{"rds error", "rds describe-db-clusters --db-cluster-identifier nobody --region us-west-2", "(DBClusterNotFoundFault)", true},
		{"rds filters", "rds describe-db-instances --filters Name=db-cluster-id,Values=aurora-primary-twin", `"DBInstanceIdentifier": "aurora-primary-twin-2"`, false},
		{"elbv2", "elbv2 describe-target-health --target-group-arn " + b.topology.TargetGroups[0].ARN, "Target.Timeout", false},
		{"dynamodb put", `dynamodb put-item --table-name ` + table + ` --item {"id":{"S":"cli"},"version":{"N":"1.0"}} --condition-expression attribute_not_exists(id)`, "", false},
		{"dynamodb condition", `dynamodb put-item --table-name ` + table + ` --item {"id":{"S":"cli"}} --condition-expression attribute_not_exists(id)`, "(ConditionalCheckFailedException)", true},
		{"dynamodb get", `dynamodb get-item --table-name ` + table + ` --key {"id":{"S":"cli"}} --consistent-read --region us-west-2`, `"N": "1"`, false},
		{"cloudwatch metrics", "cloudwatch list-metrics --namespace Holdfast", `"MetricName": "Term"`, false},
		{"cloudwatch alarms", "cloudwatch describe-alarms --state-value OK --alarm-name-prefix aurora-cpu", `"StateValue": "OK"`, false},
		{"cloudwatch error", "cloudwatch put-metric-data --namespace AWS/RDS --metric-name x --value 1", "(InvalidParameterValue)", true},
		{"autoscaling", "application-autoscaling describe-scalable-targets --service-namespace ecs", `"MaxCapacity": 10`, false},
		{"secrets", "secretsmanager get-secret-value --secret-id " + b.topology.Secrets[0].Name, `"SecretString"`, false},
		{"sns", "sns list-subscriptions-by-topic --topic-arn " + b.topology.Topics[0].ARN + " --region " + b.topology.Topics[0].Region, "admin@example.com", false},
		{"rds restore", "rds restore-db-cluster-from-snapshot --db-cluster-identifier tail --snapshot-identifier rds:unplanned-global-failover-aurora-primary-twin-2026-11-22-10-00 --engine aurora-postgresql", `"Status": "creating"`, false},
		{"rds instance", "rds create-db-instance --db-instance-identifier tail-1 --db-cluster-identifier tail --db-instance-class db.t4g.medium --engine aurora-postgresql", `"DBInstanceStatus": "creating"`, false},
		{"rds delete", "rds delete-db-instance --db-instance-identifier tail-1", `"DBInstanceStatus": "deleting"`, false},
		{"rds delete cluster", "rds delete-db-cluster --db-cluster-identifier tail --skip-final-snapshot", `"Status": "deleting"`, false},
		{"unknown", "rds delete-global-cluster --global-cluster-identifier global-aurora-twin", "(InvalidAction)", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := awsCLI(t, url, strings.Fields(tt.args)...)
			if (err != nil) != tt.fails || !strings.Contains(out, tt.want) {
				t.Errorf("aws %s: %v\n%s\nwant %q", tt.args, err, out, tt.want)
			}
			if !tt.fails && strings.TrimSpace(out) != "" && !json.Valid([]byte(out)) {
				t.Errorf("aws %s printed no JSON:\n%s", tt.args, out)
			}
		})
	}
}
