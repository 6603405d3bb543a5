package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/aws"
	"holdfast/internal/operator"
	"holdfast/internal/preflight"
)

// defaultPreflightTimeout bounds a whole run; each check has a limit of its own below it.
const defaultPreflightTimeout = 5 * time.Minute

// NewPreflightCommand looks for everything that would make a failover fail.
func NewPreflightCommand() *cobra.Command {
	var (
		f         deploymentFlags
		opt       preflight.Options
		terraform string
	)
	cmd := &cobra.Command{
		Use:   "preflight",
		Short: "Look for everything that would make tonight's failover fail",
		Long: `Look at the record, the wardens, both databases, images, capacity, alarms, DNS, permissions and clocks, and say for
everything that is not as it should be what is, what is wanted, and what to do about it.

It changes nothing, with one exception: the check "canary" starts one task of the application in the standby region, outside
its service, and stops it again. The checks "database" and "clocks" log in to both databases, so run it where those can be
reached, or leave them out with --skip. The caller needs to read what the checks look at, iam:SimulatePrincipalPolicy,
and for the canary ecs:RunTask, ecs:StopTask and iam:PassRole of the task's roles.

The exit code is 0 if nothing failed and nothing is unknown (warnings pass), 1 otherwise, 2 for wrong use.

Checks: ` + strings.Join(preflight.CheckNames(), ", ") + `.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			op, err := f.open(ctx)
			if err != nil {
				return err
			}
			session, err := aws.Open(ctx)
			if err != nil {
				return fmt.Errorf("%w: %w", operator.ErrEnvironment, err)
			}
			if opt.MaxLag <= 0 {
				return usagef("--max-lag %v: want a duration above zero", opt.MaxLag)
			}
			sources := preflight.FromAWS(session, op)
			if terraform != "" {
				sources.Terraform = preflight.TerraformFolder(terraform)
			}
			report, err := preflight.Look(ctx, op.Config(), sources, opt)
			if err != nil {
				return err
			}
			if err := f.print(cmd.OutOrStdout(), report, report.WriteText); err != nil {
				return err
			}
			if !report.Passed {
				return errSilent
			}
			return nil
		},
	}
	f.register(cmd, defaultPreflightTimeout)
	flags := cmd.Flags()
	flags.StringSliceVar(&opt.Only, "only", nil, "run these `checks` only")
	flags.StringSliceVar(&opt.Skip, "skip", nil, "leave these `checks` out")
	flags.DurationVar(&opt.MaxLag, "max-lag", preflight.DefaultMaxLag, "how far the standby's database may be behind")
	flags.StringVar(&terraform, "terraform", "", "also plan in this `folder` and want no changes")
	return cmd
}
