package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// clockBound is how far two clocks' rates may differ: the protocol's assumption.
	clockBound = 0.01
	// clockCertainty is how exactly a rate is measured before the measurement ends.
	clockCertainty = clockBound / 4
	clockLimit     = 40 * time.Second
	clockPause     = 250 * time.Millisecond
	// offsetBound is where clocks that stand apart become a nuisance. The protocol never compares two machines' times.
	offsetBound = 5 * time.Second
)

// reading is one look at a foreign clock: what it said, when on the own clock, and how far off that may be.
type reading struct {
	foreign time.Time
	own     time.Time
	within  time.Duration
}

// read takes the best of three looks: the shortest way there and back.
func read(ctx context.Context, c Clock) (reading, error) {
	var looks []reading
	for range 3 {
		before := time.Now()
		foreign, err := c.Now(ctx)
		if err != nil {
			return reading{}, err
		}
		half := time.Since(before) / 2
		looks = append(looks, reading{foreign, before.Add(half), half})
	}
	return slices.MinFunc(looks, func(a, b reading) int { return cmp.Compare(a.within, b.within) }), nil
}

// rate is how much faster a foreign clock runs than the own one, and how far off that may be; 0.01 is one percent.
func rate(first, last reading) (deviation, within float64) {
	own := last.own.Sub(first.own) // on the monotonic clock
	if own <= 0 {
		return 0, math.Inf(1)
	}
	return float64(last.foreign.Sub(first.foreign)-own) / float64(own), float64(first.within+last.within) / float64(own)
}

// measure reads a clock until its rate is certain enough, or time is up.
func measure(ctx context.Context, c Clock) (deviation, within float64, offset time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, clockLimit)
	defer cancel()
	first, err := read(ctx, c)
	if err != nil {
		return 0, 0, 0, err
	}
	within = math.Inf(1)
	for within > clockCertainty {
		select {
		case <-ctx.Done():
			if math.IsInf(within, 1) {
				return 0, 0, 0, ctx.Err()
			}
			return deviation, within, offset, nil
		case <-time.After(clockPause):
		}
		last, err := read(ctx, c)
		if err != nil {
			if ctx.Err() != nil {
				continue
			}
			return 0, 0, 0, err
		}
		deviation, within = rate(first, last)
		offset = last.foreign.Sub(last.own.Round(0)) // wall clock against wall clock
	}
	return deviation, within, offset, nil
}

func (p *preflight) checkClocks(ctx context.Context) []Finding {
	found := make([][]Finding, len(p.cfg.Sites))
	var wg sync.WaitGroup
	for i, site := range p.sites() {
		wg.Go(func() {
			found[i] = p.databaseClock(ctx, i)
			s := subject("AWS in " + site.Region)
			const what, wanted = "clock against this machine's", "within 5s"
			at, err := p.src.Account.ServerTime(ctx, site.Region)
			if err != nil {
				found[i] = append(found[i], s.unknown(what, err, wanted, remedyAsk))
				return
			}
			offset := time.Until(at).Round(time.Second)
			found[i] = append(found[i], s.prefer(offset.Abs() <= offsetBound, what, offset, wanted, "set this machine's clock; requests are refused at 5 minutes"))
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

func (p *preflight) databaseClock(ctx context.Context, i int) []Finding {
	site := p.sites()[i]
	s := subject("database of " + site.Name)
	const what = "rate of its clock against this machine's"
	wanted := fmt.Sprintf("within %g %%", clockBound*100)
	clock, err := p.src.SQL.Clock(ctx, site)
	if err != nil {
		return []Finding{s.unknown(what, err, wanted, "see the check \"database\"")}
	}
	defer clock.Close()
	deviation, within, offset, err := measure(ctx, clock)
	if err != nil {
		return []Finding{s.unknown(what, err, wanted, "see the check \"database\"")}
	}
	current := fmt.Sprintf("%+.3f %%, measured to within %.3f %%", deviation*100, within*100)
	const remedy = "see the time service of the machine that is off: lease and margin can't be trusted beyond 1 %"
	var f Finding
	switch {
	case math.Abs(deviation)-within > clockBound:
		f = s.want(false, what, current, wanted, remedy)
	case math.Abs(deviation)+within <= clockBound:
		f = s.want(true, what, current, wanted, "")
	default:
		f = s.unknown(what, errors.New(current), wanted, "run preflight nearer to the database: the way there is too long and too uneven to tell")
	}
	return []Finding{f, s.prefer(offset.Abs() <= offsetBound, "clock against this machine's", offset.Round(time.Millisecond), "within 5s",
		"journals and logs are hard to compare; the protocol itself compares no two machines' times")}
}
