package reconcile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// maxUnionRows bounds what Load takes in, in rows. A tail is seconds or minutes of commits; what is larger is a
// comparison gone wrong, or wants a database.
const maxUnionRows = 2_000_000

// Sighting is one export for [Union].
type Sighting struct {
	// Source is the name under which rows say where they were seen.
	Source string
	Lines  []Line
}

// Row is one row of the lost tail, as all exports together show it.
type Row struct {
	Table string `json:"table"`
	// Key is null in a table without a primary key, whose rows are known by their contents.
	Key json.RawMessage `json:"key"`
	// Kind is Different if the survivor had the key when any of the exports was made, else Missing.
	Kind string `json:"kind"`
	// SeenIn names the exports, sorted.
	SeenIn []string `json:"seen_in"`
	// Versions are the row's contents; more than one if the exports contradict each other.
	Versions []json.RawMessage `json:"versions"`
}

// Union merges exports by table and key. The outcome is sorted, and does not depend on the order of the exports, nor on
// how often one is given.
func Union(exports ...Sighting) []Row {
	type identity struct{ table, key string }
	found := map[identity]*Row{}
	for _, e := range exports {
		for _, l := range e.Lines {
			key, old := compact(l.Key), compact(l.Old)
			id := identity{l.Table, string(key)}
			if id.key == "null" {
				id.key = string(old)
			}
			row := found[id]
			if row == nil {
				row = &Row{Table: l.Table, Key: key, Kind: Missing}
				found[id] = row
			}
			if l.Kind == Different {
				row.Kind = Different
			}
			if !slices.Contains(row.SeenIn, e.Source) {
				row.SeenIn = append(row.SeenIn, e.Source)
			}
			if !slices.ContainsFunc(row.Versions, func(v json.RawMessage) bool { return bytes.Equal(v, old) }) {
				row.Versions = append(row.Versions, old)
			}
		}
	}
	rows := make([]Row, 0, len(found))
	for _, row := range found {
		slices.Sort(row.SeenIn)
		slices.SortFunc(row.Versions, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
		rows = append(rows, *row)
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), bytes.Compare(a.Key, b.Key), bytes.Compare(a.Versions[0], b.Versions[0]))
	})
	return rows
}

// compact writes JSON without blanks. What is not JSON stays as it is: it is compared, not read.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// Load verifies an export and reads all its lines.
func Load(folder string) (Summary, Sighting, error) {
	s, err := Verify(folder)
	if err != nil {
		return Summary{}, Sighting{}, err
	}
	if s.Missing+s.Different > maxUnionRows {
		return Summary{}, Sighting{}, fmt.Errorf("the export %s has %d rows, this program takes at most %d", folder, s.Missing+s.Different, maxUnionRows)
	}
	sighting := Sighting{Source: cmp.Or(s.Source, OldVolume)}
	for _, t := range s.Tables {
		err := ReadLines(folder, t, func(l Line) error {
			sighting.Lines = append(sighting.Lines, l)
			return nil
		})
		if err != nil {
			return Summary{}, Sighting{}, err
		}
	}
	return s, sighting, nil
}
