package infratest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// membership is what ties a cluster to the global database: a plan that changes any of it takes part in a failover.
var membership = []string{"global_cluster_identifier", "replication_source_identifier", "cluster_identifier"}

// After a failover the roles are swapped, and nobody tells Terraform. A plan on the next day must not move them back,
// nor detach anything. The plan is made by the real provider, from a state in which the roles are swapped, offline.
// Nor may it take back what the wardens have moved in the sites: tasks, autoscaling's floor, the way of the requests.
func TestPlanAfterAFailoverLeavesAloneWhatTheWardensMove(t *testing.T) {
	t.Parallel()
	var targets []string
	for _, site := range []string{"primary", "dr"} {
		for _, moved := range []string{"aws_lb_listener.app", "aws_ecs_service.app", "aws_appautoscaling_target.app"} {
			targets = append(targets, "-target=module.ecs_"+site+"."+moved)
		}
	}
	databases, others := 0, 0
	for _, c := range planSwapped(t, nil, targets...) {
		switch c.Type {
		case "aws_rds_global_cluster", "aws_rds_cluster", "aws_rds_cluster_instance":
			databases++
			if !slices.Equal(c.Change.Actions, []string{"no-op"}) {
				t.Errorf("%s: %v because of %v: %s", c.Address, c.Change.Actions, c.Change.ReplacePaths, strings.Join(changed(c), ", "))
			}
		default:
			// Only what was moved counts here: of the rest, the mocks that made this state know no defaults.
			attribute, moved := movedByWardens[c.Type]
			if !moved {
				continue
			}
			others++
			if slices.Contains(changed(c), attribute) || slices.Contains(c.Change.Actions, "delete") {
				t.Errorf("%s: %v %s: %s -> %s", c.Address, c.Change.Actions, attribute, encode(c.Change.Before[attribute]), encode(c.Change.After[attribute]))
			}
		}
	}
	if databases != 7 || others != 6 {
		t.Errorf("the plan has %d resources of the databases and %d others that wardens move, want 7 and 6", databases, others)
	}
}

// movedByWardens names the attribute of each type that wardens change and Terraform must not change back.
var movedByWardens = map[string]string{
	"aws_lb_listener": "default_action", "aws_ecs_service": "desired_count", "aws_appautoscaling_target": "min_capacity",
}

// The same plan without the protection: it shows that the test above can fail, and what it would look like.
func TestPlanAfterAFailoverWithoutIgnoreChangesPromotesTheSecondary(t *testing.T) {
	t.Parallel()
	text := readFile(t, infra, "modules", "aurora", "main.tf")
	const line = "      replication_source_identifier,\n"
	if strings.Count(text, line) != 1 {
		t.Fatalf("modules/aurora/main.tf does not ignore replication_source_identifier exactly once")
	}
	for _, c := range planSwapped(t, map[string]string{"modules/aurora/main.tf": strings.Replace(text, line, "", 1)}) {
		if slices.Contains(changed(c), "replication_source_identifier") {
			if c.Change.Before["replication_source_identifier"] == nil || c.Change.After["replication_source_identifier"] != nil {
				t.Errorf("%s: %v -> %v", c.Address, c.Change.Before["replication_source_identifier"], c.Change.After["replication_source_identifier"])
			}
			return
		}
	}
	t.Error("no plan touches replication_source_identifier: the swapped state does not look like one after a failover")
}

