package simulation

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// Options say what to simulate. The zero value is the deployment's defaults.
type Options struct {
	// Lease and Margin are the record's; zero means 20 s and 2.5 s.
	Lease, Margin time.Duration
	// Settings are the wardens'; zero values mean their defaults. About half of the runs shorten them, because patience
	// leaves faults less time to matter. Mode is that of the runs that measure the loss of a region; the others take turns.
	Settings failover.Settings
	// CheckEvery and CheckThreshold are the DNS health check's; zero means 10 s and 3.
	CheckEvery     time.Duration
	CheckThreshold int
	// Mutation switches a rule off.
	Mutation Mutation
	// Trace receives a line for everything worth telling, if it is not nil.
	Trace func(line string)
}

// Defaults are the wardens' own defaults.
func Defaults() Options {
	return Options{
		Lease: 20 * time.Second, Margin: 2500 * time.Millisecond, CheckEvery: 10 * time.Second, CheckThreshold: 3,
		Settings: failover.Settings{
			MaxLag: 5 * time.Minute, DatabaseThreshold: time.Minute, AppThreshold: time.Minute, BalancerThreshold: time.Minute,
			HandoffTimeout: 5 * time.Minute, BeaconMaxAge: 30 * time.Second, CoolDown: 10 * time.Minute, Mode: failover.Automatic,
		},
	}
}

func (o Options) withDefaults() Options {
	d := Defaults()
	if o.Lease == 0 {
		o.Lease, o.Margin = d.Lease, d.Margin
	}
	if o.CheckEvery == 0 {
		o.CheckEvery, o.CheckThreshold = d.CheckEvery, d.CheckThreshold
	}
	s := &o.Settings
	s.PilotTasks, s.CapacityFor, s.ForwardFor = 0, 0, 0 // no safety rests on them
	s.Mode = cmp.Or(s.Mode, d.Settings.Mode)
	for _, pair := range [][2]*time.Duration{
		{&s.MaxLag, &d.Settings.MaxLag},
		{&s.DatabaseThreshold, &d.Settings.DatabaseThreshold},
		{&s.AppThreshold, &d.Settings.AppThreshold},
		{&s.BalancerThreshold, &d.Settings.BalancerThreshold},
		{&s.HandoffTimeout, &d.Settings.HandoffTimeout},
		{&s.BeaconMaxAge, &d.Settings.BeaconMaxAge},
		{&s.CoolDown, &d.Settings.CoolDown},
	} {
		if *pair[0] == 0 {
			*pair[0] = *pair[1]
		}
	}
	return o
}

// Result is what one run showed.
type Result struct {
	Seed    uint64
	Profile Profile
	// Violation is empty, or names the invariant and what broke it.
	Violation string
	// Terms counts the terms that took a commit, Acknowledged the payments acknowledged, Lost those of them that a later
	// term began without, Steps the events.
	Terms, Acknowledged, Lost, Steps int
	// Pins counts the pins that were confirmed.
	Pins int
	// OwnSettings: the wardens had the settings of the options, not shorter ones.
	OwnSettings bool
	// Outage is the longest time without an acknowledged payment, while faults went on.
	Outage time.Duration
	// RegionLost: nothing happened but the loss of the active region, under the deployment's own settings. SiteRTO is
	// then the time to the first payment acknowledged at the other site, ClientRTO to the first by a client that
	// follows DNS, whose resolver's answer is up to a time to live old, and RPO the age of the oldest lost payment. Both
	// times are 0 if that did not come about while the region was gone, and LeftToPerson is what a warden then left to one.
	RegionLost              bool
	SiteRTO, ClientRTO, RPO time.Duration
	LeftToPerson            string
	// Waiting is what the system waits for a person to decide, if nobody serves at the end.
	Waiting string
}

