package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/drill"
	"holdfast/internal/drill/acquirer"
	"holdfast/internal/operator"
	"holdfast/internal/twin"
)

const (
	defaultTwinName    = "default"
	defaultDownTimeout = time.Minute
	statusTimeout      = 30 * time.Second
)

func newTwinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "twin",
		Short: "The two regions on one machine",
		Long: `The twin builds the deployment's two regions on this machine from the Terraform: PostgreSQL that replicates, tasks that
are processes, balancers, DNS with health checks, and the AWS API calls of a runbook.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newTwinUpCommand(), newTwinStatusCommand(), newTwinDownCommand(),
		newTwinEnvCommand(), newTwinResolveCommand(), newTwinOutputCommand(), newTwinCallsCommand(), newTwinFaultCommand(),
	)
	return cmd
}

func registerName(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", cmp.Or(os.Getenv(nameVariable), defaultTwinName),
		"`name` of the twin, so that several can be up ("+nameVariable+")")
}

func newTwinUpCommand() *cobra.Command {
	var f rehearsalFlags
	var name, acquirerURL string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Build the twin and run it until Ctrl-C or 'twin down'",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := runPath(name); err != nil {
				return err
			}
			r, err := f.open(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			lock, err := takeName(name)
			if err != nil {
				return err
			}
			defer lock.release()
			return runTwin(cmd, lock, r, f, name, acquirerURL)
		},
	}
	f.register(cmd.Flags(), 1)
	registerName(cmd, &name)
	cmd.Flags().StringVar(&acquirerURL, "acquirer-url", "", "`URL` of an acquirer (default: one of the twin's own)")
	return cmd
}

// runTwin brings the twin up, says how to reach it, and takes it down when the command's context ends.
func runTwin(cmd *cobra.Command, lock *runLock, r rehearsal, f rehearsalFlags, name, acquirerURL string) error {
	progress := cmd.ErrOrStderr()
	if acquirerURL == "" {
		bank := acquirer.New(acquirer.Options{Seed: 1, Latency: 15 * time.Millisecond, Jitter: 10 * time.Millisecond})
		if err := bank.Start("127.0.0.1:0"); err != nil {
			return fmt.Errorf("%w: %w", operator.ErrEnvironment, err)
		}
		defer closeAcquirer(bank)
		acquirerURL = bank.URL()
	}
	began := time.Now()
	logger := slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{Level: slog.LevelWarn}))
	t, err := twin.Up(cmd.Context(), twinOptions(drill.UpOptions{
		Topology: &r.topology, Speed: f.speed, AddressBlock: f.addressBlock, AcquirerURL: acquirerURL, Images: r.images,
		Progress: func(e drill.Event) {
			fmt.Fprintf(progress, "%s  %-8s %-8s %s\n", e.At.Format("15:04:05.0"), e.Site, e.Kind, e.Text)
		},
	}, logger))
	if err != nil {
		return err
	}
	defer takeDown(progress, drillTwin{t})
	info := runInfo{
		Name: name, PID: os.Getpid(), StartedAt: began.UTC(), Speed: t.Speed(), StateDir: t.Dir(), Config: t.ConfigFile(), Endpoint: t.Endpoint(),
		Region: t.Sites()[0].Region, DNSName: t.DNSName(), Resolver: t.Resolver(), AppPort: t.AppPort(), Acquirer: acquirerURL,
	}
	if err := info.writeShell(t); err != nil {
		return err
	}
	control, err := serveControl(name, t)
	if err != nil {
		return err
	}
	defer control.close()
	if err := lock.publish(info); err != nil {
		return err
	}
	fmt.Fprintf(progress, "the twin is up after %.1f s\n", time.Since(began).Seconds())
	out := cmd.OutOrStdout()
	if err := info.writeEnv(out); err != nil {
		return err
	}
	fmt.Fprintln(out)
	if look, err := info.look(cmd.Context(), 0); err == nil {
		if err := look.writeText(out); err != nil {
			return err
		}
	}
	fmt.Fprintf(progress, "Ctrl-C or 'holdfast twin down --name %s' takes it down\n", name)
	<-cmd.Context().Done()
	fmt.Fprintln(progress, "taking the twin down")
	return nil
}

func closeAcquirer(bank *acquirer.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = bank.Close(ctx)
}

// writeText says how to reach the twin.
func (i runInfo) writeText(w io.Writer) error {
	var b strings.Builder
	host, port, _ := strings.Cut(i.Resolver, ":")
	fmt.Fprintf(&b, "name       %s\n", i.Name)
	fmt.Fprintf(&b, "process    %d, since %s, speed %.4g\n", i.PID, i.StartedAt.Format(time.RFC3339), i.Speed)
	fmt.Fprintf(&b, "dns        %s: dig @%s -p %s +short %s\n", i.Resolver, host, port, i.DNSName)
	fmt.Fprintf(&b, "payments   http://%s:%d/v1/payments (resolve the name as above)\n", i.DNSName, i.AppPort)
	fmt.Fprintf(&b, "acquirer   %s\n", i.Acquirer)
	if config, err := operator.ReadConfig(i.Config); err == nil {
		for _, line := range psqlLines(config) {
			fmt.Fprintf(&b, "database   %s\n", line)
		}
	}
	fmt.Fprintf(&b, "mail       %s\n", filepath.Join(i.StateDir, "mail"))
	fmt.Fprintf(&b, "state      %s\n", i.StateDir)
	fmt.Fprintf(&b, "shell      eval \"$(holdfast twin env --name %s)\"\n\n", i.Name)
	_, err := io.WriteString(w, b.String())
	return err
}

// status asks the twin, as an operator would ask AWS.
func (i runInfo) status(ctx context.Context) (operator.Status, error) {
	for _, export := range i.exports() {
		// The AWS client reads the environment; nothing of the caller's own account may be asked instead.
		if err := os.Setenv(export[0], export[1]); err != nil {
			return operator.Status{}, err
		}
	}
	unset := leakingVariables
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, serviceEndpoint) {
			unset = append(slices.Clone(unset), name)
		}
	}
	for _, name := range unset {
		if err := os.Unsetenv(name); err != nil {
			return operator.Status{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	config, err := operator.ReadConfig(i.Config)
	if err != nil {
		return operator.Status{}, err
	}
	op, err := operator.Open(ctx, config, i.Resolver)
	if err != nil {
		return operator.Status{}, err
	}
	return op.Status(ctx), nil
}

// twinLook is what "twin status" shows.
type twinLook struct {
	Twin      runInfo         `json:"twin"`
	Status    operator.Status `json:"status"`
	Inventory twin.Inventory  `json:"inventory"`
}

// look asks AWS's side and the twin's own.
func (i runInfo) look(ctx context.Context, sample time.Duration) (twinLook, error) {
	look := twinLook{Twin: i}
	var err error
	if look.Status, err = i.status(ctx); err != nil {
		return twinLook{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, sample+statusTimeout)
	defer cancel()
	err = callControl(ctx, i.Name, "inventory?sample="+sample.String(), nil, &look.Inventory)
	return look, err
}

func (l twinLook) writeText(out io.Writer) error {
	if err := l.Twin.writeText(out); err != nil {
		return err
	}
	if err := l.Status.WriteText(out); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return writeInventory(out, l.Inventory)
}

func newTwinStatusCommand() *cobra.Command {
	var name, output string
	var sample time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how to reach the twin, what runs where and what it takes",
		Long: `Show how to reach the twin, its term record, both sites, what DNS answers, and each part with its address, its state and
