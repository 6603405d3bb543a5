package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/operator"
	"holdfast/internal/term"
)

// Defaults of how long the commands wait, and of an approval's life.
const (
	defaultMoveTimeout   = 15 * time.Minute
	defaultLookTimeout   = time.Minute
	defaultApprovalValid = 30 * time.Minute
)

// deploymentFlags say which deployment a command is about.
type deploymentFlags struct {
	config, output, dnsServer string
	timeout                   time.Duration
}

func (f *deploymentFlags) register(cmd *cobra.Command, timeout time.Duration) {
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", os.Getenv("HOLDFAST_CONFIG"),
		"`file` with the output of 'terraform output -json holdfast' (HOLDFAST_CONFIG)")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.DurationVar(&f.timeout, "timeout", timeout, "how long to wait")
}

// open checks the flags and reaches for the deployment.
func (f *deploymentFlags) open(ctx context.Context) (*operator.Operator, error) {
	if f.config == "" {
		return nil, fmt.Errorf("%w: which deployment? pass --config FILE, written by "+
			"'terraform output -json holdfast > FILE'", operator.ErrUsage)
	}
	if f.output != "text" && f.output != "json" {
		return nil, fmt.Errorf("%w: -o %q: want text or json", operator.ErrUsage, f.output)
	}
	if f.timeout <= 0 {
		return nil, fmt.Errorf("%w: --timeout %v: want a duration above zero", operator.ErrUsage, f.timeout)
	}
	cfg, err := operator.ReadConfig(f.config)
	if err != nil {
		return nil, err
	}
	return operator.Open(ctx, cfg, f.dnsServer)
}

func (f *deploymentFlags) print(out io.Writer, value any, text func(io.Writer) error) error {
	if f.output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	}
	return text(out)
}

