package simulation

import "time"

// place is where a request goes.
type place struct {
	kind placeKind
	site *site // of a database, a control plane, or the site in whose region a replica stands
}

type placeKind uint8

const (
	toStore placeKind = iota
	toDatabase
	toControl
)

// reaches reports whether a request of a process arrives at a place now.
func (w *world) reaches(p *process, to place) bool {
	from := p.site
	if !from.up || to.site != from && w.cut[linkSites] > 0 {
		return false
	}
	switch to.kind {
	case toStore:
		return from.storeCut+p.storeCut == 0 && w.store.serves(w, to.site)
	case toControl:
		return to.site.up && to.site.controlDown == 0
	default: // only wardens ask: the application stands beside its database
		return from.databaseCut == 0 && to.site.up && to.site.db.down == 0
	}
}

// request is what a process asks for. What wardens ask for all the time has a type of its own, with the call in it, so that
// it is one object: closures and what they share would be four, and making them was a tenth of a run's time.
type request interface {
	// serve is what happens at the place.
	serve()
	// done tells the caller.
	done(answered bool)
	// way is the call that the request goes by, which it embeds.
	way() *call
	// recycle is called once no event refers to the request any more, so that another one may take its place. Whoever is told
	// keeps no pointer to it.
	recycle()
}

// pool has the requests of one type that are over. A run makes thousands, of which a few are under way at a time: these few
// stay in the processor's cache, and were new memory each time otherwise, which took another tenth.
type pool[T any] []*T

// get returns a request to fill in. What an earlier one has left in it is still there.
func (p *pool[T]) get() *T {
	n := len(*p)
	if n == 0 {
		return new(T)
	}
	r := (*p)[n-1]
	*p = (*p)[:n-1]
	return r
}

func (p *pool[T]) put(r *T) { *p = append(*p, r) }

type pools struct {
	record   pool[recordRead]
	database pool[databaseRead]
	cluster  pool[clusterRead]
	app      pool[appRead]
	beacons  pool[beaconsRead]
}

// call is the way of one request of a process. It arrives once or never, possibly long after the caller has given up, and
// the caller is told once: by an answer, or by its own time-out.
type call struct {
	request     request
	from        *process
	to          place
	there, back time.Duration
	deadline    instant
	life        uint32
	// events counts those that refer to the call. One of a life that has ended is never run, and the call never recycled.
	events int32
	// timed: the time-out is on its way; over: the caller has been told.
	timed, over bool
}

func (c *call) way() *call { return c }

// errand is a request made of two functions, which is never recycled.
type errand struct {
	call
	do   func()
	then func(answered bool)
}

func (e *errand) serve()             { e.do() }
func (e *errand) done(answered bool) { e.then(answered) }
func (e *errand) recycle()           {}

// The stations of a call, each an action.
type (
	departure call
	arrival   call
	answer    call
	timeout   call
)

// ask sends a request that changes nothing.
func (p *process) ask(limit time.Duration, to place, r request) {
	p.call(limit, to, r).depart()
}

// effect sends a request that changes something, which is where traps lie.
func (p *process) effect(limit time.Duration, to place, do func(), then func(answered bool)) {
	c := p.call(limit, to, &errand{do: do, then: then})
	if to.kind == toStore && p.lateWrites > 0 {
		c.there += p.w.between(0, p.w.lease)
	}
	switch kind := p.sprung(); kind {
	case crashBefore:
		p.w.trace("%s crashes before an effect", p.name)
		p.site.restart(p)
	case crashAfter:
		c.depart()
		p.w.trace("%s crashes after an effect", p.name)
		p.site.restart(p)
	case freezeBefore:
		p.w.trace("%s freezes before an effect, for %v", p.name, p.trap.sleep)
		p.sleepFor(p.trap.sleep)
		c.schedule(0, p, (*departure)(c)) // when it thaws
	case freezeAfter:
		c.depart()
		p.w.trace("%s freezes after an effect, for %v", p.name, p.trap.sleep)
		p.sleepFor(p.trap.sleep)
	default:
		c.depart()
	}
}

// call draws the way of a request that departs now.
func (p *process) call(limit time.Duration, to place, r request) *call {
	w, c := p.w, r.way()
	*c = call{
		request: r, from: p, life: p.life, to: to, there: w.latency(), back: w.latency(), deadline: w.now + p.clock.real(limit),
	}
	if to.kind == toStore && p.site.storeSlow > 0 {
		c.there += w.between(0, w.lease/6)
		c.back += w.between(0, w.lease/6)
	}
	return c
}

// schedule lets one of the call's stations come.
func (c *call) schedule(d time.Duration, p *process, station action) {
	c.events++
	c.from.w.schedule(d, p, station)
}

// passed is called when a station has been run.
func (c *call) passed() {
	if c.events--; c.events == 0 {
		c.request.recycle()
	}
}

func (c *departure) run() {
	(*call)(c).depart()
	(*call)(c).passed()
}

func (c *call) depart() {
	w := c.from.w
	if !w.reaches(c.from, c.to) || w.chance(w.lossy) {
		c.expire()
		return
	}
	if c.there+c.back >= c.deadline-w.now {
		c.expire()
	}
	c.schedule(c.there, nil, (*arrival)(c))
}

func (c *arrival) run() {
	(*call)(c).arrive()
	(*call)(c).passed()
}

func (c *call) arrive() {
	w := c.from.w
	if !w.reaches(c.from, c.to) {
		c.expire()
		return
	}
	if c.to.kind == toDatabase && c.to.site.db.frozen() || c.to.site.stopped > 0 {
		// It waits in the server's socket until the server goes on.
		c.expire()
		c.schedule(0, &c.to.site.db.process, (*arrival)(c))
		return
	}
	c.request.serve()
	if c.over || w.chance(w.lossy) || !w.reaches(c.from, c.to) {
		c.expire() // done, but nobody hears of it
		return
	}
	if c.from.life == c.life {
		c.schedule(c.back, c.from, (*answer)(c))
	}
}

// expire lets the caller's time-out come.
func (c *call) expire() {
	if c.timed || c.from.life != c.life {
		return
	}
	c.timed = true
	c.schedule(c.deadline-c.from.w.now, c.from, (*timeout)(c))
}

func (c *answer) run() {
	if !c.over {
		c.over = true
		c.request.done(true)
	}
	(*call)(c).passed()
}

func (c *timeout) run() {
	if !c.over {
		c.over = true
		c.request.done(false)
	}
	(*call)(c).passed()
}
