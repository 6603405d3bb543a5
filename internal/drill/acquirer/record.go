package acquirer

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The states of a charge.
const (
	Approved = "approved"
	Declined = "declined"
	Voided   = "voided"
)

// Request is what a client asks to be charged.
type Request struct {
	// Amount is in the currency's minor unit.
	Amount            int64  `json:"amount"`
	Currency          string `json:"currency"`
	PaymentMethod     string `json:"payment_method"`
	Merchant          string `json:"merchant"`
	MerchantReference string `json:"merchant_reference"`
}

// Charge is one line of the acquirer's record.
type Charge struct {
	// Sequence numbers the charges from 1 in the order in which they were recorded.
	Sequence  int64  `json:"sequence"`
	Reference string `json:"reference"`
	Status    string `json:"status"`
	Request
	AuthorizationCode string    `json:"authorization_code,omitempty"`
	CreatedAt         time.Time `json:"created_at"`
	// Tombstone says that the reference was voided before any charge arrived; the request's fields are then empty.
	Tombstone bool `json:"tombstone,omitempty"`
}

// Order is a merchant's order with more than one charge that moved money.
type Order struct {
	Merchant          string   `json:"merchant"`
	MerchantReference string   `json:"merchant_reference"`
	References        []string `json:"references"`
}

// Errors of the record.
var (
	// ErrConflict: the reference is known with other contents.
	ErrConflict = errors.New("reference_conflict")
	// ErrVoided: the reference was voided.
	ErrVoided = errors.New("reference_voided")
	// ErrFull: the record holds as many charges as it may.
	ErrFull = errors.New("record_full")
)

// record is the acquirer's memory: charges by reference and in order of arrival.
type record struct {
	mu      sync.Mutex
	limit   int
	byRef   map[string]*Charge
	ordered []*Charge
	// arrivals counts the PUTs of each reference, so that a lost answer is not lost again for ever.
	arrivals map[string]int
}

func newRecord(limit int) *record {
	return &record{limit: limit, byRef: map[string]*Charge{}, arrivals: map[string]int{}}
}

// charge records a charge or returns the one recorded before; first says which. arrival counts from 1.
func (r *record) charge(reference string, q Request, status string, now time.Time) (c Charge, first bool, arrival int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.byRef[reference]; known != nil {
		r.arrivals[reference]++
		switch {
		case known.Status == Voided:
			return *known, false, r.arrivals[reference], ErrVoided
		case known.Request != q:
			return *known, false, r.arrivals[reference], ErrConflict
		}
		return *known, false, r.arrivals[reference], nil
	}
	added, err := r.add(Charge{Reference: reference, Status: status, Request: q, CreatedAt: now})
	if err != nil {
		return Charge{}, false, 0, err
	}
	if status == Approved {
		added.AuthorizationCode = fmt.Sprintf("A%08d", added.Sequence)
	}
	r.arrivals[reference] = 1
	return *added, true, 1, nil
}

// add appends; the caller holds the lock.
func (r *record) add(c Charge) (*Charge, error) {
	if len(r.ordered) >= r.limit {
		return nil, ErrFull
	}
	c.Sequence = int64(len(r.ordered) + 1)
	r.byRef[c.Reference] = &c
	r.ordered = append(r.ordered, &c)
	return &c, nil
}

func (r *record) get(reference string) (Charge, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.byRef[reference]; c != nil {
		return *c, true
	}
	return Charge{}, false
}

// void cancels a charge, or refuses the reference for ever if there is none yet.
func (r *record) void(reference string, now time.Time) (Charge, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.byRef[reference]
	if c == nil {
		var err error
		if c, err = r.add(Charge{Reference: reference, CreatedAt: now, Tombstone: true}); err != nil {
			return Charge{}, err
		}
	}
	c.Status = Voided
	return *c, nil
}

// list returns at most limit charges recorded at or after since, with a sequence above after.
func (r *record) list(since time.Time, after int64, limit int) (page []Charge, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	page = []Charge{}
	for _, c := range r.ordered[min(max(after, 0), int64(len(r.ordered))):] {
		if c.CreatedAt.Before(since) {
			continue
		}
		if len(page) == limit {
			return page, true
		}
		page = append(page, *c)
	}
	return page, false
}

// chargedTwice groups by what the merchant calls its order. The reference plays no part: a client that made up a new
// reference for a retry would hide behind it.
func (r *record) chargedTwice() []Order {
	r.mu.Lock()
	defer r.mu.Unlock()
	type key struct{ merchant, reference string }
	moved := map[key][]string{}
	var several []key
	for _, c := range r.ordered {
		if c.Status != Approved {
			continue
		}
		k := key{c.Merchant, c.MerchantReference}
		moved[k] = append(moved[k], c.Reference)
		if len(moved[k]) == 2 {
			several = append(several, k)
		}
	}
	orders := make([]Order, 0, len(several))
	for _, k := range several {
		orders = append(orders, Order{Merchant: k.merchant, MerchantReference: k.reference, References: slices.Clone(moved[k])})
	}
	return orders
}
