package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/operator"
)

// TestPreflightRefusesWrongUse: wrong options end with exit code 2 before anything is sent anywhere.
func TestPreflightRefusesWrongUse(t *testing.T) {
	t.Setenv("HOLDFAST_CONFIG", "")
	site := func(name string) operator.Site {
		return operator.Site{Name: name, Region: "us-east-1", DBClusterARN: "arn:aws:rds:us-east-1:1:cluster:" + name}
	}
	encoded, err := json.Marshal(operator.Config{
		Suffix: "x", TermTable: "t", TermRegions: []string{"us-east-1"}, GlobalCluster: "g", LeaseSeconds: 20, MarginSeconds: 2.5,
		Sites: []operator.Site{site("primary"), site("dr")},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "holdfast.json")
	if err := os.WriteFile(file, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"preflight", "--config FILE"},
		{"preflight --config /does/not/exist", "terraform output"},
		{"preflight -o yaml --config " + file, "want text or json"},
		{"preflight --only nothing --config " + file, "there is no check \"nothing\", only record"},
		{"preflight --only dns --skip dns --config " + file, "no check is left"},
		{"preflight --max-lag 0s --config " + file, "--max-lag"},
		{"preflight surplus --config " + file, "unknown command"},
	} {
		var out, errs bytes.Buffer
		if code := Main(strings.Fields(c.args), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), c.want) {
			t.Errorf("holdfast %s: exit code %d, want %d; said %q, want %q", c.args, code, exitUsage, errs.String(), c.want)
		}
	}
}
