package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/drill"
	"holdfast/internal/drill/merchant"
	"holdfast/internal/drill/verdict"
	"holdfast/internal/pgserver"
)

// The bounds of a drill's load: what one machine can carry and still show something.
const (
	maxMerchants = 500
	maxRate      = 2000.0
	// defaultDrillSpeed makes a drill last about a minute.
	defaultDrillSpeed = 10
	downTimeout       = 30 * time.Second
)

// drillFlags are the flags of "drill".
type drillFlags struct {
	rehearsalFlags
	seriesFlags
	cycles             int
	fault, out, output string
	seed               uint64
	rate               float64
	merchants          int
	keep               bool
}

func newDrillCommand() *cobra.Command {
	var f drillFlags
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Rehearse the loss of a region, or another fault, and count every payment",
		Long: `Build two regions on this machine from the Terraform, run payments, take the active region away, watch the other one
take over, bring the region back, try to write to its old database, switch back, and count what became of every payment.
With --fault something else is broken; each fault has an expectation of its own, and some must not lead to a failover.

--all, --repeat, --report or several faults make a series: results are kept below --results, one folder per fault, speed
and seed, and a drill that has a verdict there is not run again, unless it is one of another build, load, number of cycles or
deployment. --repeat 0 only writes the report.

Progress goes to standard error, the verdict to standard output. Times are real ones: --speed divides the deployment's
configured times (lease, health-check interval, TTL), nothing is multiplied back.

Exit codes: 0 verdict pass, 1 verdict fail, 2 wrong use, 3 the environment can't run it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	f.rehearsalFlags.register(flags, defaultDrillSpeed)
	flags.StringVar(&f.fault, "fault", drill.RegionLoss, "what to break, or several with commas between; 'list' shows the faults")
	flags.Uint64Var(&f.seed, "seed", 1, "draws the load and the moment of the fault")
	flags.Float64Var(&f.rate, "rate", merchant.DefaultRate, "payments per second, over all merchants")
	flags.IntVar(&f.merchants, "merchants", merchant.DefaultMerchants, "number of merchants")
	flags.StringVar(&f.out, "out", "", "results `folder` (default: drill-results/<time>-<fault>-seed<seed>)")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.BoolVar(&f.keep, "keep", false, "leave the twin up after the verdict, until Ctrl-C")
	flags.IntVar(&f.cycles, "cycles", 0, "how often --fault freeze-thaw freezes (default 20)")
	flags.BoolVar(&f.all, "all", false, "every fault")
	flags.IntVar(&f.repeat, "repeat", 1, "how often, each time with the next seed")
	flags.StringVar(&f.report, "report", "", "write what the series found to this `file`, as Markdown")
	flags.StringVar(&f.results, "results", defaultSeries, "`folder` of a series' results")
	return cmd
}

func (f *drillFlags) run(cmd *cobra.Command) error {
	if f.fault == "list" {
		for _, fault := range drill.Faults() {
			fmt.Fprintf(cmd.OutOrStdout(), "%-22s %s\n%-22s expected: %s\n", fault[0], fault[1], "", drill.Expectation(fault[0]))
		}
		return nil
	}
	faults, err := f.faults()
	if err != nil {
		return err
	}
	if err := f.checkSeries(faults); err != nil {
		return err
	}
	if f.seriesFlags.wanted(faults) {
		return f.runSeries(cmd.Context(), faults, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return f.runSingle(cmd, faults[0])
}

// faults are those that were asked for.
func (f *drillFlags) faults() ([]string, error) {
	var known []string
	for _, fault := range drill.Faults() {
		known = append(known, fault[0])
	}
	if f.all {
		return known, nil
	}
	asked := strings.Split(f.fault, ",")
	for _, fault := range asked {
		if !slices.Contains(known, fault) {
			return nil, usagef("--fault %s: there is no such fault; want one of %s", fault, strings.Join(known, ", "))
		}
	}
	return asked, nil
}

func (f *drillFlags) runSingle(cmd *cobra.Command, fault string) error {
	options, err := f.options(cmd.Context(), fault, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	result, err := drill.Run(cmd.Context(), options)
	if err != nil {
		return err
	}
	if result.Twin != nil {
		defer takeDown(cmd.ErrOrStderr(), result.Twin)
	}
	if err := f.print(cmd.OutOrStdout(), result.Verdict); err != nil {
		return fmt.Errorf("print the verdict: %w", err)
	}
	if result.Twin != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "the twin is still up: %s at %s, port %d; Ctrl-C takes it down\n",
			result.Twin.DNSName(), result.Twin.Resolver(), result.Twin.AppPort())
		<-cmd.Context().Done()
	}
	if result.Verdict.Verdict != verdict.Pass {
		return errSilent
	}
	return nil
}

// options checks every flag before anything is started.
func (f *drillFlags) options(ctx context.Context, fault string, progress io.Writer) (drill.Options, error) {
	switch {
	case f.cycles < 0 || f.cycles > maxRepeat:
		return drill.Options{}, usagef("--cycles %d: want 0 to %d", f.cycles, maxRepeat)
	case f.output != "text" && f.output != "json":
		return drill.Options{}, usagef("-o %s: want text or json", f.output)
	case f.rate <= 0 || f.rate > maxRate:
		return drill.Options{}, usagef("--rate %v: want payments per second, above 0 and at most %v", f.rate, maxRate)
	case f.merchants < 1 || f.merchants > maxMerchants:
		return drill.Options{}, usagef("--merchants %d: want 1 to %d", f.merchants, maxMerchants)
	}
	if f.out != "" {
		if entries, err := os.ReadDir(f.out); err == nil && len(entries) > 0 {
			return drill.Options{}, usagef("--out %s: the folder is not empty; name a new one", f.out)
		}
	}
	r, err := f.rehearsalFlags.open(ctx, progress)
	if err != nil {
		return drill.Options{}, err
	}
	in, err := pgserver.Find()
	if err != nil {
		return drill.Options{}, err
	}
	logger := slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return drill.Options{
		Fault: fault, Cycles: f.cycles, Seed: f.seed, Speed: f.speed, Topology: &r.topology, Up: bringUp(logger), AddressBlock: f.addressBlock,
		Images: r.images, Merchants: f.merchants, Rate: f.rate, Out: f.out, Keep: f.keep, PostgreSQL: in.Version,
		Revision: revision(),
		Progress: func(line drill.Line) { printLine(progress, line) },
	}, nil
}

// printLine shows a line of progress. What single tasks and targets do is left to the timeline in the results.
func printLine(w io.Writer, line drill.Line) {
	if line.Kind == "task" || line.Kind == "target" {
		return
	}
	fmt.Fprintf(w, "%7.1fs  %-11s  %-8s %s\n", line.At.Seconds(), line.Phase, line.Site, line.Text)
}

func (f *drillFlags) print(w io.Writer, v *verdict.Verdict) error {
	if f.output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(v)
	}
	return v.WriteText(w)
}

func takeDown(progress io.Writer, t drill.Twin) {
	ctx, cancel := context.WithTimeout(context.Background(), downTimeout)
	defer cancel()
	if err := t.Down(ctx); err != nil {
		fmt.Fprintf(progress, "holdfast: take the twin down: %v\n", err)
	}
}
