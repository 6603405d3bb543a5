package balancer

import (
	"math"
	"testing"
	"time"
)

func TestHistogramIsExactToATenth(t *testing.T) {
	var before, h Histogram
	before.add(time.Second)
	h = before
	want := []time.Duration{80 * time.Microsecond, 3 * time.Millisecond, 250 * time.Millisecond, 42 * time.Second}
	for _, d := range want {
		h.add(d)
		h.add(d)
	}
	seconds, counts := h.Since(before)
	if len(seconds) != len(want) {
		t.Fatalf("buckets are %v", seconds)
	}
	for i, d := range want {
		if math.Abs(seconds[i]/d.Seconds()-1) > 0.05 || counts[i] != 2 {
			t.Errorf("%v was counted as %v times %v s", d, counts[i], seconds[i])
		}
	}
	h.add(time.Nanosecond)
	h.add(time.Hour * 1000)
	if seconds, _ := h.Since(before); seconds[0] > 1e-4 || seconds[len(seconds)-1] < 600 {
		t.Errorf("the ends are %v", seconds)
	}
}
