package topology

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
)

// change finds something in a decoded state and spoils it.
type change func(t *testing.T, resources []*tfjson.StateResource, outputs map[string]*tfjson.StateOutput) []*tfjson.StateResource

// first is the first resource of a type, by address.
func first(t *testing.T, all []*tfjson.StateResource, typ string) *tfjson.StateResource {
	t.Helper()
	var found *tfjson.StateResource
	for _, r := range all {
		if r.Type == typ && (found == nil || r.Address < found.Address) {
			found = r
		}
	}
	if found == nil {
		t.Fatalf("the default has no %s", typ)
	}
	return found
}

// set changes one attribute of the first resource of a type; a nil value removes it.
func set(typ, path string, value any) change {
	return func(t *testing.T, all []*tfjson.StateResource, _ map[string]*tfjson.StateOutput) []*tfjson.StateResource {
		t.Helper()
		setIn(t, first(t, all, typ).AttributeValues, path, value)
		return all
	}
}

// setIn follows a path such as health_check.interval, into the first element of lists.
func setIn(t *testing.T, fields map[string]any, path string, value any) {
	t.Helper()
	name, rest, nested := strings.Cut(path, ".")
	if !nested {
		fields[name] = value
		return
	}
	list, is := fields[name].([]any)
	if !is || len(list) == 0 {
		t.Fatalf("there is nothing at %s in %v", path, fields)
	}
	setIn(t, list[0].(map[string]any), rest, value)
}

// without removes all resources of a type.
func without(typ string) change {
	return func(_ *testing.T, all []*tfjson.StateResource, _ map[string]*tfjson.StateOutput) []*tfjson.StateResource {
		var rest []*tfjson.StateResource
		for _, r := range all {
			if r.Type != typ {
				rest = append(rest, r)
			}
		}
		return rest
	}
}

func output(path string, value any) change {
	return func(t *testing.T, all []*tfjson.StateResource, outputs map[string]*tfjson.StateOutput) []*tfjson.StateResource {
		t.Helper()
		setIn(t, outputs["holdfast"].Value.(map[string]any), path, value)
		return all
	}
}

const nowhere = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/nowhere/0123456789abcdef"

