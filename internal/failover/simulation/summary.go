package simulation

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// maxViolations bounds how many violations a [Summary] lists.
const maxViolations = 10

// Summary is what many runs showed. Feed it with [Summary.Add] and end with [Summary.Finish].
type Summary struct {
	// FirstSeed and Runs say which seeds were simulated; the next fields are the settings that the deployment has.
	FirstSeed uint64 `json:"first_seed"`
	Runs      int    `json:"runs"`
	Settings  struct {
		Mode                     string  `json:"mode"`
		LeaseSeconds             float64 `json:"lease_seconds"`
		MarginSeconds            float64 `json:"margin_seconds"`
		MaxLagSeconds            float64 `json:"max_lag_seconds"`
		DatabaseThresholdSeconds float64 `json:"database_threshold_seconds"`
		AppThresholdSeconds      float64 `json:"app_threshold_seconds"`
		HandoffTimeoutSeconds    float64 `json:"handoff_timeout_seconds"`
	} `json:"settings"`
	Mutation string `json:"mutation,omitempty"`
	// ViolationCount counts the runs in which an invariant broke; Violations lists the first of them.
	ViolationCount int         `json:"violation_count"`
	Violations     []Violation `json:"violations"`
	// Terms, Acknowledged and Lost are summed over the runs; Waiting counts the runs that ended before a person's decision.
	Terms        int `json:"terms_served"`
	Acknowledged int `json:"payments_acknowledged"`
	Pins         int `json:"pins_confirmed"`
	Lost         int `json:"payments_lost"`
	Waiting      int `json:"waiting_for_a_person"`
	Events       int `json:"events"`
	// SiteRTO, ClientRTO and RPO are of the runs in which nothing happens but the loss of the active region, in the
	// deployment's own mode; RegionLosses counts these. NotBack are those of them in which the client was not served while
	// the region was gone, LeftToPerson those of NotBack in which a warden named a decision that it left to a person: none of
	// them is in a distribution that it has no time for. Outage is the longest time without an acknowledged payment in each
	// run under any faults, whose mode is automatic in five of six. All with the deployment's own settings.
	RegionLosses int          `json:"region_losses"`
	NotBack      int          `json:"region_losses_not_back"`
	LeftToPerson int          `json:"region_losses_left_to_a_person"`
	SiteRTO      Distribution `json:"site_rto"`
	ClientRTO    Distribution `json:"client_rto"`
	RPO          Distribution `json:"rpo"`
	Outage       Distribution `json:"outage_under_any_faults"`
	// Seconds is how long the runs took, RunsPerSecond how many that makes.
	Seconds       float64 `json:"seconds"`
	RunsPerSecond float64 `json:"runs_per_second"`
}

// Violation is a run in which an invariant broke.
type Violation struct {
	Seed    uint64 `json:"seed"`
	Profile string `json:"profile"`
	What    string `json:"what"`
}

// Distribution describes times, in seconds.
type Distribution struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_seconds"`
	P90   float64 `json:"p90_seconds"`
	P99   float64 `json:"p99_seconds"`
	Max   float64 `json:"max_seconds"`

	all []time.Duration
}

func (d *Distribution) add(t time.Duration) { d.all = append(d.all, t) }

func (d *Distribution) finish() {
	slices.Sort(d.all)
	d.Count = len(d.all)
	if d.Count == 0 {
		return
	}
	at := func(percent int) float64 { return d.all[(d.Count-1)*percent/100].Seconds() }
	d.P50, d.P90, d.P99, d.Max = at(50), at(90), at(99), at(100)
	d.all = nil
}

// columns are the percentiles in a table, each a dash if there is nothing to take them of.
func (d *Distribution) columns() string {
	if d.Count == 0 {
		return "-\t-\t-\t-\t"
	}
	return fmt.Sprintf("%.1f\t%.1f\t%.1f\t%.1f\t", d.P50, d.P90, d.P99, d.Max)
}

// NewSummary prepares the summary of runs with the options.
func NewSummary(first uint64, opt Options) *Summary {
	opt = opt.withDefaults()
	s := &Summary{FirstSeed: first, Violations: []Violation{}}
	s.Settings.Mode = string(opt.Settings.Mode)
	s.Settings.LeaseSeconds, s.Settings.MarginSeconds = opt.Lease.Seconds(), opt.Margin.Seconds()
	s.Settings.MaxLagSeconds = opt.Settings.MaxLag.Seconds()
	s.Settings.DatabaseThresholdSeconds = opt.Settings.DatabaseThreshold.Seconds()
	s.Settings.AppThresholdSeconds = opt.Settings.AppThreshold.Seconds()
	s.Settings.HandoffTimeoutSeconds = opt.Settings.HandoffTimeout.Seconds()
	if opt.Mutation != NoMutation {
		s.Mutation = opt.Mutation.String()
	}
	return s
}

