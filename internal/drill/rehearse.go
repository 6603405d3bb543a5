package drill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/drill/merchant"
)

// minWarmPayments must be acknowledged before the fault, or there would be nothing to lose.
const minWarmPayments = 20

func (d *drill) boot(ctx context.Context) error {
	twin, err := d.o.Up(ctx, UpOptions{
		Topology: d.o.Topology, Speed: d.o.Speed, AddressBlock: d.o.AddressBlock, AcquirerURL: d.acquirer.URL(),
		Images: d.o.Images, StateDir: d.o.StateDir, Progress: d.observe,
	})
	if err != nil {
		return fmt.Errorf("bring the twin up: %w", err)
	}
	d.twin = twin
	twin.SetProgress(d.observe)
	sites := twin.Sites()
	if len(sites) != 2 {
		return fmt.Errorf("the twin has %d sites, a drill needs 2", len(sites))
	}
	d.first, d.second = sites[0].Name, sites[1].Name
	return poll(ctx, pollEvery, d.active(d.first))
}

// active is the condition that the site holds the term and serves.
func (d *drill) active(site string) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		holder, serving, err := d.twin.Active(ctx)
		switch {
		case err != nil:
			return false, "which site is active is not known", err
		case holder != site:
			return false, fmt.Sprintf("site %s holds the term, not %s", holder, site), nil
		case !serving:
			return false, fmt.Sprintf("site %s holds the term and does not serve yet", site), nil
		}
		return true, "", nil
	}
}

// warmUp starts the load, which outlives the phase, and chooses the moment of the fault.
func (d *drill) warmUp(whole, ctx context.Context) error {
	fleet, err := merchant.New(merchant.Options{
		Name: d.twin.DNSName(), Resolver: d.twin.Resolver(), Port: d.twin.AppPort(), Speed: d.o.Speed, Seed: d.o.Seed,
		Merchants: d.o.Merchants, Rate: d.o.Rate, Start: d.began,
	})
	if err != nil {
		return err
	}
	fleet.Start(whole)
	d.mu.Lock()
	d.fleet = fleet
	d.mu.Unlock()
	err = poll(ctx, pollEvery, func(context.Context) (bool, string, error) {
		n := fleet.Counts().Acknowledged
		return n >= minWarmPayments, fmt.Sprintf("%d of %d payments were acknowledged; %s", n, minWarmPayments, lastProblem(fleet)), nil
	})
	if err != nil {
		return err
	}
	return rest(ctx, d.o.Pace.WarmUp+time.Duration(d.random.Int64N(int64(d.o.Pace.WarmUpSpread))))
}

// lastProblem says what the merchants were told last, for a phase that waits for them in vain.
func lastProblem(fleet *merchant.Fleet) string {
	record := fleet.Record()
	for _, p := range slices.Backward(record) {
		if n := len(p.Attempts); n > 0 && p.Outcome != merchant.Acknowledged {
			a := p.Attempts[n-1]
			return fmt.Sprintf("the last attempt without success got status %d from %q: %s", a.Status, a.Address, a.Error)
		}
	}
	return "no attempt has failed"
}

func (d *drill) fault(ctx context.Context) error {
	for _, ack := range d.fleet.Acknowledgements(0) {
		d.home[ack.Address] = true
	}
	d.killBegan = time.Now()
	at := d.timeline.since(d.killBegan)
	d.verdict.FaultAtSeconds = &at
	err := d.twin.LoseRegion(ctx, d.first)
	d.killEnded = time.Now()
	if err != nil {
		return fmt.Errorf("lose the region of site %s: %w", d.first, err)
	}
	d.event("drill", d.first, "the region is lost")
	return nil
}

// takeover waits for the first payment acknowledged in an attempt that began after the kill had ended. An attempt
// from before may have been answered by the dying region.
func (d *drill) takeover(ctx context.Context) error {
	killed := d.killEnded.Sub(d.began)
	seen := 0
	var first *merchant.Acknowledgement
	err := poll(ctx, pollEvery, func(context.Context) (bool, string, error) {
		acks := d.fleet.Acknowledgements(seen)
		seen += len(acks)
		for i, ack := range acks {
			if ack.AttemptBegan >= killed && (first == nil || ack.At < first.At) {
				first = &acks[i]
			}
		}
		return first != nil, "no payment was acknowledged since the region was lost; " + lastProblem(d.fleet), nil
	})
	if err != nil {
		return err
	}
	rto := round((first.At - d.killBegan.Sub(d.began)).Seconds())
	d.verdict.RTOSeconds = &rto
	d.event("drill", d.second, fmt.Sprintf("the first payment after the loss is acknowledged, %.1f s after it", rto))
	return poll(ctx, pollEvery, d.active(d.second))
}

