package render

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// redacted stands where a secret was.
const redacted = "(redacted)"

// secretName matches attributes that hold secrets although nobody marked them.
var secretName = regexp.MustCompile(`(?i)(password|secret_string|secret_binary|private_key|auth_token|access_key)`)

// redact blanks every string that Terraform calls sensitive or whose name says that it is, and drops sensitive
// outputs' values.
func redact(s *state) {
	for _, out := range s.Values.Outputs {
		if out.Sensitive {
			out.Value = nil
		}
	}
	s.Values.Root.each(func(r *resource) {
		r.Values, _ = blank(r.Values, r.Sensitive, "").(map[string]any)
	})
}

func blank(v, sensitive any, name string) any {
	if all, is := sensitive.(bool); is && all {
		return blankAll(v)
	}
	switch v := v.(type) {
	case string:
		if v != "" && secretName.MatchString(name) && !strings.HasSuffix(name, "_arn") {
			return redacted
		}
	case map[string]any:
		marks, _ := sensitive.(map[string]any)
		for k, x := range v {
			v[k] = blank(x, marks[k], k)
		}
	case []any:
		marks, _ := sensitive.([]any)
		for i, x := range v {
			var mark any
			if i < len(marks) {
				mark = marks[i]
			}
			v[i] = blank(x, mark, name)
		}
	}
	return v
}

func blankAll(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = blankAll(x)
		}
	case []any:
		for i, x := range v {
			v[i] = blankAll(x)
		}
	case nil:
		return nil
	default:
		return redacted
	}
	return v
}

// invented matches what a mock provider makes up for a computed string.
var invented = regexp.MustCompile(`^[a-z0-9]{8}$`)

// settle replaces the strings that the mock providers made up and nobody overrode by ones that follow from where
// they stand. A string was made up if it looks so, was not there in the other run, and is no override.
func settle(s, other *state, wanted []override) {
	known := map[string]bool{}
	eachString(other, func(_, _, v string) { known[v] = true })
	for _, o := range wanted {
		for _, v := range o.values {
			if text, is := v.(string); is {
				known[text] = true
			}
		}
	}
	// Where a string stands first, by address and then by attribute, gives it its name.
	origin := map[string]string{}
	eachString(s, func(address, path, v string) {
		if invented.MatchString(v) && !known[v] {
			if place := address + "\x00" + path; origin[v] == "" || place < origin[v] {
				origin[v] = place
			}
		}
	})
	if len(origin) == 0 {
		return
	}
	var pairs []string
	for _, v := range sortedKeys(origin) {
		pairs = append(pairs, v, digest(origin[v])[:8])
	}
	replace(s, strings.NewReplacer(pairs...))
}

// eachString visits the strings of all resources; a path has no indexes, because the order of a set with made-up
// elements is made up too.
func eachString(s *state, visit func(address, path, v string)) {
	s.Values.Root.each(func(r *resource) {
		walk(r.Values, "", func(path, v string) { visit(r.Address, path, v) })
	})
}

func walk(v any, path string, visit func(path, v string)) {
	switch v := v.(type) {
	case string:
		visit(path, v)
	case map[string]any:
		for _, k := range sortedKeys(v) {
			walk(v[k], path+"."+k, visit)
		}
	case []any:
		for _, x := range v {
			walk(x, path, visit)
		}
	}
}

func replace(s *state, with *strings.Replacer) {
	s.Values.Root.each(func(r *resource) {
		v, _ := replaced(r.Values, with)
		r.Values, _ = v.(map[string]any)
	})
	for _, out := range s.Values.Outputs {
		out.Value, _ = replaced(out.Value, with)
	}
}

// replaced also puts a list in order if something in it was replaced.
func replaced(v any, with *strings.Replacer) (result any, changed bool) {
	switch v := v.(type) {
	case string:
		text := with.Replace(v)
		return text, text != v
	case map[string]any:
		for k, x := range v {
			y, c := replaced(x, with)
			v[k], changed = y, changed || c
		}
		return v, changed
	case []any:
		for i, x := range v {
			y, c := replaced(x, with)
			v[i], changed = y, changed || c
		}
		if changed {
			slices.SortFunc(v, func(a, b any) int { return compare(text(a), text(b)) })
		}
		return v, changed
	}
	return v, false
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
