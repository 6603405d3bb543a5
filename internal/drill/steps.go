package drill

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"holdfast/internal/drill/merchant"
	"holdfast/internal/drill/verdict"
	"holdfast/internal/twin"
)

// window is a time in which a site must not acknowledge anything of its own: from its trust deadline until its database
// follows the other one's. Until to the site is frozen or cut off; afterwards, until followed, it may send requests on.
// Times run from the beginning of the drill.
type window struct {
	site               string
	from, to, followed time.Duration
}

// strike injects a fault and notes when.
func (d *drill) strike(f twin.Fault) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := d.noteBefore(ctx); err != nil {
			return err
		}
		return d.inject(ctx, f)
	}
}

// noteBefore reads the term record, which the drill is compared with, and the lease that everything is measured by.
func (d *drill) noteBefore(ctx context.Context) error {
	return poll(ctx, pollEvery, func(ctx context.Context) (bool, string, error) {
		r, err := d.twin.Record(ctx)
		if err != nil {
			return false, "the term record can't be read", err
		}
		d.before, d.writerBefore = r, server(d.twin.DatabaseDSN(r.Holder))
		d.verdict.LeaseSeconds, d.verdict.MarginSeconds = round(r.Lease().Seconds()), round(r.Margin().Seconds())
		return true, "", nil
	})
}

// wait is what a standby has to wait out before it takes over.
func (d *drill) wait() time.Duration { return d.before.Lease() + d.before.Margin() }

// inject makes a fault happen. The first one is the drill's moment zero.
func (d *drill) inject(ctx context.Context, f twin.Fault) error {
	began := time.Now()
	if d.verdict.FaultAtSeconds == nil {
		at := d.timeline.since(began)
		d.verdict.FaultAtSeconds = &at
		d.firstFault = began
	}
	d.killBegan = began
	f, err := d.twin.Inject(ctx, f)
	d.killEnded = time.Now()
	d.faultEnds = append(d.faultEnds, d.killEnded.Sub(d.began))
	if err != nil {
		return fmt.Errorf("inject %s: %w", f, err)
	}
	d.event("drill", f.Site, f.String()+" has happened")
	return nil
}

// clear ends a fault.
func (d *drill) clear(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		if d.deadline != nil {
			d.deadline.to = time.Since(d.began)
			d.deadline.followed = d.deadline.to
			d.windows, d.deadline = append(d.windows, *d.deadline), nil
		}
		d.judgeMet(name)
		if _, err := d.twin.ClearFault(ctx, name, ""); err != nil {
			return fmt.Errorf("clear %s: %w", name, err)
		}
		d.event("drill", "", name+" is over")
		return nil
	}
}

// judgeMet checks that something has met the faults of a name. A link that carries nothing can be cut without anybody
// noticing, and such a drill would show nothing.
func (d *drill) judgeMet(name string) {
	for _, f := range d.twin.ActiveFaults() {
		if f.Name == name && f.Met != nil {
			d.expect("sent into "+f.String(), "at least 1", fmt.Sprint(*f.Met), *f.Met > 0)
		}
	}
}

// clearAttacked ends a fault under which writes were refused and will be allowed again.
func (d *drill) clearAttacked(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		d.endAttack()
		return d.clear(name)(ctx)
	}
}

// hold lets a fault stand for a number of leases and margins, at least for a given time, and then until the payments of
// that time are as they have to be.
func (d *drill) hold(leases int, atLeast time.Duration, payments func(from time.Duration) (bool, string)) func(context.Context) error {
	return func(ctx context.Context) error {
		from, length := time.Since(d.began), max(d.o.Pace.RunOn, atLeast, time.Duration(leases)*d.wait())
		d.event("drill", "", fmt.Sprintf("this stands for %.1f s", length.Seconds()))
		if err := rest(ctx, length); err != nil {
			return err
		}
		return poll(ctx, pollEvery, func(context.Context) (bool, string, error) {
			ok, seen := payments(from)
			if ok {
				d.event("drill", "", seen)
			}
			return ok, seen, nil
		})
	}
}

// minHeld payments must be made, or fail, while a fault stands. How dense they are is a matter of the standstill.
const minHeld = 10

// paymentsGoOn: payments are acknowledged in attempts that began after a moment.
func (d *drill) paymentsGoOn(from time.Duration) (bool, string) {
	n := 0
	for _, ack := range d.fleet.Acknowledgements(0) {
		if ack.AttemptBegan >= from {
			n++
		}
	}
	return n >= minHeld, fmt.Sprintf("%d payments were acknowledged while this stood, want at least %d; %s", n, minHeld, lastProblem(d.fleet))
}

// slowedBy is by how much the middle attempt has to be slower while the application gets little CPU. Its processes stand
// still for 300 ms out of 400, so an attempt that comes at any moment takes 100 ms longer or more in half of the cases.
const slowedBy = 50 * time.Millisecond

