package acquirer_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/payment"
	"holdfast/internal/payment/acquirer"
	"holdfast/internal/payment/acquirer/acquirertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var charge = payment.Charge{Reference: "ch_reference", Amount: 1250, Currency: "EUR", PaymentMethod: "tok_1", Merchant: "shop", MerchantReference: "order-1"}

func client(t *testing.T, url string, o acquirer.Options) *acquirer.Client {
	t.Helper()
	if o.Pause == 0 {
		o.Pause = time.Millisecond
	}
	c, err := acquirer.New(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestChargeIsMadeOnce(t *testing.T) {
	for name, fates := range map[string][]acquirertest.Fate{
		"answered":          {acquirertest.Answer},
		"answer lost":       {acquirertest.Lose, acquirertest.Answer},
		"request lost":      {acquirertest.Drop, acquirertest.Answer},
		"unavailable, then": {acquirertest.Fail, acquirertest.Answer},
	} {
		t.Run(name, func(t *testing.T) {
			server := acquirertest.New(t, func(_ string, call int) acquirertest.Fate { return fates[min(call, len(fates))-1] })
			c := client(t, server.URL, acquirer.Options{})
			for range 2 {
				got, err := c.Charge(t.Context(), charge)
				if err != nil || got.Status != payment.Approved || got.AuthorizationCode == "" {
					t.Fatalf("got %+v, %v", got, err)
				}
			}
			if all := server.Charges(); len(all) != 1 || all[charge.Reference].MerchantReference != "order-1" || all[charge.Reference].Calls != len(fates)+1 {
				t.Fatalf("recorded %+v", all)
			}
		})
	}
}

func TestOtherOutcomes(t *testing.T) {
	server := acquirertest.New(t, nil)
	c := client(t, server.URL, acquirer.Options{})
	if _, err := c.Get(t.Context(), "ch_other"); !errors.Is(err, acquirer.ErrNotFound) {
		t.Errorf("get of an unknown reference: %v", err)
	}
	declined := charge
	declined.Reference, declined.PaymentMethod = "ch_declined", "declined_1"
	if got, err := c.Charge(t.Context(), declined); err != nil || got.Status != payment.Declined {
		t.Errorf("declined: %+v, %v", got, err)
	}
	if _, err := c.Charge(t.Context(), charge); err != nil {
		t.Fatal(err)
	}
	other := charge
	other.Amount++
	if got, err := c.Charge(t.Context(), other); err != nil || got.Status != payment.Quarantined || got.Reason == "" {
		t.Errorf("another amount: %+v, %v", got, err)
	}
	if r, err := c.Get(t.Context(), charge.Reference); err != nil || r.Amount != charge.Amount || r.Status != "approved" {
		t.Errorf("get: %+v, %v", r, err)
	}
	if _, err := c.Void(t.Context(), "ch_late"); err != nil {
		t.Fatal(err)
	}
	late := charge
	late.Reference = "ch_late"
	if got, err := c.Charge(t.Context(), late); err != nil || got.Status != payment.Quarantined {
		t.Errorf("after a void: %+v, %v", got, err)
	}
}

// TestUnknown: nothing but a clear word about this very charge decides it.
func TestUnknown(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"not found":         {404, `{"error":"not_found"}`},
		"bad request":       {400, `{"error":"invalid_request"}`},
		"server error":      {500, `oops`},
		"too many":          {429, `{}`},
		"redirect":          {302, ``},
		"another conflict":  {409, `{"error":"busy"}`},
		"not JSON":          {200, `<html>`},
		"empty":             {200, ``},
		"another reference": {200, `{"reference":"ch_x","status":"approved","amount":1250,"currency":"EUR"}`},
		"unknown status":    {200, `{"reference":"ch_reference","status":"pending","amount":1250,"currency":"EUR"}`},
		"endless":           {200, `{"reference":"` + strings.Repeat("x", 100<<10) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(answer.status)
				_, _ = w.Write([]byte(answer.body))
			}))
			defer server.Close()
			c := client(t, server.URL, acquirer.Options{})
			defer c.Close()
			if got, err := c.Charge(t.Context(), charge); err == nil {
				t.Fatalf("got %+v, want an error", got)
			}
		})
	}
	t.Run("amount in the answer", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"reference":"ch_reference","status":"approved","amount":1,"currency":"EUR"}`))
		}))
		defer server.Close()
		c := client(t, server.URL, acquirer.Options{})
		defer c.Close()
		if got, err := c.Charge(t.Context(), charge); err != nil || got.Status != payment.Quarantined {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
}

func TestTimeout(t *testing.T) {
	ended := make(chan struct{})
	server := acquirertest.New(t, func(string, int) acquirertest.Fate { <-ended; return acquirertest.Answer })
	t.Cleanup(func() { close(ended) })
	c := client(t, server.URL, acquirer.Options{Timeout: 30 * time.Millisecond})
	if got, err := c.Charge(t.Context(), charge); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Charge(ctx, charge); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestNewRefusesBadURLs(t *testing.T) {
	for _, url := range []string{"", "acquirer:80", "ftp://host", "http://", "://"} {
		if _, err := acquirer.New(url, acquirer.Options{}); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
}
