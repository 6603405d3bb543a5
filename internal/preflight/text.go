package preflight

import (
	"fmt"
	"io"
	"strings"
)

// WriteText prints the report for people: one line for each check, and what is not as wanted below it.
func (r Report) WriteText(out io.Writer) error {
	var b strings.Builder
	roles := "roles unknown"
	if r.Active != "" {
		roles = r.Active + " is active, " + r.Standby + " stands by"
	}
	fmt.Fprintf(&b, "deployment %s: %s\n\n", r.Deployment, roles)
	counts := map[Severity]int{}
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "%-8s %-14s %s\n", c.Severity, c.Name, c.sum())
		for _, f := range c.Findings {
			counts[f.Severity]++
			if f.Severity == OK {
				continue
			}
			fmt.Fprintf(&b, "         %s: %s, %s\n", f.Severity, f.Subject, f.What)
			fmt.Fprintf(&b, "           is      %s\n           wanted  %s\n           do      %s\n", f.Current, f.Wanted, f.Remedy)
		}
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "skipped  %-14s %s\n", s.Name, s.Why)
	}
	verdict := "PASS"
	if !r.Passed {
		verdict = "FAIL"
	}
	fmt.Fprintf(&b, "\n%s  %d ok, %d warnings, %d unknown, %d failures\n", verdict, counts[OK], counts[Warn], counts[Unknown], counts[Fail])
	_, err := io.WriteString(out, b.String())
	return err
}

// sum words a check in half a line.
func (c Result) sum() string {
	if c.Severity != OK {
		return c.Protects
	}
	if len(c.Findings) == 1 {
		return c.Findings[0].What + ": " + c.Findings[0].Current
	}
	return fmt.Sprintf("%d findings, all as wanted", len(c.Findings))
}
