package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOperatorCommandsRefuseWrongUse: every wrong call ends with exit code 2 (3 for a warden without its environment)
// and says what to do, before anything is sent anywhere.
func TestOperatorCommandsRefuseWrongUse(t *testing.T) {
	for _, name := range []string{"HOLDFAST_CONFIG", "DATABASE_URL", "HOLDFAST_SITE", "HOLDFAST_DEPLOYMENT"} {
		t.Setenv(name, "")
	}
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte(`{"suffix":"x"`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"status", 2, "--config FILE"},
		{"status --config /does/not/exist", 2, "terraform output"},
		{"status --config " + broken, 2, "not valid JSON"},
		{"status -o yaml --config " + broken, 2, "want text or json"},
		{"status --timeout -1s --config " + broken, 2, "--timeout"},
		{"init", 2, "--config FILE"},
		{"switchover --config " + broken, 2, "--to SITE"},
		{"switchover --to dr", 2, "--config FILE"},
		{"switchover --withdraw --config " + broken, 2, "--to SITE"},
		{"switchover --withdraw --to dr", 2, "--config FILE"},
		{"failover --to dr --config " + broken, 2, "not valid JSON"},
		{"failover --config " + broken, 2, "--to SITE"},
		{"pin --site primary --for 1h --reason x", 2, "--config FILE"},
		{"unpin --config " + broken, 2, "not valid JSON"},
		{"approve --to dr", 2, "--config FILE"},
		{"approve --config " + broken, 2, "--to SITE"},
		{"fence install --tables t", 2, "--dsn"},
		{"fence install --dsn postgres://u@127.0.0.1:1/x", 2, "--tables"},
		{"fence install --dsn postgres://u@127.0.0.1:1/x --tables t", 3, "127.0.0.1"},
		{"warden", 3, "HOLDFAST_SITE is not set"},
	} {
		var out, errs bytes.Buffer
		if code := Main(strings.Fields(c.args), &out, &errs); code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("holdfast %s: exit code %d, want %d; said %q, want %q", c.args, code, c.code, errs.String(), c.want)
		}
	}
}