func TestProblemsNameTheResource(t *testing.T) {
	for name, test := range map[string]struct {
		change change
		// Each of these must be in one problem: the start of its address, its field, and a part of its sentence.
		address, field, says string
	}{
		"target group that nobody has": {
			set("aws_ecs_service", "load_balancer.target_group_arn", nowhere), "module.", "load_balancer[0].target_group_arn", "of no aws_lb_target_group",
		},
		"listener to an unknown target group": {
			set("aws_lb_listener", "default_action", []any{map[string]any{"type": "forward", "target_group_arn": nowhere}}), "module.", "default_action[0].target_group_arn", "of no aws_lb_target_group",
		},
		"weight to an unknown target group": {set("aws_lb_listener", "default_action.forward.target_group.arn", nowhere), "module.", "default_action[0].forward[0].target_group[0].arn", "of no aws_lb_target_group"},
		"weight that is too large":          {set("aws_lb_listener", "default_action.forward.target_group.weight", 1000.0), "module.", "default_action[0].forward[0].target_group[0].weight", "from 0 to 999"},
		"listener that forwards nowhere":    {set("aws_lb_listener", "default_action.forward.target_group", []any{}), "module.", "default_action[0].forward[0].target_group", "is there 0 times"},
		"service of an unknown cluster": {
			set("aws_ecs_service", "cluster", "arn:aws:ecs:us-east-1:123456789012:cluster/nowhere"), "module.", "cluster", "of no aws_ecs_cluster",
		},
		"unknown task definition": {
			set("aws_ecs_service", "task_definition", "arn:aws:ecs:us-east-1:123456789012:task-definition/nowhere:1"), "module.", "task_definition", "of no aws_ecs_task_definition",
		},
		"health check of no load balancer": {
			set("aws_route53_health_check", "fqdn", "elsewhere.example.org"), "module.", "fqdn", "of no aws_lb",
		},
		"alias to something unknown": {
			set("aws_route53_record", "alias.name", "elsewhere.example.org"), "module.", "alias[0].name", "neither the dns_name",
		},
		"no database":           {without("aws_rds_cluster"), "output.holdfast", "sites[0].db_cluster_identifier", "of no aws_rds_cluster"},
		"no database instances": {without("aws_rds_cluster_instance"), "output.holdfast", "sites[1].db_cluster_identifier", "no aws_rds_cluster_instance"},
		"no global cluster":     {without("aws_rds_global_cluster"), "output.holdfast", "global_cluster", "of no aws_rds_global_cluster"},
		"no listener":           {without("aws_lb_listener"), "output.holdfast", "sites[0].load_balancer_arn", "has no aws_lb_listener"},
		"no subnet":             {without("aws_subnet"), "module.", "network_configuration[0].subnets", "of no aws_subnet"},
		"no term table":         {without("aws_cloudformation_stack"), "aws_cloudformation_stack", "template_body", "of no stack"},
		"no records":            {without("aws_route53_record"), "output.holdfast", "dns_name", "no pair"},
		"unknown region": {
			set("aws_lb", "arn", "arn:aws:elasticloadbalancing:us-east-9:123456789012:loadbalancer/app/x/1"), "module.", "arn", `unknown region "us-east-9"`,
		},
		"site in an unknown region":         {output("sites.region", "us-east-9"), "output.holdfast", "sites[0].region", "unknown region"},
		"mocked ARN":                        {set("aws_ecs_cluster", "arn", "k3jd82hs"), "module.", "arn", "is not an ARN"},
		"interval that nobody set":          {set("aws_lb_target_group", "health_check.interval", nil), "module.", "health_check[0].interval", "is missing"},
		"interval zero":                     {set("aws_lb_target_group", "health_check.interval", 0.0), "module.", "health_check[0].interval", "from 5 to 300"},
		"number that is none":               {set("aws_lb_listener", "port", "eighty"), "module.", "port", "not a number"},
		"container definitions, not JSON":   {set("aws_ecs_task_definition", "container_definitions", "[{"), "module.", "container_definitions", "not the JSON"},
		"container of another log group":    {without("aws_cloudwatch_log_group"), "module.", "container_definitions[0].logConfiguration.options.awslogs-group", "of no aws_cloudwatch_log_group"},
		"secret of nobody":                  {without("aws_secretsmanager_secret"), "module.", "container_definitions[0].secrets.DB_PASSWORD", "of no aws_secretsmanager_secret"},
		"term table without strong reads":   {set("aws_cloudformation_stack", "template_body", `{"Resources":{"T":{"Type":"AWS::DynamoDB::GlobalTable","Properties":{"TableName":"x","MultiRegionConsistency":"EVENTUAL"}}}}`), "module.", "template_body.Resources.T.Properties.MultiRegionConsistency", "not STRONG"},
		"alarm to an unknown topic":         {without("aws_sns_topic"), "module.", "alarm_actions", "of no aws_sns_topic"},
		"weighted record":                   {set("aws_route53_record", "weighted_routing_policy", []any{map[string]any{"weight": 1.0}}), "module.", "weighted_routing_policy", "not understood"},
		"network load balancer":             {set("aws_lb", "load_balancer_type", "network"), "module.", "load_balancer_type", "not understood"},
		"rule on a header":                  {set("aws_lb_listener_rule", "condition", []any{map[string]any{"http_header": []any{map[string]any{}}}}), "module.", "condition[0].condition", "not understood"},
		"one site":                          {output("sites", []any{}), "output.holdfast", "sites", "exactly two"},
		"account that is none":              {output("account_id", "me"), "output.holdfast", "account_id", "twelve digits"},
		"lease shorter than two margins":    {output("lease_seconds", 4.0), "output.holdfast", "lease_seconds", "twice margin_seconds"},
		"standby's replication in a circle": {replicateInCircle, "module.", "replication_source_identifier", "leads back to itself"},
		"alias in a circle":                 {aliasInCircle, "module.", "alias[0].name", "leads back to itself"},
		"two target groups with one ARN":    {shareARN, "module.", "arn", "is also the arn of"},
		"output with no sites' shape": {func(_ *testing.T, all []*tfjson.StateResource, o map[string]*tfjson.StateOutput) []*tfjson.StateResource {
			o["holdfast"].Value = "x"
			return all
		}, "output.holdfast", "", "not an object"},
		"no output": {func(_ *testing.T, all []*tfjson.StateResource, o map[string]*tfjson.StateOutput) []*tfjson.StateResource {
			delete(o, "holdfast")
			return all
		}, "output.holdfast", "", "is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			resources, outputs, err := decode(DefaultState())
			if err != nil {
				t.Fatal(err)
			}
			_, err = parse(test.change(t, resources, outputs), outputs)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error is %v, want Problems", err)
			}
			for _, p := range problems {
				if p.Remedy == "" || strings.Contains(p.Error(), "\n") {
					t.Errorf("not one sentence with a remedy: %q", p.Error())
				}
				if strings.HasPrefix(p.Address, test.address) && p.Field == test.field && strings.Contains(p.Fault, test.says) {
					return
				}
			}
			t.Errorf("no problem of %s… %s says %q:\n%v", test.address, test.field, test.says, err)
		})
	}
}

