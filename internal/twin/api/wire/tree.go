package wire

import (
	"math"
	"reflect"
	"time"
)

// A tree is a message without a protocol: map[string]any, []any, string, bool, int64, float64, []byte or time.Time.
// Members that are nil, and enumerations that are empty, are left out.

// Tree turns an SDK struct, or any map or slice of such, into a tree.
func (s Style) Tree(v any) any { return s.tree(reflect.ValueOf(v)) }

func (s Style) tree(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		if v.Kind() == reflect.Interface && unions[v.Type()] != nil {
			return s.union(v)
		}
		return s.tree(v.Elem())
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		return v.Int()
	case reflect.Float32, reflect.Float64:
		return v.Float()
	case reflect.Slice:
		return s.list(v)
	case reflect.Map:
		if v.IsNil() {
			return nil
		}
		out := make(map[string]any, v.Len())
		for _, k := range v.MapKeys() {
			out[k.String()] = s.tree(v.MapIndex(k))
		}
		return out
	case reflect.Struct:
		if v.Type() == timeType {
			return v.Interface().(time.Time)
		}
		return s.members(v)
	}
	return nil // streams and documents do not occur in what is served
}

func (s Style) list(v reflect.Value) any {
	if v.IsNil() {
		return nil
	}
	if v.Type() == bytesType {
		return v.Bytes()
	}
	out := make([]any, v.Len())
	for i := range out {
		out[i] = s.tree(v.Index(i))
	}
	return out
}

func (s Style) members(v reflect.Value) map[string]any {
	out := map[string]any{}
	for _, f := range reflect.VisibleFields(v.Type()) {
		if !field(f) {
			continue
		}
		value := v.FieldByIndex(f.Index)
		if f.Type.Kind() == reflect.String && value.Len() == 0 { // an enumeration without a value
			continue
		}
		if t := s.tree(value); t != nil {
			out[s.member(f.Name)] = t
		}
	}
	return out
}

// union writes {"S": value} for a union's member.
func (s Style) union(v reflect.Value) any {
	concrete := v.Elem().Elem()
	for name, t := range unions[v.Type()] {
		if t == concrete.Type() {
			return map[string]any{name: s.tree(concrete.FieldByName("Value"))}
		}
	}
	return nil
}

// epochSeconds is a time as the JSON and CBOR protocols write it, with milliseconds.
func epochSeconds(t time.Time) float64 {
	return float64(t.UnixMilli()) / 1000
}

// fromEpoch is the reverse; ok is false for what is no time.
func fromEpoch(seconds float64) (t time.Time, ok bool) {
	if math.IsNaN(seconds) || math.Abs(seconds) > 253402300800 { // the year 10000
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(fraction*1000))*int64(time.Millisecond)).UTC(), true
}
