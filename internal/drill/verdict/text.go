package verdict

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxTextTimeline keeps the text within one screen; the whole timeline is in the results folder.
const maxTextTimeline = 10

// WriteText writes the verdict for people, compactly enough for one screen.
func (v *Verdict) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s, seed %d, speed %.4g\n", strings.ToUpper(v.Verdict), v.Fault, v.Seed, v.Speed)
	for _, failure := range v.Failures {
		fmt.Fprintf(&b, "  FAILED       %s\n", failure)
	}
	fmt.Fprintf(&b, "  RTO          %-8s (objective %.4g s)\n", seconds(v.RTOSeconds), v.Objectives.RTOSeconds)
	fmt.Fprintf(&b, "  RPO          %-8s (objective %.4g s; %.3g s of load before the kill)\n", seconds(v.RPOSeconds), v.Objectives.RPOSeconds, v.LoadBeforeFaultSeconds)
	p := v.Payments
	fmt.Fprintf(&b, "  payments     %d attempted, %d acknowledged: %d kept, %d lost\n", p.Attempted, p.Acknowledged, p.Kept, p.Lost)
	fmt.Fprintf(&b, "               %d unknown (%d of them in the ledger), %d declined, %d refused, %d charged twice\n",
		p.Unknown, p.UnknownInLedger, p.Declined, p.Refused, p.ChargedTwice)
	if p.Shed > 0 {
		fmt.Fprintf(&b, "               %d more arrived while the load was at its bound, and were never sent\n", p.Shed)
	}
	if v.Tail.Folder != "" {
		fmt.Fprintf(&b, "  lost tail    %d payments, in %s\n", v.Tail.Payments, v.Tail.Folder)
	}
	fmt.Fprintf(&b, "  ledger       %s\n", v.Ledger.text())
	fmt.Fprintf(&b, "  split brain  %d attempts on the old database, %d accepted%s\n",
		v.SplitBrain.Attempts, v.SplitBrain.Accepted, v.refusals())
	fmt.Fprintf(&b, "  switch back  %s without an acknowledged payment, %d lost\n",
		seconds(v.SwitchBack.DowntimeSeconds), v.SwitchBack.Lost)
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

// highlights are the entries that the drill itself wrote and those about regions, DNS and terms, at most
// maxTextTimeline of them, in order.
func (v *Verdict) highlights() []Entry {
	rank := map[string]int{"drill": 0, "region": 1, "term": 2, "dns": 3}
	var chosen []int
	for wanted := range len(rank) {
		for i, e := range v.Timeline {
			if r, ok := rank[e.Kind]; ok && r == wanted && len(chosen) < maxTextTimeline {
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
