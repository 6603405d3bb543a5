package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/operator"
	"holdfast/internal/reconcile"
	"holdfast/internal/reconcile/lost"
)

const (
	// defaultReportTimeout is enough to read an acquirer's list of days.
	defaultReportTimeout = time.Hour
	// pageTimeout bounds one request to an acquirer.
	pageTimeout = time.Minute
)

// reportFlags say what a report is made of.
type reportFlags struct {
	acquirers, dsns []string
	from, until     string
	slack           time.Duration
	file            string
}

func newReconcileReportCommand() *cobra.Command {
	var (
		f deploymentFlags
		r reportFlags
	)
	cmd := &cobra.Command{
		Use:   "report EXPORT…",
		Short: "Merge the exports with the acquirer's list: what became of each payment, and what is to be done",
		Long: `Merge the exports of a lost tail (folders made by the wardens or by 'holdfast reconcile export') with the acquirer's own
list and with what the database that serves now says. The report has every lost row, and every payment of payd's with
where it was seen, what the survivor says of it and what to do: book, send-again (both: send the same order to payd
again; it is the same charge), void, look, wait, none. It changes nothing, in no ledger and at no acquirer.

--acquirer is the URL of an acquirer with payd's reference API (docs/payd.md), or a file from any other: JSON lines, or CSV
with a header line, with reference, amount (in the minor unit), currency, status and created_at (RFC 3339). A file is
taken to be complete from its first charge to its last; --acquirer-from and --acquirer-until say otherwise.

The report is complete only if the acquirer's lists cover the whole gap; else it says which stretch they do not cover,
and the exit code is 1.`,
		Example: "  holdfast reconcile report tails/* --acquirer https://acquirer.example.com --out report.json --config holdfast.json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, folders []string) error {
			window, err := r.window()
			if err != nil {
				return err
			}
			exports, err := loadExports(folders)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			op, err := f.open(ctx)
			if err != nil {
				return err
			}
			made, err := r.make(ctx, op, exports, window)
			if err != nil {
				return err
			}
			if r.file != "" {
				if err := writeReport(r.file, made); err != nil {
					return fmt.Errorf("%w: write the report: %w", operator.ErrEnvironment, err)
				}
			}
			if err := f.print(cmd.OutOrStdout(), made, made.WriteText); err != nil {
				return err
			}
			if !made.Complete {
				return errSilent
			}
			return nil
		},
	}
	f.register(cmd, defaultReportTimeout)
	flags := cmd.Flags()
	flags.StringArrayVar(&r.acquirers, "acquirer", nil, "`URL or file` of the acquirer's list (repeatable)")
	flags.StringVar(&r.from, "acquirer-from", "", "`time` (RFC 3339) from which the files are complete")
	flags.StringVar(&r.until, "acquirer-until", "", "`time` (RFC 3339) until which the files are complete")
	flags.DurationVar(&r.slack, "slack", lost.DefaultSlack, "how far the acquirer's clock may be from the databases', and how late a charge may come")
	flags.StringVar(&r.file, "out", "", "`file` for the report as JSON")
	dsnFlag(cmd, &r.dsns)
	return cmd
}

// window is what was told of the files.
func (r reportFlags) window() (reconcile.Span, error) {
	var w reconcile.Span
	for _, end := range []struct {
		flag, text string
		into       *time.Time
	}{{"from", r.from, &w.From}, {"until", r.until, &w.Until}} {
		if end.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, end.text)
		if err != nil {
			return reconcile.Span{}, usagef("--acquirer-%s %s: want an RFC 3339 time (2026-01-02T15:04:05Z)", end.flag, end.text)
		}
		*end.into = at.UTC()
	}
	if r.slack < 0 {
		return reconcile.Span{}, usagef("--slack %v: want 0 or more", r.slack)
	}
	return w, nil
}

func loadExports(folders []string) ([]lost.Export, error) {
	var exports []lost.Export
	for _, folder := range folders {
		s, lines, err := reconcile.Load(folder)
		if err != nil {
			return nil, fmt.Errorf("%w: the export %s: %w", operator.ErrUsage, folder, err)
		}
		exports = append(exports, lost.Export{Summary: s, Sighting: lines})
	}
	return exports, nil
}

// make reads the acquirer's lists first and the surviving ledger last: what was charged before the ledger was read and is
// not in it is not merely under way.
func (r reportFlags) make(ctx context.Context, op *operator.Operator, exports []lost.Export, window reconcile.Span) (lost.Report, error) {
	found, err := reachable(ctx, op, r.dsns)
	if err != nil {
		return lost.Report{}, err
	}
	survivor, _, err := op.Survivor(ctx, found)
	if err != nil {
		return lost.Report{}, err
	}
	defer survivor.Close(context.WithoutCancel(ctx))
	isPayd, err := lost.HasPayments(ctx, survivor)
	if err != nil {
		return lost.Report{}, err
	}
	if !isPayd && len(r.acquirers) > 0 {
		return lost.Report{}, usagef("--acquirer: the surviving database has none of payd's tables to hold its list against")
	}
	lists, err := r.lists(ctx, exports, window)
	if err != nil {
		return lost.Report{}, err
	}
	var book lost.Book
	if isPayd {
		references, err := lost.References(exports, lists)
		if err != nil {
			return lost.Report{}, err
		}
		if book, err = lost.ReadBook(ctx, survivor, references); err != nil {
			return lost.Report{}, err
		}
	}
	return lost.NewReport(exports, lists, book, r.slack, time.Now())
}

func (r reportFlags) lists(ctx context.Context, exports []lost.Export, window reconcile.Span) ([]lost.List, error) {
	client := &http.Client{Timeout: pageTimeout}
	defer client.CloseIdleConnections()
	var lists []lost.List
	for _, place := range r.acquirers {
		if !strings.HasPrefix(place, "http://") && !strings.HasPrefix(place, "https://") {
			l, err := lost.ReadFile(place, window)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", operator.ErrUsage, err)
			}
			lists = append(lists, l)
			continue
		}
		since, err := gapBegins(exports, r.slack)
		if err != nil {
			return nil, err
		}
		l, err := lost.Fetch(ctx, client, place, since)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", operator.ErrEnvironment, err)
		}
		lists = append(lists, l)
	}
	return lists, nil
}

// gapBegins is when the first of the exports' gaps begins.
func gapBegins(exports []lost.Export, slack time.Duration) (time.Time, error) {
	var first time.Time
	for _, e := range exports {
		if b := e.Summary.Boundary; b != nil && (first.IsZero() || b.From.Before(first)) {
			first = b.From
		}
	}
	if first.IsZero() {
		return time.Time{}, usagef("--acquirer: none of the exports says when its gap begins, so it is not known what to ask for: pass a file")
	}
	return first.Add(-slack), nil
}

// writeReport writes a file that is there whole or not at all, for its owner only: it names merchants and what they sold.
func writeReport(path string, r lost.Report) (err error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails once the file has its name
	_, err = file.Write(b.Bytes())
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
