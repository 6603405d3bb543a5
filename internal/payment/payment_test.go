package payment_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/internal/payment"
	"holdfast/internal/term"
)

var valid = payment.Order{Merchant: "shop-1", Key: "key-1", Amount: 1250, Currency: "EUR", PaymentMethod: "tok_visa", MerchantReference: "order-1"}

// TestDerivedNamesNeverChange pins the derivation: a release that changed it would charge lost payments twice.
func TestDerivedNamesNeverChange(t *testing.T) {
	if got := valid.PaymentID(); got != "pay_0hagrdxbs3na9q460pk4fp8r0gj5yrs3" {
		t.Errorf("payment id %s", got)
	}
	if got := valid.Reference(); got != "ch_280745bg5x5vef5sb5rcnzvkksdjg9kp" {
		t.Errorf("reference %s", got)
	}
}

func TestNamesDependOnMerchantAndKeyOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 8, -1)
		a := payment.Order{Merchant: text.Draw(t, "merchant"), Key: text.Draw(t, "key"), Amount: rapid.Int64().Draw(t, "amount"), PaymentMethod: text.Draw(t, "method")}
		b := payment.Order{Merchant: text.Draw(t, "merchant"), Key: text.Draw(t, "key"), Amount: rapid.Int64().Draw(t, "amount"), PaymentMethod: text.Draw(t, "method")}
		same := a.Merchant == b.Merchant && a.Key == b.Key
		if (a.PaymentID() == b.PaymentID()) != same || (a.Reference() == b.Reference()) != same {
			t.Fatalf("%+v and %+v: ids %s %s", a, b, a.PaymentID(), b.PaymentID())
		}
		if a.PaymentID()[4:] == a.Reference()[3:] {
			t.Fatal("id and reference tell each other")
		}
	})
}

func TestFieldsDoNotRunTogether(t *testing.T) {
	a, b := valid, valid
	a.Merchant, a.Key = "ab", "c"
	b.Merchant, b.Key = "a", "bc"
	if a.PaymentID() == b.PaymentID() {
		t.Error("merchant and key run together")
	}
}

func TestValidate(t *testing.T) {
	if err := valid.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		field  string
		change func(*payment.Order)
	}{
		"no merchant":      {"merchant", func(o *payment.Order) { o.Merchant = "" }},
		"merchant colon":   {"merchant", func(o *payment.Order) { o.Merchant = "a:b" }},
		"long merchant":    {"merchant", func(o *payment.Order) { o.Merchant = strings.Repeat("a", 65) }},
		"no key":           {"Idempotency-Key", func(o *payment.Order) { o.Key = "" }},
		"key not ASCII":    {"Idempotency-Key", func(o *payment.Order) { o.Key = "schlüssel" }},
		"long key":         {"Idempotency-Key", func(o *payment.Order) { o.Key = strings.Repeat("k", 256) }},
		"zero":             {"amount", func(o *payment.Order) { o.Amount = 0 }},
		"negative":         {"amount", func(o *payment.Order) { o.Amount = -1 }},
		"too much":         {"amount", func(o *payment.Order) { o.Amount = payment.MaxAmount + 1 }},
		"lower case":       {"currency", func(o *payment.Order) { o.Currency = "eur" }},
		"no such currency": {"currency", func(o *payment.Order) { o.Currency = "XXX" }},
		"no method":        {"payment_method", func(o *payment.Order) { o.PaymentMethod = "" }},
		"card number":      {"payment_method", func(o *payment.Order) { o.PaymentMethod = "4242 4242 4242 4242" }},
		"card number 2":    {"payment_method", func(o *payment.Order) { o.PaymentMethod = "378282246310005" }},
		"no reference":     {"merchant_reference", func(o *payment.Order) { o.MerchantReference = "" }},
		"newline":          {"merchant_reference", func(o *payment.Order) { o.MerchantReference = "a\nb" }},
	} {
		t.Run(name, func(t *testing.T) {
			o := valid
			c.change(&o)
			var invalid payment.InvalidOrder
			if err := o.Validate(); !errors.As(err, &invalid) || len(invalid) != 1 || invalid[0].Field != c.field {
				t.Fatalf("got %v, want a complaint about %s", err, c.field)
			}
		})
	}
	o := valid
	o.PaymentMethod = "4242424242424241" // the check digit is wrong, so it is no card number
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
}

func TestMinorUnits(t *testing.T) {
	for code, want := range map[string]int{"USD": 2, "JPY": 0, "KWD": 3} {
		if got, ok := payment.MinorUnits(code); !ok || got != want {
			t.Errorf("%s: %d %v", code, got, ok)
		}
	}
}

func TestEntriesAddUpToZero(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := payment.Payment{ID: "pay_x", Order: valid, Status: rapid.SampledFrom([]payment.Status{
			payment.Pending, payment.Approved, payment.Declined, payment.Quarantined,
		}).Draw(t, "status")}
		p.Order.Amount = rapid.Int64Range(1, payment.MaxAmount).Draw(t, "amount")
		entries := payment.Entries(p)
		if (len(entries) > 0) != (p.Status == payment.Approved) {
			t.Fatalf("%s has %d entries", p.Status, len(entries))
		}
		var sum, debits int64
		accounts := map[string]bool{}
		for _, e := range entries {
			sum += e.Amount
			debits += max(e.Amount, 0)
			accounts[e.Account.ID] = true
			if e.Account.Currency != p.Order.Currency {
				t.Fatalf("entry in %s", e.Account.Currency)
			}
		}
		if sum != 0 || len(accounts) != len(entries) || len(entries) > 0 && debits != p.Order.Amount {
			t.Fatalf("entries %+v", entries)
		}
	})
}

func TestRender(t *testing.T) {
	p := payment.Payment{ID: "pay_1", Reference: "ch_1", Order: valid, Status: payment.Pending, CreatedAt: time.Unix(1, 0)}
	if _, err := payment.Render(p); err == nil {
		t.Error("a pending payment was rendered")
	}
	for status, want := range map[payment.Status]int{payment.Approved: 201, payment.Declined: 201, payment.Quarantined: 422} {
		p.Status = status
		a, err := payment.Render(p)
		if err != nil || a.Status != want || !json.Valid(a.Body) {
			t.Errorf("%s: %+v, %v", status, a, err)
		}
		if strings.Contains(string(a.Body), valid.PaymentMethod) {
			t.Errorf("%s: the answer shows the payment method", status)
		}
	}
}

func TestCovered(t *testing.T) {
	a := payment.Answer{CoveredUntil: 100}
	for now, want := range map[term.Instant]bool{99: true, 100: false, 101: false} {
		if a.Covered(now) != want {
			t.Errorf("at %d: %v", now, !want)
		}
	}
	if (payment.Answer{}).Covered(term.Boot()) {
		t.Error("an answer without a lease is covered")
	}
}
