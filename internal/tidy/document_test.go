package tidy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func documents(t *testing.T) map[string]string {
	t.Helper()
	files, err := tracked()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, ".md") {
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(text)
		}
	}
	if len(all) == 0 {
		t.Fatal("found no documents: the rules would hold for nothing")
	}
	return all
}

var lineNumber = regexp.MustCompile(`\.(?:go|tf|hcl|sql|sh):\d+|#L\d+|\blines? \d+\b`)

// A line number is wrong after the next commit; the name of a function is not.
func TestDocumentsNameNoLines(t *testing.T) {
	for name, text := range documents(t) {
		for _, found := range lineNumber.FindAllString(text, -1) {
			t.Errorf("%s names %q: name the function instead", name, found)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
}

var decision = regexp.MustCompile(`^docs/adr/([0-9]{4})-[a-z0-9-]+\.md$`)

// Every decision says what it costs.
func TestDecisionsHaveTheirParts(t *testing.T) {
	seen := map[string]string{}
	for name, text := range documents(t) {
		if !strings.HasPrefix(name, "docs/adr/") || name == "docs/adr/README.md" {
			continue
		}
		m := decision.FindStringSubmatch(name)
		if m == nil {
			t.Errorf("%s: want a name such as docs/adr/0001-what-was-decided.md", name)
			continue
		}
		if other := seen[m[1]]; other != "" {
			t.Errorf("%s has the number of %s", name, other)
		}
		seen[m[1]] = name
		for _, heading := range []string{"\nStatus: ", "\n## Context", "\n## Decision", "\n## Price"} {
			if !strings.Contains(text, heading) {
				t.Errorf("%s has no %q", name, strings.TrimSpace(heading))
			}
		}
	}
}

var machinePath = regexp.MustCompile(`(?:^|[^A-Za-z0-9_./-])/(?:root|home/[a-z]+)/`)

// A path of somebody's own machine works for nobody else.
func TestNothingNamesSomebodysFolder(t *testing.T) {
	files, err := tracked()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasPrefix(name, "internal/tidy/") || filepath.Base(name) == "Dockerfile" {
			continue // in an image, root's home is everybody's
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if found := machinePath.Find(text); found != nil {
			t.Errorf("%s names %q", name, found)
		}
	}
}
