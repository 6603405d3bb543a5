package drill

import (
	"context"
	"fmt"
	"time"

	"holdfast/internal/drill/splitbrain"
	"holdfast/internal/twin"
)

// freezeCycles is how often the drill freeze-thaw freezes the active site, unless the options say otherwise.
const freezeCycles = 20

func (d *drill) regionFreeze(ctx context.Context) []step { return d.freezes(ctx, 1) }

func (d *drill) freezeThaw(ctx context.Context) []step {
	cycles := d.o.Cycles
	if cycles <= 0 {
		cycles = freezeCycles
	}
	return d.freezes(ctx, cycles)
}

// freezes freezes the active site a number of times, the other one each time.
func (d *drill) freezes(ctx context.Context, cycles int) []step {
	l := d.o.Limits
	var steps []step
	for i := range cycles {
		frozen := d.first
		if i%2 == 1 {
			frozen = d.second
		}
		steps = append(steps,
			step{Fault, l.Fault + l.Hold, func(phase context.Context) error { return d.freeze(ctx, phase, frozen) }},
			step{Takeover, l.Takeover, func(phase context.Context) error { return d.takeoverFrom(phase, frozen) }},
			step{Clear, l.Return, func(phase context.Context) error { return d.thaw(ctx, phase, frozen) }},
			step{Rejoin, l.Rejoin, func(phase context.Context) error { return d.rejoinOf(phase, frozen) }},
			step{RunOn, l.RunOn, d.runOn},
		)
	}
	return steps
}

// freeze stops the active site with transactions in its database that have written and not committed. Their COMMIT is
// sent to the frozen server, so that it is the first thing that it reads when it thaws: none of them has passed its
// commit check before the freeze, and none may get in.
func (d *drill) freeze(whole, ctx context.Context, site string) error {
	if err := d.noteBefore(ctx); err != nil {
		return err
	}
	held, err := d.o.databases.hold(whole, d.twin.DatabaseDSN(site))
	if err != nil {
		return fmt.Errorf("open transactions to be frozen at site %s: %w", site, err)
	}
	d.held = held
	if err := d.inject(ctx, twin.Fault{Name: twin.RegionFreeze, Site: site}); err != nil {
		return err
	}
	held.Commit()
	d.deadline = &window{site: site, from: d.silentFrom().Sub(d.began)}
	return nil
}

// thaw starts the attack while the database still stands, so that not a moment is missed, and lets the site go on.
func (d *drill) thaw(whole, ctx context.Context, site string) error {
	if err := rest(ctx, time.Until(d.killEnded.Add(d.wait()))); err != nil {
		return err
	}
	d.attack = d.o.databases.attack(whole, d.twin.DatabaseDSN(site))
	return d.clear(twin.RegionFreeze)(ctx)
}

// held are transactions that have written and not committed.
type held interface {
	// Commit sends COMMIT on all of them and returns; the answers come when the server answers.
	Commit()
	// Stop ends the waiting for answers and returns the count.
	Stop() splitbrain.Count
}

// endHeld adds what became of the transactions that were frozen.
func (d *drill) endHeld() {
	if d.held != nil {
		d.attackCount.add(d.held.Stop())
		d.held = nil
	}
}
