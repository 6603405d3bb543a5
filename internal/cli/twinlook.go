package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"holdfast/internal/operator"
	"holdfast/internal/twin"
	"holdfast/internal/twin/api"
)

// resolveTimeout bounds one question to the twin's DNS server.
const resolveTimeout = 5 * time.Second

func newTwinResolveCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "resolve [--] NAME [TYPE] [+short]",
		Short: "Ask the twin's DNS server, where there is no dig",
		Long: `Ask the twin's DNS server for a name's records (TYPE is A unless given) and print them as dig does; with +short only the
values. The exit code is 1 if the name does not exist.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := readRun(name)
			if err != nil {
				return err
			}
			return resolve(cmd.Context(), cmd.OutOrStdout(), info.Resolver, args)
		},
	}
	registerName(cmd, &name)
	return cmd
}

func resolve(ctx context.Context, out io.Writer, server string, args []string) error {
	host, kind, short := "", dns.TypeA, false
	for _, arg := range args {
		known, isType := dns.StringToType[strings.ToUpper(arg)]
		switch {
		case arg == "+short":
			short = true
		case strings.HasPrefix(arg, "+"), strings.HasPrefix(arg, "-"), strings.HasPrefix(arg, "@"):
			return usagef("resolve %s: only +short is understood; install dig for more", arg)
		case host != "" && isType:
			kind = known
		case host == "":
			host = arg
		default:
			return usagef("resolve %s: want one name and one type of record", arg)
		}
	}
	if host == "" {
		return usagef("resolve: want a name")
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	query := new(dns.Msg).SetQuestion(dns.Fqdn(host), kind)
	answer, _, err := new(dns.Client).ExchangeContext(ctx, query, server)
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", server, host, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("%s answers for %s: %s", server, host, dns.RcodeToString[answer.Rcode])
	}
	if !short {
		fmt.Fprintf(out, ";; ANSWER SECTION:\n")
	}
	for _, record := range answer.Answer {
		line := record.String()
		if short {
			line = strings.TrimPrefix(line, record.Header().String())
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

func newTwinCallsCommand() *cobra.Command {
	var name, output string
	cmd := &cobra.Command{
		Use:   "calls",
		Short: "Show the AWS calls that the twin has answered, oldest first",
		Long: `Show the access log of the twin's AWS endpoints: who asked what of which region, and with which result. It keeps the
newest calls of the wardens, of holdfast and of the aws command.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usagef("-o %s: want text or json", output)
			}
			if _, err := readRun(name); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), statusTimeout)
			defer cancel()
			var calls []api.Call
			if err := callControl(ctx, name, "calls", nil, &calls); err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), calls)
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(tw, "AT\tFROM\tTO\tSERVICE\tACTION\tSTATUS\tERROR")
			for _, c := range calls {
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", c.At.Format("15:04:05.000"), dash(c.CallerRegion), dash(c.Region),
					dash(c.Service), dash(c.Operation), c.Status, dash(c.Code))
			}
			return tw.Flush()
		},
	}
	registerName(cmd, &name)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func newTwinOutputCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "output [--] [-raw | -json] [NAME]",
		Short: "Show the Terraform outputs that the twin was built from, as 'terraform output' does",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := readRun(name); err != nil {
				return err
			}
			folder, err := shellPath(name)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(filepath.Join(folder, outputsFile))
			if err != nil {
				return fmt.Errorf("%w: read the twin's outputs: %w", operator.ErrEnvironment, err)
			}
			var outputs map[string]any
			if err := json.Unmarshal(text, &outputs); err != nil {
				return fmt.Errorf("read the twin's outputs: %w", err)
			}
			return printOutputs(cmd.OutOrStdout(), outputs, args)
		},
	}
	registerName(cmd, &name)
	return cmd
}

// printOutputs prints one output or all of them. The options are Terraform's, with one hyphen.
func printOutputs(out io.Writer, outputs map[string]any, args []string) error {
	raw, asJSON, name := false, false, ""
	for _, arg := range args {
		switch {
		case arg == "-raw" || arg == "--raw":
			raw = true
		case arg == "-json" || arg == "--json":
			asJSON = true
		case arg == "-no-color":
		case strings.HasPrefix(arg, "-") || name != "":
			return usagef("output %s: want -raw or -json and one name", arg)
		default:
			name = arg
		}
	}
	if raw && (name == "" || asJSON) {
		return usagef("output -raw: want the name of one output, and no -json")
	}
	if name == "" {
		if asJSON {
			all := map[string]any{}
			for n, value := range outputs {
				all[n] = map[string]any{"sensitive": false, "value": value}
			}
			return printJSON(out, all)
		}
		for _, n := range slices.Sorted(maps.Keys(outputs)) {
			value, err := json.MarshalIndent(outputs[n], "", "  ")
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "%s = %s\n", n, value)
		}
		return nil
	}
	value, ok := outputs[name]
	switch {
	case !ok:
		return fmt.Errorf("output %q not found: the deployment has %s (sensitive ones are left out)",
			name, strings.Join(slices.Sorted(maps.Keys(outputs)), ", "))
	case raw:
		switch value.(type) {
		case string, float64, bool:
			_, err := fmt.Fprint(out, value)
			return err
		}
		return fmt.Errorf("output %q is no text, number or bool: ask for it with -json", name)
	}
	return printJSON(out, value)
}

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// writeInventory prints what runs where.
func writeInventory(out io.Writer, inventory twin.Inventory) error {
	tw := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "SITE\tPART\tNAME\tADDRESS\tSTATE\tMEMORY\tCPU")
	for _, p := range inventory.Parts {
		memory, cpu := "", ""
		if p.Usage != nil {
			memory, cpu = mebibytes(p.Usage.ResidentBytes), percent(p.Usage.Cores)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", dash(p.Site), p.Kind, p.Name, dash(p.Address), p.State, dash(memory), dash(cpu))
	}
	total := inventory.Total
	fmt.Fprintf(tw, "all\t%d processes\t\t\t\t%s\t%s\n", total.Processes, mebibytes(total.ResidentBytes), percent(total.Cores))
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "CPU is of one core, over %.1f s; of memory that processes share each has its part (%s if shared memory counts for each)\n",
		inventory.Sampled.Seconds(), mebibytes(total.RSSBytes))
	return err
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
