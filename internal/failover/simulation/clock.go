package simulation

import (
	"container/heap"
	"time"

	"holdfast/internal/term"
)

// instant is real time in the simulated world, in nanoseconds since the start of the run.
type instant = time.Duration

type event struct {
	at  instant
	seq int
	run func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// at runs fn at an instant, after everything that was scheduled for it earlier.
func (w *world) at(when instant, fn func()) {
	w.scheduled++
	heap.Push(&w.events, event{at: max(when, w.now), seq: w.scheduled, run: fn})
}

func (w *world) after(d time.Duration, fn func()) { w.at(w.now+d, fn) }

// runUntil runs every event up to the end, or until a violation.
func (w *world) runUntil(end instant) {
	for len(w.events) > 0 && w.events[0].at <= end && w.violation == "" {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.run()
	}
	w.now = max(w.now, end)
}

// clock is one machine's clock: it runs at a rate within half a percent of real time, so that any two differ by at
// most one percent, and starts anywhere.
type clock struct {
	rate   float64
	offset time.Duration
}

func (c clock) read(now instant) term.Instant {
	return term.Instant(c.offset + time.Duration(float64(now)*c.rate))
}

// process is something that runs on one machine of a site: it can crash, freeze and thaw.
type process struct {
	w     *world
	site  *site
	clock clock
	// life grows with every crash, so that what an earlier life had scheduled is dropped.
	life   int
	frozen bool
	// held are the callbacks that came due during a freeze, in order.
	held []func()
}

func (p *process) boot() term.Instant { return p.clock.read(p.w.now) }

// after runs fn in the process after d of real time; not at all if the process crashed, later if it is frozen.
func (p *process) after(d time.Duration, fn func()) {
	p.w.after(d, p.guarded(fn))
}

func (p *process) guarded(fn func()) func() {
	life := p.life
	var run func()
	run = func() {
		switch {
		case p.life != life || !p.site.up:
		case p.frozen:
			p.held = append(p.held, run)
		default:
			fn()
		}
	}
	return run
}

func (p *process) freeze() { p.frozen = true }

// thaw lets the process go on: what came due meanwhile runs now, in its order.
func (p *process) thaw() {
	if !p.frozen {
		return
	}
	p.frozen = false
	held := p.held
	p.held = nil
	for _, fn := range held {
		p.w.at(p.w.now, fn)
	}
}

// call sends a request to a server that may be far away and gives up after a time-out. serve runs at the server, once,
// if the request arrives, possibly long after the caller has given up; answered runs in the process with false after
// the time-out, or with true when an answer arrives before it.
func (p *process) call(reach func() bool, timeout time.Duration, serve func() bool, answered func(ok bool)) {
	w := p.w
	done := false
	finish := func(ok bool) {
		if !done {
			done = true
			answered(ok)
		}
	}
	p.after(timeout, func() { finish(false) })
	if !reach() || w.chance(0.005) {
		return
	}
	deliver := p.guarded(func() { finish(true) })
	w.after(w.latency(), func() {
		if !reach() || !serve() || !reach() || w.chance(0.01) {
			return // no answer: the server is gone, or its answer is lost although it did what was asked
		}
		w.after(w.latency(), deliver)
	})
}