// NewInitCommand creates a deployment's term record.
func NewInitCommand() *cobra.Command {
	var (
		f       deploymentFlags
		opt     operator.InitOptions
		dsns    []string
		highest int64
		dryRun  bool
	)
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Create the deployment's term record, once",
		Long: `Create the record that decides which site is active. It is done once per deployment, after 'terraform apply' and
before the wardens do anything; a deployment that has a record is left alone.

The new term must be above every term that either database has ever served, so both are asked. The password comes from
DB_PASSWORD, or from each site's secret. Where the databases cannot be reached from here, pass connection strings with
--dsn SITE=DSN, or vouch for the highest term with --highest-term (0 for a new deployment).

If a database has served already, the record was lost: a lease and margin are waited out first, so that no warden trusts
in the lost one any more.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			op, err := f.open(ctx)
			if err != nil {
				return err
			}
			opt.VouchForTerm = cmd.Flags().Changed("highest-term")
			opt.HighestTerm = term.Number(highest)
			if highest < 0 {
				return fmt.Errorf("%w: --highest-term %d: want 0 or more", operator.ErrUsage, highest)
			}
			if !opt.VouchForTerm {
				if opt.Databases, err = databases(ctx, op, dsns, op.Config().Sites...); err != nil {
					return err
				}
			}
			create, verb := op.Init, "created"
			if dryRun {
				create, verb = op.PreviewInit, "would create"
			}
			r, err := create(ctx, opt)
			if err != nil {
				return err
			}
			return f.print(cmd.OutOrStdout(), r, func(out io.Writer) error {
				_, err := fmt.Fprintf(out, verb+" the record of %s: term %d, held by %s, lease %v, margin %v\n",
					r.Deployment, r.Term, r.Holder, r.Lease(), r.Margin())
				return err
			})
		},
	}
	f.register(cmd, defaultMoveTimeout)
	flags := cmd.Flags()
	flags.StringVar(&opt.Holder, "holder", "", "`site` that gets the first term (default: the deployment's first)")
	flags.DurationVar(&opt.Lease, "lease", 0, "lease (default: the deployment's lease_seconds)")
	flags.DurationVar(&opt.Margin, "margin", 0, "safety margin (default: the deployment's margin_seconds)")
	flags.IntVar(&opt.TakeoverBudget, "takeover-budget", operator.DefaultTakeoverBudget,
		"hand-overs for health before one needs an approval")
	flags.StringArrayVar(&dsns, "dsn", nil,
		"`SITE=DSN` of a site's database, instead of the deployment's endpoints (repeatable)")
	dryRunFlag(cmd, &dryRun)
	flags.Int64Var(&highest, "highest-term", 0, "do not ask the databases: their highest term is this `number`")
	return cmd
}

// reachable is databases, without those of the sites whose password can't be had: their region may be lost.
func reachable(ctx context.Context, op *operator.Operator, told []string) (map[string][]string, error) {
	found := map[string][]string{}
	var errs []error
	for _, site := range op.Config().Sites {
		own, err := databases(ctx, op, told, site)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		maps.Copy(found, own)
	}
	if len(found) == 0 {
		return nil, errors.Join(errs...)
	}
	return found, nil
}

// databases says how to reach the sites' databases: as told, else at the deployment's endpoints.
func databases(ctx context.Context, op *operator.Operator, told []string, sites ...operator.Site) (map[string][]string, error) {
	found := map[string][]string{}
	for _, item := range told {
		site, dsn, ok := strings.Cut(item, "=")
		if !ok || site == "" || dsn == "" {
			return nil, fmt.Errorf("%w: --dsn wants SITE=DSN", operator.ErrUsage) // a DSN may hold a password: it is not shown
		}
		found[site] = append(found[site], dsn)
	}
	for _, site := range sites {
		if len(found[site.Name]) > 0 {
			continue
		}
		password := os.Getenv("DB_PASSWORD")
		if password == "" {
			var err error
			if password, err = op.Password(ctx, site); err != nil {
				return nil, fmt.Errorf("%w (or set DB_PASSWORD, or pass --dsn %s=…)", err, site.Name)
			}
		}
		found[site.Name] = site.DSNs(password)
	}
	return found, nil
}

// NewStatusCommand shows a deployment.
func NewStatusCommand() *cobra.Command {
	var (
		f      deploymentFlags
		drills string
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the record, both sites, the beacons and what DNS answers",
		Long: `Show the term record, whether its lease is being renewed, both sites as their own regions describe them (database,
capacity, targets, wardens), the sites' beacons (readiness, lag, trust left), which gates would keep the standby from
taking over and what would open them, what the DNS name answers, and the last drill. What does not answer is shown as
such. The exit code is 1 if no site serves. docs/status.md describes the JSON.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			op, err := f.open(ctx)
			if err != nil {
				return err
			}
			s := op.Status(ctx)
			if s.LastDrill, err = operator.ReadLastDrill(drills); err != nil {
				return fmt.Errorf("%w: %w", operator.ErrEnvironment, err)
			}
			if err := f.print(cmd.OutOrStdout(), s, s.WriteText); err != nil {
				return err
			}
			if s.Active == "" {
				return operator.ErrNotServing
			}
			return nil
		},
	}
	f.register(cmd, defaultLookTimeout)
	cmd.Flags().StringVar(&drills, "drills", "drill-results", "`folder` with the results of drills")
	cmd.Flags().StringVar(&f.dnsServer, "dns-server", os.Getenv(dnsVariable), "`host:port` to ask instead of the machine's resolver ("+dnsVariable+")")
	return cmd
}

// moveFlags belong to the commands that move the active site.
type moveFlags struct {
	deploymentFlags
	whoFlags
	to     string
	dryRun bool
}

func (f *moveFlags) register(cmd *cobra.Command) {
	f.deploymentFlags.register(cmd, defaultMoveTimeout)
	f.whoFlags.register(cmd)
	cmd.Flags().StringVar(&f.to, "to", "", "`site` that shall be active")
	dryRunFlag(cmd, &f.dryRun)
}

func (f *moveFlags) request(cmd *cobra.Command) (operator.Request, error) {
	if f.to == "" {
		return operator.Request{}, fmt.Errorf("%w: where to? pass --to SITE", operator.ErrUsage)
	}
	return operator.Request{To: f.to, By: f.who(), Reason: cmp.Or(f.reason, "not given"), Progress: tellProgress(cmd)}, nil
}