func (d *drill) runOn(ctx context.Context) error {
	before := d.fleet.Counts().Acknowledged
	if err := rest(ctx, d.o.Pace.RunOn); err != nil {
		return err
	}
	return poll(ctx, pollEvery, func(context.Context) (bool, string, error) {
		n := d.fleet.Counts().Acknowledged - before
		return n >= minWarmPayments, fmt.Sprintf("%d of %d payments were acknowledged; %s", n, minWarmPayments, lastProblem(d.fleet)), nil
	})
}

// returnRegion starts the attack on the old database before there is one to attack, and powers the region up.
func (d *drill) returnRegion(whole, ctx context.Context) error {
	d.attack = d.o.databases.attack(whole, d.twin.DatabaseDSN(d.first))
	if err := d.twin.ReturnRegion(ctx, d.first); err != nil {
		return fmt.Errorf("return the region of site %s: %w", d.first, err)
	}
	d.event("drill", d.first, "the region is back")
	return nil
}

// rejoin waits until the old site's database follows the new one, and ends the attack.
func (d *drill) rejoin(ctx context.Context) error {
	err := poll(ctx, 10*pollEvery, func(ctx context.Context) (bool, string, error) {
		return d.o.databases.streaming(ctx, d.twin.DatabaseDSN(d.second), d.twin.DatabaseDSN(d.first))
	})
	d.attackCount.set(d.attack.Stop())
	d.attack = nil
	if err != nil {
		return err
	}
	count := d.attackCount.get()
	d.event("drill", d.first, fmt.Sprintf("the database follows %s again; %d attempts to write to it, %d accepted",
		d.second, count.Attempts, count.Accepted))
	return poll(ctx, pollEvery, d.active(d.second))
}

// switchBack moves the active site back under load.
func (d *drill) switchBack(ctx context.Context) error {
	if err := d.countBefore(ctx); err != nil {
		return fmt.Errorf("count before the switch back: %w", err)
	}
	asked := time.Now()
	d.event("drill", d.first, "a switchover is requested")
	if err := d.requestSwitchover(ctx); err != nil {
		return err
	}
	if err := poll(ctx, pollEvery, d.active(d.first)); err != nil {
		return err
	}
	served := time.Since(d.began)
	err := poll(ctx, pollEvery, func(context.Context) (bool, string, error) {
		for _, ack := range slices.Backward(d.fleet.Acknowledgements(0)) {
			if ack.AttemptBegan >= served && d.home[ack.Address] {
				return true, "", nil
			}
		}
		return false, fmt.Sprintf("site %s serves, but no payment was acknowledged at its address yet; %s", d.first, lastProblem(d.fleet)), nil
	})
	if err != nil {
		return err
	}
	d.event("drill", d.first, "payments are back at the first site")
	if err := rest(ctx, d.o.Pace.Settle); err != nil {
		return err
	}
	downtime := round(d.largestGap(asked, time.Now()).Seconds())
	d.verdict.SwitchBack.DowntimeSeconds = &downtime
	return nil
}

// retrySwitchover is the pause after a switchover that was turned down, because the site was not ready yet.
const retrySwitchover = 500 * time.Millisecond

// requestSwitchover asks until it is not turned down. One request may wait until the site serves, so it is bounded by
// the phase alone.
func (d *drill) requestSwitchover(ctx context.Context) error {
	for {
		err := d.twin.RequestSwitchover(ctx, d.first)
		if err == nil {
			return nil
		}
		d.event("drill", d.first, "the switchover was turned down: "+err.Error())
		if rest(ctx, retrySwitchover) != nil {
			return fmt.Errorf("the switchover was not accepted: %w", err)
		}
	}
}

// largestGap is the longest time without an acknowledged payment in a window. The time from the last one to the
// window's end counts too, or a standstill would not show.
func (d *drill) largestGap(from, to time.Time) time.Duration {
	begin, end := from.Sub(d.began), to.Sub(d.began)
	var times []time.Duration
	previous := time.Duration(-1)
	for _, ack := range d.fleet.Acknowledgements(0) {
		switch {
		case ack.At < begin:
			previous = max(previous, ack.At)
		case ack.At <= end:
			times = append(times, ack.At)
		}
	}
	slices.Sort(times)
	if previous < 0 {
		previous = begin
	}
	var gap time.Duration
	for _, at := range append(times, end) {
		gap = max(gap, at-previous)
		previous = at
	}
	return gap
}