// world is one run.
type world struct {
	now       instant
	events    queue
	slots     []slot
	free      []int32 // slots
	pools     pools
	scheduled uint32
	steps     int
	rng       *rand.Rand
	mutation  Mutation
	options   Options
	profile   Profile
	violation string
	tracing   bool

	lease, margin time.Duration
	settings      failover.Settings
	ownSettings   bool
	// slowSite is the site whose clocks are all slow while the other's are fast, or -1.
	slowSite int
	// network is the longest usual latency, slow how often one is worse, lossy how often a message is lost.
	network     time.Duration
	slow, lossy float64
	// gap bounds the time from a commit's check to its flush: the assumption is that it is below the margin.
	gap            time.Duration
	replicationLag time.Duration
	// refuses: neither region lets the other's wardens ask for a switchover.
	refuses bool

	store              store
	control            control
	sites              [2]*site
	cut                [links]int
	replicationStalled int
	servers            uint32
	nonces             int
	// pins are all versions of all pins, pinned how many there are, pinsConfirmed how many of them gave a lease.
	pins                  []pin
	pinned, pinsConfirmed int64
	servedBy              map[term.Number]*site

	purchases []purchase
	payments  []int32 // the purchase of each payment
	acquirer  acquirer
	dns       dns

	// latest is the highest term that passed a commit check, reigns are all of them in the order of their first.
	latest term.Number
	reigns []reign
	// grantedTerm was acquired by a grant. byHand counts what operators did that may lose payments; forced is true from then
	// until the term begins that shows what they lost.
	grantedTerm term.Number
	byHand      int
	forced      bool
	// backAgain: the writer was moved away by hand and came back to its site before another term was served, which shows
	// nowhere: the copy that it came back in looks like the volume that was served.
	backAgain bool
	// failedOver: an operator has failed over by hand, which loses what was not replicated.
	failedOver bool
	// strayed: a promotion took effect after its term, because the call was on its way when a region froze. The service takes
	// no fencing token, so that can't be kept from happening (P12).
	strayed bool
	// kept are the payments that are on a volume which was left behind, exported those that an export of one has.
	kept, exported map[int32]bool
	// snapshots are the volumes that a rebuild has left. recreated: the record was lost, and what it said with it.
	snapshots []snapshot
	recreated bool

	healedAt, lastAck, outage instant
	lostAt                    instant
	lostSite                  *site
	siteRTO, clientRTO, rpo   time.Duration
	terms, acknowledged, lost int
	waiting, leftToPerson     string
}

// site is one region: its database, its wardens, its application.
type site struct {
	w     *world
	name  string
	index int
	peer  *site
	up    bool
	// Each counts faults that are on.
	stopped, databaseCut, storeCut, storeSlow, controlDown, clientsCut, lost int

	db      *database
	wardens [2]*warden
	app     *application
	// exported are the terms that ended the volumes whose tails have been exported.
	exported []term.Number
	// wallStep is by how much the machines' wall clocks have been stepped.
	wallStep time.Duration
	// reserved is a payment that waits to be finished in the last moment of a lease.
	reserved int32
}

// Phases of a run.
const (
	quietBefore = 6 * time.Second
	faultPhase  = 75 * time.Second
	longPhase   = 6 * time.Minute
	endEvery    = 5 * time.Second
	// takeoverBudget is what a new record has, and a switchover restores.
	takeoverBudget = 3
	// namedFor is how long a warden must have named a decision, while nothing else can come, before the run believes that it
	// waits for a person.
	namedFor = 60 * time.Second
)

// Run simulates one seed.
func Run(seed uint64, opt Options) Result {
	w := newWorld(seed, opt.withDefaults())
	w.trace("profile %s, lease %v, margin %v, settings %+v", w.profile, w.lease, w.margin, w.settings)
	end := w.scheduleFaults()
	w.runFaults(end)
	w.heal()
	w.settle()
	if w.violation == "" {
		w.checkKept()
		w.checkSaid()
	}
	return w.result(seed)
}

// runFaults runs until the last fault is over. A loss of a region alone has been measured once the client is served.
func (w *world) runFaults(end instant) {
	if w.profile != RegionLoss {
		w.runUntil(end)
		return
	}
	for w.now < end && w.clientRTO == 0 && w.violation == "" {
		w.runUntil(min(end, w.now+endEvery))
	}
	if w.clientRTO == 0 {
		w.leftToPerson = w.decisionAwaited()
	}
}

func (w *world) runUntil(end instant) {
	for w.step(end) {
	}
	if w.violation == "" {
		w.now = max(w.now, end)
	}
}

