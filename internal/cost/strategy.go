package cost

import (
	"slices"
	"strings"
)

// What a strategy would do.
const (
	Applies  = "applies"
	InEffect = "already in effect, or nothing to change"
	NoPrice  = "no price known"
)

// Strategy is what the month would cost with one change.
type Strategy struct {
	Name  string `json:"name"`
	About string `json:"about"`
	// Status is one of the constants above; the sums are zero unless it applies.
	Status string `json:"status"`
	// Part is the part of the estimate whose sums Before and After are.
	Part   string `json:"part"`
	Before Amount `json:"before_usd"`
	After  Amount `json:"after_usd"`
	// Change is the difference of the whole month: negative for a saving.
	Change Amount `json:"change_usd"`
}

// strategy is a change to compute. Its effect on the resources is its own; the estimate is the same function.
type strategy struct {
	name, about, part string
	changes           changes
	// change returns the changed resources, and whether it changed any.
	change func(d document, u Usage) ([]resource, bool)
}

var strategies = []strategy{
	{
		name: "serverless-v2", about: "Aurora Serverless v2 instead of provisioned instances, at the mean of --acu", part: PartAurora,
		change: toServerless,
	},
	{
		name: "fewer-dr-tasks", about: "payment tasks of the standby site reduced to --dr-tasks; a failover then waits for new tasks", part: PartECS,
		change: fewerTasks,
	},
	{
		name: "single-nat", about: "one NAT gateway per VPC instead of one per zone; outbound traffic then hangs on one zone", part: PartNetwork,
		change: singleNAT,
	},
	{
		name: "no-endpoints", about: "no interface endpoints; calls to AWS go through the NAT gateways, and fail with them", part: PartNetwork,
		change: noEndpoints,
	},
	{
		name: "reserved-1-year", about: "database instances reserved for a year, all upfront, at AWS's rule of thumb", part: PartAurora,
		changes: changes{reserved: true}, change: reserve,
	},
}

func (s strategy) compute(d document, o Options, before Result) Strategy {
	out := Strategy{Name: s.name, About: s.about, Part: s.part, Status: InEffect}
	changed, any := s.change(d, o.Usage)
	if !any {
		return out
	}
	d.resources = changed
	after := estimate(d, o, s.changes)
	// A price that is missing only afterwards would look like a saving.
	if missing(after) > missing(before) {
		out.Status = NoPrice
		return out
	}
	out.Status = Applies
	out.Before, out.After = before.part(s.part).Total, after.part(s.part).Total
	out.Change = after.Total.Minus(before.Total)
	return out
}

// missing counts what has no price.
func missing(r Result) int {
	n := 0
	for _, u := range r.Unpriced {
		if u.Reason == ReasonUnknown {
			n += u.Count
		}
	}
	return n
}

// replace changes the resources for which change answers true.
func replace(all []resource, change func(resource) (resource, bool)) ([]resource, bool) {
	out, any := slices.Clone(all), false
	for i, r := range out {
		if changed, does := change(r); does {
			out[i], any = changed, true
		}
	}
	return out, any
}

func toServerless(d document, _ Usage) ([]resource, bool) {
	return replace(d.resources, func(r resource) (resource, bool) {
		if !provisioned(r) {
			return r, false
		}
		return r.with("instance_class", serverlessClass), true
	})
}

func reserve(d document, _ Usage) ([]resource, bool) {
	return d.resources, slices.ContainsFunc(d.resources, provisioned)
}

func provisioned(r resource) bool {
	return r.typ == "aws_rds_cluster_instance" && r.text("instance_class") != serverlessClass
}

// fewerTasks lowers what autoscaling keeps in the standby site. Services that nothing scales stay: the wardens must.
func fewerTasks(d document, u Usage) ([]resource, bool) {
	return replace(d.resources, func(r resource) (resource, bool) {
		least, known := r.number("min_capacity")
		if r.typ != "aws_appautoscaling_target" || r.text("service_namespace") != "ecs" || !known ||
			r.region == d.active || r.region == "" || whole(least).Cmp(u["dr-tasks"]) <= 0 {
			return r, false
		}
		return r.with("min_capacity", u["dr-tasks"].Exact()), true
	})
}

// singleNAT keeps the first gateway of each VPC, and releases the addresses of the others.
func singleNAT(d document, _ Usage) ([]resource, bool) {
	vpcs := map[string]string{}
	for _, r := range d.resources {
		if r.typ == "aws_subnet" && r.text("id") != "" {
			vpcs[r.text("id")] = r.text("vpc_id")
		}
	}
	kept, released := map[string]bool{}, map[string]bool{}
	out := slices.DeleteFunc(slices.Clone(d.resources), func(r resource) bool {
		if r.typ != "aws_nat_gateway" {
			return false
		}
		vpc := vpcs[r.text("subnet_id")]
		if vpc == "" { // a plan doesn't know it yet; a module makes one VPC
			vpc = "module " + r.module
		}
		if !kept[vpc] {
			kept[vpc] = true
			return false
		}
		released[addressOf(r)] = true
		return true
	})
	out = slices.DeleteFunc(out, func(r resource) bool { return r.typ == "aws_eip" && released[addressOf(r)] })
	return out, len(released) > 0
}

// throughNAT is the type of an interface endpoint that a strategy has taken away: what went through it still goes, and
// is charged by the gateway.
const throughNAT = "taken away"

// noEndpoints takes away the interface endpoints of regions that have a NAT gateway to take their place. Gateway
// endpoints are free, and stay.
func noEndpoints(d document, _ Usage) ([]resource, bool) {
	nat := map[string]bool{}
	for _, r := range d.resources {
		if r.typ == "aws_nat_gateway" {
			nat[r.region] = true
		}
	}
	return replace(d.resources, func(r resource) (resource, bool) {
		if r.typ != "aws_vpc_endpoint" || r.text("vpc_endpoint_type") != "Interface" || !nat[r.region] {
			return r, false
		}
		return r.with("vpc_endpoint_type", throughNAT), true
	})
}

// addressOf names the elastic address of a gateway or of itself: by its id, or before it has one by module and index.
func addressOf(r resource) string {
	for _, name := range []string{"allocation_id", "id"} {
		if id := r.text(name); strings.HasPrefix(id, "eipalloc-") {
			return id
		}
	}
	return r.module + "[" + r.index + "]"
}
