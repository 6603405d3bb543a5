package cost

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// HoursPerMonth is the mean length of a month that AWS's own calculator uses.
const HoursPerMonth = 730

// The parts of an estimate, in the order in which they are shown.
const (
	PartAurora     = "Aurora"
	PartECS        = "ECS and load balancers"
	PartNetwork    = "VPC and networking"
	PartRoute53    = "Route 53"
	PartMonitoring = "Monitoring and others"
)

var parts = []string{PartAurora, PartECS, PartNetwork, PartRoute53, PartMonitoring}

// Reasons why a resource is not in the sums.
const (
	ReasonFree    = "free of charge"
	ReasonUsage   = "usage-based, without an assumption"
	ReasonUnknown = "no price known"
)

// reasons is the order in which they are shown: what might be a surprise on the bill first.
var reasons = []string{ReasonUnknown, ReasonUsage, ReasonFree}

// Line is the cost of one thing in one region.
type Line struct {
	What   string `json:"what"`
	Region string `json:"region"`
	// Resources is how many resources of the state it stands for.
	Resources int    `json:"resources"`
	Quantity  Amount `json:"-"`
	Amount    Amount `json:"usd"`
	Price     Price  `json:"price"`
	// Assumption is the usage that it rests on, empty when the state tells it all.
	Assumption string `json:"assumption,omitempty"`
}

// Part is one table of the estimate.
type Part struct {
	Name  string `json:"name"`
	Lines []Line `json:"lines"`
	Total Amount `json:"usd"`
}

// Unpriced is what is not in the sums, by type.
type Unpriced struct {
	Type   string `json:"type"`
	Count  int    `json:"count"`
	Reason string `json:"reason"`
	// Detail names the price that is missing and its region, or what is charged by use.
	Detail string `json:"detail,omitempty"`
}

// Result is a month's estimate.
type Result struct {
	Parts      []Part     `json:"parts"`
	Total      Amount     `json:"usd"`
	Unpriced   []Unpriced `json:"unpriced"`
	Strategies []Strategy `json:"strategies"`
	// Active is the region of the site that is active on the first day.
	Active string `json:"active_region"`
	// Oldest and Newest are the dates between which the prices that were used were read.
	Oldest string `json:"prices_from"`
	Newest string `json:"prices_to"`
	// PricesByRead counts the prices that were used by how they were read.
	PricesByRead map[string]int `json:"prices_by_read"`
	Usage        Usage          `json:"-"`
}

// Options are what the state can't tell.
type Options struct {
	Prices PriceList
	Usage  Usage
	// ActiveRegion overrides what the file says; empty to take it from there.
	ActiveRegion string
}

// Estimate reads a state or plan in the form of "terraform show -json" and computes what a month of it costs, and what
// the strategies change. Its errors are about the file or the options.
func Estimate(file []byte, o Options) (Result, error) {
	if err := o.Usage.check(); err != nil {
		return Result{}, err
	}
	d, err := readDocument(file)
	if err != nil {
		return Result{}, err
	}
	switch d.active = cmp.Or(o.ActiveRegion, d.active); {
	case d.active == "":
		return Result{}, errors.New("the file doesn't tell which region is active: name it with --active-region")
	case !slices.ContainsFunc(d.resources, func(r resource) bool { return r.region == d.active }):
		return Result{}, fmt.Errorf("no resource of the file is in the active region %q: name another with --active-region", d.active)
	}
	result := estimate(d, o, changes{})
	for _, s := range strategies {
		result.Strategies = append(result.Strategies, s.compute(d, o, result))
	}
	return result, nil
}

// changes are what a strategy changes in the prices; what it changes in the resources it does there.
type changes struct {
	// reserved replaces the on-demand price of database instances by that of a reservation.
	reserved bool
}

// estimator adds up the lines of one estimate.
type estimator struct {
	document
	Options
	changes
	lines    map[lineKey]*Line
	unpriced map[Unpriced]int
	// shared marks the assumptions that were already added to their line.
	shared map[sharedKey]bool
}

type lineKey struct{ part, key, region string }

type sharedKey struct {
	lineKey
	assumption string
}

