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

// The steps that the drill warden-crash strikes in: at the site that has the term, and at the one that takes it. There is no
// promote among them, because the writer is moved to the site before its turn; the drill second-failure strikes in that, and in
// export-tail. A release leaves payments undecided for the recovery worker, which is why it is not among the last.
var (
	givingSteps = []failover.Step{failover.TakeBack, failover.Release, failover.Seal, failover.Drain, failover.MoveWriter, failover.Grant}
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

// crashedMove is one move with a blow at each site. What was not struck is left for a later move. The step that is to be
// struck says what kind of move it is: a site takes a hand-over back whose request is withdrawn, and then nobody takes the
// term; and it releases a term whose writer was moved by hand.
func (d *drill) crashedMove(ctx context.Context) error {
	r, err := d.twin.Record(ctx)
	if err != nil {
		return fmt.Errorf("read the term record: %w", err)
	}
	from, to := r.Holder, d.other(r.Holder)
	step, move, taking := failover.Step(""), d.plannedMove, &d.blows.taking
	if len(d.blows.giving) > 0 {
		step = d.blows.giving[0].step
	}
	switch step {
	case failover.TakeBack:
		move, taking = d.withdrawnMove, &[]blow{}
	case failover.Release:
		move = d.moveByHand
	}
	end, err := d.lie(ctx, append(nextBlow(&d.blows.giving, from), nextBlow(taking, to)...)...)
	if err != nil {
		return err
	}
	err = move(ctx, to)
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

func (d *drill) plannedMove(ctx context.Context, to string) error {
	_, err := d.move(ctx, to)
	return err
}

// moveByHand moves the writer as somebody does who knows nothing of the wardens.
func (d *drill) moveByHand(ctx context.Context, to string) error {
	d.event("drill", to, "the database is moved by hand")
	if err := d.insist(ctx, to, d.twin.MoveDatabase); err != nil {
		return err
	}
	return d.arrive(ctx, to)
}

// withdrawnMove asks for a move, and withdraws that once the active site has stopped for it. Until then the other site's
// database is kept behind, or the move would be over. It is not cut off: what was acknowledged before the stop gets there
// well before a lease and its margin are over, so nothing is lost even if the wardens come back too late and it takes over.
func (d *drill) withdrawnMove(ctx context.Context, to string) error {
	from := d.other(to)
	if _, err := d.twin.Inject(ctx, twin.Fault{Name: twin.ReplicationSlow}); err != nil {
		return fmt.Errorf("keep the database of %s behind: %w", to, err)
	}
	d.event("drill", to, "a switchover is requested, to be withdrawn")
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- d.twin.RequestSwitchover(asking, to) }() // its end says nothing of who will serve
	err := poll(ctx, serveEvery, func(ctx context.Context) (bool, string, error) {
		r, err := d.twin.Record(ctx)
		return err == nil && r.Wanted != nil && !d.twin.Serves(ctx, from), "site " + from + " has not stopped for the hand-over", err
	})
	if err != nil {
		return err
	}
	if err := d.twin.WithdrawSwitchover(ctx, to); err != nil {
		return fmt.Errorf("withdraw the switchover to %s: %w", to, err)
	}
	<-answer
	d.event("drill", to, "the switchover is withdrawn")
	if err := d.clear(twin.ReplicationSlow)(ctx); err != nil {
		return err
	}
	active := ""
	err = poll(ctx, pollEvery, func(ctx context.Context) (bool, string, error) {
		site, serves, err := d.twin.Active(ctx)
		active = site
		return serves, "no site serves after the withdrawal", err
	})
	if err != nil {
		return err
	}
	return d.arrive(ctx, active)
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

// strikeTwice takes the first site's region away, and lies in wait for the second site's takeover, and for what the first one
// exports when it is back. The seed says which strikes come before their step's effect; an export has no single one.
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
	ambushes = append(ambushes, twin.Ambush{Site: d.first, Step: failover.ExportTail, Fault: twin.Fault{Name: twin.WardenCrash, Site: d.first}})
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
	d.expectStrikes("failures during the takeover and the export of the tail", len(struck)+len(missed))
}

// tailSaved checks that a warden has exported the end of the term that was lost, and has said so in the record.
func (d *drill) tailSaved(ctx context.Context) error {
	r, err := d.twin.Record(ctx)
	if err != nil {
		return fmt.Errorf("read the term record: %w", err)
	}
	d.expect("terms whose end no warden has exported", "none", fmt.Sprint(r.TailOf), len(r.TailOf) == 0)
	return nil
}
