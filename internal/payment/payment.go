package payment

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"holdfast/internal/term"
)

// Status is where a payment stands.
type Status string

// The statuses. All but Pending are final.
const (
	// Pending: recorded, and the acquirer's answer is not known yet.
	Pending Status = "pending"
	// Approved: the acquirer took the money and the ledger has it.
	Approved Status = "approved"
	// Declined: the acquirer refused. Nothing is in the ledger.
	Declined Status = "declined"
	// Quarantined: what the acquirer has under the reference is not this payment. A person must look at it.
	Quarantined Status = "quarantined"
)

// Payment is an order with what became of it.
type Payment struct {
	ID        string
	Reference string
	Order     Order
	Status    Status
	// Reason says why a payment was declined or quarantined.
	Reason            string
	AuthorizationCode string
	CreatedAt         time.Time
	// DecidedAt is zero while the payment is pending.
	DecidedAt time.Time
}

// MarshalJSON is the payment as the API shows it. It says nothing that the stored answer could not repeat.
func (p Payment) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID                string `json:"id"`
		Status            Status `json:"status"`
		Merchant          string `json:"merchant"`
		MerchantReference string `json:"merchant_reference"`
		Amount            int64  `json:"amount"`
		Currency          string `json:"currency"`
		ChargeReference   string `json:"charge_reference"`
		AuthorizationCode string `json:"authorization_code,omitempty"`
		Reason            string `json:"reason,omitempty"`
		CreatedAt         string `json:"created_at"`
	}{
		p.ID, p.Status, p.Order.Merchant, p.Order.MerchantReference, p.Order.Amount, p.Order.Currency, p.Reference,
		p.AuthorizationCode, p.Reason, p.CreatedAt.UTC().Format(time.RFC3339Nano),
	})
}

// Location is the path of the payment in the API.
func Location(id string) string { return "/v1/payments/" + url.PathEscape(id) }

// Answer is what a merchant is told, byte for byte the same every time.
type Answer struct {
	// Status is the HTTP status, Body the whole body.
	Status    int
	Body      []byte
	PaymentID string
	// Replayed says that the answer had been recorded before this request.
	Replayed bool
	// CoveredUntil is the end of the write lease under which the answer was read or committed, on the own boot clock,
	// and at the earliest. Past it another site may be active without knowing of the payment.
	CoveredUntil term.Instant
}

// Covered reports whether the answer may be given now (P10).
func (a Answer) Covered(now term.Instant) bool { return now < a.CoveredUntil }

// Problem is an error as the API shows it (RFC 9457).
type Problem struct {
	// Type is a path below /problems.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Retryable says that the same request with the same key may be answered otherwise later.
	Retryable bool         `json:"retryable"`
	PaymentID string       `json:"payment_id,omitempty"`
	Errors    []FieldError `json:"errors,omitempty"`
}

// Render is the answer to a payment that is decided.
func Render(p Payment) (Answer, error) {
	a := Answer{Status: 201, PaymentID: p.ID}
	var err error
	switch p.Status {
	case Approved, Declined:
		a.Body, err = json.Marshal(p)
	case Quarantined:
		a.Status = 422
		a.Body, err = json.Marshal(Problem{
			Type: "/problems/quarantined", Title: "The payment is quarantined", Status: a.Status, PaymentID: p.ID,
			Detail: "What the acquirer has under this payment's reference is not this payment: " + p.Reason +
				". Nothing was booked; a person has to look at it. Do not send it again.",
		})
	default:
		return Answer{}, fmt.Errorf("payment %s is %s: there is no answer to it yet", p.ID, p.Status)
	}
	return a, err
}
