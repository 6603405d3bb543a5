package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/twin"
)

// The bounds of a request about faults. Injecting waits until the fault has happened; clearing the loss of a region
// until its databases answer.
const (
	maxFaultBody = 4 << 10
	faultTimeout = 3 * time.Minute
)

// clearRequest names what to clear; both empty is everything.
type clearRequest struct {
	Name   string `json:"name"`
	Target string `json:"target"`
}

// handleFaults adds the resources of "twin fault" to the control socket.
func handleFaults(mux *http.ServeMux, t *twin.Twin) {
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		active := t.ActiveFaults()
		if active == nil {
			active = []twin.ActiveFault{}
		}
		answerControl(w, active, nil)
	})
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var f twin.Fault
		if err := decodeFault(w, r, &f); err != nil {
			answerControl(w, nil, err)
			return
		}
		ctx, cancel := faultContext(r)
		defer cancel()
		f, err := t.Inject(ctx, f)
		answerControl(w, f, err)
	})
	mux.HandleFunc("POST /faults/clear", func(w http.ResponseWriter, r *http.Request) {
		var c clearRequest
		if err := decodeFault(w, r, &c); err != nil {
			answerControl(w, nil, err)
			return
		}
		ctx, cancel := faultContext(r)
		defer cancel()
		cleared, err := t.ClearFault(ctx, c.Name, c.Target)
		if cleared == nil {
			cleared = []twin.Fault{}
		}
		answerControl(w, cleared, err)
	})
}

// faultContext lets a fault that has begun be completed when the command that asked for it is interrupted.
func faultContext(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), faultTimeout)
}

// decodeFault reads one JSON object and nothing else.
func decodeFault(w http.ResponseWriter, r *http.Request, into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxFaultBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fmt.Errorf("read the request: more than one object")
	}
	return nil
}

func newTwinFaultCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Break a part of a running twin, and mend it",
		Long: `Break a part of the twin that 'holdfast twin up' runs, from another shell, and mend it again. 'list' shows what can be
broken. A lasting fault lasts until it is cleared; the others are one blow, from which the twin recovers by itself.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newFaultListCommand(), newFaultInjectCommand(), newFaultClearCommand())
	return cmd
}

func newFaultListCommand() *cobra.Command {
	var name, output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the faults, and which of them a running twin suffers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usagef("-o %s: want text or json", output)
			}
			active := []twin.ActiveFault{}
			if _, err := readRun(name); err == nil {
				if err := callControl(cmd.Context(), name, "faults", nil, &active); err != nil {
					return err
				}
			}
			if output == "json" {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(struct {
					Faults []twin.FaultKind   `json:"faults"`
					Active []twin.ActiveFault `json:"active"`
				}{twin.FaultKinds(), active})
			}
			return writeFaults(cmd.OutOrStdout(), active)
		},
	}
	registerName(cmd, &name)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func writeFaults(w io.Writer, active []twin.ActiveFault) error {
	var b strings.Builder
	for _, k := range twin.FaultKinds() {
		var flags []string
		for _, name := range k.Takes {
			flags = append(flags, "--"+name)
		}
		lasting := "one blow"
		if k.Lasting {
			lasting = "lasts"
		}
		fmt.Fprintf(&b, "%-22s %-8s  %s\n", k.Name, lasting, k.Doc)
		if len(flags) > 0 {
			fmt.Fprintf(&b, "%-22s %-8s  takes %s\n", "", "", strings.Join(flags, ", "))
		}
	}
	for _, f := range active {
		fmt.Fprintf(&b, "\nthe twin suffers %s since %s", f, f.Since.Format(time.TimeOnly))
		if f.Met != nil {
			fmt.Fprintf(&b, "; it was met %d times", *f.Met)
		}
	}
	if len(active) > 0 {
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func newFaultInjectCommand() *cobra.Command {
	var name string
	var f twin.Fault
	cmd := &cobra.Command{
		Use:   "inject NAME",
		Short: "Make a fault happen in the running twin",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Name = args[0]
			if _, known := twin.FaultKindOf(f.Name); !known {
				return usagef("%s: there is no such fault; 'holdfast twin fault list' shows them", f.Name)
			}
			var done twin.Fault
			if err := postControl(cmd.Context(), name, "faults", f, &done); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s has happened\n", done)
			return err
		},
	}
	registerName(cmd, &name)
	flags := cmd.Flags()
	flags.StringVar(&f.Site, "site", "", "the `site` that is hit (default: the active one)")
	flags.StringVar(&f.Region, "region", "", "the store's `region` that is hit (default: the witness)")
	flags.StringVar(&f.Zone, "zone", "", "the availability `zone` that is hit (default: the database writer's)")
	flags.DurationVar(&f.Delay, "delay", 0, "how much slower, in real time (default: the fault's own)")
	flags.Float64Var(&f.Loss, "loss", 0, "the `share` of segments that is lost, between 0 and 1 (default: the fault's own)")
	flags.BoolVar(&f.Clients, "clients", false, "cut the site off from its clients too")
	return cmd
}

func newFaultClearCommand() *cobra.Command {
	var name string
	var c clearRequest
	cmd := &cobra.Command{
		Use:   "clear [NAME]",
		Short: "End the faults of a name, or all of them",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				c.Name = args[0]
			}
			if _, known := twin.FaultKindOf(c.Name); c.Name != "" && !known {
				return usagef("%s: there is no such fault; 'holdfast twin fault list' shows them", c.Name)
			}
			var cleared []twin.Fault
			if err := postControl(cmd.Context(), name, "faults/clear", c, &cleared); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if len(cleared) == 0 {
				fmt.Fprintln(out, "nothing was broken")
			}
			for _, f := range cleared {
				fmt.Fprintf(out, "%s is over\n", f)
			}
			return nil
		},
	}
	registerName(cmd, &name)
	cmd.Flags().StringVar(&c.Target, "target", "", "only on this `site`, region or zone")
	return cmd
}

// postControl sends a value to the twin of a name, which must be up.
func postControl(ctx context.Context, name, resource string, value, out any) error {
	if _, err := readRun(name); err != nil {
		return err
	}
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return callControl(ctx, name, resource, bytes.NewReader(body), out)
}
