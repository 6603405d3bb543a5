package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"holdfast/internal/drill"
	"holdfast/internal/operator"
	"holdfast/internal/twin"
)

// The exit codes of every command.
const (
	exitOK          = 0
	exitFailed      = 1 // a failed verdict, a refusal, any other error
	exitUsage       = 2 // flags, arguments or input files
	exitEnvironment = 3 // something that this machine lacks or can't reach
)

// errSilent ends a command with exit code 1 whose output has said everything already.
var errSilent = errors.New("see the output")

// NewRootCommand returns the command "holdfast" with everything below it.
func NewRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "holdfast",
		Short: "Disaster recovery for payments that you can prove before you need it",
		Long: `Holdfast keeps a payment system on AWS alive when a region is lost, and rehearses that on one machine.

Start with 'holdfast drill': it builds two regions from the Terraform, runs payments, takes one region away, and counts
what became of every payment.

Exit codes: 0 done (for a drill: verdict pass), 1 failed or refused, 2 wrong use, 3 the environment can't run it.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w; see '%s --help'", operator.ErrUsage, err, cmd.CommandPath())
	})
	root.AddCommand(
		newDrillCommand(), newTwinCommand(), NewCostCommand(), NewSimulateCommand(),
		NewStatusCommand(), NewPreflightCommand(), NewInitCommand(), NewSwitchoverCommand(), NewFailoverCommand(), NewApproveCommand(), NewPinCommand(), NewUnpinCommand(), NewFenceCommand(), newEvidenceCommand(), NewReconcileCommand(), NewTailCommand(), NewWardenCommand(),
	)
	wrapArgs(root)
	return root
}

// wrapArgs marks errors about arguments as wrong use, in the whole tree.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fmt.Errorf("%w: %w; see '%s --help'", operator.ErrUsage, err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		wrapArgs(child)
	}
}

// Main runs the command line and returns the exit code. The first interrupt cancels what runs, which then cleans up
// after itself; a second one ends the program at once (a twin's reaper cleans up then).
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	root := NewRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errSilent) {
		fmt.Fprintln(stderr, "holdfast: "+message(err))
	}
	return ExitCode(err)
}

// message words an error without the marker that chose its exit code.
func message(err error) string {
	return strings.TrimPrefix(err.Error(), operator.ErrUsage.Error()+": ")
}

// ExitCode maps an error to the exit code.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, operator.ErrUsage): // also a file that was named and may not be read
		return exitUsage
	case errors.Is(err, twin.ErrEnvironment), drill.IsEnvironment(err):
		return exitEnvironment
	}
	return operator.ExitCode(err)
}

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %w", operator.ErrUsage, fmt.Errorf(format, args...))
}

// version is the module's version, or the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, modified := builtFrom(info)
	switch {
	case commit == "":
		return info.Main.Version
	case modified:
		return fmt.Sprintf("%s (%.12s, modified)", info.Main.Version, commit)
	}
	return fmt.Sprintf("%s (%.12s)", info.Main.Version, commit)
}

// revision is the commit that this program was built from, for a drill's verdict.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return drill.UnknownRevision
	}
	commit, modified := builtFrom(info)
	switch {
	case commit == "":
		return drill.UnknownRevision
	case modified:
		return commit + "+modified"
	}
	return commit
}

// builtFrom is the commit of a build, empty if it does not say, and whether the files were others than the commit's.
func builtFrom(info *debug.BuildInfo) (commit string, modified bool) {
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	return commit, modified
}

// executable is the path of this program.
func executable() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("%w: find the path of this program: %w", operator.ErrEnvironment, err)
	}
	return path, nil
}