// Add takes one run into account.
func (s *Summary) Add(r Result) {
	s.Runs++
	s.Terms += r.Terms
	s.Acknowledged += r.Acknowledged
	s.Lost += r.Lost
	s.Pins += r.Pins
	s.Events += r.Steps
	if r.Waiting != "" {
		s.Waiting++
	}
	if r.Violation != "" {
		if s.ViolationCount++; len(s.Violations) < maxViolations {
			s.Violations = append(s.Violations, Violation{Seed: r.Seed, Profile: r.Profile.String(), What: r.Violation})
		}
	}
	if r.RegionLost {
		s.addLoss(r)
	} else if r.OwnSettings {
		s.Outage.add(r.Outage)
	}
}

// addLoss takes a run into account that measures the loss of a region.
func (s *Summary) addLoss(r Result) {
	s.RegionLosses++
	if r.SiteRTO > 0 {
		s.SiteRTO.add(r.SiteRTO)
		s.RPO.add(r.RPO)
	}
	if r.ClientRTO > 0 {
		s.ClientRTO.add(r.ClientRTO)
		return
	}
	s.NotBack++
	if r.LeftToPerson != "" {
		s.LeftToPerson++
	}
}

// Finish computes the distributions; the runs took so long.
func (s *Summary) Finish(took time.Duration) {
	for _, d := range []*Distribution{&s.SiteRTO, &s.ClientRTO, &s.RPO, &s.Outage} {
		d.finish()
	}
	s.Seconds = took.Seconds()
	if s.Seconds > 0 {
		s.RunsPerSecond = float64(s.Runs) / s.Seconds
	}
}

// WriteJSON writes the summary as JSON.
func (s *Summary) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(s)
}

// WriteText writes the summary for people.
func (s *Summary) WriteText(w io.Writer) error {
	var b strings.Builder
	c := s.Settings
	fmt.Fprintf(&b, "%d runs from seed %d in %.1f s (%.0f runs/s, %d events)\n", s.Runs, s.FirstSeed, s.Seconds, s.RunsPerSecond, s.Events)
	fmt.Fprintf(&b, "mode %s, lease %g s, margin %g s, max lag %g s, thresholds %g s (database) and %g s (application), hand-off %g s\n",
		c.Mode, c.LeaseSeconds, c.MarginSeconds, c.MaxLagSeconds, c.DatabaseThresholdSeconds, c.AppThresholdSeconds, c.HandoffTimeoutSeconds)
	if s.Mutation != "" {
		fmt.Fprintf(&b, "WITHOUT THE RULE that %s breaks\n", s.Mutation)
	}
	fmt.Fprintf(&b, "%d terms served, %d pins, %d payments acknowledged, %d of them missing when a later term began\n",
		s.Terms, s.Pins, s.Acknowledged, s.Lost)
	fmt.Fprintf(&b, "%d runs end before a decision that a warden leaves to a person\n\n", s.Waiting)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "seconds\truns\tp50\tp90\tp99\tmax\t")
	for _, row := range []struct {
		name string
		d    Distribution
	}{
		{"active region lost: RTO of the site", s.SiteRTO},
		{"RTO of a client behind DNS", s.ClientRTO},
		{"RPO", s.RPO},
		{"any faults: longest outage", s.Outage},
	} {
		fmt.Fprintf(table, "%s\t%d\t%s\n", row.name, row.d.Count, row.d.columns())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if s.NotBack > 0 {
		fmt.Fprintf(&b, "\nin %d of %d runs that lose the active region and nothing else, service is not back while it is gone; in %d of them "+
			"a warden waits for a person\n", s.NotBack, s.RegionLosses, s.LeftToPerson)
	}
	fmt.Fprintf(&b, "\n%d violations of the invariants I1 to I5\n", s.ViolationCount)
	for _, v := range s.Violations {
		fmt.Fprintf(&b, "  seed %d (%s): %s\n", v.Seed, v.Profile, v.What)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
