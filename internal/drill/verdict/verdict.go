// Package verdict is the result of a drill: the JSON object that "holdfast drill -o json" prints, the judgement over
// it, and its form for people. It holds counts and judges them; counting is the job of package drill.
package verdict

import (
	"fmt"
	"time"
)

// The two verdicts.
const (
	Pass = "pass"
	Fail = "fail"
)

// writeFence is the SQLSTATE of a commit that the fence refuses.
const writeFence = "HF001"

// Verdict is what a drill found. Its JSON is a contract: fields are added, never renamed or removed. Times called
// "at_seconds" run from the moment the drill began; seconds are real ones, never multiplied by the speed.
type Verdict struct {
	Verdict string `json:"verdict"`
	// Failures says in words what made the verdict "fail"; it is empty for "pass".
	Failures []string `json:"failures"`
	Fault    string   `json:"fault"`
	// Expectation says in words what has to happen, Happened what did.
	Expectation string `json:"expectation"`
	Happened    string `json:"happened"`
	// Checks are the parts of the expectation that are particular to the fault. The rest is the same for every drill.
	Checks []Check `json:"checks"`
	// Demands say which of the common parts the fault calls for.
	Demands    Demands    `json:"-"`
	Seed       uint64     `json:"seed"`
	Speed      float64    `json:"speed"`
	Objectives Objectives `json:"objectives"`
	// RTOSeconds runs from just before the kill to the first payment acknowledged in an attempt that began after it; null
	// if there was none. In application-failing it runs from the operator's request; in a planned move it is the longest
	// time without an acknowledged payment around the move; where the fault repeats it is the longest.
	RTOSeconds *float64 `json:"rto_seconds"`
	// RPOSeconds is the longest stretch of time whose acknowledged payments the surviving ledger lacks: from the oldest of
	// them to the end of the fault, or to the newest of them where the old site went on for the rest of its lease. 0 if it
	// lacks none, null if it could not be asked.
	RPOSeconds *float64 `json:"rpo_seconds"`
	// SiteRTOSeconds runs from just before the fault until the other site served, before any client had heard of it by DNS;
	// TakeoverOverheadSeconds is that less the lease and the margin, which a takeover has to wait for. Both are null if no
	// takeover by expiry was part of the drill.
	SiteRTOSeconds          *float64 `json:"site_rto_seconds"`
	TakeoverOverheadSeconds *float64 `json:"takeover_overhead_seconds"`
	LeaseSeconds            float64  `json:"lease_seconds"`
	MarginSeconds           float64  `json:"margin_seconds"`
	// StandstillSeconds is the longest time without an acknowledged payment after the fault began.
	StandstillSeconds *float64 `json:"standstill_seconds"`
	// LoadBeforeFaultSeconds is how long payments were acknowledged before the kill. An RPO can't be measured as longer.
	LoadBeforeFaultSeconds float64 `json:"load_before_fault_seconds"`
	// FaultAtSeconds is when the kill began; null if the drill did not get that far.
	FaultAtSeconds *float64 `json:"fault_at_seconds"`
	Phases         []Phase  `json:"phases"`
	Timeline       []Entry  `json:"timeline"`
	// TimelineLeftOut is how many entries are left out in the middle of Timeline; the results folder has them.
	TimelineLeftOut int           `json:"timeline_left_out"`
	Payments        Payments      `json:"payments"`
	Lost            []LostPayment `json:"lost"`
	// ChargedTwice lists the orders behind payments.charged_twice.
	ChargedTwice []Order     `json:"charged_twice_orders"`
	Tail         Tail        `json:"tail"`
	Ledger       Ledger      `json:"ledger"`
	SplitBrain   SplitBrain  `json:"split_brain"`
	Thawed       Thawed      `json:"thawed"`
	SwitchBack   SwitchBack  `json:"switch_back"`
	Environment  Environment `json:"environment"`
	Setup        Setup       `json:"setup"`
	// ResultsFolder holds this object, the timeline, journals and the exported tail.
	ResultsFolder string `json:"results_folder,omitempty"`
}

// Objectives are what was promised, in seconds at this drill's speed.
type Objectives struct {
	RTOSeconds float64 `json:"rto_seconds"`
	RPOSeconds float64 `json:"rpo_seconds"`
}

// Phase is one phase of the drill and how long it took.
type Phase struct {
	Name      string  `json:"name"`
	AtSeconds float64 `json:"at_seconds"`
	Seconds   float64 `json:"seconds"`
	// LimitSeconds is how long the phase may take.
	LimitSeconds float64 `json:"limit_seconds"`
}

