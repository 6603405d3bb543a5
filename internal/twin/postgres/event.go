package postgres

import (
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// maxEvents is how many events are kept; the oldest go first.
const maxEvents = 4096

// Event is what describe-events shows and what RDS publishes.
type Event struct {
	At     time.Time `json:"at"`
	Region string    `json:"region"`
	// SourceType is "db-cluster", "db-instance" or "db-cluster-snapshot".
	SourceType string `json:"source_type"`
	Source     string `json:"source"`
	SourceARN  string `json:"source_arn"`
	// Code is RDS's, as in RDS-EVENT-0238; empty for what only the twin knows.
	Code       string   `json:"code,omitempty"`
	Categories []string `json:"categories"`
	Message    string   `json:"message"`
}

// Events lists a Region's events, oldest first.
func (a *Aurora) Events(region string) []Event {
	a.eventsMu.Lock()
	defer a.eventsMu.Unlock()
	var out []Event
	for _, e := range a.events {
		if e.Region == region {
			e.Categories = slices.Clone(e.Categories)
			out = append(out, e)
		}
	}
	return out
}

func (a *Aurora) emit(e Event) {
	e.At = time.Now().UTC()
	a.eventsMu.Lock()
	a.events = append(a.events, e)
	if extra := len(a.events) - maxEvents; extra > 0 {
		a.events = slices.Delete(a.events, 0, extra)
	}
	a.eventsMu.Unlock()
	a.opt.Logger.Info(e.Message, slog.String("region", e.Region), slog.String("source", e.Source), slog.String("code", e.Code))
	if a.opt.Events != nil {
		a.opt.Events(e)
	}
}

// clusterEvent emits an event of a cluster. It must not be called with the lock held: the callback may ask for views.
func (a *Aurora) clusterEvent(c *cluster, code, category, format string, args ...any) {
	e := Event{
		Region: c.spec.Region, SourceType: "db-cluster", Source: c.spec.Identifier, SourceARN: c.spec.ARN,
		Categories: []string{category}, Message: fmt.Sprintf(format, args...),
	}
	if code != "" {
		e.Code = "RDS-EVENT-" + code
	}
	a.emit(e)
}

// globalEvent emits an event about a cluster's part in its global cluster; between the two halves of the sentence go the
// cluster and its Region, as AWS words it.
func (a *Aurora) globalEvent(c *cluster, code, before, after string) {
	a.clusterEvent(c, code, globalFailover, "%s DB cluster %s in Region %s%s", before, c.spec.Identifier, c.spec.Region, after)
}

// blockEvent says whether the old writer was kept from writing before another took its place. Like Aurora it is recorded
// with the old writer, or with the new one if the old one's Region can't be reached.
// https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.Messages.html
func (a *Aurora) blockEvent(from, to *cluster, succeeded bool) {
	a.mu.Lock()
	at := from.head
	if !from.region.up || from.region.frozen {
		at = to.head
	}
	a.mu.Unlock()
	code, outcome := "0391", "timed out"
	if succeeded {
		code, outcome = "0390", "succeeded"
	}
	e := Event{
		Region: at.spec.Region, SourceType: "db-instance", Source: at.spec.Identifier, SourceARN: at.spec.ARN,
		Code: "RDS-EVENT-" + code, Categories: []string{"notification", "global database"},
		Message: fmt.Sprintf("Attempt to block writes for DB cluster %s in Region %s %s.", from.spec.Identifier, from.spec.Region, outcome),
	}
	a.emit(e)
}

// endpointEvent says that the endpoints lead to the new writer.
func (a *Aurora) endpointEvent(to *cluster) {
	a.clusterEvent(to, "0397", globalFailover, "Aurora finished changing the DNS name that the global writer endpoint resolves to.")
}

func (a *Aurora) instanceEvent(in *instance, code, category, format string, args ...any) {
	e := Event{
		Region: in.spec.Region, SourceType: "db-instance", Source: in.spec.Identifier, SourceARN: in.spec.ARN,
		Categories: []string{category}, Message: fmt.Sprintf(format, args...),
	}
	if code != "" {
		e.Code = "RDS-EVENT-" + code
	}
	a.emit(e)
}
