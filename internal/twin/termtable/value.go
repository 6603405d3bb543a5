package termtable

import (
	"bytes"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Limits of an item.
const (
	maxItemBytes = 400 << 10
	maxKeyBytes  = 2048
	maxNesting   = 32
)

// normalize checks a value that a client sent and returns it with its numbers in canonical form.
func normalize(v types.AttributeValue, depth int) (types.AttributeValue, error) {
	if depth > maxNesting {
		return nil, validation("Nesting Levels have exceeded supported limits: Attributes nested beyond %d levels", maxNesting)
	}
	switch v := v.(type) {
	case *types.AttributeValueMemberN:
		d, err := parseDecimal(v.Value)
		if err != nil {
			return nil, err
		}
		return &types.AttributeValueMemberN{Value: d.String()}, nil
	case *types.AttributeValueMemberNS:
		return normalizeNumberSet(v)
	case *types.AttributeValueMemberSS:
		if len(v.Value) == 0 {
			return nil, parameterError("An string set  may not be empty")
		}
		return v, unique(v.Value)
	case *types.AttributeValueMemberBS:
		if len(v.Value) == 0 {
			return nil, parameterError("Binary sets should not be empty")
		}
		var members []string
		for _, b := range v.Value {
			members = append(members, string(b))
		}
		return v, unique(members)
	case *types.AttributeValueMemberL:
		list := make([]types.AttributeValue, len(v.Value))
		for i, e := range v.Value {
			var err error
			if list[i], err = normalize(e, depth+1); err != nil {
				return nil, err
			}
		}
		return &types.AttributeValueMemberL{Value: list}, nil
	case *types.AttributeValueMemberM:
		m, err := normalizeMap(v.Value, depth+1)
		return &types.AttributeValueMemberM{Value: m}, err
	case *types.AttributeValueMemberNULL:
		if !v.Value {
			return nil, parameterError("Null attribute value types must have the value of true")
		}
	case nil:
		return nil, validation("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
	}
	return v, nil
}

func normalizeMap(m map[string]types.AttributeValue, depth int) (map[string]types.AttributeValue, error) {
	out := make(map[string]types.AttributeValue, len(m))
	for name, e := range m {
		v, err := normalize(e, depth)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func normalizeNumberSet(v *types.AttributeValueMemberNS) (types.AttributeValue, error) {
	if len(v.Value) == 0 {
		return nil, parameterError("An number set  may not be empty")
	}
	numbers := make([]string, len(v.Value))
	for i, s := range v.Value {
		d, err := parseDecimal(s)
		if err != nil {
			return nil, err
		}
		numbers[i] = d.String()
	}
	return &types.AttributeValueMemberNS{Value: numbers}, unique(numbers)
}

func unique(members []string) error {
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		if seen[m] {
			return parameterError("Input collection %v contains duplicates.", members)
		}
		seen[m] = true
	}
	return nil
}

// typeOf is DynamoDB's letter for a value's type.
func typeOf(v types.AttributeValue) string {
	switch v.(type) {
	case *types.AttributeValueMemberS:
		return "S"
	case *types.AttributeValueMemberN:
		return "N"
	case *types.AttributeValueMemberB:
		return "B"
	case *types.AttributeValueMemberBOOL:
		return "BOOL"
	case *types.AttributeValueMemberNULL:
		return "NULL"
	case *types.AttributeValueMemberSS:
		return "SS"
	case *types.AttributeValueMemberNS:
		return "NS"
	case *types.AttributeValueMemberBS:
		return "BS"
	case *types.AttributeValueMemberL:
		return "L"
	default:
		return "M"
	}
}

// equal compares two stored values; sets have no order, and canonical numbers are equal when their text is.
func equal(a, b types.AttributeValue) bool {
	if typeOf(a) != typeOf(b) {
		return false
	}
	switch a := a.(type) {
	case *types.AttributeValueMemberSS, *types.AttributeValueMemberNS, *types.AttributeValueMemberBS:
		x, y := slices.Sorted(slices.Values(members(a))), slices.Sorted(slices.Values(members(b)))
		return slices.Equal(x, y)
	case *types.AttributeValueMemberL:
		return slices.EqualFunc(a.Value, b.(*types.AttributeValueMemberL).Value, equal)
	case *types.AttributeValueMemberM:
		return maps.EqualFunc(a.Value, b.(*types.AttributeValueMemberM).Value, equal)
	case *types.AttributeValueMemberBOOL:
		return a.Value == b.(*types.AttributeValueMemberBOOL).Value
	case *types.AttributeValueMemberNULL:
		return true
	}
	order, _ := compare(a, b)
	return order == 0
}

// compare orders two scalars of one type; ok is false for values that have no order.
func compare(a, b types.AttributeValue) (order int, ok bool) {
	if typeOf(a) != typeOf(b) {
		return 0, false
	}
	switch a := a.(type) {
	case *types.AttributeValueMemberS:
		return bytes.Compare([]byte(a.Value), []byte(b.(*types.AttributeValueMemberS).Value)), true
	case *types.AttributeValueMemberB:
		return bytes.Compare(a.Value, b.(*types.AttributeValueMemberB).Value), true
	case *types.AttributeValueMemberN:
		x, errX := parseDecimal(a.Value)
		y, errY := parseDecimal(b.(*types.AttributeValueMemberN).Value)
		return x.compareSafe(y, errX, errY)
	}
	return 0, false
}

func (d decimal) compareSafe(other decimal, errs ...error) (int, bool) {
	for _, err := range errs {
		if err != nil {
			return 0, false
		}
	}
	return d.compare(other), true
}

// members lists a set's elements as strings, nil for anything else.
func members(v types.AttributeValue) []string {
	switch v := v.(type) {
	case *types.AttributeValueMemberSS:
		return v.Value
	case *types.AttributeValueMemberNS:
		return v.Value
	case *types.AttributeValueMemberBS:
		out := make([]string, len(v.Value))
		for i, b := range v.Value {
			out[i] = string(b)
		}
		return out
	}
	return nil
}

// setOf builds a set of the same type as v.
func setOf(v types.AttributeValue, elements []string) types.AttributeValue {
	switch v.(type) {
	case *types.AttributeValueMemberSS:
		return &types.AttributeValueMemberSS{Value: elements}
	case *types.AttributeValueMemberNS:
		return &types.AttributeValueMemberNS{Value: elements}
	}
	set := &types.AttributeValueMemberBS{}
	for _, e := range elements {
		set.Value = append(set.Value, []byte(e))
	}
	return set
}

// clone copies lists and maps, so that an update does not change what somebody else reads.
func clone(v types.AttributeValue) types.AttributeValue {
	switch v := v.(type) {
	case *types.AttributeValueMemberL:
		list := make([]types.AttributeValue, len(v.Value))
		for i, e := range v.Value {
			list[i] = clone(e)
		}
		return &types.AttributeValueMemberL{Value: list}
	case *types.AttributeValueMemberM:
		return &types.AttributeValueMemberM{Value: cloneMap(v.Value)}
	}
	return v
}

func cloneMap(m map[string]types.AttributeValue) map[string]types.AttributeValue {
	if m == nil {
		return nil
	}
	out := make(map[string]types.AttributeValue, len(m))
	for name, v := range m {
		out[name] = clone(v)
	}
	return out
}

// sizeOf is a value's size in bytes, by the rules of the developer guide.
func sizeOf(v types.AttributeValue) int {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return len(v.Value)/2 + 2
	case *types.AttributeValueMemberB:
		return len(v.Value)
	case *types.AttributeValueMemberBOOL, *types.AttributeValueMemberNULL:
		return 1
	case *types.AttributeValueMemberNS:
		total := 0
		for _, n := range v.Value {
			total += len(n)/2 + 2
		}
		return total
	case *types.AttributeValueMemberSS, *types.AttributeValueMemberBS:
		total := 0
		for _, m := range members(v) {
			total += len(m)
		}
		return total
	case *types.AttributeValueMemberL:
		total := 3
		for _, e := range v.Value {
			total += 1 + sizeOf(e)
		}
		return total
	case *types.AttributeValueMemberM:
		total := 3
		for name, e := range v.Value {
			total += 1 + len(name) + sizeOf(e)
		}
		return total
	}
	return 0
}

func sizeOfItem(i item) int {
	total := 0
	for name, v := range i {
		total += len(name) + sizeOf(v)
	}
	return total
}
