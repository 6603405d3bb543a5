package main_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// sentinel listens where nobody may call, and counts who does.
func sentinel(t *testing.T) (address string, calls *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	calls = new(atomic.Int64)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String(), calls
}

// hostile is the environment of somebody who works on a real account all day. Everything in it leads to the sentinel: the
// endpoints that are configured, and by the proxy every endpoint that is not.
func hostile(t *testing.T, sentinel string) []string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config")
	text := "[default]\nregion = eu-west-1\nendpoint_url = http://" + sentinel + "\n" +
		"[profile prod]\nregion = us-east-1\naws_access_key_id = REAL\naws_secret_access_key = REAL\nendpoint_url = http://" + sentinel + "\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"AWS_PROFILE=prod", "AWS_DEFAULT_PROFILE=prod", "AWS_CONFIG_FILE=" + config, "AWS_SHARED_CREDENTIALS_FILE=" + config,
		"AWS_ACCESS_KEY_ID=REAL", "AWS_SECRET_ACCESS_KEY=REAL", "AWS_SESSION_TOKEN=REAL", "AWS_REGION=eu-west-1",
		"AWS_ENDPOINT_URL=http://" + sentinel, "AWS_ENDPOINT_URL_RDS=http://" + sentinel, "AWS_ENDPOINT_URL_ECS=http://" + sentinel,
		"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1",
		"HTTPS_PROXY=http://" + sentinel, "https_proxy=http://" + sentinel, "HTTP_PROXY=http://" + sentinel, "http_proxy=http://" + sentinel,
		"NO_PROXY=", "no_proxy=",
	}
}

// reachesNoAccount: in a shell that is full of somebody's real configuration, the lines of "twin env" lead every command to
// the twin, in every region and behind every wrapper, and nothing anywhere else.
func reachesNoAccount(t *testing.T, env []string) {
	ctx, cancel := context.WithTimeout(t.Context(), blockLimit)
	defer cancel()
	address, strays := sentinel(t)
	s := newShell(t, append(slices.Clone(env), hostile(t, address)...))
	const describe = "aws rds describe-db-clusters --region us-east-1 --query 'DBClusters[].DBClusterIdentifier' --output text"

	// Without the lines this test's traps work: the command goes astray.
	if out, status, err := s.run(ctx, "timeout 30 "+describe); err != nil || status == "0" {
		t.Fatalf("before twin env: status %s, %v: %s", status, err, out)
	}
	if strays.Load() == 0 {
		t.Fatal("before twin env nothing reached the sentinel: this test would show nothing")
	}
	strays.Store(0)

	if out, status, err := s.run(ctx, `eval "$(`+filepath.Join(programs, "holdfast")+` twin env)"`); err != nil || status != "0" || out != "" {
		t.Fatalf("twin env: status %s, %v\n%s", status, err, out)
	}
	for _, c := range []struct {
		commands, want string
		fails          bool
	}{
		// Version 1 of the command ignores AWS_ENDPOINT_URL for rds in us-east-1.
		{describe, "aurora-primary-twin", false},
		{"timeout 30 " + describe, "aurora-primary-twin", false},
		{"echo us-east-1 | xargs -n 1 aws rds describe-db-clusters --query 'DBClusters[].DBClusterIdentifier' --output text --region", "aurora-primary-twin", false},
		{"sh -c 'aws ecs list-clusters --region us-west-2 --output text'", "payment-cluster-dr-twin", false},
		{"aws sts get-caller-identity --output text", "123456789012", false},
		{"aws rds describe-db-clusters --profile prod", "prod", true},
		{"aws rds describe-db-clusters --endpoint-url https://rds.us-east-1.amazonaws.com", "proxy", true},
		{"AWS_ACCESS_KEY_ID=REAL aws rds describe-db-clusters", "InvalidClientTokenId", true},
		{"holdfast status", "primary  us-east-1  active", false},
		{"terraform output -raw primary_ecs_cluster_name", "payment-cluster-primary-twin", false},
		{"dig +short $(terraform output -raw failover_domain)", "127.", false},
		{"psql -h $(terraform output -raw primary_aurora_cluster_endpoint) -U payments payments -Atc 'select 42'", "42", false},
	} {
		out, status, err := s.run(ctx, c.commands)
		if err != nil || (status != "0") != c.fails || !strings.Contains(out, c.want) {
			t.Errorf("%s: status %s, %v; want %q in\n%s", c.commands, status, err, c.want, out)
		}
	}
	if n := strays.Load(); n != 0 {
		t.Errorf("%d connections went astray", n)
	}
	wantCalls(ctx, t, s, "rds DescribeDBClusters us-east-1", "ecs ListClusters us-west-2", "sts GetCallerIdentity us-east-1")
}

// wantCalls looks for calls from outside the regions in the twin's access log.
func wantCalls(ctx context.Context, t *testing.T, s *shell, want ...string) {
	t.Helper()
	out, status, err := s.run(ctx, "holdfast twin calls -o json")
	if err != nil || status != "0" {
		t.Fatalf("twin calls: status %s, %v\n%s", status, err, out)
	}
	var calls []struct {
		Caller    string    `json:"caller_region"`
		Service   string    `json:"service"`
		Region    string    `json:"region"`
		Operation string    `json:"operation"`
		At        time.Time `json:"at"`
	}
	if err := json.Unmarshal([]byte(out), &calls); err != nil {
		t.Fatalf("twin calls: %v\n%s", err, out)
	}
	var typed []string
	for _, c := range calls {
		if c.Caller == "" {
			typed = append(typed, c.Service+" "+c.Operation+" "+c.Region)
		}
	}
	for _, call := range want {
		if !slices.Contains(typed, call) {
			t.Errorf("the access log lacks %q", call)
		}
	}
}
