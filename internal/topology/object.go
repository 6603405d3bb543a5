package topology

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// resource is one managed resource of a state.
type resource struct {
	address, typ string
	object
}

// object is a JSON object of a state whose fields are read by type. What is missing or of another type is reported
// with the address of the resource, and the zero value is returned.
type object struct {
	address string
	// path leads from the resource to this object, as in "health_check[0].".
	path   string
	fields map[string]any
	report func(Problem)
}

// problem reports a fault of one field.
func (o object) problem(field, fault, remedy string) {
	o.report(Problem{Address: o.address, Field: o.path + field, Value: literal(o.fields[field]), Fault: fault, Remedy: remedy})
}

// literal shows a value as a reader of the state would write it; long ones are cut.
func literal(v any) string {
	if v == nil {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%v", v)
	}
	const limit = 120
	if len(b) > limit {
		return string(b[:limit]) + "…"
	}
	return string(b)
}

const setInTerraform = "set it in the Terraform (a mocked state has no provider defaults)"

// text is a string that must be there.
func (o object) text(field string) string {
	s := o.optional(field)
	if v, is := o.fields[field].(string); o.fields[field] == nil || is && v == "" {
		o.problem(field, "is missing", setInTerraform)
	}
	return s
}

// optional is a string, or "" if it is not set.
func (o object) optional(field string) string {
	switch v := o.fields[field].(type) {
	case nil:
		return ""
	case string:
		return v
	}
	o.problem(field, "is not a string", "write the state again with terraform show -json")
	return ""
}

// number is a number that must be there; the AWS provider writes some numbers as strings.
func (o object) number(field string) (value float64, ok bool) {
	switch v := o.fields[field].(type) {
	case nil:
		o.problem(field, "is missing", setInTerraform)
		return 0, false
	case float64:
		return v, true
	case string:
		if n, err := strconv.ParseFloat(v, 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
			return n, true
		}
	}
	o.problem(field, "is not a number", "correct it in the Terraform")
	return 0, false
}

// integer is a whole number between low and high.
func (o object) integer(field string, low, high int) int {
	n, ok := o.number(field)
	switch {
	case !ok:
		return 0
	case n != math.Trunc(n) || n < float64(low) || n > float64(high):
		o.problem(field, fmt.Sprintf("is not a whole number from %d to %d", low, high), setInTerraform)
		return 0
	}
	return int(n)
}

// seconds is a whole number of seconds between low and high.
func (o object) seconds(field string, low, high int) time.Duration {
	return time.Duration(o.integer(field, low, high)) * time.Second
}

// truth is a boolean; one that is not set is false, as for the AWS API.
func (o object) truth(field string) bool {
	switch v := o.fields[field].(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b
		}
	}
	o.problem(field, "is not a boolean", "correct it in the Terraform")
	return false
}

// texts is a list or set of strings, empty if it is not set.
func (o object) texts(field string) []string {
	list, is := o.fields[field].([]any)
	if !is && o.fields[field] != nil {
		o.problem(field, "is not a list", "write the state again with terraform show -json")
		return nil
	}
	all := make([]string, 0, len(list))
	for _, v := range list {
		s, is := v.(string)
		if !is {
			o.problem(field, "holds something that is not a string", "correct it in the Terraform")
			return nil
		}
		all = append(all, s)
	}
	return all
}

// table is a map from strings to strings, empty if it is not set.
func (o object) table(field string) map[string]string {
	m, is := o.fields[field].(map[string]any)
	if !is && o.fields[field] != nil {
		o.problem(field, "is not a map", "write the state again with terraform show -json")
		return nil
	}
	all := make(map[string]string, len(m))
	for k, v := range m {
		s, is := v.(string)
		if !is {
			o.problem(field, "holds something that is not a string at "+k, "correct it in the Terraform")
			return nil
		}
		all[k] = s
	}
	return all
}

// blocks are nested blocks, none if the field is not set.
func (o object) blocks(field string) []object {
	list, is := o.fields[field].([]any)
	if !is && o.fields[field] != nil {
		o.problem(field, "is not a list of blocks", "write the state again with terraform show -json")
		return nil
	}
	all := make([]object, 0, len(list))
	for i, v := range list {
		m, is := v.(map[string]any)
		if !is {
			o.problem(field, fmt.Sprintf("has no block at %d", i), "write the state again with terraform show -json")
			return nil
		}
		all = append(all, o.child(fmt.Sprintf("%s[%d].", field, i), m))
	}
	return all
}

func (o object) child(path string, fields map[string]any) object {
	return object{address: o.address, path: o.path + path, fields: fields, report: o.report}
}

// block is the only nested block of its name, ok is false (and nothing is reported) if there is none.
func (o object) block(field string) (child object, ok bool) {
	all := o.blocks(field)
	switch len(all) {
	case 0:
		return object{}, false
	case 1:
		return all[0], true
	}
	o.problem(field, fmt.Sprintf("has %d blocks where one is understood", len(all)), "keep one of them")
	return object{}, false
}

// needBlock is the only nested block of its name; its absence is reported.
func (o object) needBlock(field string) (child object, ok bool) {
	if len(o.blocks(field)) == 0 {
		o.problem(field, "is missing", setInTerraform)
		return object{}, false
	}
	return o.block(field)
}

// embedded is JSON text inside a string.
func (o object) embedded(field string, into any) bool {
	s := o.text(field)
	if s == "" {
		return false
	}
	if err := json.Unmarshal([]byte(s), into); err != nil {
		o.problem(field, "is not the JSON that belongs there ("+err.Error()+")", "write it with jsonencode in the Terraform")
		return false
	}
	return true
}
