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
	// effective says that the world has changed, or is changing, so that the next step may be due at once.
	effective bool
	// recall says that nothing but the record has changed, by an own write, so that the next decision can be made on what was
	// observed before.
	recall bool
	detail string
	err    error
}

// runLoop observes and decides, and has at most one step under way. Observing goes on while a step runs: the health
// endpoints and the beacon live from it.
func (w *Warden) runLoop(ctx context.Context) {
	l := loop{w: w, done: make(chan outcome, 1)}
	for ctx.Err() == nil {
		began := w.boot()
		o := l.observe(ctx)
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
		l.decide(ctx, o)
		var every time.Duration
		every, l.reuse = failover.Pace(o, l.busy, w.renewEvery())
		l.pause(ctx, every-w.boot().Sub(began))
	}
	if l.busy {
		<-l.done // its context has ended, so it ends
	}
}

// loop is the state of the loop between two observations.
type loop struct {
	w *Warden
	// busy: a step is under way, which sends its outcome to done; last is the one begun last.
	busy bool
	done chan outcome
	last failover.Attempt
	// reuse is how old an answer of a control plane may be; recall is the last step's if it ended the pause; looked is when
	// the last look began.
	reuse  time.Duration
	recall bool
	looked term.Instant
}

// observe looks around, or recalls what was seen if only the record has changed since, by an own write. What is older than a
// renewal period is not recalled: a warden that was frozen before the write has trust for a term in a world that it has not
// seen.
func (l *loop) observe(ctx context.Context) failover.Observation {
	w, recall, now := l.w, l.recall, l.w.boot()
	l.recall = false
	if recall && now.Sub(l.looked) < w.renewEvery() {
		return w.recall()
	}
	l.looked = now
	return w.look(ctx, l.reuse)
}

// decide begins the step that is due, if none is under way.
func (l *loop) decide(ctx context.Context, o failover.Observation) {
	if l.busy {
		return
	}
	w := l.w
	d := w.decide(o)
	w.remember(d)
	w.journal.observed(o, d)
	if d.Step != failover.Wait && l.last.MayFollow(o, d, w.boot(), w.renewEvery()) {
		l.busy, l.last = true, failover.Attempt{Step: d.Step, Lossy: d.Lossy, Began: w.boot()}
		w.begin(ctx, o, d, l.done)
	}
}

// pause waits until the next observation is due: after d, at a signal, or soon after a step took effect. While a step
// is under way a signal is left for later: nothing could be decided, and an observation that saw the world before the step
// would only keep the next one waiting. The signal that an own write gives, because it changes hands, thus makes a real look
// follow at once on what was only recalled.
func (l *loop) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	for {
		due, loopNow := timer.C, l.w.loopNow
		if l.busy {
			loopNow = nil
		}
		if len(l.done) > 0 {
			due = nil // the next observation is to know that nothing is under way
		}
		select {
		case <-ctx.Done():
			return
		case <-due:
			return
		case <-loopNow:
			return
		case result := <-l.done:
			l.busy = false
			if l.w.finish(result); result.effective {
				l.recall = result.recall
				sleep(ctx, afterEffect)
				return
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
