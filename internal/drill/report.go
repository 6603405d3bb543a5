package drill

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"holdfast/internal/drill/verdict"
)

// verdictName is the file of a verdict in its results folder.
const verdictName = "verdict.json"

// Folder is where a series of drills keeps the results of one run, so that an interrupted series goes on where it ended.
func Folder(root, fault string, speed float64, seed uint64) string {
	return filepath.Join(root, fmt.Sprintf("%s-speed%.4g-seed%d", fault, speed, seed))
}

// ReadVerdict reads the verdict in a results folder. The error wraps [fs.ErrNotExist] if there is none.
func ReadVerdict(folder string) (*verdict.Verdict, error) {
	encoded, err := os.ReadFile(filepath.Join(folder, verdictName))
	if err != nil {
		return nil, err
	}
	v := new(verdict.Verdict)
	if err := json.Unmarshal(encoded, v); err != nil {
		return nil, fmt.Errorf("the verdict in %s: %w", folder, err)
	}
	return v, nil
}

// ReadSeries reads every verdict below a series' folder.
func ReadSeries(root string) ([]*verdict.Verdict, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("the results of the drills: %w", err)
	}
	var series []*verdict.Verdict
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		v, err := ReadVerdict(filepath.Join(root, e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // a run that was killed, or no run at all
		case err != nil:
			return nil, err
		}
		series = append(series, v)
	}
	return series, nil
}

// row sums up the runs of one fault at one speed.
type row struct {
	fault string
	speed float64
	runs  []*verdict.Verdict
}

// WriteReport writes what a series of drills found as a Markdown document. machine describes where it ran.
func WriteReport(w io.Writer, series []*verdict.Verdict, machine string) error {
	rows := group(series)
	var b strings.Builder
	b.WriteString(reportHead)
	if len(rows) == 0 {
		b.WriteString("No drill has been run yet.\n")
		_, err := io.WriteString(w, b.String())
		return err
	}
	fmt.Fprintf(&b, "Machine: %s. PostgreSQL %s. Built from %s. Runs from %s to %s.\n\n", machine,
		versions(series), revisionsOf(series), day(slices.MinFunc(series, byStart)), day(slices.MaxFunc(series, byStart)))
	b.WriteString("| fault | speed | passed | RTO (s) | RPO (s) | standstill (s) | acknowledged | unknown | lost | double charges | commits without a lease |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		r.write(&b)
	}
	b.WriteString("\n" + reportLegend)
	writeCycles(&b, rows)
	writeOverhead(&b, rows)
	writeFreezes(&b, rows)
	b.WriteString("\n## What was expected\n\n| fault | what is broken | what has to happen |\n|---|---|---|\n")
	for _, s := range scenarios() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.name, s.doc, s.expectation)
	}
	writeFailures(&b, rows)
	_, err := io.WriteString(w, b.String())
	return err
}

const reportHead = `# Drills

<!-- Written by "holdfast drill --all --report docs/drills.md" (make drills). Edits are overwritten. -->

Each line of the table is a number of drills against the twin: one fault, payments all the time, and a verdict that looks
every acknowledged payment up in the surviving ledger, every charge at the acquirer, and every commit that was tried
without a lease. "Passed" means that what had to happen did, and that nothing was lost unless the exported tail has it,
nobody was charged twice, or told no and charged, no valid payment was refused for good, and the ledger adds up.

`

const reportLegend = "RTO: from just before the fault to the first payment that the other site acknowledged; in `application-failing`, where\n" +
	"nobody takes over unasked, from the operator's request; in `switchover` the longest time without an acknowledged payment\n" +
	"around the move there. A drill that repeats its fault has the figure of its worst time. RPO: the stretch of time whose\n" +
	"acknowledged payments the surviving ledger lacks, up to the fault, or up to the last of them where a site that was cut\n" +
	"off went on for the rest of its lease. Standstill: the longest time without an acknowledged payment, from the first fault\n" +
	"to the end of the load.\n" +
	"Each is the median and the largest of the runs, or one figure where they are the same, in real seconds: the speed divides\n" +
	"the deployment's configured times, nothing is multiplied back. Unknown are the payments whose outcome no merchant learned.\n" +
	"Lost payments are in the exported tail of a drill that passed. The last column is accepted of tried.\n"

