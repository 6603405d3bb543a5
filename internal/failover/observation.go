package failover

import (
	"fmt"
	"slices"
	"time"

	"holdfast/internal/term"
)

// Observation is everything that one warden knows at one instant. It is gathered by the warden's loop and judged by
// [Decide], [Renew] and [Health], which read nothing else and change nothing. It is large: inside this package it is
// passed by pointer, and only read.
type Observation struct {
	// Now is the warden's own boot clock.
	Now term.Instant
	// WallClock is for stamps that people read (moved_at, wanted.at) and for approvals, never for leases.
	WallClock time.Time
	// Site is the warden's own site, Peer the other one.
	Site, Peer string
	// Warden names the process, as in "dr/1".
	Warden   string
	Settings Settings
	Store    StoreView
	// Trust is what the warden's own confirmed renewals give it; Watch what it saw of the other's.
	Trust    term.Trust
	Watch    term.Watch
	Database DatabaseView
	Cluster  ClusterView
	App      AppView
	// PeerBeacon is the other site's beacon; PeerBeaconAge is how long ago, on the own boot clock, it last moved, and
	// PeerBeaconSeen is false until it has been seen to move or appear once.
	PeerBeacon     term.Beacon
	PeerBeaconSeen bool
	PeerBeaconAge  time.Duration
	// PeerTasks is how many tasks of the application the other site wanted while it was the one that served, or what its
	// beacon says now if this process has not seen that.
	PeerTasks int
	// OwnBeacon is what the own site last published (it carries an approval).
	OwnBeacon term.Beacon
	// For tells how long, on the boot clock, conditions have held without interruption; zero if they do not hold.
	For Durations
	// TailExported says that the tail of the own old volume has been exported (P20).
	TailExported bool
	// TailSaved is one of the record's TailOf if this site has exported the end of that term, however its database went on.
	TailSaved term.Number
	// SwitchoverRefused is the newest term in which the other region has refused this warden a switchover for want of
	// permission, as a policy does that keeps wardens to their own region.
	SwitchoverRefused term.Number
}

// Durations says for how long each condition has held.
type Durations struct {
	// DatabaseDown, AppDown and BalancerDown: the own site's database is unreachable, no writer or takes no lease, no task of
	// its application runs, its balancer finds no target healthy. They count from the first time on, through short recoveries:
	// an outage is over when it has been over for a quarter of its threshold (P19).
	DatabaseDown, AppDown, BalancerDown time.Duration
	// Wanted: the record carries a request; Handoff: the own database is sealed for the held term, or it is granted.
	Wanted, Handoff time.Duration
	// Unserved: the own site holds a term that it does not serve yet.
	Unserved time.Duration
	// WriterMoved: [MovedAway] holds.
	WriterMoved time.Duration
	// PinSeen and PinEnded: since the newest pin in the own database was first seen at all, and first seen ended, by this
	// process. Unlike the others they go on while the database can't be reached, and across terms.
	PinSeen, PinEnded time.Duration
}

// Settings are the warden's own policy. Lease and margin are not here: they come from the record (P3).
type Settings struct {
	Mode Mode
	// MaxLag is the most data loss, in time, that an automatic takeover accepts.
	MaxLag time.Duration
	// DatabaseThreshold, AppThreshold and BalancerThreshold are how long the database of the active site may be down, its
	// application run no task, or its balancer find no healthy target, before the site gives up its term.
	DatabaseThreshold, AppThreshold, BalancerThreshold time.Duration
	// HandoffTimeout is how long a seal or a grant may stand before the holder takes it back (P14).
	HandoffTimeout time.Duration
	// BeaconMaxAge is how old the other site's beacon may be for a planned hand-over.
	BeaconMaxAge time.Duration
	// CoolDown is how long after a change of holder no hand-over for health starts (P19).
	CoolDown time.Duration
	// ForwardFor is how long after the term has moved away the site sends on the requests of clients that have not
	// followed DNS yet; 0 means it never does.
	ForwardFor time.Duration
	// PilotTasks is how many tasks of the application run at least in a standby, if PilotSet; else nothing is ever lowered.
	// CapacityFor is how long after a move the site keeps at least as many as the other one wanted.
	PilotTasks  int
	PilotSet    bool
	CapacityFor time.Duration
}

// Mode says who may decide that a site acquires the term; lease and fence run in all of them (P17). It is each site's own.
type Mode string

// The modes.
const (
	// Automatic: the wardens decide. A silent holder is replaced, a sick one gives its term up.
	Automatic Mode = "automatic"
	// Approval: the wardens do everything up to the decision. They watch, raise the capacity and say which gates are shut;
	// a silent holder is replaced once 'holdfast approve' names its term, a sick one gives the term up once the other site
	// is approved.
	Approval Mode = "approval"
	// Manual: the wardens prepare nothing and an approval is not enough: the term moves only by 'holdfast failover' and
	// 'holdfast switchover'.
	Manual Mode = "manual"
)

// StoreView is the last answer of the term store.
type StoreView struct {
	// Readable is false if the newest read failed; Record is then the last one seen.
	Readable bool
	// Missing is true if the store answered that there is no record (P1: an error and an alarm, never a start).
	Missing bool
	Record  term.Record
	Err     string
}

