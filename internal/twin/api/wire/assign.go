package wire

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// assign fills a Go value from a tree. Members that the struct does not have are ignored, as AWS ignores them.
func (s Style) assign(v reflect.Value, tree any, path string, depth int) error {
	if depth > maxDepth {
		return wrong(path, "Nesting is too deep")
	}
	if tree == nil {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if err := s.assign(p.Elem(), tree, path, depth); err != nil {
			return err
		}
		v.Set(p)
		return nil
	case reflect.Interface:
		return s.assignUnion(v, tree, path, depth)
	case reflect.Struct:
		if v.Type() == timeType {
			return assignTime(v, tree, path)
		}
		return s.assignStruct(v, tree, path, depth)
	case reflect.Slice:
		return s.assignList(v, tree, path, depth)
	case reflect.Map:
		return s.assignMap(v, tree, path, depth)
	default:
		return assignScalar(v, tree, path)
	}
}

func (s Style) assignStruct(v reflect.Value, tree any, path string, depth int) error {
	m, ok := tree.(map[string]any)
	if !ok {
		return wrong(path, "Unexpected token: want a structure")
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		if !field(f) {
			continue
		}
		name := s.member(f.Name)
		if t, ok := m[name]; ok {
			if err := s.assign(v.FieldByIndex(f.Index), t, join(path, name), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (s Style) assignUnion(v reflect.Value, tree any, path string, depth int) error {
	members := unions[v.Type()]
	if members == nil {
		return nil // streams and documents do not occur in what is served
	}
	m, ok := tree.(map[string]any)
	if !ok {
		return wrong(path, "Unexpected token: want a structure")
	}
	set := 0
	for name, t := range m {
		member, known := members[name]
		if !known || t == nil {
			continue
		}
		if set++; set > 1 {
			return wrong(path, "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the "+
				"supported datatypes")
		}
		p := reflect.New(member)
		if err := s.assign(p.Elem().FieldByName("Value"), t, join(path, name), depth+1); err != nil {
			return err
		}
		v.Set(p)
	}
	return nil
}

// assignList accepts a list, and the query protocol's maps of numbers to elements, below an element name or not.
func (s Style) assignList(v reflect.Value, tree any, path string, depth int) error {
	if v.Type() == bytesType {
		return assignBytes(v, tree, path)
	}
	elements, ok := tree.([]any)
	if !ok {
		m, isMap := tree.(map[string]any)
		if !isMap {
			if text, isText := tree.(string); isText && text == "" { // "Names=" is an empty list in a query
				v.Set(reflect.MakeSlice(v.Type(), 0, 0))
				return nil
			}
			return wrong(path, "Unexpected token: want a list")
		}
		if elements, ok = numbered(m); !ok {
			return wrong(path, "Unexpected list element")
		}
	}
	out := reflect.MakeSlice(v.Type(), len(elements), len(elements))
	for i, e := range elements {
		if err := s.assign(out.Index(i), e, path+"."+strconv.Itoa(i+1), depth+1); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

// numbered turns {"2": b, "1": a}, or {"member": {...}} around it, into a list.
func numbered(m map[string]any) ([]any, bool) {
	if len(m) == 1 {
		for name, inner := range m {
			if _, err := strconv.Atoi(name); err != nil {
				m, _ = inner.(map[string]any)
			}
		}
	}
	if m == nil {
		return nil, false
	}
	indexes := make([]int, 0, len(m))
	for name := range m {
		n, err := strconv.Atoi(name)
		if err != nil || n < 0 {
			return nil, false
		}
		indexes = append(indexes, n)
	}
	slices.Sort(indexes)
	indexes = slices.Compact(indexes)
	out := make([]any, 0, len(indexes))
	for _, n := range indexes {
		if e, ok := m[strconv.Itoa(n)]; ok {
			out = append(out, e)
		}
	}
	return out, len(out) == len(m)
}

// assignMap accepts a map, and the query protocol's "entry.1.key" and "entry.1.value".
func (s Style) assignMap(v reflect.Value, tree any, path string, depth int) error {
	m, ok := tree.(map[string]any)
	if !ok {
		return wrong(path, "Unexpected token: want a map")
	}
	if entries, ok := entriesOf(m); ok {
		m = entries
	}
	out := reflect.MakeMapWithSize(v.Type(), len(m))
	for name, t := range m {
		e := reflect.New(v.Type().Elem()).Elem()
		if err := s.assign(e, t, join(path, name), depth+1); err != nil {
			return err
		}
		out.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), e)
	}
	v.Set(out)
	return nil
}

func entriesOf(m map[string]any) (map[string]any, bool) {
	inner, ok := m["entry"].(map[string]any)
	if !ok || len(m) != 1 {
		return nil, false
	}
	list, ok := numbered(inner)
	if !ok {
		return nil, false
	}
	out := map[string]any{}
	for _, e := range list {
		pair, ok := e.(map[string]any)
		if !ok {
			return nil, false
		}
		key, ok := pair["key"].(string)
		if !ok {
			return nil, false
		}
		out[key] = pair["value"]
	}
	return out, true
}

func assignScalar(v reflect.Value, tree any, path string) error {
	switch v.Kind() {
	case reflect.String:
		text, ok := tree.(string)
		if !ok {
			return wrong(path, "%s cannot be converted to String", kindOf(tree))
		}
		v.SetString(text)
		return nil
	case reflect.Bool:
		switch t := tree.(type) {
		case bool:
			v.SetBool(t)
			return nil
		case string:
			if t == "true" || t == "false" {
				v.SetBool(t == "true")
				return nil
			}
		}
		return wrong(path, "%s cannot be converted to Boolean", kindOf(tree))
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		n, ok := integer(tree)
		if !ok || v.OverflowInt(n) {
			return wrong(path, "%s cannot be converted to Integer", kindOf(tree))
		}
		v.SetInt(n)
		return nil
	case reflect.Float32, reflect.Float64:
		f, ok := float(tree)
		if !ok {
			return wrong(path, "%s cannot be converted to Double", kindOf(tree))
		}
		v.SetFloat(f)
		return nil
	}
	return nil // streams and documents do not occur in what is served
}

// kindOf is a value's kind, as AWS's serialization errors name it.
func kindOf(tree any) string {
	switch tree.(type) {
	case string:
		return "STRING_VALUE"
	case bool:
		return "BOOLEAN_VALUE"
	case json.Number, int64, float64:
		return "NUMBER_VALUE"
	case map[string]any:
		return "START_OBJECT"
	case []any:
		return "START_ARRAY"
	}
	return "VALUE"
}

func integer(tree any) (int64, bool) {
	switch t := tree.(type) {
	case int64:
		return t, true
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, true
		}
		f, err := t.Float64()
		return wholeNumber(f, err == nil)
	case float64:
		return wholeNumber(t, true)
	case string:
		n, err := strconv.ParseInt(t, 10, 64)
		return n, err == nil
	}
	return 0, false
}

func wholeNumber(f float64, ok bool) (int64, bool) {
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

func float(tree any) (float64, bool) {
	switch t := tree.(type) {
	case int64:
		return float64(t), true
	case float64:
		return t, true
	case json.Number:
		f, err := t.Float64()
		return f, err == nil
	case string:
		f, err := strconv.ParseFloat(t, 64)
		return f, err == nil
	}
	return 0, false
}

func assignBytes(v reflect.Value, tree any, path string) error {
	switch t := tree.(type) {
	case []byte:
		v.SetBytes(t)
		return nil
	case string:
		b, err := base64.StdEncoding.DecodeString(t)
		if err != nil {
			return wrong(path, "Invalid base64")
		}
		v.SetBytes(b)
		return nil
	}
	return wrong(path, "%s cannot be converted to Blob", kindOf(tree))
}

// assignTime accepts a time, seconds since 1970, and ISO 8601.
func assignTime(v reflect.Value, tree any, path string) error {
	switch t := tree.(type) {
	case time.Time:
		v.Set(reflect.ValueOf(t.UTC()))
		return nil
	case string:
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04Z", "2006-01-02"} {
			if parsed, err := time.Parse(layout, t); err == nil {
				v.Set(reflect.ValueOf(parsed.UTC()))
				return nil
			}
		}
	}
	if f, ok := float(tree); ok {
		if t, ok := fromEpoch(f); ok {
			v.Set(reflect.ValueOf(t))
			return nil
		}
	}
	return wrong(path, "%s cannot be converted to Timestamp", kindOf(tree))
}
