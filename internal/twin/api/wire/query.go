package wire

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// maxParameters bounds the parameters of one query request.
const maxParameters = 10000

// DecodeQuery fills the struct that into points to from the parameters of a query request, as in
// Filters.Filter.1.Values.Value.2=x.
func (s Style) DecodeQuery(parameters url.Values, into any) error {
	if len(parameters) > maxParameters {
		return wrong("", "Too many parameters")
	}
	names := make([]string, 0, len(parameters))
	for name := range parameters {
		names = append(names, name)
	}
	slices.Sort(names) // the same request gives the same error every time
	tree := map[string]any{}
	for _, name := range names {
		if name == "Action" || name == "Version" {
			continue
		}
		if err := plant(tree, name, parameters[name][0]); err != nil {
			return err
		}
	}
	return s.assign(reflect.ValueOf(into).Elem(), tree, "", 0)
}

// plant puts a value at a dotted name.
func plant(tree map[string]any, name, value string) error {
	parts := strings.Split(name, ".")
	if len(parts) > maxDepth {
		return wrong(name, "Nesting is too deep")
	}
	for _, part := range parts[:len(parts)-1] {
		next, ok := tree[part].(map[string]any)
		if !ok {
			if tree[part] != nil {
				return wrong(name, "Unexpected complex element")
			}
			next = map[string]any{}
			tree[part] = next
		}
		tree = next
	}
	last := parts[len(parts)-1]
	if tree[last] != nil {
		return wrong(name, "Start of structure or map found where not expected")
	}
	tree[last] = value
	return nil
}
