package cost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// maxFileBytes bounds a state or plan. A plan of two regions has a few megabytes.
const maxFileBytes = 64 << 20

// resource is one managed resource of a state or plan.
type resource struct {
	address, module, typ, index string
	// region is empty when neither the resource nor its surroundings tell it.
	region string
	values map[string]any
}

// text is a string attribute, empty when it is missing or not known yet.
func (r resource) text(name string) string {
	s, _ := r.values[name].(string)
	return s
}

// number is a whole-number attribute, given as a number or a string.
func (r resource) number(name string) (int, bool) {
	switch v := r.values[name].(type) {
	case float64:
		return int(v), v == float64(int(v))
	case json.Number:
		n, err := strconv.Atoi(v.String())
		return n, err == nil
	case string:
		n, err := strconv.Atoi(v)
		return n, err == nil
	}
	return 0, false
}

// list is a list attribute; nil when it is missing or not known yet.
func (r resource) list(name string) []any {
	l, _ := r.values[name].([]any)
	return l
}

// with is a copy of the resource with another value of one attribute.
func (r resource) with(name string, value any) resource {
	r.values = maps.Clone(r.values)
	r.values[name] = value
	return r
}

// document is what was read from a file.
type document struct {
	resources []resource
	// active is the region of the site that is active on the first day; empty when the file doesn't tell.
	active string
	plan   bool
}

// readDocument reads what "terraform show -json" prints of a state or a plan.
func readDocument(data []byte) (document, error) {
	const remedy = "write the file with: terraform show -json > state.json, or: terraform show -json PLANFILE > plan.json"
	d, err := decodeDocument(data)
	if err != nil {
		return document{}, fmt.Errorf("%w; %s", err, remedy)
	}
	return d, nil
}

