package infratest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryValidationHasAFailingCase makes one validation after the other always true; the cases of
// tests/inputs.tftest.hcl must notice each time. It runs with HOLDFAST_MUTATE=1, and takes two seconds per validation.
func TestEveryValidationHasAFailingCase(t *testing.T) {
	if os.Getenv("HOLDFAST_MUTATE") == "" {
		t.Skip("set HOLDFAST_MUTATE=1")
	}
	text := readFile(t, infra, "variables.tf")
	block := regexp.MustCompile(`(?ms)^  validation \{.*?^  \}`)
	condition := regexp.MustCompile(`(?s)condition(\s*)=.*?(\n    error_message)`)
	places := block.FindAllStringIndex(text, -1)
	if len(places) < 60 {
		t.Fatalf("only %d validations found", len(places))
	}
	w := &workspace{command: needTerraform(t), dir: t.TempDir()}
	inputs := filepath.Join(w.dir, "tests", "inputs")
	if err := os.MkdirAll(inputs, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("main.tf", "terraform {}\n") // an empty folder is not initialised
	write("tests/inputs.tftest.hcl", readFile(t, infra, "tests", "inputs.tftest.hcl"))
	write("tests/inputs/variables.tf", text)
	w.must(t, "init", "-no-color", "-input=false")
	w.must(t, "test", "-no-color")
	for _, p := range places {
		before, validation, after := text[:p[0]], text[p[0]:p[1]], text[p[1]:]
		weak := condition.ReplaceAllString(validation, "condition$1= true || var."+variableOf(before)+" == null$2")
		if weak == validation {
			t.Fatalf("no condition in\n%s", validation)
		}
		write("tests/inputs/variables.tf", before+weak+after)
		if out, err := w.terraform(t.Context(), "test", "-no-color"); err == nil {
			t.Errorf("nothing fails without this validation of %s:\n%s", variableOf(before), validation)
		} else if !strings.Contains(out, "Missing expected failure") {
			t.Fatalf("the changed file is not valid: %s", tail(out))
		}
	}
}

func variableOf(before string) string {
	names := regexp.MustCompile(`(?m)^variable "([a-z_]+)"`).FindAllStringSubmatch(before, -1)
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprint(names[len(names)-1][1])
}
