package warden

import (
	"context"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// afterEffect is the pause between a step that took effect and the next observation: enough that a mistake can't turn
// the loop into a busy one.
const afterEffect = 10 * time.Millisecond

// outcome is what became of a step.
type outcome struct {
	// effective says that the world has changed, so that the next step may be due at once.
	effective bool
	detail    string
	err       error
}

// runLoop observes and decides, and has at most one step under way. Observing goes on while a step runs: the health
// endpoints and the beacon live from it.
func (w *Warden) runLoop(ctx context.Context) {
	done := make(chan outcome, 1)
	busy := false
	var (
		last  attempt
		reuse time.Duration
	)
	for {
		began := w.boot()
		o := w.look(ctx, reuse)
		if ctx.Err() != nil {
			break
		}
		if failover.Uncovered(o) {
			signal(w.renewNow)
		}
		for _, activity := range []chan<- struct{}{w.publishNow, w.divertNow, w.capacityNow} {
			signal(activity)
		}
		w.tellNews()
		if !busy {
			d := w.decide(o)
			w.remember(d)
			w.journal.observed(o, d)
			if d.Step != failover.Wait && last.mayFollow(o, d, w.boot(), w.renewEvery()) {
				busy, last = true, attempt{step: d.Step, lossy: d.Lossy, began: w.boot()}
				w.begin(ctx, o, d, done)
			}
		}
		var (
			every   time.Duration
			stopped bool
		)
		every, reuse = w.pace(o, busy)
		busy, stopped = w.pause(ctx, every-w.boot().Sub(began), busy, done)
		if stopped {
			break
		}
	}
	if busy {
		<-done // its context has ended, so it ends
	}
}

// attempt is the step that was begun last.
type attempt struct {
	step  failover.Step
	lossy bool
	began term.Instant
}

// mayFollow says whether a step may be begun now. Those that ask much of others are not asked again within a renewal
// period: a control plane that refuses is not helped by being asked four times as often. A failover in place of
// a switchover that was refused is asked of another region.
func (a attempt) mayFollow(o failover.Observation, d failover.Decision, now term.Instant, period time.Duration) bool {
	instead := d.Lossy && !a.lossy && o.SwitchoverRefused == o.Store.Record.Term
	switch d.Step {
	case failover.Promote, failover.MoveWriter, failover.ExportTail:
		return a.step != d.Step || instead || now.Sub(a.began) >= period
	}
	return true
}

// pause waits until the next observation is due: after d, when the record has changed hands, or soon after a step took
// effect.
func (w *Warden) pause(ctx context.Context, d time.Duration, busy bool, done <-chan outcome) (stillBusy, stopped bool) {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return busy, true
		case <-timer.C:
			return busy, false
		case <-w.loopNow:
			return busy, false
		case result := <-done:
			busy = false
			w.finish(result)
			if result.effective {
				return false, !sleep(ctx, afterEffect)
			}
		}
	}
}

// The pace of the loop while the site is between two states and every moment is downtime, per renewal period. The control
// planes are asked less often than database and store: theirs are rates that an account shares.
const (
	hurriedLooks  = 25
	hurriedAsks   = 8
	unhurried     = 4
	hurriedAtMost = 100 * time.Millisecond
)

// pace is the time from one observation to the next, and how long an answer of a control plane may be used again.
func (w *Warden) pace(o failover.Observation, busy bool) (every, reuse time.Duration) {
	period := w.renewEvery()
	switch {
	case hurried(o):
		return max(period/hurriedLooks, hurriedAtMost), max(period/hurriedAsks, hurriedAtMost)
	case busy || changing(o):
		return period / unhurried, 0
	}
	return period, 0
}

// changing: the term is on its way from one site to the other.
func changing(o failover.Observation) bool {
	r := o.Store.Record
	return r.State == term.Granted || r.Wanted != nil || r.Holder == o.Site && r.ServedTerm < r.Term
}

// forwards: the site has handed the term over, and sends requests on to the one that has it now.
func forwards(o failover.Observation) bool {
	state, known := failover.Forward(o)
	return known && state.Divert
}

// hurried: it is this site's turn, or clients wait for the other one's, and has not been for so long that something else
// is wrong.
func hurried(o failover.Observation) bool {
	r := o.Store.Record
	switch {
	case r.Version == 0:
		return false
	case r.Holder == o.Site && r.ServedTerm < r.Term:
		return o.For.Unserved < o.Settings.HandoffTimeout
	case r.State == term.Granted:
		return o.For.Handoff < o.Settings.HandoffTimeout
	case r.Holder == o.Site:
		return r.State == term.Held && o.For.Handoff > 0 && o.For.Handoff < o.Settings.HandoffTimeout
	case r.ServedTerm < r.Term && forwards(o): // requests are waiting here until the other site serves
		return o.WallClock.Sub(r.MovedAt) < o.Settings.HandoffTimeout
	}
	return r.Wanted != nil && r.Wanted.Site == o.Site && o.For.Wanted < o.Settings.HandoffTimeout
}

func (w *Warden) remember(d failover.Decision) {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.decision, m.step = d, ""
}

func (w *Warden) begin(ctx context.Context, o failover.Observation, d failover.Decision, done chan<- outcome) {
	m := &w.memory
	m.mu.Lock()
	m.step, m.stepFrom = d.Step, w.boot()
	m.mu.Unlock()
	go func() { done <- w.execute(ctx, o, d) }()
}

func (w *Warden) finish(result outcome) {
	m := &w.memory
	m.mu.Lock()
	step, took := m.step, w.boot().Sub(m.stepFrom)
	m.step = ""
	m.mu.Unlock()
	w.metrics.stepSeconds.WithLabelValues(string(step)).Observe(took.Seconds())
	label := "done"
	if result.err != nil {
		label = "failed"
	}
	w.metrics.steps.WithLabelValues(string(step), label).Inc()
	w.journal.finished(step, result, took)
}
