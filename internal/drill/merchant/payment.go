package merchant

import (
	"time"
)

// Outcome is what a merchant knows about a payment.
type Outcome string

// The outcomes.
const (
	// Pending: the merchant is still trying.
	Pending Outcome = "pending"
	// Acknowledged: the merchant was told that the payment was made.
	Acknowledged Outcome = "acknowledged"
	// Declined: the acquirer turned the payment down.
	Declined Outcome = "declined"
	// Refused: an answer that no retry mends.
	Refused Outcome = "refused"
	// Unknown: the merchant gave up without a final answer. The payment may exist.
	Unknown Outcome = "unknown"
)

// Payment is one line of a merchant's record. Durations run from the fleet's start, on the monotonic clock.
type Payment struct {
	Merchant string `json:"merchant"`
	// Order is what the merchant calls the purchase; it never has more than one payment.
	Order string `json:"order"`
	// Key is the Idempotency-Key of all its attempts.
	Key           string `json:"key"`
	Amount        int64  `json:"amount"`
	Currency      string `json:"currency"`
	PaymentMethod string `json:"payment_method"`

	Arrived time.Duration `json:"arrived_ns"`
	Outcome Outcome       `json:"outcome"`
	// PaymentID is payd's, from the answer that ended it; empty if no answer named one.
	PaymentID string `json:"payment_id,omitempty"`
	// Ended is when the outcome was known.
	Ended    time.Duration `json:"ended_ns,omitempty"`
	Attempts []Attempt     `json:"attempts"`
}

// Attempt is one HTTP request.
type Attempt struct {
	Began time.Duration `json:"began_ns"`
	Ended time.Duration `json:"ended_ns"`
	// Address is where it was sent, empty if the name did not resolve.
	Address string `json:"address,omitempty"`
	// Status is 0 if there was no answer; Error says why, or what a final or retryable answer was called.
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Acknowledgement is the moment at which a merchant was told that its payment was made.
type Acknowledgement struct {
	At time.Duration
	// AttemptBegan is when the request that was answered was sent.
	AttemptBegan time.Duration
	// Address is where the answer came from.
	Address string
	// Payment is the payment's index in the record.
	Payment int
}

// Counts sums the record up.
type Counts struct {
	Attempted, Acknowledged, Pending, Declined, Refused, Unknown int
	// Shed arrived while too many were pending and were never sent.
	Shed int
	// Attempts counts HTTP requests.
	Attempts int
}
