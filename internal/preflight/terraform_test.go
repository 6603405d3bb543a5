package preflight_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/preflight"
)

// realTerraform makes sure that the PATH has a terraform: the machine's own, or the one that setup has built.
func realTerraform(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("terraform")
	if err == nil {
		return
	}
	built, err := filepath.Abs("../../.tools/bin")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", built+string(os.PathListSeparator)+os.Getenv("PATH"))
	if _, err = exec.LookPath("terraform"); err == nil {
		return
	}
	if os.Getenv("HOLDFAST_REQUIRE_TOOLS") != "" {
		t.Fatalf("the drift check can't be tried: %v", err)
	}
	t.Skipf("SKIPPED, the drift check is not tried: %v", err)
}

// TestTerraformDrift plans with the real program, over a configuration that needs no provider but the built-in one.
func TestTerraformDrift(t *testing.T) {
	realTerraform(t)
	t.Setenv("CHECKPOINT_DISABLE", "1")
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	terraform := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "terraform", append([]string{"-chdir=" + dir}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("terraform %v: %v\n%s", args, err, out)
		}
	}
	uninitialized, _, err := preflight.TerraformFolder(dir).Plan(t.Context())
	if err == nil || uninitialized {
		t.Errorf("a folder without a configuration: %t, %v", uninitialized, err)
	}
	const main = "variable \"tasks\" {\n  type = number\n}\nresource \"terraform_data\" \"service\" {\n  input = var.tasks\n}\n"
	check := func(want preflight.Severity, current string) {
		t.Helper()
		sources := healthy().sources()
		sources.Terraform = preflight.TerraformFolder(dir)
		r, err := preflight.Look(t.Context(), config(), sources, preflight.Options{Only: []string{"terraform"}})
		if err != nil {
			t.Fatal(err)
		}
		found := r.Checks[0].Findings
		if len(found) != 1 || found[0].Severity != want || !strings.Contains(found[0].Current, current) {
			t.Errorf("found %+v, want %s and %q", found, want, current)
		}
	}
	write("main.tf", main)
	write("terraform.tfvars", "tasks = 2\n")
	terraform("init", "-input=false", "-no-color")
	check(preflight.Fail, "Plan: 1 to add, 0 to change, 0 to destroy.")
	terraform("apply", "-auto-approve", "-input=false", "-no-color")
	check(preflight.OK, "no changes")
	write("terraform.tfvars", "tasks = 3\n")
	check(preflight.Fail, "Plan: 0 to add, 1 to change, 0 to destroy.")
	write("terraform.tfvars", "tasks = \"many\"\n")
	check(preflight.Unknown, "Invalid value for input variable")
	t.Setenv("PATH", t.TempDir())
	if _, _, err := preflight.TerraformFolder(dir).Plan(t.Context()); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("without terraform: %v", err)
	}
}
