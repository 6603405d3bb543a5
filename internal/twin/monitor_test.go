package twin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/postgres"
)

func TestSubscriptionsChooseEvents(t *testing.T) {
	s := topology.EventSubscription{
		Region: "us-east-1", SourceType: "db-cluster", SourceIDs: []string{"primary"}, Categories: []string{"failover", "global-failover"},
	}
	event := postgres.Event{
		At: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Region: "us-east-1", SourceType: "db-cluster", Source: "primary",
		Code: "RDS-EVENT-0238", Categories: []string{"notification", "global failover"}, Message: "Global failover completed.",
	}
	if !subscribed(s, event) || !subscribed(topology.EventSubscription{Region: "us-east-1"}, event) {
		t.Error("a subscription lacks an event that it is for")
	}
	for what, change := range map[string]func(*postgres.Event){
		"region":      func(e *postgres.Event) { e.Region = "us-west-2" },
		"source type": func(e *postgres.Event) { e.SourceType = "db-instance" },
		"source":      func(e *postgres.Event) { e.Source = "dr" },
		"category":    func(e *postgres.Event) { e.Categories = []string{"creation"} },
	} {
		other := event
		if change(&other); subscribed(s, other) {
			t.Errorf("an event of another %s is delivered", what)
		}
	}
	m := eventMessage(event)
	var body map[string]string
	if err := json.Unmarshal([]byte(m.JSON), &body); err != nil || body["Event ID"] != "RDS-EVENT-0238" || body["Source ID"] != "primary" {
		t.Errorf("JSON %s, %v", m.JSON, err)
	}
	if !strings.Contains(m.Text, "Event Message:  Global failover completed.\n") {
		t.Errorf("text %q", m.Text)
	}
}
