// Command cmd renders a Terraform configuration into a state without AWS and writes it to a file. "make topology" runs
// it for the project's own infra folder.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"holdfast/internal/topology"
	"holdfast/internal/topology/render"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o render.Options
	var varFiles, out string
	flag.StringVar(&o.Terraform, "terraform", "terraform", "the terraform `command`")
	flag.StringVar(&o.PluginDir, "plugin-dir", "", "a `folder` with providers; by default Terraform's own configuration decides")
	flag.StringVar(&o.Dir, "dir", "infra", "the root module's `folder`")
	flag.StringVar(&varFiles, "var-file", "tests/twin.tfvars", "variable `files`, separated by commas, relative to the root module")
	flag.StringVar(&out, "o", "internal/topology/default.json", "the `file` to write")
	flag.Parse()
	if varFiles != "" {
		o.VarFiles = strings.Split(varFiles, ",")
	}
	o.Progress = func(what string) { fmt.Fprintln(os.Stderr, what+" …") }
	if previous, err := os.ReadFile(out); err == nil {
		o.Previous = previous
	}
	state, err := render.Render(ctx, o)
	if o.Previous != nil && err != nil && ctx.Err() == nil {
		o.Previous = nil // the configuration has changed too much, or the file is no state
		state, err = render.Render(ctx, o)
	}
	if err != nil {
		return err
	}
	// What cannot be read back is written all the same, so that one can look at it.
	if err := os.WriteFile(out, state, 0o644); err != nil {
		return fmt.Errorf("write the rendered state: %w", err)
	}
	if _, err := topology.Parse(state); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: %d bytes\n", out, len(state))
	return nil
}
