package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/operator"
	"holdfast/internal/reconcile"
	"holdfast/internal/term"
)

// defaultCompareTimeout is enough to compare every row of a large database, where commit timestamps are off.
const defaultCompareTimeout = 6 * time.Hour

// NewReconcileCommand reads the lost tail and says what is to be done about it.
func NewReconcileCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "The lost tail: what a takeover left behind, and what is to be done about it",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newReconcileExportCommand(), newReconcileReportCommand())
	return cmd
}

// exportFlags say what to compare with the surviving database.
type exportFlags struct {
	snapshot, oldVolume, dir string
	saved                    bool
	dsns                     []string
	who                      whoFlags
}

func newReconcileExportCommand() *cobra.Command {
	var (
		f deploymentFlags
		e exportFlags
	)
	cmd := &cobra.Command{
		Use:   "export (--snapshot HOST | --old-volume HOST) --dir FOLDER",
		Short: "Save what only the old site's database has, from the snapshot that the database service kept",
		Long: `Compare a restored snapshot, or an old volume that still runs, with the database that serves now, and save the rows of
the protected tables that the latter lacks or has otherwise, in the same form as the returned site's wardens do. Both
databases are only read. It may be said again: an export that is there and whole is shown as it is.

It also says the gap: when what was lost can have been committed. With --saved the term record is told that the end of
the term is saved, which ends the alarm about it. Restore the snapshot named rds:unplanned-global-failover-…, not one of
the daily ones: those lack the end of the term, and this command can't see that.

HOST is the endpoint of the restored cluster or instance; port, user, database and password are the deployment's (DB_PASSWORD,
or the secret of the site that does not serve). Where they are not, pass a whole connection string. The surviving
database is found through the term record, and reached as in 'holdfast init'.`,
		Example: "  holdfast reconcile export --snapshot tail-1.….rds.amazonaws.com --dir tails --saved --config holdfast.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := e.check(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			op, err := f.open(ctx)
			if err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			out, err := e.export(ctx, op, log)
			if err != nil {
				return err
			}
			return f.print(cmd.OutOrStdout(), out, out.writeText)
		},
	}
	f.register(cmd, defaultCompareTimeout)
	flags := cmd.Flags()
	flags.StringVar(&e.snapshot, "snapshot", "", "`HOST or DSN` of a database that was restored from the snapshot")
	flags.StringVar(&e.oldVolume, "old-volume", "", "`HOST or DSN` of the old site's own database, not rebuilt yet")
	flags.StringVar(&e.dir, "dir", "", "`folder` of exports; the export gets a folder of its own in it")
	flags.BoolVar(&e.saved, "saved", false, "when all is saved, write into the term record that the end of the term is")
	dsnFlag(cmd, &e.dsns)
	e.who.register(cmd)
	return cmd
}

func (e exportFlags) check() error {
	switch {
	case (e.snapshot == "") == (e.oldVolume == ""):
		return usagef("what is to be compared? pass --snapshot HOST or --old-volume HOST, one of them")
	case e.dir == "":
		return usagef("where to? pass --dir FOLDER")
	}
	return nil
}

// exported is the outcome of the command.
type exported struct {
	Folder string `json:"folder"`
	// SHA256 is the manifest's.
	SHA256   string `json:"sha256"`
	Survivor string `json:"surviving_site"`
	Already  bool   `json:"already"`
	// TailSaved says that the term record was told.
	TailSaved bool `json:"tail_saved"`
	reconcile.Summary
}

func (e exportFlags) export(ctx context.Context, op *operator.Operator, log *slog.Logger) (exported, error) {
	found, err := reachable(ctx, op, e.dsns)
	if err != nil {
		return exported{}, err
	}
	survivor, site, err := op.Survivor(ctx, found)
	if err != nil {
		return exported{}, err
	}
	defer survivor.Close(context.WithoutCancel(ctx))
	place, source := e.snapshot, reconcile.KeptSnapshot
	if place == "" {
		place, source = e.oldVolume, reconcile.OldVolume
	}
	dsn, err := oldDSN(ctx, op, place, site)
	if err != nil {
		return exported{}, err
	}
	old, err := dial(ctx, dsn)
	if err != nil {
		return exported{}, fmt.Errorf("%w: connect to the %s: %w", operator.ErrEnvironment, source, err)
	}
	defer old.Close(context.WithoutCancel(ctx))
	s, err := reconcile.ExportTail(ctx, reconcile.Options{Old: old, Survivor: survivor, Dir: e.dir, Source: source, Logger: log})
	if err != nil {
		return exported{}, err
	}
	x := exported{Folder: s.Folder, SHA256: s.SHA256, Survivor: site, Already: s.AlreadyExported, Summary: s}
	if e.saved {
		if _, err := op.TailSaved(ctx, s.Term, e.who.words(), &s); err != nil {
			return exported{}, fmt.Errorf("the tail is saved in %s, but the term record was not told: %w", s.Folder, err)
		}
		x.TailSaved = true
	}
	return x, nil
}

