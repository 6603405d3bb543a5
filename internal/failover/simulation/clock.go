package simulation

import (
	"time"

	"holdfast/internal/term"
)

// instant is real time in the simulated world, since the start of the run.
type instant = time.Duration

// clock is one machine's clock: it starts anywhere and runs a few parts per million too fast or too slow.
type clock struct {
	offset time.Duration
	ppm    int64
}

// driftPPM is the assumption about clocks: each runs within 1 % of real time.
const driftPPM = 10_000

func (c clock) read(now instant) time.Duration {
	return c.offset + now + now/1_000_000*time.Duration(c.ppm)
}

// real is how much real time passes while the clock counts d.
func (c clock) real(d time.Duration) time.Duration {
	return d - d/1_000_000*time.Duration(c.ppm)
}

// action is what an event does.
type action interface{ run() }

type thunk func()

func (t thunk) run() { t() }

// event is an instant with something to do, which stands in a slot: without pointers of its own it can be moved about
// the queue at no cost to the garbage collector.
type event struct {
	at   instant
	seq  uint32
	slot int32
}

// slot is what an event does, in a life of a process if it has one.
type slot struct {
	process *process
	life    uint32
	action  action
}

func (e *event) before(f *event) bool { return e.at < f.at || e.at == f.at && e.seq < f.seq }

// queue is a binary heap of events. Container/heap would box every one of them.
type queue []event

func (q *queue) push(e event) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
	*q = h
}

func (q *queue) pop() event {
	h := *q
	first, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*q = h
	if len(h) == 0 {
		return first
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].before(&h[child]) {
			child++
		}
		if !h[child].before(&last) {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = last
	return first
}

// schedule lets the action happen after d, in the present life of the process; without a process, come what may.
func (w *world) schedule(d time.Duration, p *process, a action) {
	w.scheduled++
	todo := slot{process: p, action: a}
	if p != nil {
		todo.life = p.life
	}
	n := int32(len(w.slots))
	if free := len(w.free); free > 0 {
		n = w.free[free-1]
		w.free = w.free[:free-1]
		w.slots[n] = todo
	} else {
		w.slots = append(w.slots, todo)
	}
	w.events.push(event{at: w.now + max(d, 0), seq: w.scheduled, slot: n})
}

func (w *world) after(d time.Duration, fn func()) { w.schedule(d, nil, thunk(fn)) }

// step runs the next event and reports whether there was one before the end.
func (w *world) step(end instant) bool {
	if len(w.events) == 0 || w.events[0].at > end || w.violation != "" {
		return false
	}
	e := w.events.pop()
	w.now = e.at
	todo := w.slots[e.slot]
	w.slots[e.slot] = slot{}
	w.free = append(w.free, e.slot)
	p := todo.process
	switch {
	case p == nil:
	case p.life != todo.life:
		return true
	case p.frozen():
		p.held = append(p.held, todo)
		return true
	}
	w.steps++
	todo.action.run()
	return true
}

// process is something that runs on one machine of a site: it crashes, freezes and thaws.
type process struct {
	w     *world
	site  *site
	name  string
	clock clock
	// life grows with every crash: what an earlier life had scheduled never happens.
	life uint32
	// stopped counts the freezes that are on, besides those of the whole site.
	stopped int
	// held is what came due during a freeze.
	held []slot
	trap trap
	// lateWrites counts the faults that hold up what the process writes to the store, storeCut those that keep it alone from it.
	lateWrites, storeCut int
	// slept is the time frozen so far, which only a clock that stands still meanwhile would leave out.
	slept    time.Duration
	sleepsAt instant
}

func (p *process) frozen() bool { return p.stopped > 0 || p.site.stopped > 0 }

// boot reads CLOCK_BOOTTIME: it runs on while the process is frozen.
func (p *process) boot() term.Instant { return term.Instant(p.clock.read(p.w.now)) }

// after runs fn in the process once its own clock has counted d.
func (p *process) after(d time.Duration, fn func()) { p.w.schedule(p.clock.real(d), p, thunk(fn)) }

func (p *process) freeze() {
	if !p.frozen() {
		p.sleepsAt = p.w.now
	}
	p.stopped++
}

func (p *process) thaw() {
	if p.stopped > 0 {
		p.stopped--
		p.woken()
	}
}

// woken lets the process go on, unless something else still stops it. What came due meanwhile happens now, in an order
// that nobody can rely on.
func (p *process) woken() {
	if p.frozen() || p.sleepsAt == 0 {
		return
	}
	p.slept += p.w.now - p.sleepsAt
	p.sleepsAt = 0
	held := p.held
	p.held = nil
	for _, e := range held {
		if e.life == p.life {
			p.w.schedule(p.w.between(0, 3*time.Millisecond), p, e.action)
		}
	}
}

// end is a crash: nothing that was scheduled happens any more.
func (p *process) end() {
	p.life++
	p.held = nil
	p.stopped, p.sleepsAt, p.slept = 0, 0, 0
	p.trap = trap{}
	if p.site.stopped > 0 {
		p.sleepsAt = p.w.now
	}
}

// trap lies in wait for a process's next effect on the outside world: the worst moment to freeze or to crash.
type trap struct {
	kind trapKind
	// skip is how many effects are let through first.
	skip int
	// sleep is how long a freeze lasts.
	sleep time.Duration
}

type trapKind uint8

const (
	noTrap trapKind = iota
	crashBefore
	crashAfter
	freezeBefore
	freezeAfter
)

// sprung reports whether the trap goes off at this effect.
func (p *process) sprung() trapKind {
	t := &p.trap
	if t.kind == noTrap {
		return noTrap
	}
	if t.skip > 0 {
		t.skip--
		return noTrap
	}
	kind := t.kind
	t.kind = noTrap
	return kind
}

func (p *process) sleepFor(d time.Duration) {
	p.freeze()
	life := p.life
	p.w.after(d, func() {
		if p.life == life {
			p.thaw()
		}
	})
}
