package warden

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// journal writes what changed: one record when what is observed or decided differs from the last time, one when a
// step ends. A quiet tick writes nothing.
type journal struct {
	log  *slog.Logger
	boot func() term.Instant
	// head is the newest entry's, as others are to witness it.
	head func() string

	mu   sync.Mutex
	last string
	// tails is how many terms' ends the record missed when it was last read.
	tails int
	// failure is the step and error journaled last, and when; the same again is journaled once per repeatEvery.
	failure string
	failed  term.Instant
}

// repeatEvery is how often a step that keeps failing in the same way is journaled.
const repeatEvery = 10 * time.Second

// event writes one record. Every record carries the boot clock, on which the leases run, in seconds.
func (j *journal) event(message string, args ...any) {
	j.log.Info(message, append([]any{"boot_seconds", time.Duration(j.boot()).Seconds()}, args...)...)
}

// observed writes the observation and the decision if anything but numbers that always move is news.
func (j *journal) observed(o failover.Observation, d failover.Decision) {
	gist := gistOf(o, d)
	j.mu.Lock()
	news := gist != j.last
	j.last = gist
	saved := len(o.Store.Record.TailOf) < j.tails
	if o.Store.Readable {
		j.tails = len(o.Store.Record.TailOf)
	}
	j.mu.Unlock()
	if !news {
		return
	}
	r := o.Store.Record
	args := []any{
		"step", d.Step, "reason", d.Reason,
		"term", r.Term, "holder", r.Holder, "state", r.State, "served_term", r.ServedTerm,
		"version", r.Version, "renewal", r.Renewal,
		"store", storeWord(o.Store), "trust_left_ms", trustLeft(o).Milliseconds(), "stood_ms", o.Watch.Stood().Milliseconds(),
		"database", databaseWord(o.Database), "lineage", o.Database.HighestTerm(), "sealed_term", o.Database.SealedTerm,
		"drained_term", o.Database.DrainedTerm, "lease_valid", o.Database.LeaseValid, "position", o.Database.Position,
		"cluster", clusterWord(o.Cluster), "healthy_targets", o.App.HealthyTargets, "peer", peerWord(o),
	}
	if len(r.TailOf) > 0 {
		args = append(args, "tail_of", r.TailOf)
	}
	if saved && o.Store.Readable && r.TailSavedBy != "" {
		args = append(args, "tail_saved_by", r.TailSavedBy)
	}
	if r.Journal != "" {
		args = append(args, "anchor", r.Journal)
	}
	if r.Wanted != nil {
		args = append(args, "wanted", r.Wanted.Site, "wanted_by", r.Wanted.By, "wanted_reason", r.Wanted.Reason)
	}
	for _, e := range []struct{ name, text string }{
		{"store_error", o.Store.Err},
		{"database_error", o.Database.Err},
		{"cluster_error", o.Cluster.Err},
		{"app_error", o.App.Err},
	} {
		if e.text != "" {
			args = append(args, e.name, e.text)
		}
	}
	if len(d.Refusals) > 0 {
		args = append(args, "refusals", d.Refusals)
	}
	if d.Step == failover.Promote {
		args = append(args, "lossy", d.Lossy)
	}
	j.event("decided", args...)
}

// finished writes the end of a step.
func (j *journal) finished(step failover.Step, result outcome, took time.Duration) {
	args := []any{"step", step, "took_ms", took.Milliseconds()}
	if result.detail != "" {
		args = append(args, "detail", result.detail)
	}
	if j.repeats(step, result.err) {
		return
	}
	if result.err != nil {
		j.event("failed", append(args, "error", result.err.Error())...)
		return
	}
	j.event("done", args...)
}

// repeats reports whether the same failure was journaled a moment ago.
func (j *journal) repeats(step failover.Step, err error) bool {
	failure := ""
	if err != nil {
		failure = string(step) + digitless(err.Error())
	}
	now := j.boot()
	j.mu.Lock()
	defer j.mu.Unlock()
	if failure != "" && failure == j.failure && now.Sub(j.failed) < repeatEvery {
		return true
	}
	j.failure, j.failed = failure, now
	return false
}

// gistOf is equal for two observations that an operator would call the same.
func gistOf(o failover.Observation, d failover.Decision) string {
	r := o.Store.Record
	reason, _, _ := strings.Cut(d.Reason, ": ")
	gates := make([]string, 0, len(d.Refusals))
	for _, refusal := range d.Refusals {
		gates = append(gates, refusal.Gate)
	}
	wanted := ""
	if r.Wanted != nil {
		wanted = r.Wanted.Site
	}
	return fmt.Sprint(d.Step, "|", digitless(reason), "|", gates, "|",
		r.Term, r.Holder, r.State, r.ServedTerm, r.TailOf, wanted, "|", storeWord(o.Store), "|", o.Trust.Holds(r.Term, o.Now), "|",
		databaseWord(o.Database), o.Database.HighestTerm(), o.Database.SealedTerm, o.Database.DrainedTerm, o.Database.LeaseValid, "|",
		clusterWord(o.Cluster), "|", o.App.Known, o.App.HealthyTargets, "|", peerWord(o))
}

func digitless(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}

func trustLeft(o failover.Observation) time.Duration {
	if !o.Trust.Holds(o.Store.Record.Term, o.Now) {
		return 0
	}
	return o.Trust.Left(o.Now)
}

func storeWord(s failover.StoreView) string {
	switch {
	case s.Missing:
		return "no record"
	case !s.Readable:
		return "unreadable"
	}
	return "readable"
}

func databaseWord(d failover.DatabaseView) string {
	switch {
	case !d.Reachable:
		return "unreachable"
	case d.Writer:
		return "writer"
	}
	return "standby"
}

func clusterWord(c failover.ClusterView) string {
	switch {
	case !c.Known:
		return "unknown"
	case c.Moving:
		return "moving"
	case c.Writer == "":
		return "no writer"
	}
	return "writer " + c.Writer
}

func peerWord(o failover.Observation) string {
	switch {
	case !o.PeerBeaconSeen:
		return "never seen"
	case o.PeerBeaconAge > o.Settings.BeaconMaxAge:
		return "silent"
	case o.PeerBeacon.Ready:
		return "ready"
	}
	return "not ready"
}
