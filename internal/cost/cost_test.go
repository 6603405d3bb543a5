package cost

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast/internal/topology"
)

type values = map[string]any

// res is a resource of a test's state; the module's last word is the region.
func res(typ, name, module string, v values) values {
	return values{
		"address": module + "." + typ + "." + name, "mode": "managed", "type": typ, "name": name, "module": module,
		"provider_name": "registry.terraform.io/hashicorp/aws", "values": v,
	}
}

// state is the JSON of a state whose active site is in us-east-1.
func state(resources ...values) []byte {
	modules := map[string][]values{}
	for _, r := range resources {
		module := r["module"].(string)
		modules[module] = append(modules[module], r)
	}
	children := []values{}
	for address, inside := range modules {
		children = append(children, values{"address": address, "resources": inside})
	}
	text, err := json.Marshal(values{
		"format_version": "1.0",
		"values": values{
			"outputs":     values{"holdfast": values{"value": values{"sites": []any{values{"region": "us-east-1"}, values{"region": "us-west-2"}}}}},
			"root_module": values{"child_modules": children},
		},
	})
	if err != nil {
		panic(err)
	}
	return text
}

func arn(service, region, rest string) string {
	return "arn:aws:" + service + ":" + region + ":123456789012:" + rest
}

func must(t interface{ Fatal(...any) }, file []byte, change func(*Options)) Result {
	prices, err := Prices()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Prices: prices, Usage: DefaultUsage()}
	if change != nil {
		change(&o)
	}
	r, err := Estimate(file, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func parse(t *testing.T, s string) Amount {
	t.Helper()
	a, err := ParseAmount(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func instance(region, class string, n int) values {
	return res("aws_rds_cluster_instance", fmt.Sprint("i", n), "module.db_"+region, values{
		"arn": arn("rds", region, fmt.Sprint("db:i", n)), "instance_class": class, "cluster_identifier": "c",
	})
}

func gateways(region string, n int) []values {
	all := []values{res("aws_subnet", "s", "module.vpc_"+region, values{"id": "subnet-" + region, "vpc_id": "vpc-" + region, "availability_zone": region + "a"})}
	for i := range n {
		id := fmt.Sprintf("eipalloc-%s%d", region, i)
		all = append(all,
			res("aws_eip", fmt.Sprint("e", i), "module.vpc_"+region, values{"id": id, "allocation_id": id}),
			res("aws_nat_gateway", fmt.Sprint("n", i), "module.vpc_"+region, values{"id": fmt.Sprint("nat-", i), "subnet_id": "subnet-" + region, "allocation_id": id}))
	}
	return all
}

func service(region, name string, tasks, least int) []values {
	module := "module.ecs_" + region
	all := []values{
		res("aws_ecs_task_definition", name, module, values{
			"arn": arn("ecs", region, "task-definition/"+name+":7"), "family": name, "cpu": "512", "memory": "1024",
			"runtime_platform": []any{values{"cpu_architecture": "X86_64"}},
		}),
		res("aws_ecs_service", name, module, values{
			"name": name, "launch_type": "FARGATE", "desired_count": tasks, "task_definition": arn("ecs", region, "task-definition/"+name+":7"),
		}),
	}
	if least >= 0 {
		all = append(all, res("aws_appautoscaling_target", name, module, values{
			"arn": arn("application-autoscaling", region, "x"), "resource_id": "service/c/" + name, "service_namespace": "ecs", "min_capacity": least,
		}))
	}
	return all
}

// The sums are worked out by hand from prices.csv: 730 hours a month.
func TestSumsByHand(t *testing.T) {
	const e, w = "us-east-1", "us-west-2"
	cluster := func(region, kind string) values {
		return res("aws_rds_cluster", "c", "module.db_"+region, values{
			"arn": arn("rds", region, "cluster:c"), "cluster_identifier": "c", "storage_type": kind, "global_cluster_identifier": "g",
		})
	}
	template, _ := json.Marshal(values{"Resources": values{"T": values{"Type": "AWS::DynamoDB::GlobalTable", "Properties": values{
		"BillingMode": "PAY_PER_REQUEST", "Replicas": []any{values{"Region": e}},
	}}}})
	for _, c := range []struct {
		name      string
		resources []values
		part      string
		want      string
	}{
		// 2×730×0.26
		{"two instances", []values{instance(e, "db.r6g.large", 1), instance(w, "db.r6g.large", 2)}, PartAurora, "379.60"},
		// 2×730×0.12
		{"serverless at 2 ACU", []values{instance(e, "db.serverless", 1)}, PartAurora, "175.20"},
		// 100×0.10 + 100×0.20
		{"writer's cluster", []values{cluster(e, "")}, PartAurora, "30.00"},
		// 100×0.225 + 730×0.338
		{"writer's cluster, I/O-Optimized", []values{
			cluster(e, "aurora-iopt1"), instance(e, "db.r6g.large", 1),
		}, PartAurora, "269.24"},
		// 100×0.10, and from the active region 50×0.20 replicated and 50×0.02 transferred
		{"secondary cluster", []values{
			res("aws_vpc", "v", "module.v", values{"arn": arn("ec2", e, "vpc/v")}), cluster(w, ""),
		}, PartAurora, "21.00"},
		// 3×730×(0.5×0.04048 + 1×0.004445)
		{"tasks as autoscaling keeps them", service(e, "pay", 2, 3), PartECS, "54.06"},
		// 2×730×(0.5×0.04048 + 1×0.004445)
		{"tasks without autoscaling", service(e, "warden", 2, -1), PartECS, "36.04"},
		// 730×0.0225 + 730×0.008
		{"active balancer", []values{
			res("aws_lb", "b", "module.b", values{
				"arn": arn("elasticloadbalancing", e, "b"), "load_balancer_type": "application", "subnets": []any{"a", "b", "c"},
			}),
		}, PartECS, "22.27"},
		// 3×730×0.005 + 50×0.09
		{"its addresses and traffic", []values{
			res("aws_lb", "b", "module.b", values{
				"arn": arn("elasticloadbalancing", e, "b"), "load_balancer_type": "application", "subnets": []any{"a", "b", "c"},
			}),
		}, PartNetwork, "15.45"},
		// 3×730×(0.045+0.005) + 20×0.045
		{"three gateways", gateways(e, 3), PartNetwork, "110.40"},
		{"two endpoints in three zones", []values{
			res("aws_vpc_endpoint", "x", "module.v", values{"service_name": "com.amazonaws." + e + ".ecs", "vpc_endpoint_type": "Interface", "subnet_ids": []any{"a", "b", "c"}}),
			res("aws_vpc_endpoint", "y", "module.v", values{"service_name": "com.amazonaws." + e + ".rds", "vpc_endpoint_type": "Interface", "subnet_ids": []any{"a", "b", "c"}}),
			res("aws_vpc_endpoint", "z", "module.v", values{"service_name": "com.amazonaws." + e + ".s3", "vpc_endpoint_type": "Gateway"}),
		}, PartNetwork, "44.00"}, // 6×730×0.01 + 20×0.01
		{"fast HTTPS check and zone", []values{
			res("aws_vpc", "v", "module.v", values{"arn": arn("ec2", e, "vpc/v")}),
			res("aws_route53_zone", "z", "module.d", values{}),
			res("aws_route53_health_check", "h", "module.d", values{"type": "HTTPS", "request_interval": 10}),
		}, PartRoute53, "3.00"}, // 0.50 + 0.50 + 2×1.00
		{"alarms, key, secret with a replica", []values{
			res("aws_cloudwatch_metric_alarm", "a", "module.m", values{"arn": arn("cloudwatch", e, "alarm:a"), "period": 60}),
			res("aws_cloudwatch_metric_alarm", "b", "module.m", values{"arn": arn("cloudwatch", e, "alarm:b"), "metric_query": []any{
				values{"expression": "a/b"}, values{"metric": []any{values{}}}, values{"metric": []any{values{}}},
			}}),
			res("aws_kms_key", "k", "module.m", values{"arn": arn("kms", e, "key/k")}),
			res("aws_secretsmanager_secret", "s", "module.m", values{"arn": arn("secretsmanager", e, "secret:s"), "replica": []any{values{"region": w}}}),
		}, PartMonitoring, "2.10"}, // 3×0.10 + 1 + 2×0.40
		// 5 + 3×1 + 30×0.60
		{"firewall of the active site", []values{
			res("aws_wafv2_web_acl", "f", "module.f", values{
				"arn": arn("wafv2", e, "regional/webacl/f"), "rule": []any{1, 2, 3},
			}),
		}, PartMonitoring, "26.00"},
		// 0.625 + 0.00025 + 30×0.125
		{"term table", []values{
			res("aws_vpc", "v", "module.v", values{
				"arn": arn("ec2", e, "vpc/v"),
			}), res("aws_cloudformation_stack", "t", "module.t", values{
				"template_body": string(template),
			}),
		}, PartMonitoring, "4.38"},
	} {
		r := must(t, state(append(c.resources, res("aws_vpc", "east", "module.east", values{"arn": arn("ec2", e, "vpc/east")}))...), nil)
		if got := r.part(c.part).Total.String(); got != c.want {
			t.Errorf("%s: %s of %s, want %s; lines %+v, unpriced %+v", c.name, got, c.part, c.want, r.part(c.part).Lines, r.Unpriced)
		}
	}
}

func endpoint(region, service string) values {
	return res("aws_vpc_endpoint", region+service, "module."+region, values{
		"service_name": "com.amazonaws." + region + "." + service, "vpc_endpoint_type": "Interface", "subnet_ids": []any{"a", "b", "c"},
	})
}

func TestStrategiesByHand(t *testing.T) {
	all := slices.Concat(
		[]values{instance("us-east-1", "db.r6g.large", 1), instance("us-west-2", "db.r6g.large", 2)},
		service("us-east-1", "pay", 2, 2), service("us-west-2", "pay", 2, 2), service("us-west-2", "warden", 2, -1),
		gateways("us-east-1", 3), gateways("us-west-2", 1),
		[]values{endpoint("us-east-1", "ecs"), endpoint("us-east-1", "rds"), endpoint("us-east-2", "ecs")},
	)
	want := map[string]string{
		"serverless-v2":   "-29.20",  // 2×730×(0.24−0.26)
		"fewer-dr-tasks":  "-36.04",  // two tasks of the payment service, none of the warden
		"single-nat":      "-73.00",  // 2×730×(0.045+0.005)
		"no-endpoints":    "-43.10",  // 2×3×730×0.01, and 20 GB at 0.045 instead of 0.01; us-east-2 has no gateway to go through
		"reserved-1-year": "-113.88", // 0.30×2×730×0.26
	}
	for _, s := range must(t, state(all...), nil).Strategies {
		if s.Status != Applies || s.Change.String() != want[s.Name] {
			t.Errorf("%s: %s, %s, want %s", s.Name, s.Status, s.Change, want[s.Name])
		}
		delete(want, s.Name)
	}
	if len(want) != 0 {
		t.Errorf("not computed: %v", want)
	}
	one := func(o *Options) { o.Usage["dr-tasks"] = whole(1) }
	if s := must(t, state(all...), one).Strategies[1]; s.Change.String() != "-18.02" {
		t.Errorf("one task left: %s, want -18.02", s.Change)
	}
	for _, s := range must(t, state(gateways("us-east-1", 1)...), nil).Strategies {
		if s.Status != InEffect || s.Change.Sign() != 0 {
			t.Errorf("%s: %s, %s, but there is nothing to change", s.Name, s.Status, s.Change)
		}
	}
}

// A price that only the changed deployment lacks must not look like a saving.
func TestStrategyWithoutPriceSavesNothing(t *testing.T) {
	all := []values{instance("us-east-1", "db.r6g.large", 1)}
	r := must(t, state(all...), func(o *Options) {
		text := regexp.MustCompile(`(?m)^aurora\.(acu-hour|reserved).*\n`).ReplaceAllString(priceFile, "")
		var err error
		if o.Prices, err = parsePrices(text); err != nil {
			t.Fatal(err)
		}
	})
	for _, s := range r.Strategies {
		if (s.Name == "serverless-v2" || s.Name == "reserved-1-year") && (s.Status != NoPrice || s.Change.Sign() != 0) {
			t.Errorf("%s: %s, %s, but its price is not known", s.Name, s.Status, s.Change)
		}
	}
}

// Whatever the deployment and its use, no strategy makes a part cost less than nothing, each changes the month by what
// it changes its part, and those that only take away never add.
func TestStrategiesStayWithinTheirPart(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var all []values
		for _, region := range []string{"us-east-1", "us-west-2"} {
			for i := range rapid.IntRange(0, 4).Draw(rt, "instances") {
				class := rapid.SampledFrom([]string{"db.r6g.large", "db.r7g.large", "db.serverless"}).Draw(rt, "class")
				all = append(all, instance(region, class, i))
			}
			all = append(all, gateways(region, rapid.IntRange(0, 4).Draw(rt, "gateways"))...)
			for i := range rapid.IntRange(0, 3).Draw(rt, "endpoints") {
				all = append(all, endpoint(region, fmt.Sprintf("service%d", i)))
			}
			all = append(all, service(region, "pay", 2, rapid.IntRange(-1, 5).Draw(rt, "least"))...)
			all = append(all, service(region, "warden", rapid.IntRange(0, 3).Draw(rt, "wardens"), -1)...)
		}
		r := must(rt, state(all...), func(o *Options) {
			for _, a := range Assumptions() {
				if a.Name != "dr-tasks" {
					o.Usage[a.Name] = whole(rapid.IntRange(0, 1000).Draw(rt, a.Name)).Over(10)
				}
			}
			o.Usage["dr-tasks"] = whole(rapid.IntRange(0, 1).Draw(rt, "dr-tasks"))
		})
		sum := Amount{}
		for _, p := range r.Parts {
			sum = sum.Plus(p.Total)
		}
		if sum.Cmp(r.Total) != 0 {
			rt.Fatalf("the parts sum to %s, the total is %s", sum.Exact(), r.Total.Exact())
		}
		for _, s := range r.Strategies {
			switch {
			case s.After.Sign() < 0:
				rt.Fatalf("%s: %s would cost %s", s.Name, s.Part, s.After)
			case s.After.Minus(s.Before).Cmp(s.Change) != 0:
				rt.Fatalf("%s: the month changes by %s, %s by %s", s.Name, s.Change.Exact(), s.Part, s.After.Minus(s.Before).Exact())
			// Much data costs more through a gateway than the endpoints cost.
			case s.Name != "serverless-v2" && s.Name != "no-endpoints" && s.Change.Sign() > 0:
				rt.Fatalf("%s adds %s", s.Name, s.Change)
			case s.Status == Applies && s.Before.Cmp(r.part(s.Part).Total) != 0:
				rt.Fatalf("%s: before %s, but %s costs %s", s.Name, s.Before, s.Part, r.part(s.Part).Total)
			}
		}
	})
}

func TestWhatHasNoPriceIsListed(t *testing.T) {
	r := must(t, state(
		instance("us-east-1", "db.x2g.large", 1), instance("eu-west-1", "db.r6g.large", 2),
		res("aws_quantum_computer", "a", "module.q", values{}), res("aws_quantum_computer", "b", "module.q", values{}),
		res("aws_s3_bucket", "b", "module.s", values{}), res("aws_vpc", "v", "module.v", values{}),
		res("aws_lb", "n", "module.n", values{"arn": arn("elasticloadbalancing", "us-east-1", "n"), "load_balancer_type": "network"}),
	), nil)
	for _, want := range []Unpriced{
		{"aws_quantum_computer", 2, ReasonUnknown, ""},
		{"aws_rds_cluster_instance", 1, ReasonUnknown, "aurora.db.x2g.large in us-east-1"},
		{"aws_rds_cluster_instance", 1, ReasonUnknown, "aurora.db.r6g.large in eu-west-1"},
		{"aws_lb", 1, ReasonUnknown, "network load balancer"},
		{"aws_s3_bucket", 1, ReasonUsage, "GB and requests"},
		{"aws_vpc", 1, ReasonFree, ""},
	} {
		if !slices.Contains(r.Unpriced, want) {
			t.Errorf("%+v is missing in %+v", want, r.Unpriced)
		}
	}
	if r.Total.Sign() != 0 {
		t.Errorf("nothing has a price, but the total is %s", r.Total)
	}
}

func TestBrokenFilesGetOneSentence(t *testing.T) {
	whole := topology.DefaultState()
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"truncated":     {whole[:len(whole)/2], "ends in the middle of the JSON, after "},
		"empty":         {[]byte(" \n"), "the file is empty"},
		"no JSON":       {[]byte("resource \"aws_vpc\" {}"), "not JSON"},
		"a list":        {[]byte("[1]"), "neither a Terraform state nor a plan"},
		"other JSON":    {[]byte(`{"a": 1}`), `no "format_version"`},
		"raw state":     {[]byte(`{"version": 4, "serial": 1, "lineage": "x"}`), "raw state"},
		"no values":     {[]byte(`{"format_version": "1.0"}`), "nothing has been applied or planned"},
		"failed plan":   {[]byte(`{"format_version": "1.2", "errored": true, "planned_values": {"root_module": {}}}`), "the plan is incomplete"},
		"too new":       {[]byte(`{"format_version": "9.0", "values": {"root_module": {}}}`), "can't be read as a Terraform state"},
		"nobody active": {[]byte(`{"format_version": "1.0", "values": {"root_module": {}}}`), "--active-region"},
	} {
		prices, err := Prices()
		if err != nil {
			t.Fatal(err)
		}
		_, err = Estimate(c.file, Options{Prices: prices, Usage: DefaultUsage()})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one sentence with %q", name, err, c.want)
		}
	}
}

