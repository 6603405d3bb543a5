package drill

import (
	"fmt"
	"testing"
	"time"

	"holdfast/internal/drill/verdict"
)

func TestTimelineKeepsBothEnds(t *testing.T) {
	var entries []verdict.Entry
	for at := range 7 {
		entries = append(entries, verdict.Entry{AtSeconds: float64(at)})
	}
	for most, want := range map[int]string{7: "[0 1 2 3 4 5 6] 0", 8: "[0 1 2 3 4 5 6] 0", 4: "[0 1 5 6] 3", 3: "[0 5 6] 4"} {
		kept, leftOut := bothEnds(entries, most)
		var at []float64
		for _, e := range kept {
			at = append(at, e.AtSeconds)
		}
		if got := fmt.Sprint(at, leftOut); got != want {
			t.Errorf("of 7 entries at most %d: %s left out, want %s", most, got, want)
		}
	}
}

func TestRecoveryPoint(t *testing.T) {
	s := func(seconds ...float64) []time.Duration {
		var list []time.Duration
		for _, x := range seconds {
			list = append(list, time.Duration(x*float64(time.Second)))
		}
		return list
	}
	for _, c := range []struct {
		name        string
		lost, ends  []time.Duration
		wantSeconds float64
	}{
		{"nothing lost", nil, s(10), 0},
		{"killed: the oldest lost one's age", s(9.5, 9.75), s(10), 0.5},
		{"cut off: acknowledged until the lease was over", s(9.75, 10.5, 11.5), s(10), 1.75},
		{"each to its own fault", s(9.5, 29.75, 30.25), s(10, 30), 0.5},
		{"no fault", s(5), nil, 0},
	} {
		if got := recoveryPoint(c.lost, c.ends); got.Seconds() != c.wantSeconds {
			t.Errorf("%s: %v, want %v s", c.name, got, c.wantSeconds)
		}
	}
}
