package drill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/drill/merchant"
	"holdfast/internal/twin"
)

// minWarmPayments must be acknowledged before the fault, or there would be nothing to lose.
const minWarmPayments = 20

// resolveLimit bounds one question to the twin's DNS server.
const resolveLimit = 2 * time.Second

func (d *drill) boot(ctx context.Context) error {
	up, err := d.o.Up(ctx, UpOptions{
		Topology: d.o.Topology, Speed: d.o.Speed, AddressBlock: d.o.AddressBlock, AcquirerURL: d.acquirer.URL(),
		Images: d.o.Images, StateDir: d.o.StateDir, Progress: d.observe,
	})
	if err != nil {
		return fmt.Errorf("bring the twin up: %w", err)
	}
	d.twin = up
	up.SetProgress(d.observe)
	sites := up.Sites()
	if len(sites) != 2 {
		return fmt.Errorf("the twin has %d sites, a drill needs 2", len(sites))
	}
	d.first, d.second = sites[0].Name, sites[1].Name
	if err := poll(ctx, pollEvery, d.active(d.first)); err != nil {
		return err
	}
	return poll(ctx, pollEvery, d.named(d.first))
}

// named is the condition that DNS sends clients to the site. A new deployment's health check fails before its first site
// serves; merchants that came then would be sent to the standby, and would only wait and come again.
func (d *drill) named(site string) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		ctx, cancel := context.WithTimeout(ctx, resolveLimit)
		defer cancel()
		address, _, err := merchant.Resolve(ctx, d.twin.Resolver(), d.twin.DNSName())
		if err != nil {
			return false, "", err
		}
		return address == d.twin.SiteAddress(site), fmt.Sprintf("%s is answered with %s, not with site %s", d.twin.DNSName(), address, site), nil
	}
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
	a, failed := fleet.LastFailure()
	if !failed {
		return "no attempt has failed"
	}
	return fmt.Sprintf("the last attempt without success got status %d from %q: %s", a.Status, a.Address, a.Error)
}

// takeover waits until the second site serves and clients are served by it.
func (d *drill) takeover(ctx context.Context) error { return d.takeoverFrom(ctx, d.first) }

// takeoverFrom waits for the first payment that another site acknowledged, in an attempt that began after the fault had
// happened: one from before may have been answered by the dying region. A payment acknowledged at the old site's address
// counts once the other site serves, because the old one may send requests on.
func (d *drill) takeoverFrom(ctx context.Context, old string) error {
	site := d.other(old)
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan time.Time, 1)
	go func() { served <- d.whenServes(watch, site) }()
	from := d.killBegan
	if !d.asked.IsZero() {
		from = d.asked
	}
	first, err := d.firstPaidBy(ctx, old, site)
	if err != nil {
		return err
	}
	if err := poll(ctx, pollEvery, d.active(site)); err != nil {
		return err
	}
	select {
	case at := <-served:
		d.measureTakeover(at.Sub(from), first.At-from.Sub(d.began))
	case <-ctx.Done():
		return ctx.Err()
	}
	d.event("drill", site, fmt.Sprintf("the first payment after the fault is acknowledged, %.1f s after it", (first.At-from.Sub(d.began)).Seconds()))
	return nil
}

// serveEvery is how often a site is asked whether it serves, to measure when it began to.
const serveEvery = 10 * time.Millisecond

// whenServes is the moment at which a site was first seen to serve; zero if ctx ended before.
func (d *drill) whenServes(ctx context.Context, site string) time.Time {
	for {
		asked := time.Now()
		if d.twin.Serves(ctx, site) {
			return asked
		}
		if rest(ctx, serveEvery) != nil {
			return time.Time{}
		}
	}
}