func decodeDocument(data []byte) (document, error) {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return document{}, errors.New("the file is empty")
	case len(data) > maxFileBytes:
		return document{}, fmt.Errorf("the file has %d bytes, more than the limit of %d", len(data), maxFileBytes)
	}
	var head struct {
		FormatVersion string          `json:"format_version"`
		Planned       json.RawMessage `json:"planned_values"`
		Lineage       string          `json:"lineage"`
		Errored       bool            `json:"errored"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return document{}, describeJSON(err, len(data))
	}
	switch {
	case head.Lineage != "":
		return document{}, errors.New("the file is a raw state (terraform.tfstate), whose format Terraform keeps to itself")
	case head.Errored:
		return document{}, errors.New("the plan is incomplete because Terraform failed while it planned")
	case head.FormatVersion == "":
		return document{}, errors.New(`the file has no "format_version", so it is neither a Terraform state nor a plan`)
	case head.Planned != nil:
		var p tfjson.Plan
		if err := json.Unmarshal(data, &p); err != nil {
			return document{}, fmt.Errorf("the file can't be read as a Terraform plan: %w", err)
		}
		return newDocument(p.PlannedValues, planGroups(p.Config), p)
	}
	var s tfjson.State
	if err := json.Unmarshal(data, &s); err != nil {
		return document{}, fmt.Errorf("the file can't be read as a Terraform state: %w", err)
	}
	return newDocument(s.Values, nil, tfjson.Plan{})
}

func describeJSON(err error, size int) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax) && syntax.Offset >= int64(size), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the file ends in the middle of the JSON, after %d bytes", size)
	case errors.As(err, &syntax):
		return fmt.Errorf("the file is not JSON: %w at byte %d", syntax, syntax.Offset)
	}
	return fmt.Errorf("the file is neither a Terraform state nor a plan: %w", err)
}

// newDocument collects the managed resources and their regions. Groups names, for a configuration address, the provider
// that makes the resource; without one, a resource is grouped with those of its module.
func newDocument(values *tfjson.StateValues, groups map[string]string, p tfjson.Plan) (document, error) {
	if values == nil || values.RootModule == nil {
		return document{}, errors.New("the file has no resources: nothing has been applied or planned")
	}
	d := document{plan: groups != nil}
	d.collect(values.RootModule)
	d.locate(groups, constantRegions(p.Config))
	if d.active = activeRegion(values.Outputs, p.Variables); d.active == "" && d.plan {
		d.active = d.plannedWriter()
	}
	return d, nil
}

func (d *document) collect(m *tfjson.StateModule) {
	for _, r := range m.Resources {
		// A deposed object is the old half of a replacement.
		if r.Mode != tfjson.ManagedResourceMode || r.DeposedKey != "" {
			continue
		}
		d.resources = append(d.resources, resource{
			address: r.Address, module: m.Address, typ: r.Type, index: fmt.Sprint(r.Index), values: r.AttributeValues,
		})
	}
	for _, child := range m.ChildModules {
		d.collect(child)
	}
}

// locate finds each resource's region: by its own attributes, else by the region that its group is known to have, else
// by the others of its group if those agree.
func (d *document) locate(groups, known map[string]string) {
	group := func(r resource) string {
		if provider, has := groups[configAddress(r.address)]; has {
			return provider
		}
		return "module " + r.module
	}
	seen := map[string]map[string]bool{}
	for i, r := range d.resources {
		d.resources[i].region = ownRegion(r)
		if region := d.resources[i].region; region != "" {
			if seen[group(r)] == nil {
				seen[group(r)] = map[string]bool{}
			}
			seen[group(r)][region] = true
		}
	}
	for i, r := range d.resources {
		if r.region != "" {
			continue
		}
		if d.resources[i].region = known[group(r)]; d.resources[i].region != "" {
			continue
		}
		if regions := seen[group(r)]; len(regions) == 1 {
			d.resources[i].region = slices.Collect(maps.Keys(regions))[0]
		}
	}
}

func ownRegion(r resource) string {
	for _, name := range []string{"region", "arn", "id", "availability_zone", "service_name"} {
		value := r.text(name)
		if name == "id" && !strings.HasPrefix(value, "arn:") {
			continue
		}
		if parts := strings.SplitN(value, ":", 5); parts[0] == "arn" { // the rest of an ARN may name another region
			value = strings.Join(parts[3:min(4, len(parts))], "")
		}
		if region := regionPattern.FindString(value); region != "" {
			return region
		}
	}
	return ""
}

// configAddress is an address without indexes, as the configuration names it.
func configAddress(address string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for _, c := range address {
		switch {
		case c == '"' && depth > 0:
			quoted = !quoted
		case c == '[' && !quoted:
			depth++
		case c == ']' && !quoted:
			depth--
		case depth == 0:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// planGroups maps the configuration's resources to the key of the provider that makes them: what a plan knows of a
// resource that doesn't exist yet.
func planGroups(config *tfjson.Config) map[string]string {
	groups := map[string]string{}
	if config == nil || config.RootModule == nil {
		return groups
	}
	var walk func(prefix string, m *tfjson.ConfigModule)
	walk = func(prefix string, m *tfjson.ConfigModule) {
		for _, r := range m.Resources {
			groups[prefix+r.Address] = "provider " + r.ProviderConfigKey
		}
		for name, call := range m.ModuleCalls {
			if call.Module != nil {
				walk(prefix+"module."+name+".", call.Module)
			}
		}
	}
	walk("", config.RootModule)
	return groups
}

// plannedWriter is the region of the only cluster that a plan gives a master user: a secondary gets its own from the
// global database, and only once it exists.
func (d document) plannedWriter() string {
	region := ""
	for _, r := range d.resources {
		if r.typ == "aws_rds_cluster" && r.text("master_username") != "" {
			if region != "" {
				return ""
			}
			region = r.region
		}
	}
	return region
}

// constantRegions maps the groups of the providers whose region is written down in the configuration.
func constantRegions(config *tfjson.Config) map[string]string {
	known := map[string]string{}
	if config == nil {
		return known
	}
	for key, p := range config.ProviderConfigs {
		if e := p.Expressions["region"]; e != nil && e.ExpressionData != nil {
			if region, is := e.ConstantValue.(string); is {
				known["provider "+key] = region
			}
		}
	}
	return known
}

// activeRegion reads the region of the first site of the output "holdfast", or of the variable "sites".
func activeRegion(outputs map[string]*tfjson.StateOutput, vars map[string]*tfjson.PlanVariable) string {
	if out := outputs["holdfast"]; out != nil {
		object, _ := out.Value.(map[string]any)
		sites, _ := object["sites"].([]any)
		if len(sites) > 0 {
			site, _ := sites[0].(map[string]any)
			if region, _ := site["region"].(string); region != "" {
				return region
			}
		}
	}
	if v := vars["sites"]; v != nil {
		sites, _ := v.Value.(map[string]any)
		site, _ := sites["primary"].(map[string]any)
		region, _ := site["region"].(string)
		return region
	}
	return ""
}
