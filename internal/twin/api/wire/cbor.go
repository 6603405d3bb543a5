package wire

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
)

// DecodeCBOR fills the struct that into points to from a CBOR body. An empty body is an empty structure.
func (s Style) DecodeCBOR(body []byte, into any) error {
	if len(body) == 0 {
		return nil
	}
	v, err := cbor.Decode(body)
	if err != nil {
		return wrong("", "Unable to parse the request as CBOR")
	}
	tree, err := fromCBOR(v)
	if err != nil {
		return wrong("", "%s", err.Error())
	}
	return s.assign(reflect.ValueOf(into).Elem(), tree, "", 0)
}

// EncodeCBOR writes an SDK struct as CBOR.
func (s Style) EncodeCBOR(v any) []byte { return MarshalCBOR(s.Tree(v)) }

// MarshalCBOR writes a tree as CBOR.
func MarshalCBOR(tree any) []byte {
	if tree == nil {
		tree = map[string]any{}
	}
	return cbor.Encode(toCBOR(tree))
}

func toCBOR(tree any) cbor.Value {
	switch t := tree.(type) {
	case string:
		return cbor.String(t)
	case bool:
		return cbor.Bool(t)
	case int64:
		if t < 0 {
			return cbor.NegInt(uint64(-(t + 1)) + 1)
		}
		return cbor.Uint(t)
	case float64:
		return cbor.Float64(t)
	case []byte:
		return cbor.Slice(t)
	case time.Time:
		return &cbor.Tag{ID: 1, Value: cbor.Float64(epochSeconds(t))}
	case map[string]any:
		m := make(cbor.Map, len(t))
		for k, v := range t {
			m[k] = toCBOR(v)
		}
		return m
	case []any:
		l := make(cbor.List, len(t))
		for i, v := range t {
			l[i] = toCBOR(v)
		}
		return l
	}
	return &cbor.Nil{}
}

func fromCBOR(v cbor.Value) (any, error) {
	switch t := v.(type) {
	case cbor.String:
		return string(t), nil
	case cbor.Bool:
		return bool(t), nil
	case cbor.Uint, cbor.NegInt:
		return cbor.AsInt64(v)
	case cbor.Float32, cbor.Float64:
		return cbor.AsFloat64(v)
	case cbor.Slice:
		return []byte(t), nil
	case *cbor.Tag:
		if t.ID != 1 {
			return nil, fmt.Errorf("unexpected tag %d", t.ID)
		}
		return cborTime(t.Value)
	case cbor.Map:
		out := make(map[string]any, len(t))
		for k, e := range t {
			var err error
			if out[k], err = fromCBOR(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	case cbor.List:
		out := make([]any, len(t))
		for i, e := range t {
			var err error
			if out[i], err = fromCBOR(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	case *cbor.Nil, *cbor.Undefined:
		return nil, nil
	}
	return nil, errors.New("unexpected value")
}

func cborTime(v cbor.Value) (any, error) {
	tree, err := fromCBOR(v)
	if err != nil {
		return nil, err
	}
	if seconds, ok := float(tree); ok {
		if t, ok := fromEpoch(seconds); ok {
			return t, nil
		}
	}
	return nil, errors.New("a timestamp is not a number of seconds")
}