// DatabaseView is what the own site's database says about itself.
type DatabaseView struct {
	Reachable bool
	Err       string
	// Writer is true when the database accepts writes (it is not in recovery).
	Writer bool
	// Terms are the terms in holdfast.terms, ascending: the database's lineage.
	Terms []term.Number
	// LeaseTerm, SealedTerm, DrainedTerm and Renewal are the columns of holdfast.write_lease.
	LeaseTerm, SealedTerm, DrainedTerm term.Number
	Renewal                            int64
	// ValidUntil is the row's deadline, on the clock of the database that the lease was given to.
	ValidUntil time.Time
	// LeaseValid says that the row is this server's own and not yet past: commits pass now.
	LeaseValid bool
	// LeaseHere says that the row was given to this server since it started: not replicated, restored or promoted (P7).
	LeaseHere bool
	// Time is what the database's clock showed, and Asked the own boot clock before it was asked; see [DatabaseView.ClockBy].
	Time  time.Time
	Asked term.Instant
	// AskedIn is the newest term that was known when the database was asked: of a hand-over since then it can say nothing.
	AskedIn term.Number
	// Position is the database's LSN, for people.
	Position string
	// Pin is the newest pin in the database (P18).
	Pin PinView
}

// ClockBy is the latest that the database's clock can show at an instant: it was read after it was asked for, so what has
// passed since then is at most what has passed since the question.
func (d DatabaseView) ClockBy(now term.Instant) time.Time { return d.Time.Add(now.Sub(d.Asked)) }

// HasTerm reports whether the database's lineage contains the term.
func (d DatabaseView) HasTerm(n term.Number) bool {
	_, found := slices.BinarySearch(d.Terms, n)
	return found
}

// HighestTerm is the newest term in the lineage, 0 if there is none.
func (d DatabaseView) HighestTerm() term.Number {
	if len(d.Terms) == 0 {
		return 0
	}
	return d.Terms[len(d.Terms)-1]
}

// ClusterView is what the own region's database control plane says about the global cluster.
type ClusterView struct {
	Known bool
	Err   string
	// Writer is the site whose cluster is the global writer, empty if the control plane does not say.
	Writer string
	// Moving says that a switchover or failover is under way.
	Moving bool
	// Lossless says that what is under way is a switchover to the own cluster.
	Lossless bool
	// Member says that the own cluster belongs to the global cluster.
	Member bool
}

// AppView is the health of the application behind the own site's balancer.
type AppView struct {
	Known          bool
	HealthyTargets int
	RunningTasks   int
	// DesiredTasks is how many tasks shall run, 0 if the scheduler does not say.
	DesiredTasks int
	// MinimumTasks and MaximumTasks are the bounds of autoscaling; 0 if the application is not scaled.
	MinimumTasks, MaximumTasks int
	Err                        string
}

// Step is the one thing to do next.
type Step string

// The steps. Those that write the record carry it in Decision.Record; the executor writes it conditionally.
const (
	// Wait: nothing to do.
	Wait Step = "wait"
	// Acquire writes the next term with the own site as its holder.
	Acquire Step = "acquire"
	// Promote asks the control plane to make the own cluster the global writer; Decision.Lossy says whether data may be
	// lost (failover) or not (switchover). Executor: a fresh strong read first, deadline at the trust deadline, no retries (P12).
	Promote Step = "promote"
	// RecordTerm inserts the term into the database's holdfast.terms.
	RecordTerm Step = "record-term"
	// Serve writes served_term.
	Serve Step = "serve"
	// Seal, Drain and MoveWriter prepare a hand-over without loss (P9, P14).
	Seal       Step = "seal"
	Drain      Step = "drain"
	MoveWriter Step = "move-writer"
	// Grant writes state granted for the other site.
	Grant Step = "grant"
	// TakeBack writes (t+1, own site), which voids a seal or a grant of t.
	TakeBack Step = "take-back"
	// Release writes state releasing.
	Release Step = "release"
	// Want writes wanted; ClearWanted removes a request that nothing was done for.
	Want        Step = "want"
	ClearWanted Step = "clear-wanted"
	// ExportTail writes the rows that only the own old volume has to the export folder (P20).
	ExportTail Step = "export-tail"
	// ClearTail writes that the tail of the term served before has been exported (P20).
	ClearTail Step = "clear-tail"
	// EndPin ends the own site's pin in its database, because the store has answered (P18).
	EndPin Step = "end-pin"
)

// Decision is a step with its reason.
type Decision struct {
	Step   Step
	Reason string
	// Record is what a step that writes the record writes: the record read, with its version raised by one. The
	// executor stamps the nonce. With Promote and RecordTerm it is written first, if there is one.
	Record *term.Record
	// Lossy belongs to Promote.
	Lossy bool
	// Refusals say which gates keep the site from taking over, in words for an operator.
	Refusals []Refusal
}

// Refusal is a gate that is shut.
type Refusal struct {
	Gate    string `json:"gate"`
	Current string `json:"current"`
	Wanted  string `json:"wanted"`
	// Remedy says what would open the gate.
	Remedy string `json:"remedy"`
}

// String is the refusal in one line.
func (r Refusal) String() string {
	return fmt.Sprintf("gate %s: %s, want %s; %s", r.Gate, r.Current, r.Wanted, r.Remedy)
}
