package drill

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"holdfast/internal/drill/merchant"
	"holdfast/internal/drill/verdict"
	"holdfast/internal/pgserver"
	"holdfast/internal/topology"
)

// ErrEnvironment: this machine can't run a drill; the drill itself has no verdict.
var ErrEnvironment = errors.New("the environment can't run this")

// IsEnvironment reports whether an error is the machine's fault: no PostgreSQL, no user to run it as, a port or an
// address in use, no space or no permission.
func IsEnvironment(err error) bool {
	for _, cause := range []error{
		ErrEnvironment, pgserver.ErrNotInstalled, pgserver.ErrNoUnprivilegedUser,
		syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE,
		os.ErrPermission,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// The recovery objectives at speed 1.
const (
	objectiveRTO = 15 * time.Minute
	objectiveRPO = 5 * time.Minute
)

// Options say what to rehearse.
type Options struct {
	Fault    string
	Seed     uint64
	Speed    float64
	Topology *topology.Topology
	// Up brings the twin up.
	Up UpFunc
	// AddressBlock, Images and StateDir are handed to Up.
	AddressBlock int
	Images       map[string]string
	StateDir     string
	// Merchants and Rate (payments per second in total) are the load; zero means the merchants' defaults.
	Merchants int
	Rate      float64
	// Out is the results folder; empty means drill-results/<UTC time>-<fault>-seed<seed>.
	Out string
	// Cycles is how often the drill freeze-thaw freezes; zero means 20.
	Cycles int
	// Keep leaves the twin up after the verdict, until ctx ends.
	Keep bool
	// PostgreSQL is the server's version and Revision that of the program, for the verdict.
	PostgreSQL, Revision string
	// Progress receives lines as they happen, from one goroutine at a time. Nil discards.
	Progress func(Line)
	// Limits bound the phases; zero fields get the defaults for the speed.
	Limits Limits
	// Pace sets how long the phases without an end of their own take; zero fields get the defaults.
	Pace Pace

	databases databases
	// hiccup is for how long payments may stop through no fault but the machine's own load.
	hiccup time.Duration
	// stuckAfter is how long a phase may take to notice that its time is over.
	stuckAfter time.Duration
}

// Line is one line of progress.
type Line struct {
	// At runs from the beginning of the drill.
	At    time.Duration
	Phase Phase
	// Kind is the event's, or "load" for a line about the payments.
	Kind string
	Site string
	Text string
}

// Limits bound the phases, in real time.
type Limits struct {
	Boot, WarmUp, Fault, Takeover, RunOn, Return, Rejoin, SwitchBack, Hold, Drain, Count, Down time.Duration
}

// Pace is how long the drill lets things run, in real time.
type Pace struct {
	// WarmUp is the shortest and WarmUpSpread the range in which the seed chooses the moment of the fault.
	WarmUp, WarmUpSpread time.Duration
	// RunOn is the time between the takeover and the region's return, Settle the time watched after the switch back.
	RunOn, Settle time.Duration
	// Report is the time between two lines about the load.
	Report time.Duration
}

// Setup is what the options' verdict depends on beside the fault, the speed and the seed.
func (o Options) Setup() verdict.Setup {
	setup := verdict.Setup{
		Revision: cmp.Or(o.Revision, UnknownRevision), Rate: cmp.Or(o.Rate, merchant.DefaultRate),
		Merchants: cmp.Or(o.Merchants, merchant.DefaultMerchants),
	}
	if o.Fault == FreezeThaw {
		setup.Cycles = cmp.Or(o.Cycles, freezeCycles)
	}
	if encoded, err := json.Marshal(o.Topology); err == nil {
		setup.Topology = fmt.Sprintf("%.8x", sha256.Sum256(encoded))
	}
	return setup
}

// UnknownRevision is that of a program that was built without one.
const UnknownRevision = "unknown"

// withDefaults fills in what was left open, and says what can't be.
func (o Options) withDefaults(began time.Time) (Options, error) {
	if o.Fault == "" {
		o.Fault = RegionLoss
	}
	if _, known := scenarioOf(o.Fault); !known {
		return o, fmt.Errorf("drill: the fault %q is not known", o.Fault)
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	if o.Speed < 0 || o.Up == nil {
		return o, fmt.Errorf("drill: a positive speed and a way to bring the twin up are required, got %v", o.Speed)
	}
	if o.Out == "" {
		o.Out = filepath.Join("drill-results", fmt.Sprintf("%s-%s-seed%d", began.UTC().Format("20060102T150405Z"), o.Fault, o.Seed))
	}
	if o.Progress == nil {
		o.Progress = func(Line) {}
	}
	if o.databases == nil {
		o.databases = postgresDatabases{}
	}
	if o.stuckAfter <= 0 {
		o.stuckAfter = stuckAfter
	}
	if o.hiccup <= 0 {
		o.hiccup = 2 * time.Second
	}
	o.Limits = o.Limits.withDefaults(o.Speed)
	o.Pace = o.Pace.withDefaults()
	return o, nil
}

// withDefaults: each limit is what the deployment's own clocks need (scaled) and what starting processes on a slow
// machine needs (not scaled). The takeover's is the objective itself: later than that it has failed anyway.
func (l Limits) withDefaults(speed float64) Limits {
	scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) / speed) }
	for _, limit := range []struct {
		field  *time.Duration
		unless time.Duration
	}{
		{&l.Boot, 60*time.Second + scaled(5*time.Minute)},
		{&l.WarmUp, 60*time.Second + scaled(3*time.Minute)},
		{&l.Fault, 30 * time.Second},
		{&l.Takeover, 10*time.Second + scaled(objectiveRTO)},
		{&l.RunOn, 60*time.Second + scaled(time.Minute)},
		{&l.Return, 30*time.Second + scaled(3*time.Minute)},
		{&l.Rejoin, 90*time.Second + scaled(10*time.Minute)},
		{&l.SwitchBack, 60*time.Second + scaled(15*time.Minute)},
		{&l.Hold, 30*time.Second + scaled(5*time.Minute)},
		{&l.Drain, 60*time.Second + scaled(10*time.Minute)},
		{&l.Count, 60 * time.Second},
		{&l.Down, 30 * time.Second},
	} {
		if *limit.field <= 0 {
			*limit.field = limit.unless
		}
	}
	return l
}

func (p Pace) withDefaults() Pace {
	for _, pace := range []struct {
		field  *time.Duration
		unless time.Duration
	}{
		{&p.WarmUp, 3 * time.Second},
		{&p.WarmUpSpread, 4 * time.Second},
		{&p.RunOn, 5 * time.Second},
		{&p.Settle, 3 * time.Second},
		{&p.Report, 2 * time.Second},
	} {
		if *pace.field <= 0 {
			*pace.field = pace.unless
		}
	}
	return p
}