// changed names the attributes to which a change gives another value, or an unknown one; those of the membership first.
func changed(c resourceChange) []string {
	var names []string
	for name, after := range c.Change.After {
		if encode(c.Change.Before[name]) != encode(after) {
			names = append(names, name)
		}
	}
	for name := range c.Change.Before {
		if _, kept := c.Change.After[name]; !kept && c.Change.AfterUnknown[name] == nil {
			names = append(names, name)
		}
	}
	for name, unknown := range c.Change.AfterUnknown {
		if strings.Contains(encode(unknown), "true") {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if x, y := slices.Contains(membership, a), slices.Contains(membership, b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(names)
}

// planSwapped plans the databases and the given targets against the rendered state with its roles swapped.
func planSwapped(t *testing.T, changes map[string]string, targets ...string) []resourceChange {
	t.Helper()
	s := protectedState(t)
	all := map[string]string{"offline_override.tf": offlineProviders()}
	for name, content := range changes {
		all[name] = content
	}
	w := newWorkspace(t, all)
	w.env = givenPassword
	file, err := json.MarshalIndent(swapped(t, s), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "terraform.tfstate"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(t, append([]string{
		"plan", "-no-color", "-input=false", "-refresh=false", "-var-file=tests/protected.tfvars", "-out=it.tfplan",
		"-target=module.aurora_primary", "-target=module.aurora_dr", "-target=aws_rds_global_cluster.this",
	}, targets...)...)
	return w.showPlan(t, "it.tfplan").ResourceChanges
}

// swapped is the rendered state as a state file, with site dr's cluster as the writer, more tasks than configured, and
// requests that are handed on.
func swapped(t *testing.T, s state) map[string]any {
	t.Helper()
	arns := map[string]string{}
	for _, c := range s.some(t, "aws_rds_cluster") {
		arns[c.site()] = c.text("arn")
	}
	type instance map[string]any
	grouped := map[string]map[string]any{}
	var order []string
	for _, r := range s.resources {
		attributes := map[string]any{}
		for k, v := range r.Values {
			attributes[k] = v
		}
		switch r.Type {
		case "aws_rds_cluster":
			attributes["replication_source_identifier"] = map[string]any{"primary": arns["dr"], "dr": ""}[r.site()]
		case "aws_rds_global_cluster":
			attributes["global_cluster_members"] = []any{
				map[string]any{"db_cluster_arn": arns["primary"], "is_writer": false},
				map[string]any{"db_cluster_arn": arns["dr"], "is_writer": true},
			}
		}
		moveAsWardensDo(r, attributes)
		fillDefaults(r, attributes)
		name := r.Module + "/" + r.Type + "." + r.Name
		if grouped[name] == nil {
			order = append(order, name)
			grouped[name] = map[string]any{
				"mode": "managed", "type": r.Type, "name": r.Name, "instances": []instance{},
				"provider": fmt.Sprintf(`provider["registry.terraform.io/hashicorp/aws"].%s`, alias(r)),
			}
			if r.Module != "" {
				grouped[name]["module"] = r.Module
			}
		}
		one := instance{"schema_version": r.SchemaVersion, "attributes": attributes, "sensitive_attributes": sensitive(r)}
		if r.Index != nil {
			one["index_key"] = r.Index
		}
		grouped[name]["instances"] = append(grouped[name]["instances"].([]instance), one)
	}
	resources := make([]any, len(order))
	for i, name := range order {
		resources[i] = grouped[name]
	}
	return map[string]any{
		"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "00000000-0000-0000-0000-000000000001",
		"outputs": map[string]any{}, "resources": resources,
	}
}

// moveAsWardensDo changes what wardens change in a takeover.
func moveAsWardensDo(r resource, attributes map[string]any) {
	switch {
	case r.Type == "aws_ecs_service" && r.Name == "app":
		attributes["desired_count"] = 7
	case r.Type == "aws_appautoscaling_target":
		attributes["min_capacity"] = 7
	case r.Type == "aws_lb_listener" && r.Name == "app":
		action := maps.Clone(r.block("default_action"))
		forward := maps.Clone(action["forward"].([]any)[0].(map[string]any))
		var groups []any
		for _, g := range forward["target_group"].([]any) {
			group := maps.Clone(g.(map[string]any))
			group["weight"] = 1 - group["weight"].(float64)
			groups = append(groups, group)
		}
		forward["target_group"] = groups
		action["forward"] = []any{forward}
		attributes["default_action"] = []any{action}
	}
}

// sensitive is what Terraform would have marked in the state; another marking alone makes it plan an update.
func sensitive(r resource) []any {
	path := func(name string) any { return []any{map[string]string{"type": "get_attr", "value": name}} }
	if r.Type == "aws_rds_cluster" {
		return []any{path("master_password"), path("master_password_wo")}
	}
	return []any{}
}

func alias(r resource) string {
	switch {
	case r.site() != "":
		return r.site()
	case r.Module == "module.route53":
		return "us_east_1"
	case r.Name == "dr_to_primary", r.Type == "aws_vpc_peering_connection_accepter":
		return "dr"
	default:
		return "primary"
	}
}

// The mocks that rendered the state apply none of the provider's defaults; a real state has them. Only those count that
// lead to what the tests look at.
var providerDefaults = map[string]map[string]any{
	"aws_kms_key": {
		"customer_master_key_spec": "SYMMETRIC_DEFAULT", "key_usage": "ENCRYPT_DECRYPT", "is_enabled": true,
		"bypass_policy_lockout_safety_check": false, "multi_region": false, "custom_key_store_id": "", "xks_key_id": "",
	},
	"aws_vpc":            {"instance_tenancy": "default", "assign_generated_ipv6_cidr_block": nil},
	"aws_security_group": {"revoke_rules_on_delete": false, "name_prefix": ""},
	"aws_iam_role":       {"path": "/", "force_detach_policies": false, "max_session_duration": 3600, "name_prefix": ""},
	"aws_rds_cluster": {
		"backtrack_window": 0, "enable_http_endpoint": false, "enable_global_write_forwarding": false,
		"enable_local_write_forwarding": false,
	},
	"aws_lb_target_group":      {"protocol_version": "HTTP1"},
	"aws_ecs_service":          {"scheduling_strategy": "REPLICA"},
	"aws_rds_cluster_instance": {"force_destroy": false, "copy_tags_to_snapshot": false},
}

func fillDefaults(r resource, attributes map[string]any) {
	for name, value := range providerDefaults[r.Type] {
		attributes[name] = value
	}
	if _, has := attributes["tags_all"]; has {
		all := map[string]any{"Deployment": "prod-abc123", "ManagedBy": "terraform"}
		tags, _ := r.Values["tags"].(map[string]any)
		for name, value := range tags {
			all[name] = value
		}
		attributes["tags_all"] = all
	}
}
