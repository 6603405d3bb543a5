package drill

import (
	"context"
	"fmt"
	"strings"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/twin"
)

// lie sets ambushes; the returned function ends them, and returns those that have struck and those that have not.
func (d *drill) lie(ctx context.Context, ambushes ...twin.Ambush) (end func() (struck, missed []twin.Ambush), err error) {
	var ends []func() bool
	end = func() (struck, missed []twin.Ambush) {
		for i, hasStruck := range ends {
			if hasStruck() {
				struck = append(struck, ambushes[i])
			} else {
				missed = append(missed, ambushes[i])
			}
		}
		return struck, missed
	}
	for _, a := range ambushes {
		struck, stop, err := d.twin.Ambush(ctx, a)
		if err != nil {
			end()
			return nil, err
		}
		ends = append(ends, func() bool {
			stop()
			s, any := <-struck
			return any && s.Err == nil
		})
	}
	return end, nil
}

// The steps of a planned move that the drill warden-crash strikes in: at the site that gives the term, and at the one that
// takes it. A planned move has no promote, because the writer is moved to the site before its turn.
var (
	givingSteps = []failover.Step{failover.Seal, failover.Drain, failover.MoveWriter, failover.Grant}
	takingSteps = []failover.Step{failover.Acquire, failover.RecordTerm, failover.Serve}
)

// blows are what is left to strike: each step before and after its effect.
type blows struct{ giving, taking []blow }

type blow struct {
	step  failover.Step
	after bool
}

// bothWays lists each step twice, once each way; the seed says which way comes first.
func bothWays(steps []failover.Step, seed uint64) []blow {
	var list []blow
	for round := range 2 {
		for i, s := range steps {
			list = append(list, blow{s, (uint64(i)+uint64(round)+seed)%2 == 1})
		}
	}
	return list
}

// nextBlow takes the first blow off a list as an ambush for a site's wardens.
func nextBlow(list *[]blow, site string) []twin.Ambush {
	if len(*list) == 0 {
		return nil
	}
	b := (*list)[0]
	*list = (*list)[1:]
	return []twin.Ambush{{Site: site, Step: b.step, After: b.after, Fault: twin.Fault{Name: twin.WardenCrash, Site: site}}}
}

// moreMoves is how many moves there may be beyond one for each blow at the giving site. A move goes another way where
// wardens take so long to come back on a busy machine that their lease ends.
const moreMoves = 4

// wardenCrash moves the active site to and fro, and kills all wardens of a site inside a step.
func (d *drill) wardenCrash(context.Context) []step {
	l := d.o.Limits
	d.blows = blows{bothWays(givingSteps, d.o.Seed), bothWays(takingSteps, d.o.Seed)}
	steps := []step{{Fault, l.Fault, func(ctx context.Context) error {
		if err := d.noteBefore(ctx); err != nil {
			return err
		}
		at := d.timeline.since(time.Now())
		d.verdict.FaultAtSeconds = &at
		d.firstFault = time.Now()
		d.killBegan, d.killEnded = d.firstFault, d.firstFault
		return nil
	}}}
	for range d.blows.giving {
		steps = append(steps, step{SwitchOver, l.SwitchBack, d.crashedMove})
	}
	return append(steps,
		step{SwitchOver, moreMoves * l.SwitchBack, d.crashedMoves}, step{RunOn, l.RunOn, d.runOn}, step{Settled, l.Fault, d.judgeCrashes})
}

// crashedMoves moves on while blows are left that no move has come by.
func (d *drill) crashedMoves(ctx context.Context) error {
	for range moreMoves {
		if len(d.blows.giving)+len(d.blows.taking) == 0 {
			return nil
		}
		if err := d.crashedMove(ctx); err != nil {
			return err
		}
	}
	return nil
}

// crashedMove is one planned move with a blow at each site. What was not struck is left for a later move.
func (d *drill) crashedMove(ctx context.Context) error {
	r, err := d.twin.Record(ctx)
	if err != nil {
		return fmt.Errorf("read the term record: %w", err)
	}
	from, to := r.Holder, d.other(r.Holder)
	end, err := d.lie(ctx, append(nextBlow(&d.blows.giving, from), nextBlow(&d.blows.taking, to)...)...)
	if err != nil {
		return err
	}
	_, err = d.move(ctx, to)
	struck, missed := end()
	d.struck = append(d.struck, struck...)
	for _, a := range missed {
		d.event("drill", a.Site, "no strike "+a.String())
		left := &d.blows.giving
		if a.Site == to {
			left = &d.blows.taking
		}
		*left = append(*left, blow{a.Step, a.After})
	}
	return err
}

func (d *drill) judgeCrashes(context.Context) error {
	d.expectStrikes("steps inside which all wardens were killed", 2*(len(givingSteps)+len(takingSteps)))
	return nil
}

// expectStrikes demands every strike, and lists those that there were.
func (d *drill) expectStrikes(what string, wanted int) {
	var list []string
	for _, a := range d.struck {
		list = append(list, fmt.Sprintf("%s %s", a.Fault.Name, a))
	}
	d.expect(what, fmt.Sprint(wanted), fmt.Sprintf("%d: %s", len(list), strings.Join(list, ", ")), len(list) == wanted)
}

// strikeTwice takes the first site's region away, and lies in wait for the second site's takeover. The seed says which
// strikes come before their step's effect.
func (d *drill) strikeTwice(ctx context.Context) error {
	if err := d.noteBefore(ctx); err != nil {
		return err
	}
	wardens, database := twin.Fault{Name: twin.WardenCrash, Site: d.second}, twin.Fault{Name: twin.DatabaseWriterCrash, Site: d.second}
	ambushes := []twin.Ambush{
		{Site: d.second, Step: failover.Acquire, Fault: wardens},
		{Site: d.second, Step: failover.Promote, Fault: database},
		{Site: d.second, Step: failover.RecordTerm, Fault: wardens},
	}
	for i := range ambushes {
		ambushes[i].After = (d.o.Seed>>i)&1 == 1
	}
	end, err := d.lie(ctx, ambushes...)
	if err != nil {
		return err
	}
	d.endAmbush = end
	return d.inject(ctx, twin.Fault{Name: RegionLoss, Site: d.first})
}

// judgeAmbush demands that the second failures happened, of the wardens and of the database.
func (d *drill) judgeAmbush() {
	if d.endAmbush == nil {
		return
	}
	struck, missed := d.endAmbush()
	d.endAmbush = nil
	d.struck = struck
	d.expectStrikes("failures during the takeover", len(struck)+len(missed))
}