// patience is how long it may take after the last fault until a site serves: a hand-over that does not come about is given
// up, an outage that faults have left is noticed, the term that follows is watched out and, if nobody takes it, left lying
// for as long again, a writer is moved, an old volume is rebuilt, and the next renewal is due. A pin may still stand.
func (w *world) patience() time.Duration {
	set := &w.settings
	threshold := max(set.DatabaseThreshold, set.AppThreshold, set.BalancerThreshold)
	lease := max(w.lease, w.store.record.Lease()) // a longer one may have been published
	patience := set.HandoffTimeout + threshold + 4*(lease+w.margin) + longestMove + longestRebuild + lease
	for _, s := range w.sites {
		if p, there := w.pinOf(s.db.volume); there && !p.ended {
			return patience + longestPin*w.lease + w.margin
		}
	}
	return patience
}

// settle waits until a site serves, or the system waits for a person and for nothing else, and no longer than its patience.
func (w *world) settle() {
	limit := w.now + w.patience()
	stuckSince := w.now
	for w.now < limit && w.violation == "" {
		w.runUntil(w.now + endEvery)
		if w.serving() {
			return
		}
		switch {
		case w.decisionAwaited() == "" || !w.stuck():
			stuckSince = w.now
		case w.now-stuckSince >= namedFor:
			limit = w.now
		}
	}
	if w.violation == "" {
		w.checkServing()
	}
}

func newWorld(seed uint64, opt Options) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 0x486f6c6466617374)), mutation: opt.Mutation, options: opt, tracing: opt.Trace != nil,
		lease: opt.Lease, margin: opt.Margin, settings: opt.Settings, kept: map[int32]bool{}, exported: map[int32]bool{}, servedBy: map[term.Number]*site{},
		acquirer: acquirer{charged: map[int32]bool{}}, servers: 2,
		purchases: make([]purchase, 0, 256), payments: make([]int32, 0, 256), events: make(queue, 0, 128), slots: make([]slot, 0, 128),
	}
	w.buy() // number 0 means none
	w.draw()
	if w.mutation == NoMargin {
		w.margin = time.Millisecond
	}
	for i, name := range []string{"primary", "dr"} {
		w.sites[i] = &site{w: w, name: name, index: i, up: true}
	}
	w.sites[0].peer, w.sites[1].peer = w.sites[1], w.sites[0]
	for i, s := range w.sites {
		s.db = &database{
			process: process{w: w, site: s, name: s.name + "/database"}, volume: &volume{log: make([]change, 0, 512)}, server: uint32(i + 1),
			instances: [2]clock{w.newClock(i), w.newClock(i)},
		}
		s.db.clock = s.db.instances[0]
		s.app = &application{process: process{w: w, site: s, name: s.name + "/app", clock: w.newClock(i)}}
		s.app.after(w.between(0, recoverEvery), s.app.recover)
		for n := range s.wardens {
			s.wardens[n] = newWarden(s, n)
			s.wardens[n].start()
		}
	}
	w.sites[0].db.writer = true
	w.control = control{w: w, writer: w.sites[0]}
	first := w.firstRecord()
	w.store = store{exists: true, record: first, current: &first}
	w.dns.start(w)
	w.shop()
	return w
}

func (w *world) firstRecord() term.Record {
	budget := takeoverBudget
	if !w.ownSettings {
		budget = 1 // more hand-overs for health than that need more patience than a run has
	}
	return term.Record{
		Deployment: "simulated", Version: 1, Term: 1, Holder: "primary", Nonce: "init", LeaseMS: w.lease.Milliseconds(),
		MarginMS: w.margin.Milliseconds(), State: term.Held, TakeoverBudget: budget,
	}
}