// Entry is one line of the timeline.
type Entry struct {
	AtSeconds float64 `json:"at_seconds"`
	// Site is empty for what happens outside the sites.
	Site  string `json:"site"`
	Kind  string `json:"kind"`
	Event string `json:"event"`
}

// Payments counts payments, each in one pass over the merchants' own record and the surviving ledger.
type Payments struct {
	// Attempted are the payments that a merchant sent at least once.
	Attempted int `json:"attempted"`
	// Acknowledged are those that a merchant was told had been made; Kept and Lost are the acknowledged ones that the
	// surviving ledger has and has not.
	Acknowledged int `json:"acknowledged"`
	Kept         int `json:"kept"`
	Lost         int `json:"lost"`
	// Unknown were attempted and neither acknowledged nor turned down; UnknownInLedger of them are in the ledger.
	Unknown         int `json:"unknown"`
	UnknownInLedger int `json:"unknown_in_ledger"`
	// Declined were turned down by the acquirer, Refused by payd (a 4xx that no retry mends). The load sends valid orders
	// only, so no fault is a reason for a refusal.
	Declined int `json:"declined"`
	Refused  int `json:"refused"`
	// ToldNoButCharged are declined or refused payments whose order was charged at the acquirer.
	ToldNoButCharged int `json:"told_no_but_charged"`
	// Shed arrived while as many payments were under way as the load allows, and were never sent.
	Shed int `json:"shed"`
	// ChargedTwice are orders with more than one charge in the acquirer's own record.
	ChargedTwice int `json:"charged_twice"`
	// AcknowledgedNotCharged are acknowledged payments whose order the acquirer has not charged over that amount.
	AcknowledgedNotCharged int `json:"acknowledged_not_charged"`
	// ChargedNotBooked are charges that moved money and are neither in the surviving ledger nor in the exported tail.
	ChargedNotBooked int `json:"charged_not_booked"`
	// Attempts counts HTTP requests, retries included.
	Attempts int `json:"http_attempts"`
}

// LostPayment is an acknowledged payment that the surviving ledger lacks.
type LostPayment struct {
	PaymentID             string  `json:"payment_id"`
	AcknowledgedAtSeconds float64 `json:"acknowledged_at_seconds"`
	Amount                int64   `json:"amount"`
	Currency              string  `json:"currency"`
	// InTail says that the exported tail has it.
	InTail bool `json:"in_tail"`
}

// Order is a merchant's order that was charged more than once.
type Order struct {
	Merchant   string   `json:"merchant"`
	Reference  string   `json:"merchant_reference"`
	References []string `json:"charge_references"`
}

// Tail is what the wardens exported of the old volume's rows that the survivor lacks.
type Tail struct {
	// Folder is where the drill keeps its copy; empty if nothing was exported.
	Folder string `json:"folder"`
	// Payments is how many payments of merchants are in it, Unacknowledged how many of them nobody was told of.
	Payments       int `json:"payments"`
	Unacknowledged int `json:"unacknowledged"`
}

// Ledger says whether debits and credits are equal, per currency and over all entries.
type Ledger struct {
	Balanced bool `json:"balanced"`
	// Sums are debits minus credits per currency, in its minor unit.
	Sums map[string]int64 `json:"sums"`
	// Entries is how many ledger entries were added up, UnbalancedPayments of how many payments the own entries do not
	// balance. A ledger without entries is not called balanced.
	Entries            int64 `json:"entries"`
	UnbalancedPayments int64 `json:"unbalanced_payments"`
}

// SplitBrain counts the attempts to commit on a database that has no valid lease: the old site's after a takeover.
type SplitBrain struct {
	// Attempts are transactions that the old database answered, Accepted those that it committed.
	Attempts int `json:"attempts"`
	Accepted int `json:"accepted"`
	// RefusedBy counts the refusals by SQLSTATE: HF001 is the write fence, 25006 a read-only server.
	RefusedBy map[string]int `json:"refused_by"`
	// Ways counts the attempts by the way that was tried.
	Ways map[string]int `json:"ways"`
	// Inconclusive counts attempts that failed for a reason that has nothing to do with the fence.
	Inconclusive int `json:"inconclusive"`
	// Unanswered are commits that were sent and whose answer was lost. They are no attempts: if the database made one all
	// the same, the exported tail or the surviving ledger has it.
	Unanswered int `json:"unanswered"`
	// InTail and InLedger are the attempts that left rows in the exported tail and in the surviving ledger, which shows
	// that they were committed, whatever was answered. Accepted is at least their sum.
	InTail   int `json:"in_tail"`
	InLedger int `json:"in_ledger"`
	// Held are transactions that were frozen before their commit check, HeldAnswered those of them of which the thawed
	// database said what became of them.
	Held         int `json:"held"`
	HeldAnswered int `json:"held_answered"`
}

