package infratest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// motoGaps are the differences that the second plan shows only because of moto 5.2, by type and attribute, each with its
// reason. A difference that is not here fails the test, and so does one that no longer shows.
var motoGaps = map[string]string{
	"aws_rds_global_cluster tags_all":                                "keeps no tags of global clusters",
	"aws_secretsmanager_secret replica":                              "does not say which key a replica is under",
	"aws_db_parameter_group parameter":                               "does not return the apply method of instance parameters",
	"aws_rds_cluster scaling_configuration":                          "gives every Aurora cluster a scaling configuration of Serverless v1",
	"aws_rds_cluster_instance monitoring_interval":                   "keeps no enhanced monitoring of instances",
	"aws_rds_cluster_instance monitoring_role_arn":                   "keeps no enhanced monitoring of instances",
	"aws_rds_cluster_instance performance_insights_enabled":          "keeps no performance insights of instances",
	"aws_rds_cluster_instance performance_insights_kms_key_id":       "keeps no performance insights of instances",
	"aws_rds_cluster_instance performance_insights_retention_period": "keeps no performance insights of instances",
	"aws_ecs_service availability_zone_rebalancing":                  "keeps no rebalancing over zones",
	"aws_ecs_service health_check_grace_period_seconds":              "keeps no grace period",
}

// TestMoto applies the configuration with the stock provider: apply (which fails once half-way and is repeated),
// output, a second plan, destroy. It runs with HOLDFAST_MOTO=1, and takes minutes.
func TestMoto(t *testing.T) {
	if os.Getenv("HOLDFAST_MOTO") == "" {
		t.Skip("set HOLDFAST_MOTO=1")
	}
	w := newWorkspace(t, map[string]string{"moto_override.tf": motoProviders()})
	s := newShim(startMoto(t))
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	w.env = []string{
		"AWS_ENDPOINT_URL=" + server.URL, "AWS_ACCESS_KEY_ID=unused", "AWS_SECRET_ACCESS_KEY=unused", "AWS_REGION=us-east-1",
	}

	w.env = append(w.env, "TF_VAR_hosted_zone_id="+delegatedZone(t, server.URL))

	// An apply that stops between secret and cluster must not leave the two with different passwords.
	s.failOnce["aurora-primary-moto"] = true
	out, err := w.terraform(t.Context(), "apply", "-no-color", "-input=false", "-auto-approve", "-var-file=tests/moto.tfvars")
	if err == nil || !strings.Contains(out, "as the test wants it") {
		t.Fatalf("the first apply should stop at the cluster: %v\n%s", err, tail(out))
	}
	first := masterPassword(t, server.URL, "us-east-1")
	w.must(t, "apply", "-no-color", "-input=false", "-auto-approve", "-var-file=tests/moto.tfvars")

	t.Run("password", func(t *testing.T) { checkPassword(t, w, s, server.URL, first) })
	t.Run("output", func(t *testing.T) { checkOutputs(t, w) })
	t.Run("second plan", func(t *testing.T) { checkSecondPlan(t, w) })
	t.Run("rotation", func(t *testing.T) { checkRotation(t, w, s, server.URL, first) })
	t.Run("destroy", func(t *testing.T) {
		w.must(t, "destroy", "-no-color", "-input=false", "-auto-approve", "-var-file=tests/moto.tfvars")
		if left := strings.TrimSpace(w.must(t, "state", "list")); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
		// AWS deletes a global database's writer only when it has no secondary any more.
		if order := s.deletions(); !slices.Equal(order, []string{"aurora-dr-moto", "aurora-primary-moto"}) {
			t.Errorf("the clusters were deleted in the order %v", order)
		}
	})
}

// motoProviders lets the real provider talk to a server without an account behind it. Few retries, because what moto
// lacks it lacks for good.
func motoProviders() string {
	return strings.NewReplacer(
		"  skip_requesting_account_id  = true\n", "", "  allowed_account_ids         = null\n", "  s3_use_path_style           = true\n  max_retries                 = 2\n",
	).Replace(offlineProviders())
}

// startMoto starts a moto_server of its own and returns its address once it answers.
func startMoto(t *testing.T) *url.URL {
	t.Helper()
	command, err := exec.LookPath("moto_server")
	if err != nil {
		t.Fatalf("HOLDFAST_MOTO is set, but moto_server is not on PATH: pip install 'moto[server]'")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr)
	l.Close()
	var log bytes.Buffer
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, command, "-H", "127.0.0.1", "-p", fmt.Sprint(address.Port))
	cmd.Env = append(offlineEnvironment(), "MOTO_IAM_LOAD_MANAGED_POLICIES=true")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("moto_server:\n%s", tail(log.String()))
		}
	})
	moto := &url.URL{Scheme: "http", Host: address.String()}
	deadline, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(deadline, http.MethodGet, moto.String()+"/moto-api/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			return moto
		}
		select {
		case <-deadline.Done():
			t.Fatalf("moto_server does not answer: %v", err)
		case <-tick.C:
		}
	}
}

