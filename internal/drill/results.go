package drill

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"holdfast/internal/drill/verdict"
)

// maxVerdictEntries bounds the timeline in the verdict to its beginning and its end; the file timeline.jsonl has all of it.
const maxVerdictEntries = 2_000

// writeResults writes the results folder: the verdict, the timeline, one journal per site, and the records that the
// counts come from.
func (d *drill) writeResults() error {
	entries, dropped := d.timeline.sorted()
	if dropped > 0 {
		d.verdict.Failf("%d events did not fit into the timeline", dropped)
		d.verdict.Verdict = verdict.Fail
	}
	d.verdict.Timeline, d.verdict.TimelineLeftOut = bothEnds(entries, maxVerdictEntries)
	journals := map[string][]verdict.Entry{}
	for _, e := range entries {
		if e.Kind == "warden" {
			journals[e.Site] = append(journals[e.Site], e)
		}
	}
	err := writeLines(filepath.Join(d.o.Out, "timeline.jsonl"), entries)
	for site, journal := range journals {
		err = errors.Join(err, writeLines(filepath.Join(d.o.Out, "journal-"+filepath.Base(site)+".jsonl"), journal))
	}
	if d.fleet != nil {
		err = errors.Join(err, writeLines(filepath.Join(d.o.Out, "merchants.jsonl"), d.fleet.Record()))
	}
	err = errors.Join(err, writeLines(filepath.Join(d.o.Out, "acquirer.jsonl"), d.acquirer.Charges()))
	if err != nil {
		d.verdict.Failf("the results could not be written: %v", err)
		d.verdict.Verdict = verdict.Fail
	}
	encoded, encodeErr := json.MarshalIndent(d.verdict, "", "  ")
	if encodeErr != nil {
		return fmt.Errorf("encode the verdict: %w", encodeErr)
	}
	return writeWhole(filepath.Join(d.o.Out, verdictName), append(encoded, '\n'))
}

// writeWhole writes a file at once or not at all: half a verdict would be an error to whoever reads the series.
func writeWhole(path string, content []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// bothEnds is the first and the last half of the entries, if they are more than most, and how many lie between.
func bothEnds(entries []verdict.Entry, most int) (kept []verdict.Entry, leftOut int) {
	if len(entries) <= most {
		return entries, 0
	}
	first, last := entries[:most/2], entries[len(entries)-(most-most/2):]
	return slices.Concat(first, last), len(entries) - most
}

func writeLines[T any](path string, values []T) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	buffer := bufio.NewWriter(file)
	encoder := json.NewEncoder(buffer)
	for _, v := range values {
		err = errors.Join(err, encoder.Encode(v))
	}
	return errors.Join(err, buffer.Flush(), file.Close())
}
