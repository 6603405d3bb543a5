package render_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/topology"
	"holdfast/internal/topology/render"
)

// project is the root of the repository, as seen from a test.
const project = "../../.."

// needTerraform returns the project's Terraform command. HOLDFAST_REQUIRE_TOOLS, which "make test" sets, turns its
// absence into a failure.
func needTerraform(t *testing.T) string {
	t.Helper()
	command, err := filepath.Abs(filepath.Join(project, "scripts", "terraform"))
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

// The embedded default is a copy of what infra/ says; this is what keeps it from going stale.
func TestEmbeddedDefaultIsWhatInfraRenders(t *testing.T) {
	if testing.Short() {
		t.Skip("runs terraform test, about 15 seconds")
	}
	fresh, err := render.Render(t.Context(), render.Options{
		Terraform: needTerraform(t), Dir: filepath.Join(project, "infra"), VarFiles: []string{"tests/twin.tfvars"},
		Previous: topology.DefaultState(),
	})
	if err != nil {
		t.Fatalf("%v (if infra/ has changed, run 'make topology')", err)
	}
	if embedded := topology.DefaultState(); !bytes.Equal(fresh, embedded) {
		t.Errorf("infra/ and internal/topology/default.json differ, run 'make topology': %s", firstDifference(embedded, fresh))
	}
}

// firstDifference shows both sides from a little before the place where they part.
func firstDifference(embedded, fresh []byte) string {
	const before, after = 120, 160
	i := 0
	for i < min(len(embedded), len(fresh)) && embedded[i] == fresh[i] {
		i++
	}
	part := func(b []byte) string {
		return strings.Join(strings.Fields(string(b[min(len(b), max(0, i-before)):min(len(b), i+after)])), " ")
	}
	return "embedded has …" + part(embedded) + "…, infra renders …" + part(fresh) + "…"
}

func TestRenderSaysWhatAConfigurationLacks(t *testing.T) {
	_, err := render.Render(t.Context(), render.Options{Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), render.TestFile) {
		t.Errorf("a configuration without the test file: %v", err)
	}
}