// writeCycles says how often the fault that repeats did so.
func writeCycles(b *strings.Builder, rows []row) {
	for _, r := range rows {
		if r.fault != FreezeThaw {
			continue
		}
		seen := map[int]bool{}
		for _, v := range r.runs {
			seen[v.Setup.Cycles] = true
		}
		var cycles []string
		for _, n := range slices.Sorted(maps.Keys(seen)) {
			text := fmt.Sprint(n)
			switch {
			case n == 0:
				text = "an unknown number of"
			case n < freezeCycles:
				text += fmt.Sprintf(" (fewer than the usual %d)", freezeCycles)
			}
			cycles = append(cycles, text)
		}
		fmt.Fprintf(b, "A run of `%s` at speed %.4g is %s cycles.\n", r.fault, r.speed, strings.Join(cycles, " or "))
	}
}

// group sorts verdicts by fault, in the catalogue's order, and speed.
func group(series []*verdict.Verdict) []row {
	type key struct {
		fault string
		speed float64
	}
	byKey := map[key][]*verdict.Verdict{}
	for _, v := range series {
		k := key{v.Fault, v.Speed}
		byKey[k] = append(byKey[k], v)
	}
	order := map[string]int{}
	for i, s := range scenarios() {
		order[s.name] = i
	}
	var rows []row
	for _, k := range slices.SortedFunc(maps.Keys(byKey), func(x, y key) int {
		return cmp.Or(cmp.Compare(order[x.fault], order[y.fault]), cmp.Compare(x.fault, y.fault), cmp.Compare(y.speed, x.speed))
	}) {
		runs := byKey[k]
		slices.SortFunc(runs, func(x, y *verdict.Verdict) int { return cmp.Compare(x.Seed, y.Seed) })
		rows = append(rows, row{k.fault, k.speed, runs})
	}
	return rows
}

func (r row) write(b *strings.Builder) {
	passed, acknowledged, unknown, lost, twice, accepted, tried := 0, 0, 0, 0, 0, 0, 0
	for _, v := range r.runs {
		if v.Verdict == verdict.Pass {
			passed++
		}
		acknowledged += v.Payments.Acknowledged
		unknown += v.Payments.Unknown
		lost += v.Payments.Lost
		twice += v.Payments.ChargedTwice
		accepted += v.SplitBrain.Accepted
		tried += v.SplitBrain.Attempts
	}
	fmt.Fprintf(b, "| `%s` | %.4g | %d of %d | %s | %s | %s | %d | %d | %d | %d | %d of %d |\n", r.fault, r.speed, passed, len(r.runs),
		r.figure(func(v *verdict.Verdict) *float64 { return v.RTOSeconds }),
		r.figure(func(v *verdict.Verdict) *float64 { return v.RPOSeconds }),
		r.figure(func(v *verdict.Verdict) *float64 { return v.StandstillSeconds }),
		acknowledged, unknown, lost, twice, accepted, tried)
}

// figure is the median, which for an even number of runs lies between the middle two, and the largest of the runs that
// have the figure.
func (r row) figure(of func(*verdict.Verdict) *float64) string {
	var values []float64
	for _, v := range r.runs {
		if x := of(v); x != nil {
			values = append(values, *x)
		}
	}
	if len(values) == 0 {
		return "–"
	}
	slices.Sort(values)
	median, largest := (values[(len(values)-1)/2]+values[len(values)/2])/2, values[len(values)-1]
	if fmt.Sprintf("%.1f", median) == fmt.Sprintf("%.1f", largest) {
		return fmt.Sprintf("%.1f", largest)
	}
	return fmt.Sprintf("%.1f, %.1f", median, largest)
}

