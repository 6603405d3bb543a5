package alarms

import "time"

// The states of an alarm.
const (
	OK               = "OK"
	Alarm            = "ALARM"
	InsufficientData = "INSUFFICIENT_DATA"
)

// State is the state of an alarm.
type State struct {
	// Value is OK, ALARM or INSUFFICIENT_DATA.
	Value string
	// Reason is CloudWatch's sentence, ReasonData its JSON.
	Reason, ReasonData string
	// Updated is when the state was last set, Transitioned when it last changed.
	Updated, Transitioned time.Time
}

// Event is one entry of an alarm's history.
type Event struct {
	At    time.Time
	Alarm string
	// Composite says that the alarm is a composite one.
	Composite bool
	// Type is StateUpdate, Action or ConfigurationUpdate; Data is JSON.
	Type, Summary, Data string
}
