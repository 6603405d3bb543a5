package lost

import (
	"fmt"
	"slices"
	"time"

	"holdfast/internal/reconcile"
)

// The statuses of a charge that [propose] understands. A list may have others, which a person looks at.
const (
	Approved = "approved"
	Declined = "declined"
	Voided   = "voided"
)

// Charge is one line of the acquirer's list.
type Charge struct {
	Reference string `json:"reference"`
	// Amount is in the currency's minor unit.
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
	Status   string `json:"status"`
	// CreatedAt is on the acquirer's clock.
	CreatedAt time.Time `json:"created_at"`
	// Merchant and MerchantReference are empty where the acquirer does not say.
	Merchant          string `json:"merchant,omitempty"`
	MerchantReference string `json:"merchant_reference,omitempty"`
}

// List is what an acquirer says of one stretch of time.
type List struct {
	// Source is where it comes from: a URL or a file.
	Source string `json:"source"`
	// Window is the stretch that the list is complete for, on the acquirer's clock.
	Window reconcile.Span `json:"window"`
	// WindowBecause says how that is known.
	WindowBecause string   `json:"window_because"`
	Charges       []Charge `json:"-"`
	Count         int      `json:"charges"`
}

// maxCharges bounds the charges of all lists together.
const maxCharges = 2_000_000

func (c Charge) check() error {
	switch {
	case c.Reference == "":
		return fmt.Errorf("a charge without a reference")
	case c.Status == "":
		return fmt.Errorf("charge %s has no status", c.Reference)
	case c.Amount < 0:
		return fmt.Errorf("charge %s has the amount %d", c.Reference, c.Amount)
	case c.CreatedAt.IsZero():
		return fmt.Errorf("charge %s has no created_at", c.Reference)
	}
	return nil
}

// byReference groups charges; different ones under one reference are all kept.
func byReference(lists []List) map[string][]Charge {
	found := map[string][]Charge{}
	for _, l := range lists {
		for _, c := range l.Charges {
			c.CreatedAt = c.CreatedAt.UTC()
			if !slices.Contains(found[c.Reference], c) {
				found[c.Reference] = append(found[c.Reference], c)
			}
		}
	}
	return found
}