// firstPaidBy waits for the first payment after the fault that the site itself acknowledged, or that was sent on to it.
func (d *drill) firstPaidBy(ctx context.Context, old, site string) (first merchant.Acknowledgement, err error) {
	killed, served, address := d.killEnded.Sub(d.began), time.Duration(-1), d.twin.SiteAddress(old)
	seen, found := 0, false
	err = poll(ctx, pollEvery, func(ctx context.Context) (bool, string, error) {
		if served < 0 && d.twin.Serves(ctx, site) {
			served = time.Since(d.began)
		}
		acks := d.fleet.Acknowledgements(seen)
		seen += len(acks)
		for _, ack := range acks {
			counts := ack.AttemptBegan >= killed && (ack.Address != address || served >= 0 && ack.AttemptBegan >= served)
			if counts && (!found || ack.At < first.At) {
				first, found = ack, true
			}
		}
		return found, "no payment was acknowledged by site " + site + " since the fault; " + lastProblem(d.fleet), nil
	})
	return first, err
}

// measureTakeover keeps the longest takeover of the drill. A hand-over in agreement waits for no lease.
func (d *drill) measureTakeover(site, clients time.Duration) {
	if d.verdict.RTOSeconds == nil || clients.Seconds() > *d.verdict.RTOSeconds {
		rto := round(clients.Seconds())
		d.verdict.RTOSeconds = &rto
	}
	if d.verdict.SiteRTOSeconds != nil && site.Seconds() <= *d.verdict.SiteRTOSeconds {
		return
	}
	served := round(site.Seconds())
	d.verdict.SiteRTOSeconds = &served
	if !d.scenario.demands.NoLoss {
		overhead := round((site - d.wait()).Seconds())
		d.verdict.TakeoverOverheadSeconds = &overhead
	}
}

// maxOverhead is what a takeover by expiry may take beside the lease and the margin.
const maxOverhead = time.Second

// judgeOverhead checks what is promised at speed 1, of the faults that the standby has nothing to do about but to wait.
func (d *drill) judgeOverhead() {
	waitedOut := []string{RegionLoss, twin.RegionFreeze, FreezeThaw, twin.IsolatedActive, CutOff}
	overhead := d.verdict.TakeoverOverheadSeconds
	if d.o.Speed != 1 || overhead == nil || !slices.Contains(waitedOut, d.scenario.name) {
		return
	}
	d.expect("the takeover beside lease and margin", fmt.Sprintf("at most %.1f s", maxOverhead.Seconds()), fmt.Sprintf("%.1f s", *overhead),
		*overhead <= maxOverhead.Seconds())
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
	return d.clear(RegionLoss)(ctx)
}

// rejoin waits until the first site's database follows the second one's, and ends the attack.
func (d *drill) rejoin(ctx context.Context) error { return d.rejoinOf(ctx, d.first) }

func (d *drill) rejoinOf(ctx context.Context, old string) error {
	site := d.other(old)
	err := poll(ctx, 10*pollEvery, func(ctx context.Context) (bool, string, error) {
		return d.o.databases.streaming(ctx, d.twin.DatabaseDSN(site), d.twin.DatabaseDSN(old))
	})
	d.endHeld()
	d.endAttack()
	if n := len(d.windows); n > 0 && d.windows[n-1].site == old {
		d.windows[n-1].followed = time.Since(d.began)
	}
	if err != nil {
		return err
	}
	count := d.attackCount.get()
	d.event("drill", old, fmt.Sprintf("the database follows %s again; %d attempts to write without a lease, %d accepted",
		site, count.Attempts, count.Accepted))
	return poll(ctx, pollEvery, d.active(site))
}

// switchBack moves the active site back under load.
func (d *drill) switchBack(ctx context.Context) error {
	if err := d.countBefore(ctx); err != nil {
		return fmt.Errorf("count before the switch back: %w", err)
	}
	gap, err := d.move(ctx, d.first)
	if err != nil {
		return err
	}
	downtime := round(gap.Seconds())
	d.verdict.SwitchBack.DowntimeSeconds = &downtime
	return nil
}

// retrySwitchover is the pause after a switchover that was turned down, because the site was not ready yet.
const retrySwitchover = 500 * time.Millisecond

// insist asks for a switchover until that is not turned down. One request may wait until the site serves, so it is bounded by
// the phase alone.
func (d *drill) insist(ctx context.Context, site string, ask func(context.Context, string) error) error {
	for {
		err := ask(ctx, site)
		if err == nil {
			return nil
		}
		d.event("drill", site, "the switchover was turned down: "+err.Error())
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
