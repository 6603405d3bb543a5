package topology

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	tfjson "github.com/hashicorp/terraform-json"
)

// MaxStateBytes bounds the state that Parse accepts: about a hundred times what a deployment of two regions needs.
const MaxStateBytes = 64 << 20

// Parse reads a Terraform state as "terraform show -json" prints it; the state that the renderer makes without AWS
// has the same form. It reads resources by their type and attributes and never by the names of modules; the sites
// come from the root module's output "holdfast".
//
// Whatever it cannot understand it reports, all at once, as an error of type [Problems]. It never guesses.
func Parse(state []byte) (Topology, error) {
	resources, outputs, err := decode(state)
	if err != nil {
		return Topology{}, err
	}
	return parse(resources, outputs)
}

func parse(resources []*tfjson.StateResource, outputs map[string]*tfjson.StateOutput) (Topology, error) {
	p := &parser{byType: map[string][]*resource{}, members: map[string][]string{}}
	for _, r := range resources {
		if r.Mode == tfjson.ManagedResourceMode || r.Type == "aws_route53_zone" || r.Type == prefixListType {
			p.byType[r.Type] = append(p.byType[r.Type], &resource{
				address: r.Address, typ: r.Type, object: object{fields: r.AttributeValues, report: p.report, address: r.Address},
			})
		}
	}
	p.read(outputs)
	p.resolve()
	if len(p.problems) > 0 {
		return Topology{}, p.problems.sorted()
	}
	p.sort()
	return p.t, nil
}

// decode turns the bytes into the state's resources, of all modules, and its root outputs.
func decode(state []byte) ([]*tfjson.StateResource, map[string]*tfjson.StateOutput, error) {
	const remedy = "write the file with: terraform show -json > state.json"
	fail := func(fault string) error { return Problems{{Fault: fault, Remedy: remedy}} }
	switch {
	case len(bytes.TrimSpace(state)) == 0:
		return nil, nil, fail("the file is empty")
	case len(state) > MaxStateBytes:
		return nil, nil, fail(fmt.Sprintf("the file has %d bytes, more than the limit of %d", len(state), MaxStateBytes))
	}
	var raw struct {
		FormatVersion string          `json:"format_version"`
		Values        json.RawMessage `json:"values"`
		// Serial and Lineage mark the format of terraform.tfstate; Planned marks a plan.
		Serial  *int64          `json:"serial"`
		Lineage string          `json:"lineage"`
		Planned json.RawMessage `json:"planned_values"`
	}
	if err := json.Unmarshal(state, &raw); err != nil {
		return nil, nil, fail(describeSyntax(err, len(state)))
	}
	switch {
	case raw.Planned != nil:
		return nil, nil, fail("the file is a plan, not a state")
	case raw.Serial != nil && raw.Lineage != "":
		return nil, nil, fail("the file is a raw state (terraform.tfstate), whose format Terraform keeps to itself")
	case raw.FormatVersion == "":
		return nil, nil, fail(`the file has no "format_version", so it is no Terraform state`)
	case len(raw.Values) == 0:
		return nil, nil, fail("the state is empty: nothing has been applied")
	}
	var s tfjson.State
	if err := json.Unmarshal(state, &s); err != nil {
		return nil, nil, fail("the file cannot be read as a Terraform state (" + err.Error() + ")")
	}
	if s.Values == nil || s.Values.RootModule == nil {
		return nil, nil, fail("the state is empty: nothing has been applied")
	}
	return flatten(s.Values.RootModule), s.Values.Outputs, nil
}

func describeSyntax(err error, size int) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax) && syntax.Offset >= int64(size), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("the file ends in the middle of the JSON, after %d bytes", size)
	case errors.As(err, &syntax):
		return fmt.Sprintf("the file is not JSON: %v at byte %d", syntax, syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Sprintf("the file is no Terraform state: %s is a %s", kind.Field, kind.Value)
	}
	return "the file is not JSON: " + err.Error()
}

func flatten(m *tfjson.StateModule) []*tfjson.StateResource {
	all := slices.Clone(m.Resources)
	for _, child := range m.ChildModules {
		all = append(all, flatten(child)...)
	}
	// A deposed object is the old half of a replacement: it is on its way out and describes nothing.
	return slices.DeleteFunc(all, func(r *tfjson.StateResource) bool { return r.DeposedKey != "" })
}

// parser collects what the resources say, and what is wrong with them.
type parser struct {
	byType   map[string][]*resource
	t        Topology
	problems Problems
	refs     references
	edges    []edge

	// members are the ARNs that a global cluster itself calls its members: after a failover the clusters' own
	// attributes may say nothing.
	members map[string][]string

	// What can be checked only after other subjects were read.
	aliases    []aliasUse
	secretUses []secretUse
	tables     []TermTable
	tableFrom  object
}

func (p *parser) report(problem Problem) { p.problems = append(p.problems, problem) }

// read fills the topology from the resources, one reader per subject.
func (p *parser) read(outputs map[string]*tfjson.StateOutput) {
	p.readNetworks()
	p.readSecurityGroups()
	p.readDatabases()
	p.readECS()
	p.readScaling()
	p.readLoadBalancers()
	p.readDNS()
	p.readMonitoring()
	p.readSecrets()
	p.readRoles()
	p.readTermTable()
	p.readOutputs(outputs)
}