// Thawed counts the transactions that had passed their commit check before their database was frozen. They may land when
// it thaws, told to nobody; the exported tail must have those that did.
type Thawed struct {
	Staged int `json:"staged"`
	// Landed are those that the old database said it had committed, InTail those in the exported tail.
	Landed int `json:"landed"`
	InTail int `json:"in_tail"`
}

// SwitchBack is the planned return to the first site under load.
type SwitchBack struct {
	// DowntimeSeconds is the largest gap between two acknowledged payments around it; null if it did not happen.
	DowntimeSeconds *float64 `json:"downtime_seconds"`
	// Lost are acknowledged payments that the ledger had before the switch or got during it, and lacks after it.
	Lost int `json:"lost"`
}

// Environment is where the drill ran.
type Environment struct {
	CPUs       int       `json:"cpus"`
	PostgreSQL string    `json:"postgresql"`
	StartedAt  time.Time `json:"started_at"`
}

// Setup is what a result depends on beside the fault, the speed and the seed. Results of equal setups may be put together.
type Setup struct {
	// Revision is the commit that the program was built from, with "+modified" where the files were not the commit's, and
	// "unknown" where the build does not say.
	Revision string `json:"revision"`
	// Rate is in payments per second, over all Merchants.
	Rate      float64 `json:"rate"`
	Merchants int     `json:"merchants"`
	// Cycles is how often the active site is frozen, 0 for a fault that does not repeat.
	Cycles int `json:"cycles"`
	// Topology is a hash of the deployment.
	Topology string `json:"topology"`
}

// Check is one part of an expectation.
type Check struct {
	// What was looked at, as in "the term".
	What string `json:"what"`
	// Wanted and Got are in words.
	Wanted string `json:"wanted"`
	Got    string `json:"got"`
	OK     bool   `json:"ok"`
}

// Demands are the common parts of a verdict that not every fault calls for.
type Demands struct {
	// RTO: somebody had to take over, within the objective.
	RTO bool
	// RPO: the surviving ledger had to be asked for what the fault cost.
	RPO bool
	// Fence: commits on a database without a valid lease had to be tried, and refused by the fence.
	Fence bool
	// SwitchBack: the drill had to end where it began.
	SwitchBack bool
	// NoLoss: nothing acknowledged may be lost, not even if the tail has it.
	NoLoss bool
}

// New returns a verdict in which every list is empty rather than null.
func New(fault string, seed uint64, speed float64) *Verdict {
	return &Verdict{
		Verdict: Fail, Failures: []string{}, Fault: fault, Seed: seed, Speed: speed,
		Demands: Demands{RTO: true, RPO: true, Fence: true, SwitchBack: true}, Checks: []Check{},
		Phases: []Phase{}, Timeline: []Entry{}, Lost: []LostPayment{}, ChargedTwice: []Order{},
		Ledger: Ledger{Sums: map[string]int64{}}, SplitBrain: SplitBrain{RefusedBy: map[string]int{}, Ways: map[string]int{}},
	}
}

// Failf adds a failure that the counts do not show, as a phase that took too long.
func (v *Verdict) Failf(format string, args ...any) {
	v.Failures = append(v.Failures, fmt.Sprintf(format, args...))
}

// Judge adds a failure for every promise that the counts break, and sets the verdict: it is "pass" only if there is
// no failure. It is called once, after everything has been counted. In a drill that has failed already, what it did
// not get to is not held against it as well.
func (v *Verdict) Judge() {
	stopped := len(v.Failures) > 0
	v.judgeObjectives(stopped)
	v.judgePayments(stopped)
	if v.Payments.Acknowledged == 0 && !stopped {
		v.Failf("no payment was acknowledged, so nothing was shown")
	}
	if !v.Ledger.Balanced && (v.Ledger.Entries > 0 || !stopped) {
		v.Failf("the ledger is not shown to be balanced: %d entries, debits minus credits %v, %d payments out of balance",
			v.Ledger.Entries, v.Ledger.Sums, v.Ledger.UnbalancedPayments)
	}
	if v.Demands.Fence && v.SplitBrain.RefusedBy[writeFence] == 0 && !stopped {
		v.Failf("the write fence refused none of %d attempts to commit without a lease, so it was not shown to hold", v.SplitBrain.Attempts)
	}
	if v.SplitBrain.Accepted > 0 {
		v.Failf("split brain: a database without a valid lease accepted %d of %d commits", v.SplitBrain.Accepted, v.SplitBrain.Attempts)
	}
	v.judgeFreezes(stopped)
	if v.Demands.SwitchBack && v.SwitchBack.DowntimeSeconds == nil && !stopped {
		v.Failf("there was no switch back to the first site")
	}
	if v.SwitchBack.Lost > 0 {
		v.Failf("the switch back lost %d acknowledged payments", v.SwitchBack.Lost)
	}
	if v.Demands.NoLoss && v.Payments.Lost > 0 {
		v.Failf("%d acknowledged payments are lost, and nothing may be lost by this fault", v.Payments.Lost)
	}
	for _, c := range v.Checks {
		if !c.OK {
			v.Failf("%s: %s, want %s", c.What, c.Got, c.Wanted)
		}
	}
	v.Verdict = Pass
	if len(v.Failures) > 0 {
		v.Verdict = Fail
	}
}