func replicateInCircle(t *testing.T, all []*tfjson.StateResource, _ map[string]*tfjson.StateOutput) []*tfjson.StateResource {
	var clusters []*tfjson.StateResource
	for _, r := range all {
		if r.Type == "aws_rds_cluster" {
			clusters = append(clusters, r)
		}
	}
	for i, r := range clusters {
		r.AttributeValues["replication_source_identifier"] = clusters[(i+1)%len(clusters)].AttributeValues["arn"]
	}
	return all
}

func aliasInCircle(t *testing.T, all []*tfjson.StateResource, _ map[string]*tfjson.StateOutput) []*tfjson.StateResource {
	r := first(t, all, "aws_route53_record")
	setIn(t, r.AttributeValues, "alias.name", r.AttributeValues["name"])
	return all
}

func TestMembershipIsReadFromTheGlobalClusterToo(t *testing.T) {
	resources, outputs, err := decode(DefaultState())
	if err != nil {
		t.Fatal(err)
	}
	want, err := parse(resources, outputs)
	if err != nil {
		t.Fatal(err)
	}
	var members []any
	for _, r := range resources {
		if r.Type == "aws_rds_cluster" {
			members = append(members, map[string]any{"db_cluster_arn": r.AttributeValues["arn"], "is_writer": true})
			delete(r.AttributeValues, "global_cluster_identifier")
		}
	}
	if _, err := parse(resources, outputs); err == nil || !strings.Contains(err.Error(), "no member of the global cluster") {
		t.Errorf("clusters that nobody calls members: %v", err)
	}
	first(t, resources, "aws_rds_global_cluster").AttributeValues["global_cluster_members"] = members
	if got, err := parse(resources, outputs); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("members by the global cluster's own word: %v", err)
	}
}

// A state that was read back from AWS names the target group of the old form beside the weights.
func TestWeightsWinOverASingleTargetGroup(t *testing.T) {
	resources, outputs, err := decode(DefaultState())
	if err != nil {
		t.Fatal(err)
	}
	listener := first(t, resources, "aws_lb_listener")
	action := listener.AttributeValues["default_action"].([]any)[0].(map[string]any)
	groups := action["forward"].([]any)[0].(map[string]any)["target_group"].([]any)
	if len(groups) != 2 {
		t.Fatalf("the listener has the target groups %v", groups)
	}
	a, b := groups[0].(map[string]any), groups[1].(map[string]any)
	action["target_group_arn"] = a["arn"]
	a["weight"], b["weight"] = 1.0, "3" // the provider writes some numbers as text
	topo, err := parse(resources, outputs)
	if err != nil {
		t.Fatal(err)
	}
	want := Action{
		Type: "forward", TargetGroupARN: b["arn"].(string),
		TargetGroups: []WeightedTargetGroup{{TargetGroupARN: a["arn"].(string), Weight: 1}, {TargetGroupARN: b["arn"].(string), Weight: 3}},
	}
	for _, l := range topo.Listeners {
		if l.ARN == listener.AttributeValues["arn"] && !reflect.DeepEqual(l.Default, want) {
			t.Errorf("default action %+v, want %+v", l.Default, want)
		}
	}
}