the memory and processor time that it takes. The exit code is 1 if no such twin is up.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usagef("-o %s: want text or json", output)
			}
			if sample < 0 || sample > maxSample {
				return usagef("--sample %s: want a duration up to %s", sample, maxSample)
			}
			info, err := readRun(name)
			if err != nil {
				return err
			}
			look, err := info.look(cmd.Context(), sample)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), look)
			}
			return look.writeText(cmd.OutOrStdout())
		},
	}
	registerName(cmd, &name)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().DurationVar(&sample, "sample", time.Second, "how long to measure the processor time")
	return cmd
}

func newTwinDownCommand() *cobra.Command {
	var name string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take the twin down and wait until nothing of it is left",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usagef("--timeout %s: want a duration above 0, as in 1m", timeout)
			}
			info, err := readRun(name)
			if errors.Is(err, errTwinDown) {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%v\n", err)
				return err
			}
			if err != nil {
				return err
			}
			if err := syscall.Kill(info.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("signal the twin %s (process %d): %w", name, info.PID, err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := waitDown(ctx, name); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the twin %s is down\n", name)
			return err
		},
	}
	registerName(cmd, &name)
	cmd.Flags().DurationVar(&timeout, "timeout", defaultDownTimeout, "how long to wait")
	return cmd
}
