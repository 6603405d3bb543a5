package drill

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/twin"
)

// ambush strikes when a site's wardens begin a step.
type ambush struct {
	site, step string
	fault      twin.Fault
	seen       chan struct{}
	sprung     bool
}

// lie sets ambushes; events that come in spring them.
func (d *drill) lie(ambushes ...*ambush) {
	for _, a := range ambushes {
		a.seen = make(chan struct{})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ambushes = ambushes
}

// spring marks the ambush that an event belongs to.
func (d *drill) spring(e Event) {
	if e.Kind != "warden" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.ambushes {
		if !a.sprung && a.site == e.Site && strings.Contains(e.Text, ": "+a.step+": ") {
			a.sprung = true
			close(a.seen)
		}
	}
}

// strikeFromAmbush waits for each ambush's step in turn and strikes; the returned function ends the waiting and says at
// which steps it struck.
func (d *drill) strikeFromAmbush(ctx context.Context, ambushes ...*ambush) (stop func() []string) {
	d.lie(ambushes...)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan []string, 1)
	go func() {
		var struck []string
		for _, a := range ambushes {
			select {
			case <-a.seen:
			case <-ctx.Done():
				done <- struck
				return
			}
			if f, err := d.twin.Inject(ctx, a.fault); err != nil {
				d.event("drill", a.site, fmt.Sprintf("%s at the step %s: %v", f, a.step, err))
				continue
			}
			struck = append(struck, a.site+" at "+a.step)
			d.event("drill", a.site, fmt.Sprintf("%s at the step %s", a.fault, a.step))
		}
		done <- struck
	}()
	return func() []string {
		cancel()
		d.lie()
		return <-done
	}
}

// moves are the planned moves of the drill warden-crash: at which steps the wardens of the giving and of the taking site
// are killed.
var moves = []struct{ giving, taking string }{{"seal", "acquire"}, {"drain", "record-term"}, {"move-writer", "serve"}, {"grant", ""}}

// wardenCrash moves the active site to and fro, and kills all wardens of a site when they begin a step.
func (d *drill) wardenCrash(context.Context) []step {
	l := d.o.Limits
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
	for i := range moves {
		steps = append(steps, step{SwitchOver, l.SwitchBack, func(ctx context.Context) error { return d.crashedMove(ctx, i) }})
	}
	return append(steps, step{RunOn, l.RunOn, d.runOn}, step{Settled, l.Fault, d.judgeCrashes})
}

func (d *drill) crashedMove(ctx context.Context, i int) error {
	from, to := d.first, d.second
	if i%2 == 1 {
		from, to = to, from
	}
	ambushes := []*ambush{{site: from, step: moves[i].giving, fault: twin.Fault{Name: twin.WardenCrash, Site: from}}}
	if moves[i].taking != "" {
		ambushes = append(ambushes, &ambush{site: to, step: moves[i].taking, fault: twin.Fault{Name: twin.WardenCrash, Site: to}})
	}
	stop := d.strikeFromAmbush(ctx, ambushes...)
	_, err := d.move(ctx, to)
	d.struck = append(d.struck, stop()...)
	return err
}

// minCrashes is at how many steps the wardens have to have been killed. A step that took no time, or that a new warden
// found done already, can't be hit.
const minCrashes = 5

func (d *drill) judgeCrashes(context.Context) error {
	got := strings.Join(d.struck, ", ")
	if got == "" {
		got = "none"
	}
	d.expect("steps at which all wardens were killed", fmt.Sprintf("at least %d", minCrashes), fmt.Sprintf("%d: %s", len(d.struck), got),
		len(d.struck) >= minCrashes)
	return nil
}

// strikeTwice takes the first site's region away, and lies in wait for the second site's takeover.
func (d *drill) strikeTwice(ctx context.Context) error {
	if err := d.noteBefore(ctx); err != nil {
		return err
	}
	d.endAmbush = d.strikeFromAmbush(context.WithoutCancel(ctx),
		&ambush{site: d.second, step: "acquire", fault: twin.Fault{Name: twin.WardenCrash, Site: d.second}},
		&ambush{site: d.second, step: "promote", fault: twin.Fault{Name: twin.DatabaseWriterCrash, Site: d.second}},
		&ambush{site: d.second, step: "record-term", fault: twin.Fault{Name: twin.WardenCrash, Site: d.second}})
	return d.inject(ctx, twin.Fault{Name: RegionLoss, Site: d.first})
}

// judgeAmbush says whether the second failure happened at all.
func (d *drill) judgeAmbush() {
	if d.endAmbush == nil {
		return
	}
	struck := d.endAmbush()
	d.endAmbush = nil
	slices.Sort(struck)
	d.expect("failures during the takeover", "at least 1", fmt.Sprintf("%d: %s", len(struck), strings.Join(struck, ", ")), len(struck) > 0)
}
