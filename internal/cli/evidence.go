package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/evidence"
	"holdfast/internal/operator"
)

// errTampered: a journal is not what was written.
var errTampered = errors.New("the journals do not fit together")

func newEvidenceCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "evidence", Short: "What the wardens have written down, and whether it is still what they wrote", Args: cobra.NoArgs}
	cmd.AddCommand(newVerifyCommand())
	return cmd
}

func newVerifyCommand() *cobra.Command {
	var (
		output  string
		anchors []string
	)
	cmd := &cobra.Command{
		Use:   "verify FOLDER|FILE…",
		Short: "Check that the wardens' journals are whole and unchanged",
		Long: `Check journals as the wardens write them to standard output: every entry carries the hash of the one before, so a change,
a removal or an insertion breaks the chain, and the first entry that does not fit is named. Every warden also journals
what the term record says of another's journal; with the journals of both sites in one folder they bear witness for each
other, so that an end that was cut off shows, and a journal that is missing altogether is named as absent, which is no
failure: it may be the other site's. A process that could not read, or its predecessor not write, the small file through
which a journal goes on over a restart leaves a gap: the entries right before it are vouched for by the others' journals only,
as far as these know them. --anchor adds what the record or a beacon says now ("journal" in
'holdfast status -o json').

Exit codes: 0 everything fits, 1 something does not, 2 wrong use or no journal there.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			if output != "text" && output != "json" {
				return usagef("-o %q: want text or json", output)
			}
			var known []evidence.Anchor
			for _, text := range anchors {
				a, err := evidence.ParseAnchor(text)
				if err != nil {
					return usagef("--anchor: %w", err)
				}
				known = append(known, a)
			}
			r, err := evidence.Verify(paths, known...)
			if err != nil {
				return fmt.Errorf("%w: %w", operator.ErrUsage, err)
			}
			f := deploymentFlags{output: output}
			if err := f.print(cmd.OutOrStdout(), r, func(out io.Writer) error { return writeEvidence(out, r) }); err != nil {
				return err
			}
			if len(r.Broken) > 0 {
				return errTampered
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringArrayVar(&anchors, "anchor", nil, "`\"WARDEN SEQUENCE:HASH\"` of a journal's entry that is known from elsewhere (repeatable)")
	return cmd
}

func writeEvidence(out io.Writer, r evidence.Report) error {
	var b strings.Builder
	for _, j := range r.Journals {
		fmt.Fprintf(&b, "%s: %d entries, %d to %d", j.Warden, j.Entries, j.First, j.Last.Sequence)
		if j.Lost > 0 {
			fmt.Fprintf(&b, ", %d lost when a process was killed", j.Lost)
		}
		b.WriteString("\n")
	}
	for _, a := range r.Absent {
		fmt.Fprintf(&b, "ABSENT  %s: others bear witness of %d entries, and none of them is here\n", a.Warden, a.Witnessed)
	}
	for _, g := range r.Gaps {
		fmt.Fprintf(&b, "GAP     %s, entry %d: nothing that follows stands on entries %d to %d, ", g.Warden, g.Sequence, g.From, g.To)
		if g.Witnessed > 0 {
			fmt.Fprintf(&b, "of which others know up to %d: %s\n", g.Witnessed, g.Reason)
		} else {
			fmt.Fprintf(&b, "and nobody else knows of them: %s\n", g.Reason)
		}
	}
	fmt.Fprintf(&b, "%d statements of others about these journals compared\n", r.Anchors)
	for _, broken := range r.Broken {
		fmt.Fprintf(&b, "BROKEN  %s, entry %d: %s", broken.Warden, broken.Sequence, broken.Reason)
		if broken.File != "" {
			fmt.Fprintf(&b, " (%s)", broken.File)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
