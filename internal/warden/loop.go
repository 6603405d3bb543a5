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
	var last attempt
	for {
		began := w.boot()
		o := w.observe(ctx)
		if ctx.Err() != nil {
			break
		}
		for _, activity := range []chan<- struct{}{w.publishNow, w.divertNow, w.capacityNow} {
			signal(activity)
		}
		w.tellNews()
		if !busy {
			d := w.decide(o)
			w.remember(d)
			w.journal.observed(o, d)
			if d.Step != failover.Wait && last.mayFollow(d.Step, w.boot(), w.renewEvery()) {
				busy, last = true, attempt{step: d.Step, began: w.boot()}
				w.begin(ctx, o, d, done)
			}
		}
		var stopped bool
		busy, stopped = w.pause(ctx, pace(o, busy)-w.boot().Sub(began), busy, done)
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
	began term.Instant
}

// mayFollow says whether a step may be begun now. Those that ask much of others are not asked again within a renewal
// period: a control plane that refuses is not helped by being asked four times as often.
func (a attempt) mayFollow(step failover.Step, now term.Instant, period time.Duration) bool {
	switch step {
	case failover.Promote, failover.MoveWriter, failover.ExportTail:
		return a.step != step || now.Sub(a.began) >= period
	}
	return true
}

// pause waits until the next observation is due: after d, or soon after a step took effect.
func (w *Warden) pause(ctx context.Context, d time.Duration, busy bool, done <-chan outcome) (stillBusy, stopped bool) {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return busy, true
		case <-timer.C:
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

// pace is the time from one observation to the next: the renewal period, and a quarter of it while the site is
// between two states, or its clients wait for the other one, when every moment is downtime.
func pace(o failover.Observation, busy bool) time.Duration {
	r := o.Store.Record
	if r.Version == 0 {
		return time.Second
	}
	forwarding, _ := failover.Forward(o)
	between := busy || r.State == term.Granted || forwarding.Divert && !forwarding.Peer ||
		r.Holder == o.Site && (r.ServedTerm < r.Term || r.Wanted != nil && r.Wanted.Site == o.Peer)
	if between {
		return r.RenewEvery() / 4
	}
	return r.RenewEvery()
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
