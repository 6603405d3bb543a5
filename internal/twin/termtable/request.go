package termtable

import (
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// checkTable refuses a request for another table, or in a region that has no replica.
func (t *Table) checkTable(region string, name *string) error {
	want := aws.ToString(name)
	if want == t.arn(region) {
		want = t.Name()
	}
	if want != t.Name() || !slices.Contains(t.options.Table.ReplicaRegions, region) {
		return notFound(aws.ToString(name))
	}
	return nil
}

func (t *Table) arn(region string) string {
	return "arn:aws:dynamodb:" + region + ":" + t.options.AccountID + ":table/" + t.Name()
}

// legacy lists the parameters that expressions have replaced.
var legacy = []string{
	"Expected", "ConditionalOperator", "AttributesToGet", "AttributeUpdates", "KeyConditions", "QueryFilter",
	"ScanFilter",
}

// refuseLegacy refuses a request that uses one of them, rather than ignoring a condition.
func refuseLegacy(in any) error {
	v := reflect.ValueOf(in).Elem()
	for _, name := range legacy {
		if f := v.FieldByName(name); f.IsValid() && !f.IsZero() {
			return validation("The legacy parameter %s is not served here; use an expression", name)
		}
	}
	return nil
}

// keyOf checks a Key and returns the key's text.
func keyOf(key map[string]types.AttributeValue) (string, error) {
	v, ok := key[KeyName]
	if !ok || len(key) != 1 {
		return "", validation("The provided key element does not match the schema")
	}
	return keyText(v, func() error { return validation("The provided key element does not match the schema") })
}

// keyOfItem checks an item's key attribute and returns its text.
func keyOfItem(i map[string]types.AttributeValue) (string, error) {
	v, ok := i[KeyName]
	if !ok {
		return "", parameterError("Missing the key %s in the item", KeyName)
	}
	return keyText(v, func() error {
		return parameterError("Type mismatch for key %s expected: S actual: %s", KeyName, typeOf(v))
	})
}

func keyText(v types.AttributeValue, mismatch func() error) (string, error) {
	s, ok := v.(*types.AttributeValueMemberS)
	switch {
	case !ok:
		return "", mismatch()
	case s.Value == "":
		return "", parameterError("The AttributeValue for a key attribute cannot contain an empty string value. Key: %s", KeyName)
	case len(s.Value) > maxKeyBytes:
		return "", parameterError("Size of hashkey has exceeded the maximum size limit of%d bytes", maxKeyBytes)
	}
	return s.Value, nil
}

func checkSize(i item) error {
	if sizeOfItem(i) > maxItemBytes {
		return validation("Item size has exceeded the maximum allowed size")
	}
	return nil
}

// expressions are the parsed expressions of one request.
type expressions struct {
	condition condition
	changes   []change
	paths     []path
}

// parse reads a request's expressions and refuses substitutions that none of them uses.
func parse(
	names map[string]string, values map[string]types.AttributeValue, conditionKind string,
	conditionText, updateText, projectionText *string,
) (expressions, error) {
	var out expressions
	s, err := newSubstitutions(names, values, conditionText, updateText, projectionText)
	if err != nil {
		return out, err
	}
	if updateText != nil {
		if out.changes, err = parseUpdate(*updateText, s); err != nil {
			return out, err
		}
	}
	if conditionText != nil {
		if out.condition, err = parseCondition(conditionKind, *conditionText, s); err != nil {
			return out, err
		}
	}
	if projectionText != nil {
		if out.paths, err = parseProjection(*projectionText, s); err != nil {
			return out, err
		}
	}
	return out, s.checkUsed()
}

// consumed is the answer's ConsumedCapacity, nil unless the request asked for it.
func (t *Table) consumed(wanted types.ReturnConsumedCapacity, sizeBytes, unitBytes int) *types.ConsumedCapacity {
	if wanted != types.ReturnConsumedCapacityTotal && wanted != types.ReturnConsumedCapacityIndexes {
		return nil
	}
	units := float64(max(1, (sizeBytes+unitBytes-1)/unitBytes))
	c := &types.ConsumedCapacity{TableName: aws.String(t.Name()), CapacityUnits: &units}
	if wanted == types.ReturnConsumedCapacityIndexes {
		c.Table = &types.Capacity{CapacityUnits: &units}
	}
	return c
}

// Sizes of a capacity unit in bytes.
const (
	readUnitBytes  = 4 << 10
	writeUnitBytes = 1 << 10
)

// allowed refuses a ReturnValues that the operation does not know.
func allowed(v types.ReturnValue, known ...types.ReturnValue) error {
	if v == "" || v == types.ReturnValueNone || slices.Contains(known, v) {
		return nil
	}
	if len(known) == 1 {
		return validation("ReturnValues can only be ALL_OLD or NONE")
	}
	var words []string
	for _, k := range known {
		words = append(words, string(k))
	}
	return validation("1 validation error detected: Value '%s' at 'returnValues' failed to satisfy constraint: "+
		"Member must satisfy enum value set: [NONE, %s]", v, strings.Join(words, ", "))
}
