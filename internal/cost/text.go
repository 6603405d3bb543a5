package cost

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText writes the estimate as tables.
func (r Result) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Monthly estimate in US dollars, %d hours, list prices read from %s to %s\n", HoursPerMonth, r.Oldest, r.Newest)
	fmt.Fprintf(&b, "Lines by source of their price: %d on AWS's price pages, %d in other documents by AWS, %d in dated notes by others\n",
		r.PricesByRead[Primary], r.PricesByRead[AWSNote], r.PricesByRead[ThirdParty])
	fmt.Fprintf(&b, "Active region: %s. No free tier, discount or tax; what is not in the sums stands below.\n", r.Active)
	for _, p := range r.Parts {
		fmt.Fprintf(&b, "\n%s\n", strings.ToUpper(p.Name))
		for _, l := range p.Lines {
			mark := ""
			if l.Assumption != "" {
				mark = " *"
			}
			fmt.Fprintf(&b, "  %-38s%-12s%12s %-10s%10s%12s\n",
				l.What+mark, l.Region, l.Quantity.Exact(), l.Price.Unit, l.Price.USD.Exact(), l.Amount)
		}
		fmt.Fprintf(&b, "  %-84s%10s\n", "total", p.Total)
	}
	fmt.Fprintf(&b, "\n%-86s%10s\n", "TOTAL", r.Total)
	r.writeStrategies(&b)
	r.writeUsage(&b)
	r.writeUnpriced(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Result) writeStrategies(w io.Writer) {
	fmt.Fprintln(w, "\nWHAT EACH STRATEGY CHANGES, ONE AT A TIME")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range r.Strategies {
		effect := s.Status
		if s.Status == Applies {
			effect = fmt.Sprintf("%s a month (%s: %s to %s)", signed(s.Change), s.Part, s.Before, s.After)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Name, effect, s.About)
	}
	_ = table.Flush() // a strings.Builder takes everything
}

func signed(a Amount) string {
	if a.Sign() > 0 {
		return "+" + a.String()
	}
	return a.String()
}

func (r Result) writeUsage(w io.Writer) {
	fmt.Fprintln(w, "\n* ASSUMED USAGE IN A MONTH, EACH A FLAG")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, a := range Assumptions() {
		fmt.Fprintf(table, "--%s\t%s %s\t%s\n", a.Name, r.Usage[a.Name].Exact(), a.Unit, a.About)
	}
	_ = table.Flush()
}

func (r Result) writeUnpriced(w io.Writer) {
	fmt.Fprintln(w, "\nNOT IN THE SUMS")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, u := range r.Unpriced {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", u.Count, u.Type, u.Reason, u.Detail)
	}
	_ = table.Flush()
}

// MarshalJSON adds to a line what text shows beside the price: the quantity and the exact price as decimal strings.
func (l Line) MarshalJSON() ([]byte, error) {
	type plain Line
	return json.Marshal(struct {
		plain
		Quantity string `json:"quantity"`
		UnitUSD  string `json:"unit_usd"`
	}{plain(l), l.Quantity.Exact(), l.Price.USD.Exact()})
}

// MarshalJSON adds the assumptions as decimal strings.
func (r Result) MarshalJSON() ([]byte, error) {
	type plain Result
	usage := map[string]string{}
	for name, v := range r.Usage {
		usage[name] = v.Exact()
	}
	return json.Marshal(struct {
		plain
		HoursPerMonth int               `json:"hours_per_month"`
		Usage         map[string]string `json:"usage"`
	}{plain(r), HoursPerMonth, usage})
}
