package twin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/twin/network"
)

// The faults of the catalogue; [FaultKinds] says what each one does.
const (
	RegionLoss          = "region-loss"
	RegionFreeze        = "region-freeze"
	ZoneLoss            = "zone-loss"
	DatabaseWriterCrash = "database-writer-crash"
	WardenCrash         = "warden-crash"
	ApplicationCrash    = "application-crash"
	ApplicationDown     = "application-down"
	ApplicationSlow     = "application-slow"
	ApplicationFailing  = "application-failing"
	LinkPartition       = "link-partition"
	LinkLoss            = "link-loss"
	LinkDelay           = "link-delay"
	ReplicationSlow     = "replication-slow"
	StoreRegionLoss     = "store-region-loss"
	StoreLoss           = "store-loss"
	IsolatedActive      = "isolated-active"
	IsolatedStandby     = "isolated-standby"
)

// ErrFault: a fault can't be injected or cleared as asked; the error that wraps it says why.
var ErrFault = errors.New("fault")

// Fault is one thing that goes wrong in a running twin. Fields that are left open get the kind's defaults; a field that
// the kind does not take is refused.
type Fault struct {
	// Name is one of the catalogue's.
	Name string `json:"name"`
	// Site is whose parts are hit; by default the active site's, or the other one's for [IsolatedStandby].
	Site string `json:"site,omitempty"`
	// Region is the store's region that is hit; by default the witness.
	Region string `json:"region,omitempty"`
	// Zone is an availability zone of the site's region; by default the one of the database's writer.
	Zone string `json:"zone,omitempty"`
	// Delay is real time, never divided by the speed.
	Delay time.Duration `json:"delay_ns,omitempty"`
	// Loss is the share of segments that a link loses, above 0 and below 1.
	Loss float64 `json:"loss,omitempty"`
	// Clients: a site is cut off from its clients too.
	Clients bool `json:"clients,omitempty"`
}

// target names what the fault hits, to tell two faults of a kind apart.
func (f Fault) target() string {
	return strings.Join(slices.DeleteFunc([]string{f.Site, f.Region, f.Zone}, func(s string) bool { return s == "" }), "/")
}

// String is the fault with its target, as in "zone-loss primary/us-east-1a".
func (f Fault) String() string { return strings.TrimSpace(f.Name + " " + f.target()) }

// FaultKind is one entry of the catalogue.
type FaultKind struct {
	Name string `json:"name"`
	Doc  string `json:"doc"`
	// Lasting faults last until they are cleared; the others are one blow, from which the twin recovers by itself.
	Lasting bool `json:"lasting"`
	// Takes lists the fields of a Fault that mean something: "site", "region", "zone", "delay", "loss", "clients".
	Takes []string `json:"takes"`

	// prepare fills in defaults that depend on the kind.
	prepare func(ctx context.Context, t *Twin, f *Fault) error
	// inject returns what clears the fault; nil for a blow.
	inject func(ctx context.Context, t *Twin, f Fault) (clear func(context.Context) error, err error)
	// met counts how often something met the fault on its way; nil where that can't be counted.
	met func(t *Twin, f Fault) uint64
	// endFirst: the twin can't be taken down in order while the fault lasts.
	endFirst bool
}

// Bounds and defaults of what a fault may ask for.
const (
	maxFaultDelay          = time.Minute
	defaultLinkDelay       = 250 * time.Millisecond
	defaultReplicationLag  = 2 * time.Second
	defaultLinkLoss        = 0.2
	defaultApplicationStop = 300 * time.Millisecond
)

