package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"time"
)

// DecodeJSON fills the struct that into points to from a JSON body. An empty body is an empty structure.
func (s Style) DecodeJSON(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // floats would lose the digits of large integers
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return wrong("", "Unable to parse the request as JSON")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return wrong("", "Unexpected data after the JSON value")
	}
	return s.assign(reflect.ValueOf(into).Elem(), tree, "", 0)
}

// EncodeJSON writes an SDK struct as JSON. It returns an error only for numbers that JSON lacks (NaN).
func (s Style) EncodeJSON(v any) ([]byte, error) { return MarshalTree(s.Tree(v)) }

// MarshalTree writes a tree as JSON.
func MarshalTree(tree any) ([]byte, error) {
	if tree == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(jsonTree(tree))
}

// jsonTree replaces times by seconds since 1970.
func jsonTree(tree any) any {
	switch t := tree.(type) {
	case time.Time:
		return epochSeconds(t)
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, v := range t {
			out[k] = jsonTree(v)
		}
		return out
	case []any:
		out := make([]any, len(t))
		for i, v := range t {
			out[i] = jsonTree(v)
		}
		return out
	}
	return tree
}
