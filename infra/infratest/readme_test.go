package infratest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	declared = regexp.MustCompile(`(?m)^(variable|output) "([a-z0-9_]+)" \{\n((?:.*\n)*?)\}\n`)
	row      = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)`")
)

// folders are the root module and every module below it.
func folders(t *testing.T) []string {
	t.Helper()
	modules, err := filepath.Glob(filepath.Join(infra, "modules", "*"))
	if err != nil || len(modules) < 9 {
		t.Fatalf("%d modules, error %v", len(modules), err)
	}
	return append(modules, infra)
}

// Every README names exactly the inputs and outputs that there are, and shows a picture of what is built.
func TestReadmesAreComplete(t *testing.T) {
	for _, dir := range folders(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			readme := readFile(t, dir, "README.md")
			if !strings.Contains(readme, "```text") {
				t.Error("no picture")
			}
			sections := map[string]string{"variable": section(readme, "## Inputs"), "output": section(readme, "## Outputs")}
			for kind, file := range map[string]string{"variable": "variables.tf", "output": "outputs.tf"} {
				names := map[string]bool{}
				for _, m := range declared.FindAllStringSubmatch(readFile(t, dir, file), -1) {
					if m[1] == kind {
						names[m[2]] = true
					}
				}
				documented := map[string]bool{}
				for _, m := range row.FindAllStringSubmatch(sections[kind], -1) {
					documented[m[1]] = true
				}
				if !maps.Equal(names, documented) {
					t.Errorf("%ss are %v, the README has %v", kind, slices.Sorted(maps.Keys(names)), slices.Sorted(maps.Keys(documented)))
				}
			}
		})
	}
}

func section(text, heading string) string {
	_, after, _ := strings.Cut(text, heading+"\n")
	before, _, _ := strings.Cut(after, "\n## ")
	return before
}

func TestEveryVariableAndOutputIsTypedAndDescribed(t *testing.T) {
	for _, dir := range folders(t) {
		for _, file := range []string{"variables.tf", "outputs.tf"} {
			for _, m := range declared.FindAllStringSubmatch(readFile(t, dir, file), -1) {
				if !strings.Contains(m[3], "  description =") {
					t.Errorf("%s/%s: %s %s has no description", filepath.Base(dir), file, m[1], m[2])
				}
				if m[1] == "variable" && !strings.Contains(m[3], "  type") {
					t.Errorf("%s/%s: variable %s has no type", filepath.Base(dir), file, m[2])
				}
			}
		}
	}
}

// A configuration with a hundred inputs is a language of its own.
func TestRootHasFewInputs(t *testing.T) {
	n := 0
	for _, m := range declared.FindAllStringSubmatch(readFile(t, infra, "variables.tf"), -1) {
		if m[1] == "variable" {
			n++
		}
	}
	if n < 15 || n > 24 {
		t.Errorf("%d root inputs, want about 20", n)
	}
}

// Why somebody else owns a field must stand beside the line that ignores it.
func TestEveryIgnoreChangesSaysWhy(t *testing.T) {
	found := 0
	err := filepath.WalkDir(filepath.Join(infra, "modules"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".tf") {
			return err
		}
		lines := strings.Split(readFile(t, path), "\n")
		for i, line := range lines {
			if !strings.Contains(line, "ignore_changes") {
				continue
			}
			found++
			around := strings.Join(lines[max(0, i-4):min(len(lines), i+2)], "\n")
			if !strings.Contains(around, "#") {
				t.Errorf("%s:%d: no reason", path, i+1)
			}
		}
		return nil
	})
	if err != nil || found < 3 {
		t.Errorf("%d ignore_changes found, error %v", found, err)
	}
}
