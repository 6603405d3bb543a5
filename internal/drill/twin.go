package drill

import (
	"context"
	"time"

	"holdfast/internal/term"
	"holdfast/internal/topology"
	"holdfast/internal/twin"
)

// Twin is what a drill needs of the two regions on one machine.
type Twin interface {
	// Sites lists the sites, the one that is active on day one first.
	Sites() []topology.Site
	// DNSName is the name that clients resolve; Resolver is the DNS server to ask, as in "127.17.0.53:8053".
	DNSName() string
	Resolver() string
	// AppPort is the port of the balancers' listener for clients.
	AppPort() int
	// Speed is the number that every configured time is divided by.
	Speed() float64
	// DatabaseDSN connects to the site's first database instance directly, bypassing every endpoint and relay.
	DatabaseDSN(site string) string
	// SiteAddress is the address of the site's balancer, at which clients reach it.
	SiteAddress(site string) string
	// Inject makes a fault happen and returns it with its defaults filled in, once it has happened.
	Inject(ctx context.Context, fault twin.Fault) (twin.Fault, error)
	// ClearFault ends the lasting faults of a name, on one target or, if that is empty, on any.
	ClearFault(ctx context.Context, name, target string) ([]twin.Fault, error)
	// ActiveFaults lists the lasting faults that have not been cleared.
	ActiveFaults() []twin.ActiveFault
	// Ambush makes a fault happen inside the next step of a kind that a site's wardens take. What became of it is sent once;
	// end ends the waiting, after a strike that is under way, and closes the channel.
	Ambush(ctx context.Context, a twin.Ambush) (struck <-chan twin.Struck, end func(), err error)
	// RequestSwitchover asks the wardens to make the site active, as "holdfast switchover --to" does.
	RequestSwitchover(ctx context.Context, site string) error
	// WithdrawSwitchover takes such a request back, as "holdfast switchover --withdraw" does.
	WithdrawSwitchover(ctx context.Context, site string) error
	// MoveDatabase begins to move the global writer to a site by hand, without losing anything and without asking a warden.
	MoveDatabase(ctx context.Context, site string) error
	// Active returns the site that holds the term, and whether its /healthz says that it serves.
	Active(ctx context.Context) (site string, serving bool, err error)
	// Serves reports whether the site's /healthz says so now, which Route 53 will find out later.
	Serves(ctx context.Context, site string) bool
	// Record is the term record.
	Record(ctx context.Context) (term.Record, error)
	// SetProgress replaces the receiver of events; it is called from many goroutines. Nil discards.
	SetProgress(func(Event))
	// TailFolders are the folders where wardens exported a lost tail.
	TailFolders() []string
	// Down stops everything and removes the state folder.
	Down(ctx context.Context) error
}

// Event is something worth a line: a region lost, a DNS answer changed, a warden's journal line, a database promoted.
type Event struct {
	At time.Time `json:"at"`
	// Site is empty for what happens outside the sites.
	Site string `json:"site,omitempty"`
	// Kind is a word to filter by, as in "region", "dns", "warden", "database", "task".
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// UpOptions say how to bring a twin up.
type UpOptions struct {
	Topology *topology.Topology
	Speed    float64
	// AddressBlock is B in 127.B.0.0/16; 0 chooses a free one.
	AddressBlock int
	// AcquirerURL is where payd sends charges.
	AcquirerURL string
	// Images maps a container image's name to a local program.
	Images map[string]string
	// StateDir is where the twin keeps its files while it is up; empty makes a temporary folder.
	StateDir string
	// Progress receives events from the first moment on. Nil discards.
	Progress func(Event)
}

// UpFunc brings a twin up and returns once both sites run and replication flows, or an error with nothing left behind.
// An error that wraps [ErrEnvironment] means that this machine can't run a twin.
type UpFunc func(ctx context.Context, options UpOptions) (Twin, error)
