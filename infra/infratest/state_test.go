package infratest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"holdfast/internal/topology/render"
)

// resource is one resource of a state.
type resource struct {
	Address       string         `json:"address"`
	Mode          string         `json:"mode"`
	Type          string         `json:"type"`
	Name          string         `json:"name"`
	Index         any            `json:"index"`
	SchemaVersion int            `json:"schema_version"`
	Values        map[string]any `json:"values"`
	// Module is the address of the module that holds it, empty for the root.
	Module string `json:"-"`
}

// state is a whole state, rendered from infra/ with mock providers: every reference in it leads to a resource in it.
type state struct {
	resources []resource
	raw       []byte
}

type module struct {
	Address   string     `json:"address"`
	Resources []resource `json:"resources"`
	Children  []module   `json:"child_modules"`
}

var protected struct {
	once  sync.Once
	state state
	err   error
}

// protectedState is the state of a protected deployment. It is rendered once and shared; nobody may change it.
func protectedState(t *testing.T) state {
	t.Helper()
	if testing.Short() {
		t.Skip("renders infra/, about half a minute")
	}
	command := needTerraform(t)
	protected.once.Do(func() {
		var raw []byte
		raw, protected.err = render.Render(t.Context(), render.Options{
			Terraform: command, Dir: infra, VarFiles: []string{"tests/protected.tfvars"},
		})
		if protected.err == nil {
			protected.state, protected.err = parseState(raw)
		}
	})
	if protected.err != nil {
		t.Fatal(protected.err)
	}
	return protected.state
}

func parseState(raw []byte) (state, error) {
	var document struct {
		Values struct {
			Root module `json:"root_module"`
		} `json:"values"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		return state{}, fmt.Errorf("parse the rendered state: %w", err)
	}
	s := state{raw: raw}
	s.add(document.Values.Root)
	if len(s.resources) < 200 {
		return state{}, fmt.Errorf("the rendered state has only %d resources", len(s.resources))
	}
	return s, nil
}

func (s *state) add(m module) {
	for _, r := range m.Resources {
		r.Module = m.Address
		if r.Mode == "managed" {
			s.resources = append(s.resources, r)
		}
	}
	for _, child := range m.Children {
		s.add(child)
	}
}

// of returns the resources of the given types.
func (s state) of(types ...string) []resource {
	var found []resource
	for _, r := range s.resources {
		for _, kind := range types {
			if r.Type == kind {
				found = append(found, r)
			}
		}
	}
	return found
}

// some is of, for properties that would hold trivially if there were none.
func (s state) some(t *testing.T, types ...string) []resource {
	t.Helper()
	found := s.of(types...)
	if len(found) == 0 {
		t.Fatalf("the state has no %s", strings.Join(types, ", "))
	}
	return found
}

func (r resource) text(name string) string {
	s, _ := r.Values[name].(string)
	return s
}

func (r resource) number(name string) int {
	f, _ := r.Values[name].(float64)
	return int(f)
}

func (r resource) texts(name string) []string { return texts(r.Values[name]) }

func texts(v any) []string {
	var found []string
	list, _ := v.([]any)
	for _, item := range list {
		if s, is := item.(string); is {
			found = append(found, s)
		}
	}
	return found
}

// block returns the only block of that name, or nil.
func (r resource) block(name string) map[string]any {
	list, _ := r.Values[name].([]any)
	if len(list) != 1 {
		return nil
	}
	b, _ := list[0].(map[string]any)
	return b
}

var siteOfModule = regexp.MustCompile(`^module\.[a-z0-9_]+_(primary|dr)$`)

// site is "primary" or "dr" for a resource of a site's module, else empty.
func (r resource) site() string {
	if m := siteOfModule.FindStringSubmatch(r.Module); m != nil {
		return m[1]
	}
	return ""
}

func readFile(t *testing.T, elements ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