// prepare reads what is asked for, and opens the deployment.
func (f *moveFlags) prepare(ctx context.Context, cmd *cobra.Command) (operator.Request, *operator.Operator, error) {
	q, err := f.request(cmd)
	if err != nil {
		return q, nil, err
	}
	op, err := f.open(ctx)
	return q, op, err
}

func (f *moveFlags) printPlan(cmd *cobra.Command, p operator.Plan, err error) error {
	if err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), p, func(out io.Writer) error { return writePlan(out, p) })
}

func (f *moveFlags) printMoved(cmd *cobra.Command, m operator.Moved) error {
	return f.print(cmd.OutOrStdout(), m, func(out io.Writer) error {
		if m.Already {
			_, err := fmt.Fprintf(out, "%s is the active site already, in term %d\n", m.Site, m.Term)
			return err
		}
		_, err := fmt.Fprintf(out, "%s serves term %d, %.1f s after the request\n", m.Site, m.Term, m.Took.Seconds())
		return err
	})
}

// NewSwitchoverCommand moves the active site without loss.
func NewSwitchoverCommand() *cobra.Command {
	var (
		f        moveFlags
		withdraw bool
	)
	cmd := &cobra.Command{
		Use:   "switchover --to SITE",
		Short: "Move the active site, planned and without losing anything",
		Long: `Ask the active site to hand over: its wardens seal and drain its database, wait until the other site has replayed
everything, move the writer and grant the term. The command only writes the request and watches; if it is interrupted,
the request stands. The active site turns it down if the other one is not ready in time. With --withdraw, a request is
taken back, as long as the other site has not replayed everything: a site that has sealed its database for it serves on,
under the next term.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if withdraw {
				return f.withdraw(cmd, withdrawnSwitchover)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			q, op, err := f.prepare(ctx, cmd)
			if err != nil {
				return err
			}
			if f.dryRun {
				p, err := op.PreviewSwitchover(ctx, q)
				return f.printPlan(cmd, p, err)
			}
			m, err := op.Switchover(ctx, q)
			if err != nil {
				return err
			}
			return f.printMoved(cmd, m)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&withdraw, "withdraw", false, "take back a request for the site")
	return cmd
}

// NewFailoverCommand lets a site take over from one that has fallen silent.
func NewFailoverCommand() *cobra.Command {
	var (
		f     moveFlags
		lossy bool
		valid time.Duration
	)
	cmd := &cobra.Command{
		Use:   "failover --to SITE [--allow-data-loss]",
		Short: "Command that a site takes over from one that has fallen silent, whatever its mode",
		Long: `Command, for the present term only, that a site takes over from a silent one, in every mode (mode manual takes nothing
less). The lease of the silent site is waited out all the same, so a site that still renews keeps its term: move a live
site with 'holdfast switchover'. With --allow-data-loss the site takes over although its database is behind, or its lag
is unknown; without it those gates stay as they are. That is refused while the other site renews. What was approved
stands until it expires or 'holdfast approve --withdraw' takes it back.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.takeover(cmd, true, lossy, valid) },
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&lossy, "allow-data-loss", false, "accept the loss of what was not replicated")
	cmd.Flags().DurationVar(&valid, "valid", defaultApprovalValid, "how long the approval stands")
	return cmd
}