// draw chooses the run's surroundings.
func (w *world) draw() {
	w.slowSite = -1
	if w.chance(0.25) {
		w.slowSite = w.rng.IntN(2)
	}
	w.gap = w.margin * 9 / 10
	w.network = []time.Duration{2 * time.Millisecond, 10 * time.Millisecond, 70 * time.Millisecond}[w.rng.IntN(3)]
	w.replicationLag = []time.Duration{5 * time.Millisecond, 100 * time.Millisecond, 2 * time.Second}[w.rng.IntN(3)]
	if w.chance(0.5) {
		w.lossy = 0.003
	}
	if w.chance(0.25) {
		w.slow = 0.03
	}
	w.refuses = w.chance(0.3)
	w.profile = w.drawProfile()
	w.ownSettings = w.profile == RegionLoss || w.chance(0.5)
	if w.profile == RegionLoss {
		w.slow = 0
		return
	}
	w.settings.Mode = failover.Automatic
	if !w.ownSettings {
		s := &w.settings
		s.MaxLag = w.lease + w.lease/4
		s.DatabaseThreshold, s.AppThreshold, s.BalancerThreshold = s.DatabaseThreshold/6, s.AppThreshold/6, s.BalancerThreshold/6
		s.HandoffTimeout, s.BeaconMaxAge, s.CoolDown = s.HandoffTimeout/15, s.BeaconMaxAge/3, s.CoolDown/20
	}
	switch w.rng.IntN(12) {
	case 0:
		w.settings.Mode = failover.Approval
	case 1:
		w.settings.Mode = failover.Manual
	}
}

// newClock is a clock of one of the site's machines, within the assumption about drift: in a quarter of the runs all of
// one site are as slow as can be and all of the other as fast, else each is anything, often at the limit.
func (w *world) newClock(site int) clock {
	c := clock{offset: w.between(time.Hour, time.Hour+2*time.Second)}
	switch {
	case w.slowSite == site:
		c.ppm = -driftPPM
	case w.slowSite == 1-site:
		c.ppm = driftPPM
	default:
		c.ppm = min(max(w.rng.Int64N(4*driftPPM+1)-2*driftPPM, -driftPPM), driftPPM)
	}
	return c
}

// wallClock is what o.WallClock shows: for people, approvals and cool-downs.
func (w *world) wallClock() time.Time { return time.Unix(1_700_000_000, 0).Add(w.now) }

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

func (w *world) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(w.rng.Int64N(int64(high-low)+1))
}

func (w *world) trace(format string, args ...any) {
	if w.tracing {
		w.options.Trace(fmt.Sprintf("%12.6f  ", w.now.Seconds()) + fmt.Sprintf(format, args...))
	}
}

// restart begins a new life of one of the site's processes.
func (s *site) restart(p *process) {
	p.end()
	if !s.up {
		return
	}
	if p == &s.app.process {
		s.app.after(s.w.between(0, recoverEvery), s.app.recover)
		return
	}
	for _, d := range s.wardens {
		if p == &d.process {
			d.start()
		}
	}
}

// operatorForces notes that an operator has done something that may lose payments.
func (w *world) operatorForces() {
	w.byHand++
	w.forced = true
}

// forces is what the record of an acquisition says, in a field that no rule reads, if an operator has accepted a loss: the
// write may land although the warden never hears of it.
const forces = "forced"

// acquired is called when a write of a new term takes effect in the store.
func (w *world) acquired(before, next *term.Record) {
	if before.State == term.Granted && before.GrantedTo == next.Holder {
		w.grantedTerm = next.Term
	}
	if next.Journal == forces {
		w.operatorForces()
	}
}

// measure takes an acknowledgement into account.
func (w *world) measure(s *site, customer bool) {
	if w.lastAck > 0 && w.healedAt == 0 {
		w.outage = max(w.outage, w.now-w.lastAck)
	}
	w.lastAck = w.now
	if w.lostSite == nil || s == w.lostSite {
		return
	}
	if w.siteRTO == 0 {
		w.siteRTO = w.now - w.lostAt
	}
	if customer && w.clientRTO == 0 {
		w.clientRTO = w.now - w.lostAt
	}
}

func (w *world) result(seed uint64) Result {
	r := Result{
		Seed: seed, Profile: w.profile, Violation: w.violation, Terms: w.terms, Acknowledged: w.acknowledged, Lost: w.lost,
		Steps: w.steps, Pins: int(w.pinsConfirmed),
		OwnSettings: w.ownSettings, Outage: w.outage, SiteRTO: w.siteRTO, ClientRTO: w.clientRTO, RPO: w.rpo, Waiting: w.waiting,
		LeftToPerson: w.leftToPerson,
	}
	r.RegionLost = w.profile == RegionLoss && w.violation == ""
	return r
}