// judgeFreezes looks at what can't be seen from the answers to the attempts alone.
func (v *Verdict) judgeFreezes(stopped bool) {
	s := v.SplitBrain
	if s.InTail > 0 || s.InLedger > 0 {
		v.Failf("split brain: of the commits tried without a lease %d are in the exported tail and %d in the surviving ledger", s.InTail, s.InLedger)
	}
	if s.HeldAnswered < s.Held && !stopped {
		v.Failf("%d of %d transactions that were frozen before their commit check were never answered, so they were not shown to be refused",
			s.Held-s.HeldAnswered, s.Held)
	}
	if v.Thawed.Landed > v.Thawed.InTail && !stopped {
		v.Failf("%d transactions landed after a thaw, but only %d of them are in the exported tail", v.Thawed.Landed, v.Thawed.InTail)
	}
}

func (v *Verdict) judgeObjectives(stopped bool) {
	switch {
	case v.Demands.RTO && v.RTOSeconds == nil && (v.FaultAtSeconds != nil || !stopped):
		v.Failf("RTO: no payment was acknowledged after the kill, objective %.4g s", v.Objectives.RTOSeconds)
	case v.RTOSeconds != nil && *v.RTOSeconds > v.Objectives.RTOSeconds:
		v.Failf("RTO: %.1f s, objective %.4g s", *v.RTOSeconds, v.Objectives.RTOSeconds)
	}
	switch {
	case v.Demands.RPO && v.RPOSeconds == nil && !stopped:
		v.Failf("RPO: the surviving ledger could not be asked, objective %.4g s", v.Objectives.RPOSeconds)
	case v.RPOSeconds != nil && *v.RPOSeconds > v.Objectives.RPOSeconds:
		v.Failf("RPO: %.1f s, objective %.4g s", *v.RPOSeconds, v.Objectives.RPOSeconds)
	}
}

func (v *Verdict) judgePayments(stopped bool) {
	p := v.Payments
	if counted := v.RPOSeconds != nil; p.Acknowledged != p.Kept+p.Lost && (counted || !stopped) {
		v.Failf("%d payments were acknowledged, but %d kept and %d lost were counted", p.Acknowledged, p.Kept, p.Lost)
	}
	if p.Attempted != p.Acknowledged+p.Unknown+p.Declined+p.Refused {
		v.Failf("%d payments were attempted, but %d acknowledged, %d unknown, %d declined and %d refused were counted",
			p.Attempted, p.Acknowledged, p.Unknown, p.Declined, p.Refused)
	}
	if p.Lost != len(v.Lost) {
		v.Failf("%d payments are lost, but %d are listed", p.Lost, len(v.Lost))
	}
	if p.ChargedTwice > 0 {
		v.Failf("%d orders were charged more than once", p.ChargedTwice)
	}
	if p.Refused > 0 {
		v.Failf("%d valid payments were refused for good", p.Refused)
	}
	if p.ToldNoButCharged > 0 {
		v.Failf("%d payments were declined or refused, and charged at the acquirer all the same", p.ToldNoButCharged)
	}
	if p.AcknowledgedNotCharged > 0 {
		v.Failf("%d acknowledged payments were never charged at the acquirer", p.AcknowledgedNotCharged)
	}
	if p.ChargedNotBooked > 0 {
		v.Failf("%d charges at the acquirer are neither in the surviving ledger nor in the exported tail", p.ChargedNotBooked)
	}
	missing := 0
	for _, lost := range v.Lost {
		if !lost.InTail {
			missing++
		}
	}
	if missing > 0 {
		v.Failf("%d lost payments are not in the exported tail either", missing)
	}
}
