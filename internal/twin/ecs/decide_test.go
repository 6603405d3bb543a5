package ecs

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func members(text string) []member {
	var list []member
	for i, c := range text {
		m := member{created: time.Unix(int64(i), 0)}
		switch c {
		case 'H':
			m.primary, m.healthy = true, true
		case 'P':
			m.primary = true
		case 'U':
			m.primary, m.unhealthy = true, true
		case 'h':
			m.healthy = true
		case 'u':
			m.unhealthy = true
		}
		list = append(list, m)
	}
	return list
}

// Upper case is the primary deployment, lower case an older one: H healthy, P starting, U unhealthy.
func TestDecide(t *testing.T) {
	for _, c := range []struct {
		what      string
		members   string
		desired   int
		low, high int // percent
		pausing   bool
		start     int
		stop      []int
	}{
		{what: "from nothing", desired: 2, low: 100, high: 200, start: 2},
		{what: "pausing", desired: 2, low: 100, high: 200, pausing: true},
		{what: "steady", members: "HH", desired: 2, low: 100, high: 200},
		{what: "one died", members: "H", desired: 2, low: 100, high: 200, start: 1},
		{what: "fewer wanted: the newest goes", members: "HHH", desired: 2, low: 100, high: 200, stop: []int{2}},
		{what: "fewer wanted: the one that is starting goes", members: "PHH", desired: 2, low: 100, high: 200, stop: []int{0}},
		{what: "none wanted", members: "HPU", desired: 0, low: 100, high: 200, stop: []int{1, 0, 2}},
		{what: "rolling, room for all", members: "hh", desired: 2, low: 100, high: 200, start: 2},
		{what: "rolling, waiting for health", members: "hhPP", desired: 2, low: 100, high: 200},
		{what: "rolling, one is healthy", members: "hhHP", desired: 2, low: 100, high: 200, stop: []int{1}},
		{what: "rolling, all are healthy", members: "hhHH", desired: 2, low: 100, high: 200, stop: []int{1, 0}},
		{what: "rolling, room for one", members: "hh", desired: 2, low: 100, high: 150, start: 1},
		{what: "rolling, no room: one makes place", members: "hh", desired: 2, low: 50, high: 100, stop: []int{1}},
		{what: "rolling, no room and none to spare", members: "hh", desired: 2, low: 100, high: 100},
		{what: "rolling, an old unhealthy one makes place first", members: "hu", desired: 2, low: 50, high: 100, stop: []int{1}},
		{what: "unhealthy: replacement first", members: "HU", desired: 2, low: 100, high: 200, start: 1},
		{what: "unhealthy: replacement is starting", members: "HUP", desired: 2, low: 100, high: 200},
		{what: "unhealthy: replacement serves", members: "HUH", desired: 2, low: 100, high: 200, stop: []int{1}},
		{what: "unhealthy: no room for a replacement", members: "HU", desired: 2, low: 100, high: 100, stop: []int{1}},
		{what: "all unhealthy, replacements too: the oldest makes place", members: "UUUU", desired: 2, low: 100, high: 200, stop: []int{0, 1}},
	} {
		low, high := percent(c.desired, c.low, c.high)
		start, stop := decide(members(c.members), limits{desired: c.desired, minimum: low, maximum: high, mayStart: !c.pausing})
		if start != c.start || !slices.Equal(stop, c.stop) {
			t.Errorf("%s: start %d stop %v, want %d %v", c.what, start, stop, c.start, c.stop)
		}
	}
}

// Whatever runs: never more than the maximum, never an orderly stop below the minimum, no task stopped twice, and with
// tasks that become healthy every service ends at its desired count with the newest deployment only.
func TestDecideConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desired := rapid.IntRange(0, 6).Draw(t, "desired")
		minimum := rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "minimum")
		maximum := rapid.SampledFrom([]int{150, 200}).Draw(t, "maximum")
		if desired == 1 {
			maximum = 200 // one task and a half is one: ECS could not roll either
		}
		list := members(rapid.StringMatching(`[HPUhpu]{0,8}`).Draw(t, "members"))
		low, high := percent(desired, minimum, maximum)
		for range 60 {
			start, stop := decide(list, limits{desired: desired, minimum: low, maximum: high, mayStart: true})
			unique := slices.Compact(slices.Sorted(slices.Values(stop)))
			if len(unique) != len(stop) {
				t.Fatalf("stopped twice: %v", stop)
			}
			before := len(pick(list, func(m member) bool { return m.healthy }))
			var next []member
			for i, m := range list {
				if !slices.Contains(stop, i) {
					next = append(next, m)
				}
			}
			after := len(pick(next, func(m member) bool { return m.healthy }))
			if after < before && after < min(low, desired) {
				t.Fatalf("%d of %d healthy tasks left, the minimum is %d: %+v", after, before, low, list)
			}
			if start > 0 && len(next)+start > max(high, desired) {
				t.Fatalf("%d tasks run, the maximum is %d", len(next)+start, high)
			}
			if start == 0 && len(stop) == 0 && !slices.ContainsFunc(next, func(m member) bool { return !m.healthy && !m.unhealthy }) {
				list = next
				break
			}
			for i := range next { // what was starting is healthy now
				next[i].healthy = next[i].healthy || !next[i].unhealthy
			}
			for range start {
				next = append(next, member{primary: true, created: time.Unix(100, 0)})
			}
			list = next
		}
		for _, m := range list {
			if !m.primary || !m.healthy {
				t.Fatalf("left over: %+v", list)
			}
		}
		if len(list) != desired {
			t.Fatalf("%d tasks in the end, %d wanted", len(list), desired)
		}
	})
}

func TestPercent(t *testing.T) {
	for _, c := range []struct{ desired, low, high, wantLow, wantHigh int }{
		{2, 100, 200, 2, 4}, {3, 50, 150, 2, 4}, {1, 50, 150, 1, 1}, {0, 100, 200, 0, 0}, {2, 0, 0, 0, 4},
	} {
		low, high := percent(c.desired, c.low, c.high)
		if low != c.wantLow || high != c.wantHigh {
			t.Errorf("%d of %d%%-%d%%: %d-%d", c.desired, c.low, c.high, low, high)
		}
	}
}

func TestPauseGrowsToABound(t *testing.T) {
	if pause(0, 1) != 0 || pause(1, 1) != 0 {
		t.Error("the first replacement waits")
	}
	last := time.Duration(0)
	for failures := 2; failures < 100; failures++ {
		p := pause(failures, 1)
		if p < last || p > longestPause {
			t.Fatalf("pause %s after %d failures", p, failures)
		}
		last = p
	}
	if last != longestPause {
		t.Errorf("the longest pause is %s", last)
	}
	if got := pause(2, 1e6); got != shortestPause {
		t.Errorf("pause %s at a high speed", got)
	}
	for desired, want := range map[int]int{0: 3, 2: 3, 6: 3, 7: 4, 25: 13, 1000: 200} {
		if got := breakerThreshold(desired); got != want {
			t.Errorf("threshold %d for %d tasks, want %d", got, desired, want)
		}
	}
}