// slowed checks that payments were slow since a moment. Else the application was not.
func (d *drill) slowed(context.Context) error {
	var before, since []time.Duration
	for _, ack := range d.fleet.Acknowledgements(0) {
		switch took := ack.At - ack.AttemptBegan; {
		case ack.At < d.killEnded.Sub(d.began):
			before = append(before, took)
		case ack.AttemptBegan >= d.killEnded.Sub(d.began):
			since = append(since, took)
		}
	}
	d.expect("the middle attempt", fmt.Sprintf("at least %v longer than the %v before", slowedBy, middle(before)), middle(since).String(),
		middle(since) >= middle(before)+slowedBy)
	return nil
}

// middle is the median, in milliseconds; 0 of none.
func middle(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2].Round(time.Millisecond)
}

// paymentsFail: payments that arrived after a moment were tried, and none was made. One that is older may have been
// charged before, and be answered from the record.
func (d *drill) paymentsFail(from time.Duration) (bool, string) {
	made, failed := 0, 0
	for _, p := range d.fleet.Record() {
		switch {
		case p.Arrived < from:
		case p.Outcome == merchant.Acknowledged:
			made++
		case len(p.Attempts) > 0:
			failed++
		}
	}
	return made == 0 && failed >= minHeld, fmt.Sprintf("%d payments were made and %d failed while this stood, want none and at least %d", made, failed, minHeld)
}

// judgeStandstill checks how long payments stopped, where the fault must not stop them for long.
func (d *drill) judgeStandstill() {
	bound, has := standstills()[d.scenario.name]
	if !has || d.verdict.StandstillSeconds == nil {
		return
	}
	most := (d.o.hiccup + bound.at(d.o.Speed)).Seconds()
	d.expect("the longest time without a payment", fmt.Sprintf("at most %.1f s", most), fmt.Sprintf("%.1f s", *d.verdict.StandstillSeconds),
		*d.verdict.StandstillSeconds <= most)
}

// answerWay is what the answer to a payment that was made in time may take to its merchant on a busy machine. It is well
// below the margin at any speed.
const answerWay = 250 * time.Millisecond

// silentFrom is when the site that was struck must not acknowledge anything any more: its last renewal can have been
// tried at the end of the blow, and is trusted for the lease less the margin (P4).
func (d *drill) silentFrom() time.Time {
	return d.killEnded.Add(d.before.Lease() - d.before.Margin() + answerWay)
}

// pastDeadline waits until the first site's trust must be over, and then tries to write to its database without a
// lease, for as many leases and margins as given.
func (d *drill) pastDeadline(whole context.Context, leases int) func(context.Context) error {
	return func(ctx context.Context) error {
		deadline := d.silentFrom()
		d.deadline = &window{site: d.first, from: deadline.Sub(d.began)}
		if err := rest(ctx, time.Until(deadline)); err != nil {
			return err
		}
		d.attack = d.o.databases.attack(whole, d.twin.DatabaseDSN(d.first))
		return rest(ctx, max(d.o.Pace.RunOn, time.Duration(leases)*d.wait()))
	}
}

// endAttack ends the attack that runs, if one does, and adds what it counted.
func (d *drill) endAttack() {
	if d.attack != nil {
		d.attackCount.add(d.attack.Stop())
		d.attack = nil
	}
}

// minResumed payments must be acknowledged after a fault, in attempts that began after it.
const minResumed = 20

// resume waits until payments go on and the standby has everything again.
func (d *drill) resume(ctx context.Context) error {
	from, seen := time.Since(d.began), 0
	n := 0
	err := poll(ctx, pollEvery, func(context.Context) (bool, string, error) {
		acks := d.fleet.Acknowledgements(seen)
		seen += len(acks)
		for _, ack := range acks {
			if ack.AttemptBegan >= from {
				n++
			}
		}
		return n >= minResumed, fmt.Sprintf("%d of %d payments were acknowledged; %s", n, minResumed, lastProblem(d.fleet)), nil
	})
	if err != nil {
		return err
	}
	d.event("drill", "", fmt.Sprintf("payments go on: %d since %.1f s", n, from.Seconds()))
	active, other := d.before.Holder, d.other(d.before.Holder)
	return poll(ctx, 4*pollEvery, func(ctx context.Context) (bool, string, error) {
		return d.o.databases.streaming(ctx, d.twin.DatabaseDSN(active), d.twin.DatabaseDSN(other))
	})
}

// writerMoved checks that another instance of the active site is its writer.
func (d *drill) writerMoved(context.Context) error {
	after := server(d.twin.DatabaseDSN(d.before.Holder))
	d.expect("the writer", "another than "+d.writerBefore, after, after != d.writerBefore)
	return nil
}

// server is where a DSN leads to, without its password.
func server(dsn string) string {
	if u, err := url.Parse(dsn); err == nil && u.Host != "" {
		return u.Host
	}
	return dsn
}

func (d *drill) region(site string) string {
	for _, s := range d.twin.Sites() {
		if s.Name == site {
			return s.Region
		}
	}
	return ""
}

func (d *drill) other(site string) string {
	if site == d.first {
		return d.second
	}
	return d.first
}

