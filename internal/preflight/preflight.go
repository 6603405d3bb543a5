package preflight

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Severity says what a finding means for a failover.
type Severity string

// The severities, from good to bad. A report passes with OK and Warn only.
const (
	// OK: as wanted.
	OK Severity = "ok"
	// Warn: a failover will work; something about it should be better.
	Warn Severity = "warn"
	// Unknown: it could not be found out. Not a pass.
	Unknown Severity = "unknown"
	// Fail: a failover would fail, lose more than it must, or go unnoticed.
	Fail Severity = "fail"
)

var order = []Severity{OK, Warn, Unknown, Fail}

// Finding is one thing that was looked at.
type Finding struct {
	Severity Severity `json:"severity"`
	// Subject is whom it is about, as in "site dr" or "alarm lag-dr"; What is the property.
	Subject string `json:"subject"`
	What    string `json:"what"`
	Current string `json:"current"`
	Wanted  string `json:"wanted"`
	Remedy  string `json:"remedy,omitempty"`
}

// Check looks at one thing.
type Check struct {
	Name string
	// Protects says what goes wrong in a failover without it.
	Protects string
	// Timeout bounds it; 0 means defaultTimeout.
	Timeout time.Duration
	// Run returns at least one finding.
	Run func(ctx context.Context) []Finding
}

// Result is what a check found.
type Result struct {
	Name     string    `json:"name"`
	Protects string    `json:"protects"`
	Severity Severity  `json:"severity"`
	TookMS   int64     `json:"took_ms"`
	Findings []Finding `json:"findings"`
}

// Skipped is a check that was left out.
type Skipped struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Report is the whole answer.
type Report struct {
	Deployment string    `json:"deployment"`
	At         time.Time `json:"at"`
	Active     string    `json:"active"`
	Standby    string    `json:"standby"`
	Passed     bool      `json:"passed"`
	Checks     []Result  `json:"checks"`
	Skipped    []Skipped `json:"skipped,omitempty"`
}

// Limits of a run.
const (
	defaultTimeout = 20 * time.Second
	// atOnce bounds the checks that run at the same time, for the APIs' sake.
	atOnce = 6
)

// Run runs the checks and returns their results in their order.
func Run(ctx context.Context, checks []Check) []Result {
	results := make([]Result, len(checks))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] = run(ctx, c)
		})
	}
	wg.Wait()
	return results
}

func run(ctx context.Context, c Check) Result {
	limit := c.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	findings := c.Run(ctx)
	if len(findings) == 0 { // a check that finds nothing has looked at nothing
		findings = []Finding{{
			Severity: Unknown, Subject: c.Name, What: "the check", Current: "found nothing to look at", Wanted: "at least one finding",
			Remedy: "see that the configuration names everything: write it again with 'terraform output -json holdfast'",
		}}
	}
	r := Result{Name: c.Name, Protects: c.Protects, Severity: OK, TookMS: time.Since(began).Milliseconds(), Findings: findings}
	for _, f := range findings {
		if slices.Index(order, f.Severity) > slices.Index(order, r.Severity) {
			r.Severity = f.Severity
		}
	}
	return r
}

// passed reports whether nothing failed and nothing is unknown.
func passed(results []Result) bool {
	return !slices.ContainsFunc(results, func(r Result) bool { return r.Severity == Fail || r.Severity == Unknown })
}

// subject makes findings about one subject.
type subject string

// want is a finding that is OK if good, and a failure with a remedy otherwise.
func (s subject) want(good bool, what string, current any, wanted, remedy string) Finding {
	return s.judge(good, Fail, what, current, wanted, remedy)
}

// prefer is a finding that is OK if good, and a warning otherwise.
func (s subject) prefer(good bool, what string, current any, wanted, remedy string) Finding {
	return s.judge(good, Warn, what, current, wanted, remedy)
}

func (s subject) judge(good bool, otherwise Severity, what string, current any, wanted, remedy string) Finding {
	f := Finding{Severity: OK, Subject: string(s), What: what, Current: fmt.Sprint(current), Wanted: wanted}
	if !good {
		f.Severity, f.Remedy = otherwise, remedy
	}
	return f
}

// unknown is a finding about what could not be asked.
func (s subject) unknown(what string, err error, wanted, remedy string) Finding {
	return Finding{Severity: Unknown, Subject: string(s), What: what, Current: "not known: " + err.Error(), Wanted: wanted, Remedy: remedy}
}

// remedyAsk is what to do when an API does not answer.
const remedyAsk = "see that the region answers and that the caller of preflight may make this call"
