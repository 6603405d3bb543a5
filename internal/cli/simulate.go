package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/failover/simulation"
	"holdfast/internal/operator"
	"holdfast/internal/topology"
	"holdfast/internal/warden"
)

// maxSimulations bounds --runs: at a thousand a second, about a day.
const maxSimulations = 100_000_000

// simulateFlags are the flags of "simulate".
type simulateFlags struct {
	deployment               rehearsalFlags
	config, output, mutation string
	runs                     int
	seed                     uint64
	trace                    bool
}

// NewSimulateCommand returns "simulate".
func NewSimulateCommand() *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run the failover protocol through faults in virtual time, by the thousand",
		Long: `Run the wardens' own decision and lease code in virtual time, against models of the databases, the term store, the
network, DNS, the acquirer and clients, under faults at any instant and in any number, and check after every step that
no two sites take payments, none is lost or charged twice, the ledger adds up, and service comes back.

One seed is one run and replays exactly: '--seed S --runs 1 --trace' tells it step by step. Lease, margin, mode, thresholds
and the DNS health check are the deployment's own: the built-in one's, those of --state, or those of --config. The mode is
that of the runs that measure the loss of a region; the others take turns.

--mutation NAME switches one rule off, to see what it is there for; 'list' shows the names.

Exit codes: 0 no invariant broke, 1 one did, 2 wrong use, 3 the environment can't run it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.runs, "runs", 1000, "how many seeds to simulate")
	flags.Uint64Var(&f.seed, "seed", 1, "the first seed")
	flags.StringVar(&f.config, "config", "", "`file` with the Terraform output \"holdfast\": lease and margin are taken from it")
	flags.StringVar(&f.deployment.state, "state", "", "`file` written by 'terraform show -json': all settings are taken from it")
	flags.StringVar(&f.mutation, "mutation", "", "`name` of a rule to switch off, or 'list'")
	flags.BoolVar(&f.trace, "trace", false, "tell one run step by step")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

func (f *simulateFlags) run(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	if f.mutation == "list" {
		for _, m := range simulation.Mutations() {
			fmt.Fprintln(out, m)
		}
		return nil
	}
	options, err := f.options(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if f.trace {
		to := out
		if f.output == "json" {
			to = cmd.ErrOrStderr()
		}
		options.Trace = func(line string) { fmt.Fprintln(to, line) }
	}
	defer debug.SetGCPercent(debug.SetGCPercent(simulation.GCPercent))
	summary := simulation.NewSummary(f.seed, options)
	began := time.Now()
	err = simulation.RunMany(cmd.Context(), f.seed, f.runs, options, func(r simulation.Result) bool {
		summary.Add(r)
		return true
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	summary.Finish(time.Since(began))
	if f.output == "json" {
		err = errors.Join(err, summary.WriteJSON(out))
	} else {
		err = errors.Join(err, summary.WriteText(out), f.replay(out, summary))
	}
	if err == nil && summary.ViolationCount > 0 {
		return errSilent
	}
	return err
}

// replay says how to see the first violation again.
func (f *simulateFlags) replay(w io.Writer, s *simulation.Summary) error {
	if len(s.Violations) == 0 || f.trace {
		return nil
	}
	command := []string{"holdfast", "simulate", "--runs", "1", "--seed", fmt.Sprint(s.Violations[0].Seed), "--trace"}
	for _, flag := range [][2]string{{"--config", f.config}, {"--state", f.deployment.state}, {"--mutation", f.mutation}} {
		if flag[1] != "" {
			command = append(command, flag[0], flag[1])
		}
	}
	_, err := fmt.Fprintf(w, "see it step by step with: %s\n", strings.Join(command, " "))
	return err
}

func (f *simulateFlags) options(ctx context.Context, progress io.Writer) (simulation.Options, error) {
	switch {
	case f.runs < 1 || f.runs > maxSimulations:
		return simulation.Options{}, usagef("--runs %d: want 1 to %d", f.runs, maxSimulations)
	case f.output != "text" && f.output != "json":
		return simulation.Options{}, usagef("-o %s: want text or json", f.output)
	case f.trace && f.runs != 1:
		return simulation.Options{}, usagef("--trace tells one run: add --runs 1")
	case f.config != "" && f.deployment.state != "":
		return simulation.Options{}, usagef("--config %s and --state %s: pass one of them", f.config, f.deployment.state)
	}
	topo, err := f.deployment.topology(ctx, progress)
	if err != nil {
		return simulation.Options{}, err
	}
	options, err := simulationOptions(topo)
	if err != nil {
		return simulation.Options{}, err
	}
	if f.config != "" {
		config, err := operator.ReadConfig(f.config)
		if err != nil {
			return simulation.Options{}, err
		}
		options.Lease, options.Margin = config.Lease(), config.Margin()
	}
	if options.Lease < 2*options.Margin || options.Margin <= 0 {
		return simulation.Options{}, usagef("lease %v and margin %v: the lease has to be at least twice the margin", options.Lease, options.Margin)
	}
	if f.mutation != "" {
		if options.Mutation, err = simulation.ParseMutation(f.mutation); err != nil {
			return simulation.Options{}, usagef("--mutation: %w; 'list' shows them", err)
		}
	}
	return options, nil
}

// simulationOptions are the deployment's own settings: what its record and its wardens' task definition say.
func simulationOptions(t topology.Topology) (simulation.Options, error) {
	o := simulation.Options{Lease: t.Lease, Margin: t.Margin}
	if len(t.HealthChecks) > 0 {
		o.CheckEvery, o.CheckThreshold = t.HealthChecks[0].Interval, t.HealthChecks[0].FailureThreshold
	}
	for _, definition := range t.TaskDefinitions {
		for _, c := range definition.Containers {
			if c.Environment["HOLDFAST_SITE"] != t.Sites[0].Name || c.Environment["HOLDFAST_TERM_TABLE"] == "" {
				continue
			}
			settings, err := warden.SettingsFromEnvironment(func(name string) string { return c.Environment[name] })
			if err != nil {
				return o, usagef("the task definition %s: %w", definition.Family, err)
			}
			o.Settings = settings
			return o, nil
		}
	}
	return o, usagef("the deployment has no warden for site %s: no task definition sets HOLDFAST_SITE to it", t.Sites[0].Name)
}