// FaultKinds lists the catalogue, in the order in which it is shown.
func FaultKinds() []FaultKind {
	return []FaultKind{
		{Name: RegionLoss, Lasting: true, Takes: []string{"site"}, Doc: "every process of the site's region is killed, every address is dead; cleared, it has power again", inject: injectRegionLoss},
		{Name: RegionFreeze, Lasting: true, Takes: []string{"site"}, endFirst: true, Doc: "everything in the site's region stands still (SIGSTOP), connections stay open; cleared, it goes on where it stood", inject: injectRegionFreeze},
		{Name: ZoneLoss, Lasting: true, Takes: []string{"site", "zone"}, Doc: "tasks and database instances in one availability zone are killed, and nothing starts there", prepare: writersZone, inject: injectZoneLoss},
		{Name: DatabaseWriterCrash, Takes: []string{"site"}, Doc: "the writer's PostgreSQL is killed; the writer moves to the reader, as Aurora does", inject: injectWriterCrash},
		{Name: WardenCrash, Takes: []string{"site"}, Doc: "all wardens of the site are killed at once; ECS starts others", inject: injectWardenCrash},
		{Name: ApplicationCrash, Takes: []string{"site"}, Doc: "all tasks of the application are killed at once; ECS starts others", inject: injectApplicationCrash},
		{Name: ApplicationDown, Lasting: true, Takes: []string{"site"}, Doc: "the application's service has no task any more (desired count 0)", inject: injectApplicationDown},
		{Name: ApplicationSlow, Lasting: true, Takes: []string{"site", "delay"}, endFirst: true, Doc: "the application's processes are stopped for --delay out of every four thirds of it, as when they get no CPU; health checks still pass", prepare: delayOf(defaultApplicationStop), inject: injectApplicationSlow},
		{Name: ApplicationFailing, Lasting: true, Takes: []string{"site"}, Doc: "the application does not reach its acquirer, so that payments fail while its health checks pass", inject: injectApplicationFailing},
		{Name: LinkPartition, Lasting: true, Doc: "nothing gets from one site's region to the other's; both reach the store's witness and their clients", inject: injectLink(func(Fault, *network.LinkState) {}, true), met: sent(betweenSites, held)},
		{Name: LinkLoss, Lasting: true, Takes: []string{"loss"}, Doc: "the link between the sites loses a share of its segments", prepare: defaultLoss, inject: injectLink(func(f Fault, s *network.LinkState) { s.Loss = f.Loss }, false), met: sent(betweenSites, delayed)},
		{Name: LinkDelay, Lasting: true, Takes: []string{"delay"}, Doc: "the link between the sites takes --delay longer, one way", prepare: delayOf(defaultLinkDelay), inject: injectLink(addDelay, false), met: sent(betweenSites, carried)},
		{Name: ReplicationSlow, Lasting: true, Takes: []string{"delay"}, Doc: "the standby's database is at least --delay behind, because the link between the sites takes that long", prepare: delayOf(defaultReplicationLag), inject: injectLink(addDelay, false), met: sent(betweenSites, carried)},
		{Name: StoreRegionLoss, Lasting: true, Takes: []string{"region"}, Doc: "the term store loses one of its regions, by default the witness", prepare: witness, inject: injectStoreRegionLoss, met: missedReplica},
		{Name: StoreLoss, Lasting: true, Doc: "the term store answers nowhere", inject: injectStoreLoss, met: missedReplicas},
		{Name: IsolatedActive, Lasting: true, Takes: []string{"site", "clients"}, Doc: "the active site is cut off from the other site and from the store, with --clients from its clients too", inject: injectIsolation, met: sent((*Twin).isolatedFrom, held)},
		{Name: IsolatedStandby, Lasting: true, Takes: []string{"site", "clients"}, Doc: "the standby site is cut off from the other site and from the store", prepare: standby, inject: injectIsolation, met: sent((*Twin).isolatedFrom, held)},
	}
}

// FaultKindOf finds a kind by name.
func FaultKindOf(name string) (FaultKind, bool) {
	for _, k := range FaultKinds() {
		if k.Name == name {
			return k, true
		}
	}
	return FaultKind{}, false
}

// ActiveFault is a lasting fault that has not been cleared.
type ActiveFault struct {
	Fault
	Since time.Time `json:"since"`
	// Met is how often something met the fault on its way: a segment on a cut link, a request for a lost replica. Nil for
	// kinds that are on no way. A fault that nothing has met shows nothing.
	Met *uint64 `json:"met,omitempty"`

	metNow   func() uint64
	clear    func(context.Context) error
	endFirst bool
}

// faults are what goes wrong in a twin right now.
type faults struct {
	// change serializes injecting and clearing, which take their time; mu guards active.
	change sync.Mutex
	mu     sync.Mutex
	active []ActiveFault
	// over is set once the twin goes down.
	over bool
}

// Inject makes a fault happen and returns it with every default filled in, once it has happened.
func (t *Twin) Inject(ctx context.Context, f Fault) (Fault, error) {
	kind, ok := FaultKindOf(f.Name)
	if !ok {
		return f, fmt.Errorf("%w: there is none called %q", ErrFault, f.Name)
	}
	t.faults.change.Lock()
	defer t.faults.change.Unlock()
	if err := t.complete(ctx, kind, &f); err != nil {
		return f, fmt.Errorf("%w: %s: %w", ErrFault, f, err)
	}
	if t.faults.over {
		return f, fmt.Errorf("%w: %s: the twin is going down", ErrFault, f)
	}
	for _, other := range t.ActiveFaults() {
		if other.String() == f.String() {
			return f, fmt.Errorf("%w: %s is there already, since %s: clear it first", ErrFault, f, other.Since.Format(time.TimeOnly))
		}
	}
	t.tell(f.Site, "fault", "%s begins", f)
	metNow := t.counts(kind, f)
	undo, err := kind.inject(ctx, t, f)
	if err != nil {
		return f, fmt.Errorf("%w: %s: %w", ErrFault, f, err)
	}
	if kind.Lasting {
		t.faults.mu.Lock()
		t.faults.active = append(t.faults.active, ActiveFault{Fault: f, Since: time.Now(), metNow: metNow, clear: undo, endFirst: kind.endFirst})
		t.faults.mu.Unlock()
	}
	return f, nil
}

