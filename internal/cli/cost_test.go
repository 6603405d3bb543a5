package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/topology"
)

func TestCostOfTheBuiltInDeployment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(file, topology.DefaultState(), 0o600); err != nil {
		t.Fatal(err)
	}
	code, text, stderr := run(t, "cost")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	for _, want := range []string{"list prices read from 20", "\nAURORA\n", "\nROUTE 53\n", "\nTOTAL ", "single-nat", "--storage-gb", "NOT IN THE SUMS", "aws_iam_role"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if _, named, _ := run(t, "cost", "--state", file); named != text {
		t.Errorf("the same state from a file costs something else:\n%s", named)
	}
	code, out, stderr := run(t, "cost", "-o", "json", "--storage-gb", "200.5")
	var result struct {
		Total string `json:"usd"`
		Parts []struct {
			Lines []struct {
				Quantity string            `json:"quantity"`
				UnitUSD  string            `json:"unit_usd"`
				Price    map[string]string `json:"price"`
			} `json:"lines"`
		} `json:"parts"`
		Strategies []struct {
			Change string `json:"change_usd"`
		} `json:"strategies"`
		Usage map[string]string `json:"usage"`
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != exitOK || stderr != "" {
		t.Fatalf("exit code %d, stderr %q, %v", code, stderr, err)
	}
	if result.Usage["storage-gb"] != "200.5" || len(result.Parts) != 5 || len(result.Strategies) != 5 || result.Total == "" {
		t.Errorf("%+v", result)
	}
	if line := result.Parts[0].Lines[0]; line.Quantity == "" || line.UnitUSD == "" || line.Price["page"] == "" || line.Price["via"] == "" {
		t.Errorf("a line without its quantity, price or sources: %+v", line)
	}
}

func TestCostUsedWrongly(t *testing.T) {
	dir := t.TempDir()
	truncated := filepath.Join(dir, "truncated.json")
	if err := os.WriteFile(truncated, topology.DefaultState()[:5000], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"cost -o yaml", "-o yaml: want text or json"},
		{"cost --acu lots", `--acu: "lots" is not a decimal number`},
		{"cost --acu -1", "--acu"},
		{"cost --dr-tasks 2", "want 0 or 1"},
		{"cost --active-region eu-west-1", `"eu-west-1"`},
		{"cost --state " + filepath.Join(dir, "none"), "no such file"},
		{"cost --state " + dir, "is a directory"},
		{"cost --state " + truncated, "ends in the middle of the JSON, after 5000 bytes; write the file with: terraform show -json"},
		{"cost now", "cost --help"},
	} {
		code, stdout, stderr := run(t, strings.Fields(c.args)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("holdfast %s: exit code %d, stdout %q, stderr %q; want 2 and one line with %q", c.args, code, stdout, stderr, c.want)
		}
	}
}
