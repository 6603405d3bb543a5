package infratest

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// marker is a password that stands nowhere else.
const marker = "Q7mwL2zX9vKp4tRb8nYs"

// givenPassword replaces the generated one, which the real provider can only make with an account.
var givenPassword = []string{"TF_VAR_db_master_password=" + marker}

// The real provider plans the deployment without credentials; what it writes down is what a state would hold.
func TestSecretsStandInNoPlan(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("plans with the real provider, about half a minute")
	}
	w := newWorkspace(t, map[string]string{"offline_override.tf": offlineProviders()})
	w.env = givenPassword
	printed := w.must(t, "plan", "-no-color", "-input=false", "-refresh=false", "-var-file=tests/protected.tfvars", "-out=it.tfplan")
	if strings.Contains(printed, marker) {
		t.Error("the plan prints a secret")
	}
	shown := w.must(t, "show", "-json", "it.tfplan")
	if strings.Contains(shown, marker) {
		t.Error("the plan as JSON holds a secret")
	}
	archive, err := zip.OpenReader(filepath.Join(w.dir, "it.tfplan"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(marker)) {
			t.Errorf("%s in the plan file holds a secret", f.Name)
		}
	}

	// The test must be able to see it: what is sent to AWS is in the plan's resources, only not with its value.
	var p plan
	if err := json.Unmarshal([]byte(shown), &p); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, r := range p.ResourceChanges {
		if (r.Type == "aws_rds_cluster" || r.Type == "aws_secretsmanager_secret_version") && r.Change.After != nil {
			if r.Change.After["master_password_wo_version"] != nil || r.Change.After["secret_string_wo_version"] != nil {
				sent++
			}
			for _, name := range []string{"master_password", "master_password_wo", "secret_string", "secret_string_wo"} {
				if r.Change.After[name] != nil {
					t.Errorf("%s has %s in the plan", r.Address, name)
				}
			}
		}
	}
	if sent != 2 {
		t.Errorf("the password goes to %d resources, want the secret and the writer", sent)
	}
	realProviderAgrees(t, p)
}

// realProviderAgrees checks in a plan with the provider's true defaults what mocks could not know.
func realProviderAgrees(t *testing.T, p plan) {
	t.Helper()
	seen := map[string]int{}
	for _, r := range p.ResourceChanges {
		after := r.Change.After
		switch r.Type {
		case "aws_ecs_service":
			seen[r.Type]++
			if after["wait_for_steady_state"] == true {
				t.Errorf("%s waits for healthy tasks, which a standby that was never initialised has not", r.Address)
			}
		case "aws_rds_cluster":
			seen[r.Type]++
			if after["manage_master_user_password"] == true {
				t.Errorf("%s has a managed password, which a global database does not support", r.Address)
			}
		case "aws_lb_target_group":
			seen[r.Type]++
			if check, _ := after["health_check"].([]any); len(check) != 1 {
				t.Errorf("%s has no health check", r.Address)
			}
		}
	}
	if seen["aws_ecs_service"] != 4 || seen["aws_rds_cluster"] != 2 || seen["aws_lb_target_group"] != 6 {
		t.Errorf("the plan has %v, want 4 services, 2 clusters, 6 target groups", seen)
	}
}

// The state that mocks make holds every value in clear, so it would show a secret that is not write-only.
func TestSecretsStandInNoState(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("applies with mock providers, about half a minute")
	}
	w := newWorkspace(t, nil)
	file := filepath.Join(w.dir, "tests", "render.tftest.hcl")
	text := readFile(t, file)
	const given = "rendered-and-then-redacted"
	if strings.Count(text, given) != 1 {
		t.Fatalf("%s gives another password than this test looks for", file)
	}
	out := w.must(t, "test", "-json", "-verbose", "-filter=tests/render.tftest.hcl")
	states := 0
	for line := range strings.Lines(out) {
		if strings.Contains(line, `"type":"test_state"`) {
			states++
			if strings.Contains(line, given) {
				t.Error("the state holds a secret")
			}
		}
	}
	if states != 1 {
		t.Errorf("the run printed %d states, want 1", states)
	}
}
