package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"holdfast/internal/drill"
	"holdfast/internal/drill/verdict"
	"holdfast/internal/operator"
	"holdfast/internal/topology"
)

const (
	// maxRepeat bounds a series.
	maxRepeat = 1000
	// defaultSeries is the folder of a series' results.
	defaultSeries = "drill-results/series"
)

// seriesFlags are those of several drills in a row.
type seriesFlags struct {
	all             bool
	repeat          int
	report, results string
}

// wanted reports whether more than one drill was asked for.
func (s seriesFlags) wanted(faults []string) bool {
	return s.all || s.repeat > 1 || s.report != "" || len(faults) > 1
}

// check refuses flags that contradict each other.
func (f *drillFlags) checkSeries(faults []string) error {
	switch {
	case f.repeat < 0 || f.repeat > maxRepeat || f.repeat == 0 && f.report == "":
		return usagef("--repeat %d: want 1 to %d, or 0 with --report", f.repeat, maxRepeat)
	case !f.seriesFlags.wanted(faults):
		return nil
	case f.keep || f.out != "":
		return usagef("--keep and --out belong to a single drill; a series keeps its results below --results")
	}
	return nil
}

// runSeries runs every fault with every seed, leaving out what has a verdict of the same setup already, and writes the report after each
// one, so that an interrupted series goes on where it ended. It returns errSilent if a verdict is not "pass".
func (f *drillFlags) runSeries(ctx context.Context, faults []string, out, progress io.Writer) error {
	topo, err := f.topology(ctx, progress)
	if err != nil {
		return err
	}
	failed := false
	for i := range f.repeat {
		for _, fault := range faults {
			if fault == drill.FreezeThaw && i > 0 {
				continue // it repeats within itself
			}
			v, fresh, err := f.runOne(ctx, fault, f.seed+uint64(i), f.setup(fault, &topo), progress)
			if err != nil {
				return err
			}
			failed = failed || v.Verdict != verdict.Pass
			if err := f.note(out, v, fresh); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := f.writeReport(); err != nil {
				return err
			}
		}
	}
	if f.repeat == 0 {
		return f.writeReport()
	}
	if failed {
		return errSilent
	}
	return nil
}

// note prints one line per drill.
func (f *drillFlags) note(out io.Writer, v *verdict.Verdict, fresh bool) error {
	when := ""
	if !fresh {
		when = " (kept from before)"
	}
	_, err := fmt.Fprintf(out, "%-4s  %-22s speed %.4g seed %d: %s%s\n", strings.ToUpper(v.Verdict), v.Fault, v.Speed, v.Seed, v.Happened, when)
	for _, failure := range v.Failures {
		if err == nil {
			_, err = fmt.Fprintf(out, "      %s\n", failure)
		}
	}
	return err
}

// setup is what a verdict must have come from to be kept.
func (f *drillFlags) setup(fault string, topo *topology.Topology) verdict.Setup {
	return drill.Options{
		Fault: fault, Cycles: f.cycles, Topology: topo, Merchants: f.merchants, Rate: f.rate, Revision: revision(),
	}.Setup()
}

// runOne runs one drill of a series, or reads its verdict if it has one of the same setup.
func (f *drillFlags) runOne(ctx context.Context, fault string, seed uint64, setup verdict.Setup, progress io.Writer) (v *verdict.Verdict, fresh bool, err error) {
	folder := drill.Folder(f.results, fault, f.speed, seed)
	v, err = drill.ReadVerdict(folder)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, false, err
	case err == nil && v.Setup == setup:
		return v, false, nil
	case err == nil:
		fmt.Fprintf(progress, "%s: the verdict there is of another setup (%s; now %s); the drill is run again\n", folder, describeSetup(v.Setup), describeSetup(setup))
	}
	// What a killed run left has no verdict, and so no meaning; that of another setup is another drill's.
	if err := os.RemoveAll(folder); err != nil {
		return nil, false, fmt.Errorf("%w: remove the results of an unfinished drill: %w", operator.ErrEnvironment, err)
	}
	one := *f
	one.seed, one.out = seed, folder
	options, err := one.options(ctx, fault, progress)
	if err != nil {
		return nil, false, err
	}
	result, err := drill.Run(ctx, options)
	if err != nil {
		return nil, false, err
	}
	if ctx.Err() != nil { // the verdict is about the interruption, not about the fault
		return result.Verdict, true, os.Remove(filepath.Join(folder, "verdict.json"))
	}
	return result.Verdict, true, nil
}

// describeSetup is a setup in a few words.
func describeSetup(s verdict.Setup) string {
	return fmt.Sprintf("revision %s, %v payments/s of %d merchants, %d cycles, topology %s",
		cmp.Or(s.Revision, drill.UnknownRevision), s.Rate, s.Merchants, s.Cycles, cmp.Or(s.Topology, "unknown"))
}

// writeReport makes the report from all verdicts in the results folder, at once or not at all.
func (f *drillFlags) writeReport() error {
	if f.report == "" {
		return nil
	}
	series, err := drill.ReadSeries(f.results)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := drill.WriteReport(&text, series, machine()); err != nil {
		return err
	}
	temporary := f.report + ".new"
	if err := os.WriteFile(temporary, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.Rename(temporary, f.report); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// machine describes this machine in a few words.
func machine() string {
	parts := []string{fmt.Sprintf("%d CPUs", runtime.NumCPU())}
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		parts[0] += " (" + model + ")"
	}
	if kib, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		parts = append(parts, fmt.Sprintf("%.0f GiB of memory", kib/(1<<20)))
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		parts = append(parts, "Linux "+unix.ByteSliceToString(name.Release[:]))
	}
	return strings.Join(parts, ", ")
}

// field is the value of the first line "name: value" in a file of /proc.
func field(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