func estimate(d document, o Options, c changes) Result {
	e := &estimator{
		document: d, Options: o, changes: c,
		lines: map[lineKey]*Line{}, unpriced: map[Unpriced]int{}, shared: map[sharedKey]bool{},
	}
	for _, r := range d.resources {
		switch handle, detail := handlers[r.typ], usageBased[r.typ]; {
		case handle != nil:
			handle(e, r)
		case free[r.typ]:
			e.leaveOut(r.typ, ReasonFree, "")
		case detail != "":
			e.leaveOut(r.typ, ReasonUsage, detail)
		default:
			e.leaveOut(r.typ, ReasonUnknown, "")
		}
	}
	return e.result()
}

// item is one charge to add.
type item struct {
	part, key, what string
	quantity        Amount
	// assumption is the name of the usage in the quantity.
	assumption string
}

// add adds a charge of a resource in a region, or lists it as unpriced.
func (e *estimator) add(r resource, region string, it item) {
	if it.quantity.Sign() == 0 {
		return
	}
	price, has := e.Prices.Find(it.key, region)
	if !has {
		e.leaveOut(r.typ, ReasonUnknown, it.key+" in "+cmp.Or(region, "an unknown region"))
		return
	}
	k := lineKey{it.part, it.key, region}
	l := e.lines[k]
	if l == nil {
		l = &Line{What: it.what, Region: cmp.Or(region, global), Price: price, Assumption: it.assumption}
		e.lines[k] = l
	}
	l.Resources++
	l.Quantity = l.Quantity.Plus(it.quantity)
	l.Amount = l.Amount.Plus(it.quantity.Times(price.USD))
}

// once adds a charge that a region has once, however many resources cause it.
func (e *estimator) once(r resource, region string, it item) {
	if k := (sharedKey{lineKey{it.part, it.key, region}, it.assumption}); !e.shared[k] {
		e.shared[k] = true
		e.add(r, region, it)
	}
}

// assumed is an item whose quantity is an assumption.
func (e *estimator) assumed(part, key, what, assumption string) item {
	return item{part, key, what, e.Usage[assumption], assumption}
}

func (e *estimator) leaveOut(typ, reason, detail string) {
	e.unpriced[Unpriced{Type: typ, Reason: reason, Detail: detail}]++
}

// result sorts the lines into parts. Lines of a part go by what they are and where.
func (e *estimator) result() Result {
	result := Result{Active: e.active, Usage: e.Usage, PricesByRead: map[string]int{}, Strategies: []Strategy{}}
	for _, name := range parts {
		part := Part{Name: name, Lines: []Line{}}
		for k, l := range e.lines {
			if k.part == name {
				part.Lines = append(part.Lines, *l)
				part.Total = part.Total.Plus(l.Amount)
			}
		}
		slices.SortFunc(part.Lines, func(a, b Line) int {
			return cmp.Or(cmp.Compare(a.Price.Key, b.Price.Key), cmp.Compare(a.Region, b.Region))
		})
		result.Parts = append(result.Parts, part)
		result.Total = result.Total.Plus(part.Total)
		for _, l := range part.Lines {
			result.PricesByRead[l.Price.Read]++
			if result.Oldest == "" || l.Price.Date < result.Oldest {
				result.Oldest = l.Price.Date
			}
			result.Newest = max(result.Newest, l.Price.Date)
		}
	}
	result.Unpriced = []Unpriced{}
	for u, count := range e.unpriced {
		u.Count = count
		result.Unpriced = append(result.Unpriced, u)
	}
	slices.SortFunc(result.Unpriced, func(a, b Unpriced) int {
		return cmp.Or(
			cmp.Compare(slices.Index(reasons, a.Reason), slices.Index(reasons, b.Reason)),
			cmp.Compare(a.Type, b.Type), cmp.Compare(a.Detail, b.Detail),
		)
	})
	return result
}

// part is a part of the result by its name.
func (r Result) part(name string) Part {
	i := slices.IndexFunc(r.Parts, func(p Part) bool { return p.Name == name })
	return r.Parts[i]
}