// oldDSN is how to reach the old database: as told, or at a host with what the site that does not serve has for the rest.
func oldDSN(ctx context.Context, op *operator.Operator, place, survivor string) (string, error) {
	if strings.Contains(place, "=") || strings.Contains(place, "://") {
		return place, nil
	}
	for _, s := range op.Config().Sites {
		if s.Name == survivor {
			continue
		}
		s.DBEndpoint, s.DBReaderEndpoint = place, ""
		found, err := databases(ctx, op, nil, s)
		if err != nil {
			return "", err
		}
		return found[s.Name][0], nil
	}
	return "", usagef("--snapshot %s: the deployment has no site but %s: pass a whole connection string", place, survivor)
}

func (x exported) writeText(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "the end of term %d of %s, beside what %s has: %d rows missing, %d different\n", x.Term, x.Site, x.Survivor, x.Missing, x.Different)
	for _, t := range x.Tables {
		fmt.Fprintf(&b, "  %-30s %6d missing %6d different, of %d compared\n", t.Name, t.Missing, t.Different, t.Compared)
	}
	if g := x.Boundary; g != nil {
		fmt.Fprintf(&b, "gap     %s (%s)\n     to %s (%s)\n", stamp(g.From), g.FromBecause, stamp(g.Until), g.UntilBecause)
	} else {
		b.WriteString("gap     unknown: the two databases have no term in common\n")
	}
	already := ""
	if x.Already {
		already = ", exported before"
	}
	fmt.Fprintf(&b, "saved   %s%s\nsha256  %s of its manifest\n", x.Folder, already, x.SHA256)
	if x.TailSaved {
		fmt.Fprintf(&b, "record  the end of term %d is saved\n", x.Term)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// NewTailCommand takes an operator's word about a lost tail.
func NewTailCommand() *cobra.Command {
	var (
		f      deploymentFlags
		n      int64
		folder string
		who    whoFlags
	)
	cmd := &cobra.Command{
		Use:   "tail --saved-of TERM",
		Short: "Say that the end of a term, which a takeover may have lost, has been saved by hand",
		Long: `After a takeover that may have lost the end of a term, 'holdfast status' and the metric holdfast_warden_tail_unsaved say so
until the returned site has exported its old volume. If the database service rebuilt that volume first, its rows are only
in the snapshot that the service kept. 'holdfast reconcile export --saved' reads them there and says so itself; this
command is for an export that was made before (--export, which is checked), or for one that was made by other means; and for
a term that nothing is missing of, because somebody moved the writer with a switchover of the database service's own.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 1 {
				return fmt.Errorf("%w: of which term? pass --saved-of TERM, as 'holdfast status' shows it", operator.ErrUsage)
			}
			var export *reconcile.Summary
			if folder != "" {
				s, err := reconcile.Verify(folder)
				if err != nil {
					return usagef("--export: %w", err)
				}
				export = &s
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			op, err := f.open(ctx)
			if err != nil {
				return err
			}
			r, err := op.TailSaved(ctx, term.Number(n), who.words(), export)
			if err != nil {
				return err
			}
			return f.print(cmd.OutOrStdout(), r, func(out io.Writer) error {
				_, err := fmt.Fprintf(out, "the end of term %d is saved\n", n)
				return err
			})
		},
	}
	f.register(cmd, defaultLookTimeout)
	who.register(cmd)
	cmd.Flags().Int64Var(&n, "saved-of", 0, "the `term` whose end has been saved")
	cmd.Flags().StringVar(&folder, "export", "", "`folder` of the export that saved it; it must be whole and end with that term")
	return cmd
}
