package warden

import (
	"context"
	"time"

	"holdfast/internal/failover"
)

// afterEffect is the pause between a step that took effect and the next observation: enough that a mistake can't turn
// the loop into a busy one.
const afterEffect = 10 * time.Millisecond

// outcome is what became of a step.
type outcome struct {
	// effective says that the world has changed, or is changing, so that the next step may be due at once.
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
		last  failover.Attempt
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
			if d.Step != failover.Wait && last.MayFollow(o, d, w.boot(), w.renewEvery()) {
				busy, last = true, failover.Attempt{Step: d.Step, Lossy: d.Lossy, Began: w.boot()}
				w.begin(ctx, o, d, done)
			}
		}
		var (
			every   time.Duration
			stopped bool
		)
		every, reuse = failover.Pace(o, busy, w.renewEvery())
		busy, stopped = w.pause(ctx, every-w.boot().Sub(began), busy, done)
		if stopped {
			break
		}
	}
	if busy {
		<-done // its context has ended, so it ends
	}
}

// pause waits until the next observation is due: after d, when the record has changed hands, or soon after a step took
// effect.
func (w *Warden) pause(ctx context.Context, d time.Duration, busy bool, done <-chan outcome) (stillBusy, stopped bool) {
	// A step that ended meanwhile comes first: the next observation is to know that nothing is under way.
	select {
	case result := <-done:
		busy = false
		if w.finish(result); result.effective {
			return false, !sleep(ctx, afterEffect)
		}
	default:
	}
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
			if w.finish(result); result.effective {
				return false, !sleep(ctx, afterEffect)
			}
		}
	}
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
