package infratest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// infra is the configuration under test, as seen from this package.
const infra = ".."

// needTerraform returns the project's Terraform command. HOLDFAST_REQUIRE_TOOLS, which "make test" sets, turns its
// absence into a failure.
func needTerraform(t *testing.T) string {
	t.Helper()
	command, err := filepath.Abs(filepath.Join(infra, "..", "scripts", "terraform"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), command, "version").CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && os.Getenv("HOLDFAST_REQUIRE_TOOLS") == "":
		t.Skipf("%s", out)
	case err != nil:
		t.Fatalf("%v: %s", err, out)
	}
	return command
}

// workspace is a copy of infra/ in which Terraform may run.
type workspace struct {
	command string
	dir     string
	env     []string
}

// commandTimeout bounds one Terraform command. The longest, an apply against moto_server, takes about three minutes.
const commandTimeout = 12 * time.Minute

// newWorkspace copies infra/ and initialises it. The changes are applied to the copy: file name to its new content.
func newWorkspace(t *testing.T, changes map[string]string) *workspace {
	t.Helper()
	w := &workspace{command: needTerraform(t), dir: t.TempDir()}
	if err := copyTree(infra, w.dir); err != nil {
		t.Fatal(err)
	}
	for name, content := range changes {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := w.terraform(t.Context(), "init", "-no-color", "-input=false"); err != nil {
		t.Fatalf("terraform init: %v\n%s", err, out)
	}
	return w
}

// copyTree copies regular files and what symbolic links lead to, without what Terraform leaves behind.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch name := d.Name(); {
		case d.IsDir() && (name == ".terraform" || name == "infratest"):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case strings.Contains(name, ".tfstate") || name == "terraform.tfvars" || name == ".terraform.lock.hcl":
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
}

// terraform runs one command in the workspace and returns what it printed, errors included.
func (w *workspace) terraform(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.command, args...)
	// Terraform stops in good order when it is interrupted, and takes its providers with it.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Dir = w.dir
	cmd.Env = append(offlineEnvironment(), w.env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// must is terraform for commands that have to work.
func (w *workspace) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.terraform(t.Context(), args...)
	if err != nil {
		t.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, tail(out))
	}
	return out
}

// offlineEnvironment is the environment without anything that could lead a provider to a real account.
func offlineEnvironment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "AWS_") && !strings.HasPrefix(entry, "TF_VAR_") {
			env = append(env, entry)
		}
	}
	return append(env, "AWS_EC2_METADATA_DISABLED=true", "TF_IN_AUTOMATION=1", "NO_COLOR=1")
}

// offlineProviders makes every alias of the real provider plan without calling anything. Terraform merges a file of
// this name over providers.tf.
func offlineProviders() string {
	var b strings.Builder
	for _, alias := range []string{"primary", "dr", "us_east_1", "ephemeral"} {
		fmt.Fprintf(&b, `
provider "aws" {
  alias                       = %q
  access_key                  = "unused"
  secret_key                  = "unused"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
  allowed_account_ids         = null
}
`, alias)
	}
	return b.String()
}

// showPlan returns a saved plan as JSON.
func (w *workspace) showPlan(t *testing.T, file string) plan {
	t.Helper()
	var p plan
	out := w.must(t, "show", "-json", file)
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatalf("terraform show -json %s: %v", file, err)
	}
	return p
}

// plan is the part of Terraform's JSON plan that the tests read.
type plan struct {
	ResourceChanges []resourceChange `json:"resource_changes"`
}

type resourceChange struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Change  struct {
		Actions      []string       `json:"actions"`
		Before       map[string]any `json:"before"`
		After        map[string]any `json:"after"`
		AfterUnknown map[string]any `json:"after_unknown"`
		ReplacePaths []any          `json:"replace_paths"`
	} `json:"change"`
}

func tail(s string) string {
	const limit = 6000
	if len(s) > limit {
		return "…" + s[len(s)-limit:]
	}
	return s
}
