package main_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDrillsInARow: one drill in which writing has to stop and to resume by itself, and one in which the site has to be
// handed over without a loss; then the report, and a second call that finds both done.
func TestDrillsInARow(t *testing.T) {
	results, report := filepath.Join(t.TempDir(), "series"), filepath.Join(t.TempDir(), "drills.md")
	args := []string{"drill", "--fault", "store-loss,application-down", "--speed", "10", "--results", results, "--report", report}
	cmd, temp := command(t, args...)
	var progress bytes.Buffer
	cmd.Stderr = &progress
	out, err := cmd.Output()
	if code := exitCode(err); code != 0 {
		t.Fatalf("exit code %d, want 0:\n%s\n%s", code, out, tail(progress.String()))
	}
	wantNothingLeft(t, temp, 5*time.Second)
	written, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| `store-loss` | 10 | 1 of 1 |", "| `application-down` | 10 | 1 of 1 |", "writing stops at the trust deadline"} {
		if !strings.Contains(string(written), want) {
			t.Errorf("%q is missing in\n%s", want, written)
		}
	}
	again, _ := command(t, args...)
	began := time.Now()
	out, err = again.Output()
	if code := exitCode(err); code != 0 || strings.Count(string(out), "(kept from before)") != 2 {
		t.Errorf("exit code %d after %v, want 0 and two drills that are kept:\n%s", code, time.Since(began), out)
	}
}
