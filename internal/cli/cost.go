package cli

import (
	"encoding/json"
	"io"
	"os"

	"github.com/spf13/cobra"

	"holdfast/internal/cost"
	"holdfast/internal/topology"
)

// costFlags are the flags of "cost"; usage holds the flag of each assumption.
type costFlags struct {
	state, active, output string
	usage                 map[string]*string
}

// NewCostCommand returns "cost".
func NewCostCommand() *cobra.Command {
	f := costFlags{usage: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Estimate what a deployment costs in a month, and what each way to save changes",
		Long: `Estimate what a month of a deployment costs, from the JSON of a Terraform state or plan and dated list prices.

What the state can't tell (how much is stored, sent, asked) is assumed: each assumption is a flag and is printed with
the result. What has no price in the list is named and never guessed. docs/cost.md says how it is computed.

Exit codes: 0 estimated, 1 failed, 2 wrong use, 3 the environment can't run it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "`file` with the output of 'terraform show -json', of a state or of a plan (default: the built-in deployment)")
	flags.StringVar(&f.active, "active-region", "", "`region` of the active site (default: what the file says)")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	for _, a := range cost.Assumptions() {
		f.usage[a.Name] = flags.String(a.Name, a.Default, a.About+", in `"+a.Unit+"`")
	}
	return cmd
}

func (f *costFlags) run(cmd *cobra.Command) error {
	if f.output != "text" && f.output != "json" {
		return usagef("-o %s: want text or json", f.output)
	}
	prices, err := cost.Prices()
	if err != nil {
		return err
	}
	options := cost.Options{Prices: prices, Usage: cost.Usage{}, ActiveRegion: f.active}
	for name, text := range f.usage {
		if options.Usage[name], err = cost.ParseAmount(*text); err != nil {
			return usagef("--%s: %w", name, err)
		}
	}
	file, subject := topology.DefaultState(), "the built-in deployment"
	if cmd.Flags().Changed("state") {
		subject = "--state " + f.state
		if file, err = readAtMost(f.state, topology.MaxStateBytes); err != nil {
			return usagef("%s: %w; write the file with: terraform show -json > state.json", subject, err)
		}
	}
	result, err := cost.Estimate(file, options)
	if err != nil {
		return usagef("%s: %w", subject, err)
	}
	if f.output == "json" {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		return encoder.Encode(result)
	}
	return result.WriteText(cmd.OutOrStdout())
}

// readAtMost reads a file, but no more than one byte above the limit: enough to see that it is too large.
func readAtMost(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, limit+1))
}
