// Package term holds the record that decides which site is active, and the arithmetic of trusting it.
//
// The record is one item in a strongly consistent store that survives the loss of any one region. It is read with
// strong consistency and written only by conditional writes that name the version read and raise it (P2). The site
// that holds the term may act only inside its [Trust]; a site that wants the term must watch the record stand still
// for a whole lease and margin with a [Watch]. Both are pure values over [Instant], which counts the machine's
// suspended time too.
package term

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Number is a term. It grows by one with every change of the active site and fences everything older.
type Number int64

// State says what the holder is doing with its term.
type State string

// The states of a record.
const (
	// Held: the holder's wardens renew the lease.
	Held State = "held"
	// Granted: the holder has sealed its database and given the term to GrantedTo (P14).
	Granted State = "granted"
	// Releasing: the holder refuses to renew; the other site waits out the lease (P15).
	Releasing State = "releasing"
)

// Record is the one versioned item that the sites share.
type Record struct {
	Deployment string `json:"deployment" dynamodbav:"deployment"`
	// Version grows by one with every write and is the only thing that a conditional write compares.
	Version int64  `json:"version" dynamodbav:"version"`
	Term    Number `json:"term" dynamodbav:"term"`
	Holder  string `json:"holder" dynamodbav:"holder"`
	// Renewal moves only when a warden of the holder renews; it is what the others watch.
	Renewal int64 `json:"renewal" dynamodbav:"renewal"`
	// Nonce is the stamp of the warden that wrote last. Only the own nonce gives trust (P4).
	Nonce string `json:"nonce" dynamodbav:"nonce"`
	// LeaseMS and MarginMS are in milliseconds, and are read from here, never from local configuration (P3).
	LeaseMS  int64 `json:"lease_ms" dynamodbav:"lease_ms"`
	MarginMS int64 `json:"margin_ms" dynamodbav:"margin_ms"`
	State    State `json:"state" dynamodbav:"state"`
	// GrantedTo is the site that may take the next term without waiting, in state granted.
	GrantedTo string  `json:"granted_to,omitempty" dynamodbav:"granted_to,omitempty"`
	Wanted    *Wanted `json:"wanted,omitempty" dynamodbav:"wanted,omitempty"`
	// ServedTerm is the last term under which a site took writes.
	ServedTerm Number `json:"served_term" dynamodbav:"served_term"`
	// CoveredUntil is how far the holder's write lease may reach at most, on its database's clock. Against the lease row
	// that has replicated it bounds what a copy lacks. It moves with renewals, before the lease does.
	CoveredUntil time.Time `json:"covered_until" dynamodbav:"covered_until"`
	// MovedAt is the wall-clock time of the last change of holder, for people and for cool-downs only.
	MovedAt time.Time `json:"moved_at" dynamodbav:"moved_at"`
	// UnpinnedTerm: an operator vouches that no pin of this term or an earlier one is in force any more (P18).
	UnpinnedTerm Number `json:"unpinned_term,omitempty" dynamodbav:"unpinned_term,omitempty"`
	// UnpinnedBy says who, and why.
	UnpinnedBy string `json:"unpinned_by,omitempty" dynamodbav:"unpinned_by,omitempty"`
	// TailOf are the terms, ascending, whose ends may be missing in the database that serves now. Taking a term over adds
	// one, unless the copy contains the drain, and so does serving one in a database that came to be the writer otherwise;
	// the site that has exported its old volume takes it out, or an operator who has read the snapshot that the service kept.
	TailOf []Number `json:"tail_of,omitempty" dynamodbav:"tail_of,omitempty"`
	// TailSavedBy says on whose word TailOf was last cleared, and by which export, where no warden did it.
	TailSavedBy string `json:"tail_saved_by,omitempty" dynamodbav:"tail_saved_by,omitempty"`
	// Journal is the head of the journal of the warden that last changed hands or state, for evidence.Verify.
	Journal string `json:"journal,omitempty" dynamodbav:"journal,omitempty"`
	// TakeoverBudget is how many hand-overs for health may still happen without an approval (P19).
	TakeoverBudget int `json:"takeover_budget" dynamodbav:"takeover_budget"`
}

// Wanted is a request to move the active site. Anyone may write it; it gives no right (P14).
type Wanted struct {
	Site   string    `json:"site" dynamodbav:"site"`
	By     string    `json:"by" dynamodbav:"by"`
	Reason string    `json:"reason" dynamodbav:"reason"`
	At     time.Time `json:"at" dynamodbav:"at"`
}

