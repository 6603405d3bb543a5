package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/failover/simulation"
)

func TestSimulateReportsTheDeploymentsOwnSettings(t *testing.T) {
	config := filepath.Join(t.TempDir(), "holdfast.json")
	sites := `{"name":"primary","region":"us-east-1","db_cluster_arn":"arn","db_endpoint":"a","db_name":"n","db_user":"u","db_secret_arn":"s"}`
	text := `{"suffix":"x","term_table":"t","term_regions":["us-east-1","us-west-2"],"global_cluster":"g","lease_seconds":30,"margin_seconds":3,"sites":[` +
		sites + `,` + strings.NewReplacer("primary", "dr", "us-east-1", "us-west-2").Replace(sites) + `]}`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := run(t, "simulate", "--runs", "60", "--seed", "7", "--config", config, "-o", "json")
	var s simulation.Summary
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	if code != exitOK || s.Runs != 60 || s.FirstSeed != 7 || s.Settings.LeaseSeconds != 30 || s.Settings.MarginSeconds != 3 {
		t.Errorf("exit code %d: %+v", code, s)
	}
	if s.Acknowledged == 0 || s.SiteRTO.Count == 0 || s.SiteRTO.P50 < 30 || s.Outage.Count == 0 {
		t.Errorf("a summary of nothing, or not of this lease: %+v", s)
	}
	// The built-in deployment has thresholds of its own, which its task definition sets.
	code, out, _ = run(t, "simulate", "--runs", "3")
	if code != exitOK || !strings.Contains(out, "lease 20 s, margin 2.5 s") || !strings.Contains(out, "0 violations") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestSimulateShowsAViolation: a rule that is switched off ends in exit code 1 and a command that shows it again.
func TestSimulateShowsAViolation(t *testing.T) {
	code, out, _ := run(t, "simulate", "--runs", "40", "--mutation", "split-entries")
	if code != exitFailed || !strings.Contains(out, "WITHOUT THE RULE that split-entries breaks") || !strings.Contains(out, "I4: ") {
		t.Fatalf("exit code %d: %s", code, out)
	}
	_, command, found := strings.Cut(out, "see it step by step with: holdfast ")
	if !found {
		t.Fatalf("no command to see it again: %s", out)
	}
	code, again, _ := run(t, strings.Fields(command)...)
	if code != exitFailed || !strings.Contains(again, "VIOLATION") || !strings.Contains(again, "first commit under term 1 at primary") {
		t.Errorf("exit code %d: %s", code, again)
	}
}

func TestSimulateWrongUse(t *testing.T) {
	for args, want := range map[string]string{
		"--runs 0":                         "--runs 0",
		"-o yaml":                          "text or json",
		"--trace":                          "--runs 1",
		"--mutation no-such-rule":          "no-such-rule",
		"--config a.json --state b.json":   "one of them",
		"--config /nowhere/holdfast.json":  "/nowhere/holdfast.json",
		"--state /nowhere/terraform.state": "/nowhere/terraform.state",
	} {
		code, _, errs := run(t, append([]string{"simulate"}, strings.Fields(args)...)...)
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, want %d: %s", args, code, exitUsage, errs)
		}
	}
	code, out, _ := run(t, "simulate", "--mutation", "list")
	if code != exitOK || strings.Count(out, "\n") != len(simulation.Mutations()) {
		t.Errorf("exit code %d: %s", code, out)
	}
}
