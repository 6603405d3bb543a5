package reconcile

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawLines draws rows of a few keys and contents, so that exports overlap and contradict each other.
func drawLines(t *rapid.T, label string) []Line {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Line {
		key, value := rapid.IntRange(0, 4).Draw(t, "key"), rapid.IntRange(0, 2).Draw(t, "value")
		blank := rapid.SampledFrom([]string{"", " "}).Draw(t, "blank")
		l := Line{
			Table: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "table"),
			Kind:  rapid.SampledFrom([]string{Missing, Different}).Draw(t, "kind"),
			Key:   json.RawMessage(fmt.Sprintf(`{"id":%s%d}`, blank, key)),
			Old:   json.RawMessage(fmt.Sprintf(`{"id":%s%d,"v":%d}`, blank, key, value)),
		}
		if l.Table == "b" {
			l.Key = json.RawMessage("null")
		}
		return l
	}), 0, 8).Draw(t, label)
}

func TestUnionHasEveryRowOnceWhateverTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		exports := []Sighting{{OldVolume, drawLines(t, "old volume")}, {KeptSnapshot, drawLines(t, "snapshot")}}
		rows := Union(exports...)
		if other := Union(exports[1], exports[0], exports[1]); !reflect.DeepEqual(rows, other) {
			t.Fatalf("%v and in another order %v", rows, other)
		}
		// Every line is in exactly one row, which says where and as what it was seen.
		for _, e := range exports {
			for _, l := range e.Lines {
				matching := 0
				for _, row := range rows {
					sameKey := row.Table == l.Table && string(row.Key) == string(compact(l.Key))
					has := slices.ContainsFunc(row.Versions, func(v json.RawMessage) bool { return string(v) == string(compact(l.Old)) })
					if sameKey && has && slices.Contains(row.SeenIn, e.Source) && (l.Kind == Missing || row.Kind == Different) {
						matching++
					}
				}
				if matching != 1 {
					t.Fatalf("%d rows of %v for %s %s of %s", matching, rows, l.Table, l.Old, e.Source)
				}
			}
		}
		// And nothing was made up.
		for _, row := range rows {
			if row.Table == "b" && len(row.Versions) != 1 {
				t.Fatalf("a row without a key has %d versions", len(row.Versions))
			}
			for _, source := range row.SeenIn {
				i := slices.IndexFunc(exports, func(e Sighting) bool { return e.Source == source })
				if !slices.ContainsFunc(exports[i].Lines, func(l Line) bool {
					return l.Table == row.Table && (row.Table == "b" && string(compact(l.Old)) == string(row.Versions[0]) ||
						row.Table == "a" && string(compact(l.Key)) == string(row.Key))
				}) {
					t.Fatalf("%s never showed %s", source, row.Key)
				}
			}
		}
	})
}

func TestUncoveredIsWhatNoWindowHolds(t *testing.T) {
	second := func(n int) time.Time { return time.Unix(int64(n), 0) }
	drawSpan := rapid.Custom(func(t *rapid.T) Span {
		return Span{second(rapid.IntRange(0, 30).Draw(t, "from")), second(rapid.IntRange(0, 30).Draw(t, "until"))}
	})
	holds := func(spans []Span, n int) bool {
		return slices.ContainsFunc(spans, func(s Span) bool { return !second(n).Before(s.From) && second(n).Before(s.Until) })
	}
	rapid.Check(t, func(t *rapid.T) {
		gap, windows := drawSpan.Draw(t, "gap"), rapid.SliceOfN(drawSpan, 0, 5).Draw(t, "windows")
		open := Uncovered(gap, windows)
		for n := range 31 {
			if got, want := holds(open, n), holds([]Span{gap}, n) && !holds(windows, n); got != want {
				t.Fatalf("second %d of %v without %v: uncovered %v, want %v (%v)", n, gap, windows, got, want, open)
			}
		}
		for i, s := range open {
			if !s.From.Before(s.Until) || i > 0 && !open[i-1].Until.Before(s.From) {
				t.Fatalf("%v is not in order", open)
			}
		}
	})
}
