package verdict

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxTextTimeline keeps the text within one screen; the whole timeline is in the results folder. What is particular to
// the fault takes lines from it, but not all.
const maxTextTimeline, minTextTimeline = 10, 4

// WriteText writes the verdict for people, compactly enough for one screen.
func (v *Verdict) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s, seed %d, speed %.4g\n", strings.ToUpper(v.Verdict), v.Fault, v.Seed, v.Speed)
	for _, failure := range v.Failures {
		fmt.Fprintf(&b, "  FAILED       %s\n", failure)
	}
	v.writeExpectation(&b)
	v.writeTimes(&b)
	p := v.Payments
	fmt.Fprintf(&b, "  payments     %d attempted, %d acknowledged: %d kept, %d lost\n", p.Attempted, p.Acknowledged, p.Kept, p.Lost)
	fmt.Fprintf(&b, "               %d unknown (%d of them in the ledger), %d declined, %d refused, %d charged twice\n",
		p.Unknown, p.UnknownInLedger, p.Declined, p.Refused, p.ChargedTwice)
	if p.ToldNoButCharged > 0 {
		fmt.Fprintf(&b, "               %d of the declined and refused were charged all the same\n", p.ToldNoButCharged)
	}
	if p.Shed > 0 {
		fmt.Fprintf(&b, "               %d more arrived while the load was at its bound, and were never sent\n", p.Shed)
	}
	if v.Tail.Folder != "" {
		fmt.Fprintf(&b, "  lost tail    %d payments, %d of them acknowledged to nobody, in %s\n", v.Tail.Payments, v.Tail.Unacknowledged, v.Tail.Folder)
	}
	fmt.Fprintf(&b, "  ledger       %s\n", v.Ledger.text())
	if v.Demands.Fence || v.SplitBrain.Attempts > 0 {
		fmt.Fprintf(&b, "  split brain  %d attempts without a lease, %d accepted%s\n",
			v.SplitBrain.Attempts, v.SplitBrain.Accepted, v.refusals())
	}
	if v.SplitBrain.Held > 0 {
		fmt.Fprintf(&b, "  freeze       %d transactions frozen before their commit check, %d answered; %d after it: %d landed, %d in the tail\n",
			v.SplitBrain.Held, v.SplitBrain.HeldAnswered, v.Thawed.Staged, v.Thawed.Landed, v.Thawed.InTail)
	}
	if v.Demands.SwitchBack || v.SwitchBack.DowntimeSeconds != nil {
		fmt.Fprintf(&b, "  switch back  %s without an acknowledged payment, %d lost\n",
			seconds(v.SwitchBack.DowntimeSeconds), v.SwitchBack.Lost)
	}
	if entries := v.highlights(); len(entries) > 0 {
		fmt.Fprintf(&b, "  timeline\n")
		for _, e := range entries {
			fmt.Fprintf(&b, "    %7.1f s  %-8s %s\n", e.AtSeconds, e.Site, clip(e.Event, 90))
		}
	}
	fmt.Fprintf(&b, "  environment  %d CPUs, PostgreSQL %s, %s\n",
		v.Environment.CPUs, v.Environment.PostgreSQL, v.Environment.StartedAt.UTC().Format("2006-01-02 15:04 UTC"))
	if v.ResultsFolder != "" {
		fmt.Fprintf(&b, "  results      %s\n", v.ResultsFolder)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeExpectation says what had to happen and what did.
func (v *Verdict) writeExpectation(b *strings.Builder) {
	if v.Expectation != "" {
		fmt.Fprintf(b, "  expected     %s\n", clip(v.Expectation, 105))
	}
	if v.Happened != "" {
		fmt.Fprintf(b, "  happened     %s\n", clip(v.Happened, 105))
	}
	for _, c := range v.Checks {
		mark := "ok"
		if !c.OK {
			mark = "FAILED"
		}
		fmt.Fprintf(b, "  %-11s  %s\n", mark, clip(c.What+": "+c.Got+" (want "+c.Wanted+")", 105))
	}
}

func (v *Verdict) writeTimes(b *strings.Builder) {
	if v.Demands.RTO || v.RTOSeconds != nil {
		fmt.Fprintf(b, "  RTO          %-8s (objective %.4g s)\n", seconds(v.RTOSeconds), v.Objectives.RTOSeconds)
	}
	if v.SiteRTOSeconds != nil {
		fmt.Fprintf(b, "  site         served after %s, before DNS", seconds(v.SiteRTOSeconds))
		if v.TakeoverOverheadSeconds != nil {
			fmt.Fprintf(b, ": %+.2f s beside a lease of %.4g s and a margin of %.4g s", *v.TakeoverOverheadSeconds, v.LeaseSeconds, v.MarginSeconds)
		}
		b.WriteString("\n")
	}
	if !v.Demands.RTO && v.StandstillSeconds != nil {
		fmt.Fprintf(b, "  standstill   %-8s (the longest time without an acknowledged payment)\n", seconds(v.StandstillSeconds))
	}
	if v.Demands.RPO || v.RPOSeconds != nil {
		fmt.Fprintf(b, "  RPO          %-8s (objective %.4g s; %.3g s of load before the fault)\n",
			seconds(v.RPOSeconds), v.Objectives.RPOSeconds, v.LoadBeforeFaultSeconds)
	}
}

func (l Ledger) text() string {
	switch {
	case l.Balanced:
		return fmt.Sprintf("balanced, %d entries", l.Entries)
	case l.Entries == 0:
		return "not counted"
	}
	return fmt.Sprintf("NOT BALANCED, %d entries, %d payments out of balance", l.Entries, l.UnbalancedPayments)
}

func (v *Verdict) refusals() string {
	var parts []string
	for state, n := range v.SplitBrain.RefusedBy {
		name := map[string]string{"HF001": "write fence", "25006": "read-only"}[state]
		if name == "" {
			name = "SQLSTATE " + state
		}
		parts = append(parts, fmt.Sprintf("%s %d", name, n))
	}
	if len(parts) == 0 {
		return ""
	}
	slices.Sort(parts)
	return " (refused: " + strings.Join(parts, ", ") + ")"
}

// highlights are the first of the entries that the drill itself wrote and of those about regions, DNS and terms, in order.
func (v *Verdict) highlights() []Entry {
	rank := map[string]int{"drill": 0, "region": 1, "term": 2, "dns": 3}
	most := max(minTextTimeline, maxTextTimeline-v.extraLines())
	var chosen []int
	for wanted := range len(rank) {
		for i, e := range v.Timeline {
			if r, ok := rank[e.Kind]; ok && r == wanted && len(chosen) < most {
				chosen = append(chosen, i)
			}
		}
	}
	slices.Sort(chosen)
	entries := make([]Entry, 0, len(chosen))
	for _, i := range chosen {
		entries = append(entries, v.Timeline[i])
	}
	return entries
}

// extraLines is how many lines the expectation takes.
func (v *Verdict) extraLines() int {
	n := len(v.Checks)
	for _, there := range []bool{v.Expectation != "", v.Happened != "", v.SiteRTOSeconds != nil, v.SplitBrain.Held > 0} {
		if there {
			n++
		}
	}
	return n
}

func seconds(s *float64) string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("%.1f s", *s)
}

func clip(text string, width int) string {
	text, _, _ = strings.Cut(text, "\n")
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return text
}