// Beacon is one site's advisory report about itself: a hint for the other site, never a right.
type Beacon struct {
	Deployment string `json:"deployment" dynamodbav:"deployment"`
	Site       string `json:"site" dynamodbav:"site"`
	// Sequence grows with every write. A reader judges freshness by seeing it move on its own clock.
	Sequence int64  `json:"sequence" dynamodbav:"sequence"`
	Warden   string `json:"warden" dynamodbav:"warden"`
	// Ready says that the site could take over now; NotReadyBecause says why not.
	Ready           bool   `json:"ready" dynamodbav:"ready"`
	NotReadyBecause string `json:"not_ready_because,omitempty" dynamodbav:"not_ready_because,omitempty"`
	// Request is when the hand-over to the site was asked for that Ready takes into account, zero if the site has seen none.
	Request time.Time `json:"request" dynamodbav:"request"`
	// WaitsFor are the gates that keep the site's wardens from what they would do next, each with what would open it.
	WaitsFor []string `json:"waits_for,omitempty" dynamodbav:"waits_for,omitempty"`
	// LineageTerm is the highest term in the site's database, DrainedTerm the highest term whose seal and drain the
	// site's database contains: "everything that the old holder committed is here".
	LineageTerm Number `json:"lineage_term" dynamodbav:"lineage_term"`
	DrainedTerm Number `json:"drained_term" dynamodbav:"drained_term"`
	// CoveredUntil is valid_until of the lease row in the site's database.
	CoveredUntil time.Time `json:"covered_until" dynamodbav:"covered_until"`
	// ReplayedPosition is the database's own position (an LSN), for people.
	ReplayedPosition string `json:"replayed_position,omitempty" dynamodbav:"replayed_position,omitempty"`
	// Pin is the newest pin in the site's database (P18).
	Pin *Pin `json:"pin,omitempty" dynamodbav:"pin,omitempty"`
	// ObservedWriter is the site whose cluster the site's control plane calls the global writer, empty if unknown.
	ObservedWriter string `json:"observed_writer,omitempty" dynamodbav:"observed_writer,omitempty"`
	// Mode and MaxLagMS (milliseconds) are the site's policy, for commands that foresee what it would do.
	Mode     string `json:"mode,omitempty" dynamodbav:"mode,omitempty"`
	MaxLagMS int64  `json:"max_lag_ms,omitempty" dynamodbav:"max_lag_ms,omitempty"`
	// DesiredTasks is how many tasks of the application the site wants, whether or not they run: what another site needs that
	// takes its load. 0 says nothing; the last one known stays here while the scheduler does not answer.
	DesiredTasks int `json:"desired_tasks,omitempty" dynamodbav:"desired_tasks,omitempty"`
	// RunningTasks and HealthyTargets are the site's application capacity.
	RunningTasks   int       `json:"running_tasks" dynamodbav:"running_tasks"`
	HealthyTargets int       `json:"healthy_targets" dynamodbav:"healthy_targets"`
	Approval       *Approval `json:"approval,omitempty" dynamodbav:"approval,omitempty"`
	// TrustLeftMS is what was left of the reporting warden's trust in its term, in milliseconds.
	TrustLeftMS int64 `json:"trust_left_ms,omitempty" dynamodbav:"trust_left_ms,omitempty"`
	// Journal is the head of the reporting warden's journal.
	Journal string `json:"journal,omitempty" dynamodbav:"journal,omitempty"`
	// At is wall-clock time, for people only.
	At time.Time `json:"at" dynamodbav:"at"`
}

// Pin says of a pin what people and their previews have to know of it. Its times are on the clock of the database that it was
// set on.
type Pin struct {
	Term     Number    `json:"term" dynamodbav:"term"`
	Site     string    `json:"site" dynamodbav:"site"`
	PinnedAt time.Time `json:"pinned_at" dynamodbav:"pinned_at"`
	// Until is its end at the latest, or when it was ended.
	Until time.Time `json:"until" dynamodbav:"until"`
	Ended bool      `json:"ended,omitempty" dynamodbav:"ended,omitempty"`
}

// Approval lets a site take over in mode approval, and in mode manual if it is Commanded; it names the term that it
// replaces and expires (P17).
type Approval struct {
	Term    Number    `json:"term" dynamodbav:"term"`
	By      string    `json:"by" dynamodbav:"by"`
	Reason  string    `json:"reason,omitempty" dynamodbav:"reason,omitempty"`
	Expires time.Time `json:"expires" dynamodbav:"expires"`
	// AllowDataLoss opens the gates for lag and lineage too, for this one term (P11). The lease is waited out all the
	// same.
	AllowDataLoss bool `json:"allow_data_loss,omitempty" dynamodbav:"allow_data_loss,omitempty"`
	// Commanded says that it was given by "holdfast failover", not by "holdfast approve".
	Commanded bool `json:"commanded,omitempty" dynamodbav:"commanded,omitempty"`
}