// writeOverhead says how long takeovers took beside the wait that they can't avoid.
func writeOverhead(b *strings.Builder, rows []row) {
	begun := false
	for _, r := range rows {
		overhead := r.figure(func(v *verdict.Verdict) *float64 { return v.TakeoverOverheadSeconds })
		if overhead == "–" {
			continue
		}
		if !begun {
			b.WriteString("\n## What a takeover costs beside its wait\n\n" +
				"From the fault until the other site serves, before DNS, less the lease and the margin that it has to wait out; where the\n" +
				"fault repeats, the longest time.\n\n" +
				"| fault | speed | lease + margin (s) | site RTO (s) | overhead (s) |\n|---|---|---|---|---|\n")
			begun = true
		}
		v := r.runs[0]
		fmt.Fprintf(b, "| `%s` | %.4g | %.4g | %s | %s |\n", r.fault, r.speed, v.LeaseSeconds+v.MarginSeconds,
			r.figure(func(v *verdict.Verdict) *float64 { return v.SiteRTOSeconds }), overhead)
	}
}

// writeFreezes says what became of the transactions that were frozen with their database.
func writeFreezes(b *strings.Builder, rows []row) {
	begun := false
	for _, r := range rows {
		var s verdict.SplitBrain
		var thawed verdict.Thawed
		unacknowledged := 0
		for _, v := range r.runs {
			s.Held += v.SplitBrain.Held
			s.HeldAnswered += v.SplitBrain.HeldAnswered
			thawed.Staged += v.Thawed.Staged
			thawed.Landed += v.Thawed.Landed
			thawed.InTail += v.Thawed.InTail
			unacknowledged += v.Tail.Unacknowledged
		}
		if s.Held == 0 {
			continue
		}
		if !begun {
			b.WriteString("\n## What was frozen half-way\n\n" +
				"Transactions of the drill's own, frozen with their database and committed as it thaws. One that had not passed its\n" +
				"commit check must be refused. One that had may land, acknowledged to nobody, and is then in the exported tail. The last\n" +
				"column is the merchants' payments of which the same is true.\n\n" +
				"| fault | speed | before the check | of them answered | after the check | of them landed | of them in the tail | payments in the tail that nobody was told of |\n" +
				"|---|---|---|---|---|---|---|---|\n")
			begun = true
		}
		fmt.Fprintf(b, "| `%s` | %.4g | %d | %d | %d | %d | %d | %d |\n", r.fault, r.speed,
			s.Held, s.HeldAnswered, thawed.Staged, thawed.Landed, thawed.InTail, unacknowledged)
	}
}

// writeFailures lists every run that did not pass, with its reasons.
func writeFailures(b *strings.Builder, rows []row) {
	begun := false
	for _, r := range rows {
		for _, v := range r.runs {
			if v.Verdict == verdict.Pass {
				continue
			}
			if !begun {
				b.WriteString("\n## Runs that did not pass\n\n")
				begun = true
			}
			fmt.Fprintf(b, "- `%s`, speed %.4g, seed %d: %s\n", v.Fault, v.Speed, v.Seed, strings.Join(v.Failures, "; "))
		}
	}
}

func versions(series []*verdict.Verdict) string {
	seen := map[string]bool{}
	for _, v := range series {
		seen[v.Environment.PostgreSQL] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), ", ")
}

// revisionsOf names every commit that the runs were built from.
func revisionsOf(series []*verdict.Verdict) string {
	seen := map[string]bool{}
	for _, v := range series {
		commit, modified, _ := strings.Cut(cmp.Or(v.Setup.Revision, UnknownRevision), "+")
		name := commit[:min(len(commit), 12)]
		if modified != "" {
			name += " (modified)"
		}
		seen[name] = true
	}
	if len(seen) == 1 && seen[UnknownRevision] {
		return "an unknown revision"
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), ", ")
}

func byStart(x, y *verdict.Verdict) int {
	return x.Environment.StartedAt.Compare(y.Environment.StartedAt)
}

func day(v *verdict.Verdict) string { return v.Environment.StartedAt.UTC().Format("2006-01-02") }