// delegatedZone makes the zone that a team has before it deploys.
func delegatedZone(t *testing.T, endpoint string) string {
	t.Helper()
	client := route53.New(route53.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("unused", "unused", ""),
	})
	out, err := client.CreateHostedZone(t.Context(), &route53.CreateHostedZoneInput{
		Name: aws.String("payments.moto.test"), CallerReference: aws.String("TestMoto"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(aws.ToString(out.HostedZone.Id), "/hostedzone/")
}

func masterPassword(t *testing.T, endpoint, region string) string {
	t.Helper()
	client := secretsmanager.New(secretsmanager.Options{
		Region: region, BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("unused", "unused", ""),
	})
	out, err := client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("payment-db-moto")})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.SecretString)
}

func checkPassword(t *testing.T, w *workspace, s *shim, endpoint, first string) {
	now := masterPassword(t, endpoint, "us-east-1")
	if len(now) < 16 {
		t.Errorf("the generated password has %d characters", len(now))
	}
	if now != first {
		t.Error("the repeated apply generated another password")
	}
	if sent := s.sent("aurora-primary-moto"); !slices.Equal(sent, []string{now}) {
		t.Errorf("the writer was sent %d passwords, want the secret's, once", len(sent))
	}
	if sent := s.sent("aurora-dr-moto"); !slices.Equal(sent, []string{""}) {
		t.Error("the secondary was sent a password")
	}
	if strings.Contains(w.must(t, "state", "pull"), now) {
		t.Error("the state holds the password")
	}
	data, err := os.ReadFile(filepath.Join(w.dir, "terraform.tfstate"))
	if err != nil || bytes.Contains(data, []byte(now)) {
		t.Errorf("the state file holds the password, or cannot be read: %v", err)
	}
	if replica := masterPassword(t, endpoint, "us-west-2"); replica != now {
		t.Error("the replica of the secret holds another password")
	}
}

// checkRotation raises the version: a new password must reach the secret, its replica and the writer, and no one else.
func checkRotation(t *testing.T, w *workspace, s *shim, endpoint, first string) {
	w.must(t, "apply", "-no-color", "-input=false", "-auto-approve", "-var-file=tests/moto.tfvars", "-var=database={password_version=2}",
		"-target=aws_secretsmanager_secret_version.db", "-target=module.aurora_primary.aws_rds_cluster.this")
	now := masterPassword(t, endpoint, "us-east-1")
	if now == first {
		t.Error("the secret holds the old password")
	}
	if sent := s.sent("aurora-primary-moto"); !slices.Equal(sent, []string{first, now}) {
		t.Errorf("the writer was sent %d passwords, want the first and the new one", len(sent))
	}
	if sent := s.sent("aurora-dr-moto"); !slices.Equal(sent, []string{""}) {
		t.Error("the secondary was sent a password")
	}
}

func checkOutputs(t *testing.T, w *workspace) {
	var outputs map[string]struct{ Value any }
	if err := json.Unmarshal([]byte(w.must(t, "output", "-json")), &outputs); err != nil {
		t.Fatal(err)
	}
	for _, m := range declared.FindAllStringSubmatch(readFile(t, infra, "outputs.tf"), -1) {
		if o, has := outputs[m[2]]; !has || o.Value == nil || o.Value == "" {
			t.Errorf("output %s is %v", m[2], o.Value)
		}
	}
	for _, name := range []string{"primary_ecs_cluster_name", "primary_health_check_id", "failover_domain"} {
		if raw := strings.TrimSpace(w.must(t, "output", "-raw", name)); raw == "" || raw != outputs[name].Value {
			t.Errorf("output -raw %s is %q", name, raw)
		}
	}
	holdfast, _ := outputs["holdfast"].Value.(map[string]any)
	sites, _ := holdfast["sites"].([]any)
	if len(sites) != 2 || holdfast["account_id"] != "123456789012" {
		t.Errorf("output holdfast: %v", holdfast)
	}
	for i, region := range []string{"us-east-1", "us-west-2"} {
		for name, value := range sites[i].(map[string]any) {
			text, is := value.(string)
			if is && (text == "" || strings.HasPrefix(text, "arn:") && regionOf(text) != region) {
				t.Errorf("output holdfast, site %d: %s is %q", i, name, text)
			}
		}
	}
}

func checkSecondPlan(t *testing.T, w *workspace) {
	w.must(t, "plan", "-no-color", "-input=false", "-var-file=tests/moto.tfvars", "-out=second.tfplan")
	found := map[string]bool{}
	for _, c := range w.showPlan(t, "second.tfplan").ResourceChanges {
		if slices.Equal(c.Change.Actions, []string{"no-op"}) {
			continue
		}
		if !slices.Equal(c.Change.Actions, []string{"update"}) || len(changed(c)) == 0 {
			t.Errorf("the second plan wants to %v %s", c.Change.Actions, c.Address)
		}
		for _, name := range changed(c) {
			difference := c.Type + " " + name
			found[difference] = true
			if motoGaps[difference] == "" {
				t.Errorf("the second plan changes %s of %s: %s -> %s", name, c.Address, encode(c.Change.Before[name]), encode(c.Change.After[name]))
			}
		}
	}
	for gap := range motoGaps {
		if !found[gap] {
			t.Errorf("moto no longer shows %s: take it off the list", gap)
		}
	}
}