func shareARN(_ *testing.T, all []*tfjson.StateResource, _ map[string]*tfjson.StateOutput) []*tfjson.StateResource {
	for _, r := range all {
		if r.Type == "aws_lb_target_group" {
			r.AttributeValues["arn"] = nowhere
		}
	}
	return all
}

func TestFilesThatAreNoState(t *testing.T) {
	whole := DefaultState()
	for name, test := range map[string]struct{ file, says string }{
		"empty":         {" \n", "is empty"},
		"truncated":     {string(whole[:len(whole)/2]), "ends in the middle of the JSON"},
		"not JSON":      {"resource \"aws_vpc\" \"this\" {}", "is not JSON"},
		"a list":        {"[]", "no Terraform state"},
		"other JSON":    {`{"a": 1}`, `no "format_version"`},
		"plan":          {`{"format_version":"1.2","planned_values":{}}`, "is a plan"},
		"raw state":     {`{"version":4,"terraform_version":"1.11.4","serial":3,"lineage":"x","resources":[]}`, "raw state"},
		"empty state":   {`{"format_version":"1.0"}`, "nothing has been applied"},
		"newer format":  {`{"format_version":"9.0","values":{"root_module":{}}}`, "unsupported state format version"},
		"no resources":  {`{"format_version":"1.0","values":{"root_module":{}}}`, "problems"},
		"wrong content": {`{"format_version":"1.0","values":{"root_module":{"resources":7}}}`, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.file))
			var problems Problems
			if !errors.As(err, &problems) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %v, want Problems with %q", err, test.says)
			}
		})
	}
}

func TestOrderInTheStateDoesNotMatter(t *testing.T) {
	resources, outputs, err := decode(DefaultState())
	if err != nil {
		t.Fatal(err)
	}
	want, err := parse(resources, outputs)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		random.Shuffle(len(resources), func(i, j int) { resources[i], resources[j] = resources[j], resources[i] })
		got, err := parse(resources, outputs)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal("another order of resources gives another topology")
		}
	}
}

// A state is written by others: whatever stands in it, the answer is a topology or problems, never a panic.
func TestNoAttributeCanMakeItPanic(t *testing.T) {
	resources, outputs, err := decode(DefaultState())
	if err != nil {
		t.Fatal(err)
	}
	wrong := []any{nil, "", 3.5, -1.0, true, []any{}, []any{"x", 1.0}, []any{nil}, map[string]any{"x": nil}, "arn:aws:::::", strings.Repeat("x", 300)}
	random := rand.New(rand.NewPCG(3, 4))
	for _, r := range resources {
		for name, right := range r.AttributeValues {
			if random.IntN(4) != 0 {
				continue
			}
			r.AttributeValues[name] = wrong[random.IntN(len(wrong))]
			if _, err := parse(resources, outputs); err != nil && !errors.As(err, new(Problems)) {
				t.Errorf("%s %s: error %T", r.Address, name, err)
			}
			r.AttributeValues[name] = right
		}
	}
}

func TestProblemIsOneSentence(t *testing.T) {
	p := Problem{Address: "aws_lb.this", Field: "arn", Value: `"x"`, Fault: "is not an ARN", Remedy: "render it again"}
	if got := p.Error(); got != `aws_lb.this: arn "x" is not an ARN; render it again` {
		t.Error(got)
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
}