func TestUsageIsChecked(t *testing.T) {
	prices, err := Prices()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(Usage){
		"missing": func(u Usage) { delete(u, "acu") }, "unknown": func(u Usage) { u["acus"] = whole(1) },
		"negative": func(u Usage) { u["acu"] = whole(-1) }, "dr-tasks": func(u Usage) { u["dr-tasks"] = whole(2) },
	} {
		u := DefaultUsage()
		change(u)
		if _, err := Estimate(topology.DefaultState(), Options{Prices: prices, Usage: u}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAmounts(t *testing.T) {
	for _, s := range []string{"", ".", "-1", "1e3", "1/3", "0x1", "1,5", "1.2.3", " 1"} {
		if a, err := ParseAmount(s); err == nil {
			t.Errorf("%q was taken as %s", s, a.Exact())
		}
	}
	third := whole(1).Over(3)
	if got := third.Plus(third).Plus(third); got.Cmp(whole(1)) != 0 {
		t.Errorf("three thirds are %s", got.Exact())
	}
	if got := parse(t, "0.004445").Times(whole(730)); got.Exact() != "3.24485" || got.String() != "3.24" {
		t.Errorf("730 × 0.004445 = %s, shown as %s", got.Exact(), got)
	}
	if got := parse(t, "0.005").String(); got != "0.01" {
		t.Errorf("half a cent is shown as %s", got)
	}
}

func TestPriceListIsCheckedAndSourced(t *testing.T) {
	list, err := Prices()
	if err != nil {
		t.Fatal(err)
	}
	if len(list.rows) < 60 {
		t.Errorf("only %d prices", len(list.rows))
	}
	const head = "key,region,unit,usd,date,read,page,via\n"
	for name, row := range map[string]string{
		"twice":     "a,global,h,1,2026,primary,https://x,y\na,global,h,2,2026,primary,https://x,y",
		"no price":  "a,global,h,,2026,primary,https://x,y",
		"zero":      "a,global,h,0,2026,primary,https://x,y",
		"no date":   "a,global,h,1,lately,primary,https://x,y",
		"no region": "a,mars,h,1,2026,primary,https://x,y",
		"no source": "a,global,h,1,2026,primary,https://x,",
		"no page":   "a,global,h,1,2026,primary,x,y",
		"no reader": "a,global,h,1,2026,hearsay,https://x,y",
		"columns":   "a,global,h,1",
	} {
		if _, err := parsePrices(head + row + "\n"); err == nil {
			t.Errorf("%s: accepted %q", name, row)
		}
	}
}