// Lease returns the lease as a duration.
func (r Record) Lease() time.Duration { return time.Duration(r.LeaseMS) * time.Millisecond }

// Margin returns the safety margin as a duration.
func (r Record) Margin() time.Duration { return time.Duration(r.MarginMS) * time.Millisecond }

// RenewEvery is how often each warden of the holder renews: an eighth of the lease.
func (r Record) RenewEvery() time.Duration { return r.Lease() / 8 }

// WithTail returns the record with one more term whose end may be missing. The record that it was made from stays as it is.
func (r Record) WithTail(n Number) Record {
	if !slices.Contains(r.TailOf, n) {
		r.TailOf = append(slices.Clone(r.TailOf), n)
		slices.Sort(r.TailOf)
	}
	return r
}

// WithoutTail is the opposite of [Record.WithTail].
func (r Record) WithoutTail(n Number) Record {
	r.TailOf = slices.DeleteFunc(slices.Clone(r.TailOf), func(t Number) bool { return t == n })
	return r
}

// PhysicalMargin is the part of a margin that covers what no clock setting shrinks: scheduling, a commit's way from
// its check to its flush, a hypervisor's pause. It stays the same at every speed of the twin.
const PhysicalMargin = 500 * time.Millisecond

// Scale returns lease and margin for a twin that runs speed times faster: all of the lease shrinks, the physical part
// of the margin does not. It refuses a speed at which the lease would be shorter than two margins.
func Scale(lease, margin time.Duration, speed float64) (time.Duration, time.Duration, error) {
	if speed < 1 || margin < PhysicalMargin {
		return 0, 0, fmt.Errorf("speed %g and margin %v: want a speed of at least 1 and a margin of at least %v", speed, margin, PhysicalMargin)
	}
	l := time.Duration(float64(lease) / speed)
	m := time.Duration(float64(margin-PhysicalMargin)/speed) + PhysicalMargin
	if l < 2*m {
		return 0, 0, fmt.Errorf("speed %g shrinks the lease to %v, less than two margins of %v: use a lower speed", speed, l, m)
	}
	return l, m, nil
}

// Validate reports the first field that no correct writer produces.
func (r Record) Validate() error {
	switch {
	case r.Deployment == "":
		return fmt.Errorf("term record: deployment is empty")
	case r.Version < 1:
		return fmt.Errorf("term record: version is %d, want at least 1", r.Version)
	case r.Term < 1:
		return fmt.Errorf("term record: term is %d, want at least 1", r.Term)
	case r.Holder == "":
		return fmt.Errorf("term record: holder is empty")
	case r.ServedTerm > r.Term:
		return fmt.Errorf("term record: served_term %d is above term %d", r.ServedTerm, r.Term)
	case r.LeaseMS <= 0 || r.MarginMS <= 0 || r.LeaseMS < 2*r.MarginMS:
		return fmt.Errorf("term record: lease_ms %d and margin_ms %d must be positive, and the lease at least twice the margin", r.LeaseMS, r.MarginMS)
	case r.State != Held && r.State != Granted && r.State != Releasing:
		return fmt.Errorf("term record: state is %q, want held, granted or releasing", r.State)
	case (r.State == Granted) != (r.GrantedTo != ""):
		return fmt.Errorf("term record: state %q with granted_to %q", r.State, r.GrantedTo)
	}
	return nil
}

// Errors of a [Store]. Any other error means that the outcome is unknown: read again.
var (
	// ErrNoRecord: the record does not exist. Only "holdfast init" may create it (P1).
	ErrNoRecord = errors.New("the term store has no record for this deployment; only 'holdfast init' creates one")
	// ErrConflict: the version named in a conditional write is not the record's version any more.
	ErrConflict = errors.New("the term record was changed by someone else")
)

// Store is a strongly consistent home of one deployment's record and beacons. A Store value talks to one replica;
// callers try the own region's first, then the other's (P4). Every call takes its deadline from ctx.
type Store interface {
	// Read returns the record as of some instant during the call, or ErrNoRecord.
	Read(ctx context.Context) (Record, error)
	// Write replaces the record whose version is next.Version-1. It returns ErrConflict if the version differs;
	// any other error leaves the outcome unknown.
	Write(ctx context.Context, next Record) error
	// Create writes the first record, with Version 1, and returns ErrConflict if there is one already.
	Create(ctx context.Context, first Record) error
	// Beacons returns the sites' beacons by site name; a missing one is not an error.
	Beacons(ctx context.Context) (map[string]Beacon, error)
	// PutBeacon replaces a site's beacon without a condition.
	PutBeacon(ctx context.Context, b Beacon) error
}
