package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// state is a Terraform state in the form of "terraform show -json", with untyped values.
type state struct {
	FormatVersion string `json:"format_version"`
	Values        values `json:"values"`
}

type values struct {
	Outputs map[string]*output `json:"outputs"`
	Root    *module            `json:"root_module"`
}

type output struct {
	Sensitive bool            `json:"sensitive"`
	Value     any             `json:"value,omitempty"`
	Type      json.RawMessage `json:"type,omitempty"`
}

type module struct {
	Address      string      `json:"address,omitempty"`
	Resources    []*resource `json:"resources,omitempty"`
	ChildModules []*module   `json:"child_modules,omitempty"`
}

type resource struct {
	Address       string         `json:"address"`
	Mode          string         `json:"mode"`
	Type          string         `json:"type"`
	Name          string         `json:"name"`
	Index         any            `json:"index,omitempty"`
	ProviderName  string         `json:"provider_name"`
	SchemaVersion int            `json:"schema_version"`
	Values        map[string]any `json:"values"`
	// Sensitive mirrors Values, with true where the value is a secret. It is used and not written.
	Sensitive any `json:"sensitive_values,omitempty"`
}

// text is a string attribute, empty if there is none.
func (r *resource) text(field string) string {
	s, _ := r.Values[field].(string)
	return s
}

// resources lists the managed resources of all modules by address.
func (s *state) resources() []*resource {
	var all []*resource
	s.Values.Root.each(func(r *resource) {
		if r.Mode == "managed" {
			all = append(all, r)
		}
	})
	slices.SortFunc(all, func(a, b *resource) int { return compare(a.Address, b.Address) })
	return all
}

func (m *module) each(visit func(*resource)) {
	if m == nil {
		return
	}
	for _, r := range m.Resources {
		visit(r)
	}
	for _, c := range m.ChildModules {
		c.each(visit)
	}
}

func compare(a, b string) int {
	return bytes.Compare([]byte(a), []byte(b))
}

func sameResources(a, b *state) bool {
	return slices.EqualFunc(a.resources(), b.resources(), func(x, y *resource) bool { return x.Address == y.Address })
}

func unmarshalState(data []byte) (*state, error) {
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	if s.Values.Root == nil {
		return nil, fmt.Errorf("the state has no root module")
	}
	return &s, nil
}

// marshal writes the state with everything in order and without what is not set: Terraform's own format does not
// tell null from absent.
func (s *state) marshal() ([]byte, error) {
	s.Values.Root.order()
	s.Values.Root.each(func(r *resource) {
		r.Sensitive = nil
		r.Values, _ = withoutNulls(r.Values).(map[string]any)
	})
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(s); err != nil {
		return nil, fmt.Errorf("write the state: %w", err)
	}
	return b.Bytes(), nil
}

func (m *module) order() {
	slices.SortFunc(m.Resources, func(a, b *resource) int { return compare(a.Address, b.Address) })
	slices.SortFunc(m.ChildModules, func(a, b *module) int { return compare(a.Address, b.Address) })
	for _, c := range m.ChildModules {
		c.order()
	}
}

func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			if x != nil {
				out[k] = withoutNulls(x)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = withoutNulls(x)
		}
		return out
	}
	return v
}
