package cost

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"testing"

	"holdfast/internal/topology"
)

// identity is what a plan doesn't know of resources that don't exist yet.
var identity = regexp.MustCompile(`^(arn:|eipalloc-|subnet-|vpc-|nat-|[0-9a-f]{8}$)`)

// asPlan turns the built-in state into the plan that would have made it: without what AWS makes up, but with the
// configuration, which names the provider of each resource.
func asPlan(t *testing.T) []byte {
	t.Helper()
	var s struct {
		Values struct {
			Root map[string]any `json:"root_module"`
		} `json:"values"`
	}
	if err := json.Unmarshal(topology.DefaultState(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Values.Root == nil {
		t.Fatal("the built-in state has no root module")
	}
	secondary := regexp.MustCompile(`_dr\b`)
	var convert func(m map[string]any) map[string]any
	convert = func(m map[string]any) map[string]any {
		seen, configs := map[string]bool{}, []any{}
		list, _ := m["resources"].([]any)
		for _, item := range list {
			r := item.(map[string]any)
			attributes := r["values"].(map[string]any)
			maps.DeleteFunc(attributes, func(name string, v any) bool { return unknown(v) || name == "id" })
			key := "aws.primary"
			if secondary.MatchString(r["address"].(string)) {
				key = "aws.dr"
				if r["type"] == "aws_rds_cluster" {
					delete(attributes, "master_username")
				}
			}
			if r["type"] == "aws_cloudwatch_metric_alarm" && r["name"] == "health_check" {
				key = "aws.us_east_1"
			}
			if local := r["type"].(string) + "." + r["name"].(string); !seen[local] {
				seen[local] = true
				configs = append(configs, values{"address": local, "mode": "managed", "type": r["type"], "name": r["name"], "provider_config_key": key})
			}
		}
		calls := values{}
		children, _ := m["child_modules"].([]any)
		for _, item := range children {
			child := item.(map[string]any)
			calls[lastOf(child["address"].(string), ".")] = values{"module": convert(child)}
		}
		return values{"resources": configs, "module_calls": calls}
	}
	config := convert(s.Values.Root)
	text, err := json.Marshal(values{
		"format_version": "1.2", "planned_values": values{"root_module": s.Values.Root},
		"configuration": values{
			"root_module":     config,
			"provider_config": values{"aws.us_east_1": values{"name": "aws", "expressions": values{"region": values{"constant_value": "us-east-1"}}}},
		}, "variables": values{"sites": values{"value": values{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func unknown(v any) bool {
	switch v := v.(type) {
	case string:
		return identity.MatchString(v)
	case []any:
		return len(v) > 0 && slices.ContainsFunc(v, unknown)
	}
	return false
}

func TestPlanCostsWhatItsStateCosts(t *testing.T) {
	fromState, fromPlan := must(t, topology.DefaultState(), nil), must(t, asPlan(t), nil)
	if fromPlan.Active != "us-east-1" || fromState.Active != "us-east-1" {
		t.Errorf("active region %q from the plan, %q from the state", fromPlan.Active, fromState.Active)
	}
	for i, p := range fromPlan.Parts {
		if want := fromState.Parts[i]; p.Total.Cmp(want.Total) != 0 || want.Total.Sign() <= 0 {
			t.Errorf("%s: %s from the plan, %s from the state\n%+v\n%+v", p.Name, p.Total, want.Total, p.Lines, want.Lines)
		}
	}
	for i, s := range fromPlan.Strategies {
		if want := fromState.Strategies[i]; s.Status != Applies || s.Change.Cmp(want.Change) != 0 {
			t.Errorf("%s: %s, %s from the plan, %s from the state", s.Name, s.Status, s.Change, want.Change)
		}
	}
}

func TestConfigAddress(t *testing.T) {
	for address, want := range map[string]string{
		`aws_eip.nat`:                                      `aws_eip.nat`,
		`module.vpc.aws_eip.nat["us-west-2a"]`:             `module.vpc.aws_eip.nat`,
		`module.a[0].module.b["x]y.z"].aws_subnet.this[1]`: `module.a.module.b.aws_subnet.this`,
	} {
		if got := configAddress(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