// NewApproveCommand lets a site take over in the modes approval and manual.
func NewApproveCommand() *cobra.Command {
	var (
		f        moveFlags
		valid    time.Duration
		withdraw bool
	)
	cmd := &cobra.Command{
		Use:   "approve --to SITE",
		Short: "Approve that a site takes over, if it has everything that it must have",
		Long: `Approve, for the present term only, that a site takes over: in mode approval from a silent site, and in every mode but
manual from a sick one whose budget or cool-down keeps it from handing over by itself. The gates for the database stay
shut or open as they are: its lineage must be complete and its lag known and small. The lease of a silent site is waited
out. Mode manual takes 'holdfast failover'. With --withdraw, what was approved for the site, by either command, is taken
back.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if withdraw {
				return f.withdraw(cmd, withdrawnApproval)
			}
			return f.takeover(cmd, false, false, valid)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&withdraw, "withdraw", false, "take back what was approved for the site")
	cmd.Flags().DurationVar(&valid, "valid", defaultApprovalValid, "how long the approval stands")
	return cmd
}

// withdrawal takes something back that was asked for a site. was and nothing are what is said about it, with the site's name.
type withdrawal struct {
	do           func(*operator.Operator, context.Context, string) (bool, error)
	was, nothing string
}

var (
	withdrawnApproval   = withdrawal{(*operator.Operator).Withdraw, "what was approved for %s is withdrawn\n", "nothing is approved for %s\n"}
	withdrawnSwitchover = withdrawal{
		(*operator.Operator).WithdrawSwitchover, "the request for a switchover to %s is withdrawn\n", "no switchover to %s is asked for\n",
	}
)

func (f *moveFlags) withdraw(cmd *cobra.Command, w withdrawal) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	q, op, err := f.prepare(ctx, cmd)
	if err != nil {
		return err
	}
	if f.dryRun {
		return fmt.Errorf("%w: --withdraw has no --dry-run: 'holdfast status -o json' shows what is asked for and approved", operator.ErrUsage)
	}
	was, err := w.do(op, ctx, q.To)
	if err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), map[string]any{"site": q.To, "withdrawn": was}, func(out io.Writer) error {
		text := w.nothing
		if was {
			text = w.was
		}
		_, err := fmt.Fprintf(out, text, q.To)
		return err
	})
}

// takeover approves a takeover and waits for it.
func (f *moveFlags) takeover(cmd *cobra.Command, commanded, lossy bool, valid time.Duration) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	q, err := f.request(cmd)
	if err != nil {
		return err
	}
	q.Commanded = commanded
	op, err := f.open(ctx)
	if err != nil {
		return err
	}
	if f.dryRun {
		p, err := op.PreviewFailover(ctx, q, lossy, valid)
		return f.printPlan(cmd, p, err)
	}
	m, err := op.Failover(ctx, q, lossy, valid)
	if err != nil {
		return err
	}
	return f.printMoved(cmd, m)
}

// NewFenceCommand works on the write fence in an application's database.
func NewFenceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fence",
		Short: "The database's own refusal to commit writes without a valid lease",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newFenceInstallCommand())
	return cmd
}

func newFenceInstallCommand() *cobra.Command {
	var (
		dsn     string
		tables  []string
		timeout time.Duration
		without bool
	)
	cmd := &cobra.Command{
		Use:   "install --tables TABLE,…",
		Short: "Put the fence onto tables of the active site's database",
		Long: `Install the schema "holdfast" and a deferred constraint trigger on each table, as the role of the connection, which
must own the tables. Both may be done again. From then on the tables take writes only while a warden's lease is valid, so
nothing is protected before there is one. A table that a transaction holds for longer than a second is left alone: whoever
waits for its lock would have all later writers wait. payd's own migrations do this for payd.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dsn == "" {
				dsn = os.Getenv("DATABASE_URL")
			}
			if dsn == "" {
				return fmt.Errorf("%w: which database? pass --dsn, or set DATABASE_URL", operator.ErrUsage)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := operator.InstallFence(ctx, dsn, tables, without); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "the write fence is on %s\n", strings.Join(tables, ", "))
			return err
		},
	}
	cmd.Flags().StringVar(&dsn, "dsn", "", "connection string of the active site's writer (DATABASE_URL)")
	cmd.Flags().StringSliceVar(&tables, "tables", nil, "tables to protect, as in public.payments,public.entries")
	cmd.Flags().BoolVar(&without, "without-lease", false, "also where no lease is valid: nobody writes to the tables yet")
	cmd.Flags().DurationVar(&timeout, "timeout", defaultLookTimeout, "how long to wait")
	return cmd
}
