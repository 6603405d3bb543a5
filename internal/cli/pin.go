package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/operator"
)

// whoFlags say who asks and why.
type whoFlags struct{ by, reason string }

func (f *whoFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.by, "by", "", "who asks (default: the user's name)")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the journal")
}

func (f *whoFlags) who() string {
	if f.by != "" {
		return f.by
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "operator"
}

// words are both in one.
func (f *whoFlags) words() string {
	if f.reason == "" {
		return f.who()
	}
	return f.who() + ": " + f.reason
}

// tellProgress writes what happens to standard error, with the seconds since now.
func tellProgress(cmd *cobra.Command) func(string) {
	began := time.Now()
	return func(text string) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%6.1fs  %s\n", time.Since(began).Seconds(), text)
	}
}

// NewPinCommand lets the active site go on without the term store.
func NewPinCommand() *cobra.Command {
	var (
		f       deploymentFlags
		who     whoFlags
		q       operator.PinRequest
		dsns    []string
		example = "  holdfast pin --site primary --for 2h --reason 'DynamoDB is down in all regions' --config holdfast.json"
	)
	cmd := &cobra.Command{
		Use:     "pin --site SITE --for D --reason TEXT",
		Short:   "Break glass: let the active site take writes although the term store is gone for everybody",
		Example: example,
		Long: `Without the term store no site can renew its lease, so writes stop when the lease runs out. A pin lets the site that
was active go on for a while, at most 24 hours, without the store. It ends at the first answer of the store.

It is safe only if the other site stands still as long. So the pin is written into the site's own database, and it gives
nothing until the other site's copy shows it: a warden whose own database shows the pin does not take over. If that copy
can't be reached, stop the other site's wardens (desired count 0) and pass --peer-stopped; if its region does not even
say whether they are stopped, --i-have-stopped SITE takes your word for it, and keeps it with the pin. What they did last
is waited out, and a database of the other site that answers must still be a copy.

Databases are reached as in 'holdfast init'. A restart of the database's writer ends the pin: pin again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			op, err := f.open(ctx)
			if err != nil {
				return err
			}
			if q.Databases, err = reachable(ctx, op, dsns); err != nil {
				return err
			}
			q.By, q.Reason, q.Progress = who.who(), who.reason, tellProgress(cmd)
			p, err := op.Pin(ctx, q)
			if err != nil {
				return err
			}
			return f.print(cmd.OutOrStdout(), p, func(out io.Writer) error {
				if q.DryRun {
					return writePlan(out, p.Plan)
				}
				_, err := fmt.Fprintf(out, "%s is pinned to term %d until %s at most: %s\n",
					p.Site, p.Term, p.Until.UTC().Format(time.RFC3339), p.Evidence)
				return err
			})
		},
	}
	f.register(cmd, defaultMoveTimeout)
	who.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&q.Site, "site", "", "`site` that was active, and shall go on")
	flags.DurationVar(&q.For, "for", 0, "how long at most, up to 24h")
	flags.BoolVar(&q.PeerStopped, "peer-stopped", false, "the other site's wardens are stopped, as its scheduler must confirm")
	flags.StringVar(&q.IHaveStopped, "i-have-stopped", "", "vouch that the wardens of the other `site` are stopped and stay so")
	dsnFlag(cmd, &dsns)
	dryRunFlag(cmd, &q.DryRun)
	return cmd
}

// NewUnpinCommand ends a pin.
func NewUnpinCommand() *cobra.Command {
	var (
		f    deploymentFlags
		who  whoFlags
		q    operator.UnpinRequest
		dsns []string
	)
	cmd := &cobra.Command{
		Use:   "unpin",
		Short: "End a pin before its time",
		Long: `End the pin in the pinned site's database. Its leases run out, and the other site waits for that.

If the pinned site is lost, its pin would keep the other one still until it runs out. Make sure that none of its wardens
runs, and pass --i-have-stopped SITE: then the term record takes your word for it. The term store must answer for that.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			op, err := f.open(ctx)
			if err != nil {
				return err
			}
			if q.Databases, err = reachable(ctx, op, dsns); err != nil {
				return err
			}
			q.By, q.Reason, q.Progress = who.who(), cmp.Or(who.reason, "not given"), tellProgress(cmd)
			u, err := op.Unpin(ctx, q)
			if err != nil {
				return err
			}
			return f.print(cmd.OutOrStdout(), u, func(out io.Writer) error {
				switch {
				case u.Site == "":
					_, err = fmt.Fprintln(out, "no site is pinned")
				case q.DryRun:
					err = writePlan(out, u.Plan)
				default:
					_, err = fmt.Fprintf(out, "the pin of %s, for term %d, is over\n", u.Site, u.Term)
				}
				return err
			})
		},
	}
	f.register(cmd, defaultLookTimeout)
	who.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&q.IHaveStopped, "i-have-stopped", "", "vouch that no warden of the pinned `site` runs")
	dsnFlag(cmd, &dsns)
	dryRunFlag(cmd, &q.DryRun)
	return cmd
}

func dryRunFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "dry-run", false, "check everything, print the steps and why, change nothing")
}

func writePlan(out io.Writer, p operator.Plan) error {
	if _, err := fmt.Fprintf(out, "%s would, as things are now:\n", p.Command); err != nil {
		return err
	}
	return p.WriteText(out)
}

// dsnFlag takes databases other than the deployment's endpoints.
func dsnFlag(cmd *cobra.Command, dsns *[]string) {
	cmd.Flags().StringArrayVar(dsns, "dsn", nil, "`SITE=DSN` of a site's database, instead of the deployment's endpoints (repeatable)")
}
