package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// override is what one resource's computed attributes are set to.
type override struct {
	address string
	values  map[string]any
}

var (
	placeholder = regexp.MustCompile(`\{[A-Za-z0-9_]+\}`)
	sized       = regexp.MustCompile(`^(hex|HEX|digits)([0-9]+)$`)
)

// overrides derives one override for each resource whose type has a shape.
func overrides(s *state) ([]override, error) {
	var all []override
	account := accountOf(s)
	for _, r := range s.resources() {
		shape, has := shapes[r.Type]
		if !has {
			continue
		}
		e := expander{resource: r, shape: shape, account: account, region: regionOf(r)}
		if shape.arn != "" && !shape.global && e.region == "" {
			return nil, fmt.Errorf("%s has no region: its provider needs a mock_provider with a folder below tests/mocks", r.Address)
		}
		if shape.arn != "" && shape.global && shape.noAccount {
			e.account = ""
		}
		values := map[string]any{}
		if shape.id != "" {
			values["id"] = e.expand(shape.id)
		}
		if shape.arn != "" {
			values["arn"] = e.arn()
		}
		for k, v := range shape.more {
			if template, is := v.(string); is {
				v = e.expand(template)
			}
			values[k] = v
		}
		all = append(all, override{address: r.Address, values: values})
	}
	return all, nil
}

func regionOf(r *resource) string {
	if m := arnRegion.FindStringSubmatch(r.text("arn")); m != nil {
		return m[1]
	}
	return ""
}

var arnAccount = regexp.MustCompile(`^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:([0-9]{12}):`)

// accountOf is the account that the output holdfast names, because policies and names contain it already.
func accountOf(s *state) string {
	if out := s.Values.Outputs["holdfast"]; out != nil {
		if fields, is := out.Value.(map[string]any); is {
			if id, is := fields["account_id"].(string); is && id != "" {
				return id
			}
		}
	}
	for _, r := range s.resources() {
		if m := arnAccount.FindStringSubmatch(r.text("arn")); m != nil {
			return m[1]
		}
	}
	return "123456789012"
}

// expander fills templates for one resource.
type expander struct {
	resource        *resource
	shape           shape
	account, region string
}

func (e expander) arn() string {
	region := e.region
	if e.shape.global {
		region = ""
	}
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", e.shape.service, region, e.account, e.expand(e.shape.arn))
}

func (e expander) expand(template string) string {
	return placeholder.ReplaceAllStringFunc(template, func(p string) string {
		name := p[1 : len(p)-1]
		switch name {
		case "region":
			return e.region
		case "account":
			return e.account
		case "arn":
			return e.arn()
		case "id":
			return e.expand(e.shape.id)
		case "uuid":
			h := digest(e.resource.Address, "uuid")
			return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-8" + h[17:20] + "-" + h[20:32]
		case "documentationip":
			// RFC 5737 keeps 203.0.113.0/24 for examples.
			n, _ := strconv.ParseUint(digest(e.resource.Address, "ip")[:2], 16, 8)
			return "203.0.113." + strconv.FormatUint(n, 10)
		}
		if m := sized.FindStringSubmatch(name); m != nil {
			n, _ := strconv.Atoi(m[2])
			return digits(e.resource.Address, m[1], n)
		}
		return e.resource.text(name)
	})
}

// digits are n digits that follow from the address. Those of one resource are the same wherever they stand.
func digits(address, alphabet string, n int) string {
	h := digest(address, "digits")
	switch alphabet {
	case "HEX":
		h = strings.ToUpper(h)
	case "digits":
		h = strings.Map(func(c rune) rune { return '0' + c%10 }, h)
	}
	return h[:min(n, len(h))]
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// hcl writes overrides for a test file.
func hcl(all []override) string {
	var b strings.Builder
	for _, o := range all {
		fmt.Fprintf(&b, "\noverride_resource {\n  target = %s\n  values = {\n", o.address)
		for _, k := range sortedKeys(o.values) {
			switch v := o.values[k].(type) {
			case string:
				fmt.Fprintf(&b, "    %s = %s\n", k, quote(v))
			default:
				fmt.Fprintf(&b, "    %s = %v\n", k, v)
			}
		}
		b.WriteString("  }\n}\n")
	}
	return b.String()
}

// quote writes a string as HCL, in which ${ and %{ would start a template.
func quote(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(strconv.Quote(s))
}

// verify reports an override that did not take effect: Terraform only warns about those.
func verify(s *state, wanted []override) error {
	byAddress := map[string]*resource{}
	for _, r := range s.resources() {
		byAddress[r.Address] = r
	}
	for _, o := range wanted {
		for _, k := range sortedKeys(o.values) {
			if got := byAddress[o.address].Values[k]; fmt.Sprint(got) != fmt.Sprint(o.values[k]) {
				return fmt.Errorf("%s: the override of %s to %v had no effect, it is %v", o.address, k, o.values[k], cmp.Or(got, any("absent")))
			}
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
