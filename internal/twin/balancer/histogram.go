package balancer

import (
	"math"
	"time"
)

// The buckets of a [Histogram]: each is a tenth wider than the one before it, as CloudWatch's own are. The last ones reach
// beyond any response time that a load balancer waits for.
const (
	histogramBuckets = 180
	histogramGrowth  = 1.1
	histogramFirst   = 50 * time.Microsecond
)

// Histogram counts durations by their size, to a tenth. Subtracting an earlier one bucket by bucket gives what came
// between.
type Histogram [histogramBuckets]int64

func (h *Histogram) add(d time.Duration) {
	i := 0
	if d > histogramFirst {
		i = int(math.Ceil(math.Log(float64(d)/float64(histogramFirst)) / math.Log(histogramGrowth)))
	}
	h[min(i, histogramBuckets-1)]++
}

// Since lists what came after an earlier state: durations in seconds, and how many of each.
func (h Histogram) Since(earlier Histogram) (seconds, counts []float64) {
	for i, n := range h {
		if n -= earlier[i]; n > 0 {
			upper := histogramFirst.Seconds() * math.Pow(histogramGrowth, float64(i))
			seconds, counts = append(seconds, upper/math.Sqrt(histogramGrowth)), append(counts, float64(n))
		}
	}
	return seconds, counts
}