// counts returns what counts how often something meets a fault, from now on.
func (t *Twin) counts(kind FaultKind, f Fault) func() uint64 {
	if kind.met == nil {
		return nil
	}
	before := kind.met(t, f)
	return func() uint64 { return kind.met(t, f) - before }
}

// complete checks a fault and fills in what was left open.
func (t *Twin) complete(ctx context.Context, kind FaultKind, f *Fault) error {
	for name, given := range map[string]bool{
		"site": f.Site != "", "region": f.Region != "", "zone": f.Zone != "", "delay": f.Delay != 0, "loss": f.Loss != 0, "clients": f.Clients,
	} {
		if given && !slices.Contains(kind.Takes, name) {
			return fmt.Errorf("it takes no %s; it takes %s", name, strings.Join(append([]string{"its name"}, kind.Takes...), ", "))
		}
	}
	if slices.Contains(kind.Takes, "site") && f.Site == "" {
		f.Site = t.activeSite(ctx)
		if kind.Name == IsolatedStandby {
			f.Site = t.otherSite(f.Site)
		}
	}
	if f.Site != "" {
		if _, err := t.site(f.Site); err != nil {
			return err
		}
	}
	if kind.prepare != nil {
		if err := kind.prepare(ctx, t, f); err != nil {
			return err
		}
	}
	switch {
	case f.Delay < 0 || f.Delay > maxFaultDelay:
		return fmt.Errorf("a delay of %v: want one above 0 and at most %v", f.Delay, maxFaultDelay)
	case f.Loss < 0 || f.Loss >= 1:
		return fmt.Errorf("a loss of %v: want a share above 0 and below 1", f.Loss)
	}
	return nil
}

// activeSiteLimit bounds the look at the term record, which may be what is broken.
const activeSiteLimit = 5 * time.Second

// activeSite is the holder of the term, or the first site if nobody says.
func (t *Twin) activeSite(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, activeSiteLimit)
	defer cancel()
	if r, err := t.operator.Record(ctx); err == nil {
		return r.Holder
	}
	return t.topo.Sites[0].Name
}

func (t *Twin) otherSite(name string) string {
	for _, s := range t.topo.Sites {
		if s.Name != name {
			return s.Name
		}
	}
	return name
}

// ClearFault ends the lasting faults of a name, on any target or on the one that is given; an empty name is all of them.
// It returns what it ended. A fault that can't be cleared stays on the list.
func (t *Twin) ClearFault(ctx context.Context, name, target string) ([]Fault, error) {
	t.faults.change.Lock()
	defer t.faults.change.Unlock()
	var cleared []Fault
	var errs []error
	found := false
	for _, f := range slices.Backward(t.ActiveFaults()) {
		if name != "" && f.Name != name || target != "" && !slices.Contains(strings.Split(f.target(), "/"), target) {
			continue
		}
		found = true
		if err := f.clear(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%w: clear %s: %w", ErrFault, f, err))
			continue
		}
		t.forget(f)
		cleared = append(cleared, f.Fault)
		t.tell(f.Site, "fault", "%s is over", f)
	}
	if !found && name != "" {
		return nil, fmt.Errorf("%w: no %s is there to clear", ErrFault, strings.TrimSpace(name+" "+target))
	}
	return cleared, errors.Join(errs...)
}

func (t *Twin) forget(f ActiveFault) {
	t.faults.mu.Lock()
	defer t.faults.mu.Unlock()
	t.faults.active = slices.DeleteFunc(t.faults.active, func(other ActiveFault) bool { return other.String() == f.String() })
}

// ActiveFaults lists the lasting faults that have not been cleared, oldest first.
func (t *Twin) ActiveFaults() []ActiveFault {
	t.faults.mu.Lock()
	defer t.faults.mu.Unlock()
	active := slices.Clone(t.faults.active)
	for i, f := range active {
		if f.metNow != nil {
			met := f.metNow()
			active[i].Met = &met
		}
	}
	return active
}

// endFaults ends what would keep the twin from being taken down in order.
func (t *Twin) endFaults(ctx context.Context) {
	t.faults.change.Lock()
	defer t.faults.change.Unlock()
	t.faults.over = true
	for _, f := range t.ActiveFaults() {
		if !f.endFirst {
			continue
		}
		if err := f.clear(ctx); err != nil {
			t.logger.Warn("end a fault", "fault", f.String(), "error", err)
		}
		t.forget(f)
	}
}
