package lost

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText writes the report for people.
func (r Report) WriteText(out io.Writer) error {
	var b strings.Builder
	for _, e := range r.Exports {
		fmt.Fprintf(&b, "export    %s, term %d, %s (%s)\n", e.Site, e.Term, e.Source, e.Folder)
	}
	for _, l := range r.Acquirer {
		fmt.Fprintf(&b, "acquirer  %d charges of %s to %s (%s)\n", l.Count, stamp(l.Window.From), stamp(l.Window.Until), l.Source)
	}
	for _, table := range slices.Sorted(maps.Keys(r.Tables)) {
		fmt.Fprintf(&b, "table     %s: %d rows missing, %d different\n", table, r.Tables[table]["missing"], r.Tables[table]["different"])
	}
	if len(r.Payments) > 0 {
		tw := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
		fmt.Fprintln(tw, "\nREFERENCE\tAMOUNT\tOLD\tACQUIRER\tSURVIVOR\tACTION\tBECAUSE")
		for _, p := range r.Payments {
			fmt.Fprintf(tw, "%s\t%d %s\t%s\t%s\t%s\t%s\t%s\n", p.Reference, p.Amount, p.Currency, cmp.Or(p.Old, "-"), cmp.Or(p.Acquirer, "-"),
				cmp.Or(p.Survivor, "-"), p.Action, p.Why)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		b.WriteString("\n")
	}
	for _, currency := range slices.Sorted(maps.Keys(r.Totals)) {
		for _, action := range slices.Sorted(maps.Keys(r.Totals[currency])) {
			t := r.Totals[currency][action]
			fmt.Fprintf(&b, "total     %s %d in %d payments: %s\n", currency, t.Amount, t.Payments, action)
		}
	}
	if r.Complete {
		b.WriteString("complete  yes: the acquirer's list covers the gap\n")
	} else {
		fmt.Fprintf(&b, "complete  no: %s\n", strings.Join(r.IncompleteBecause, "\n          and "))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