// stayed checks that the term did not move, and that its site serves.
func (d *drill) stayed(ctx context.Context) error {
	if err := d.termStayed(ctx); err != nil {
		return err
	}
	holder, _, err := d.twin.Active(ctx)
	if err != nil || holder != d.before.Holder {
		return err // whose check has failed already
	}
	return poll(ctx, pollEvery, d.active(holder))
}

// termStayed checks that the record shows the term and the holder from before the fault.
func (d *drill) termStayed(ctx context.Context) error {
	r, err := d.twin.Record(ctx)
	if err != nil {
		return fmt.Errorf("read the term record: %w", err)
	}
	d.expect("the term", fmt.Sprintf("%d of %s, as before the fault", d.before.Term, d.before.Holder),
		fmt.Sprintf("%d of %s", r.Term, r.Holder), r.Term == d.before.Term && r.Holder == d.before.Holder)
	return nil
}

// stayedAt checks that a site is the active one and serves.
func (d *drill) stayedAt(site func() string) func(context.Context) error {
	return func(ctx context.Context) error {
		holder, serving, err := d.twin.Active(ctx)
		if err != nil {
			return fmt.Errorf("which site is active: %w", err)
		}
		word := map[bool]string{true: "serves", false: "does not serve"}[serving]
		d.expect("the active site", site()+", which serves", holder+", which "+word, holder == site() && serving)
		return nil
	}
}

// expect notes one part of the expectation.
func (d *drill) expect(what, wanted, got string, ok bool) {
	d.verdict.Checks = append(d.verdict.Checks, verdict.Check{What: what, Wanted: wanted, Got: got, OK: ok})
}

// operatorMoves is what a person does about a failure that no health check sees.
func (d *drill) operatorMoves(ctx context.Context) error {
	d.event("drill", d.second, "an operator requests a switchover")
	d.asked = time.Now()
	if err := d.insist(ctx, d.second, d.twin.RequestSwitchover); err != nil {
		return err
	}
	return d.takeover(ctx)
}

// switchOver moves the active site under load. Its RTO is the longest time without an acknowledged payment.
func (d *drill) switchOver(ctx context.Context) error {
	if err := d.noteBefore(ctx); err != nil {
		return err
	}
	at := d.timeline.since(time.Now())
	d.verdict.FaultAtSeconds = &at
	d.firstFault = time.Now()
	d.killBegan, d.killEnded = d.firstFault, d.firstFault
	gap, err := d.move(ctx, d.second)
	if err != nil {
		return err
	}
	rto := round(gap.Seconds())
	d.verdict.RTOSeconds = &rto
	return nil
}

// move asks for a planned move, waits until payments are acknowledged at the site's own address, and returns the longest
// time without an acknowledged payment.
func (d *drill) move(ctx context.Context, site string) (gap time.Duration, err error) {
	asked := time.Now()
	d.event("drill", site, "a switchover is requested")
	if err := d.insist(ctx, site, d.twin.RequestSwitchover); err != nil {
		return 0, err
	}
	if err := d.arrive(ctx, site); err != nil {
		return 0, err
	}
	return d.largestGap(asked, time.Now()), nil
}

// arrive waits until payments are acknowledged at the own address of the site that is to serve, and for a moment longer.
func (d *drill) arrive(ctx context.Context, site string) error {
	if err := poll(ctx, pollEvery, d.active(site)); err != nil {
		return err
	}
	if err := d.paidAt(ctx, site, time.Since(d.began)); err != nil {
		return err
	}
	return rest(ctx, d.o.Pace.Settle)
}

// paidAt waits for a payment that is acknowledged at a site's own address, in an attempt that began after an instant.
func (d *drill) paidAt(ctx context.Context, site string, after time.Duration) error {
	seen, address := 0, d.twin.SiteAddress(site)
	err := poll(ctx, pollEvery, func(context.Context) (bool, string, error) {
		acks := d.fleet.Acknowledgements(seen)
		seen += len(acks)
		for _, ack := range acks {
			if ack.AttemptBegan >= after && ack.Address == address {
				return true, "", nil
			}
		}
		return false, fmt.Sprintf("site %s serves, but no payment was acknowledged at its address yet; %s", site, lastProblem(d.fleet)), nil
	})
	if err == nil {
		d.event("drill", site, "payments are acknowledged at the site's own address")
	}
	return err
}

// judgeDeadlines checks that no site acknowledged anything of its own past its trust deadline. While it was cut off or
// frozen it could not send requests on either, so every acknowledgement at its address was its own; later ones may have
// been sent on to the active site, and then the surviving ledger has them.
func (d *drill) judgeDeadlines(lost []merchant.Payment) {
	if len(d.windows) == 0 {
		return
	}
	late := 0
	for _, w := range d.windows {
		address := d.twin.SiteAddress(w.site)
		for _, ack := range d.fleet.Acknowledgements(0) {
			if ack.Address == address && ack.At >= w.from && ack.At < w.to {
				late++
			}
		}
		for _, p := range lost {
			if n := len(p.Attempts); n > 0 && p.Attempts[n-1].Address == address && p.Ended >= w.to && p.Ended < w.followed {
				late++
			}
		}
	}
	d.expect("acknowledged past the trust deadline", "0", fmt.Sprint(late), late == 0)
}
