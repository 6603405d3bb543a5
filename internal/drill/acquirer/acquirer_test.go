package acquirer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// call sends one request and returns the status with the decoded body; status 0 means that there was no answer.
func call(t *testing.T, server *httptest.Server, method, path, body string) (int, map[string]any) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(q)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(text, &decoded); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
	return response.StatusCode, decoded
}

func start(t *testing.T, o Options) (*Server, *httptest.Server) {
	t.Helper()
	s := New(o)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h
}

func body(amount int, method, order string) string {
	return fmt.Sprintf(`{"amount":%d,"currency":"USD","payment_method":%q,"merchant":"m1","merchant_reference":%q}`, amount, method, order)
}

func TestChargeIsIdempotentByReference(t *testing.T) {
	s, h := start(t, Options{})
	status, first := call(t, h, "PUT", "/v1/charges/r1", body(500, "tok", "o1"))
	if status != 201 || first["status"] != "approved" || first["authorization_code"] == "" {
		t.Fatalf("first PUT = %d %v", status, first)
	}
	status, again := call(t, h, "PUT", "/v1/charges/r1", body(500, "tok", "o1"))
	if status != 200 || again["authorization_code"] != first["authorization_code"] {
		t.Errorf("second PUT = %d %v, want the first answer", status, again)
	}
	status, conflict := call(t, h, "PUT", "/v1/charges/r1", body(501, "tok", "o1"))
	if status != 409 || conflict["error"] != "reference_conflict" {
		t.Errorf("PUT with another amount = %d %v, want 409 reference_conflict", status, conflict)
	}
	if n := len(s.Charges()); n != 1 {
		t.Errorf("%d charges are recorded, want 1", n)
	}
}

func TestVoidLeavesATombstoneThatRefusesLateArrivals(t *testing.T) {
	s, h := start(t, Options{})
	if status, _ := call(t, h, "GET", "/v1/charges/late", ""); status != 404 {
		t.Errorf("GET of an unknown reference = %d, want 404", status)
	}
	if status, v := call(t, h, "POST", "/v1/charges/late/void", ""); status != 200 || v["status"] != "voided" {
		t.Errorf("void of an unknown reference = %d %v", status, v)
	}
	if status, v := call(t, h, "PUT", "/v1/charges/late", body(500, "tok", "o1")); status != 409 || v["error"] != "reference_voided" {
		t.Errorf("late PUT = %d %v, want 409 reference_voided", status, v)
	}
	call(t, h, "PUT", "/v1/charges/a", body(500, "tok", "o2"))
	call(t, h, "POST", "/v1/charges/a/void", "")
	call(t, h, "PUT", "/v1/charges/b", body(500, "tok", "o2"))
	if twice := s.ChargedTwice(); len(twice) != 0 {
		t.Errorf("charged twice = %v, but the first charge was voided", twice)
	}
}

// A payment service that makes up a reference per attempt is caught, although every reference is charged once.
func TestInventedReferencesAreCountedAsChargedTwice(t *testing.T) {
	s, h := start(t, Options{Seed: 7, LostAnswers: 0.3})
	var wait sync.WaitGroup
	for n := range 40 {
		wait.Go(func() {
			for attempt := range 10 {
				reference := fmt.Sprintf("invented-%d-%d", n, attempt)
				if status, _ := call(t, h, "PUT", "/v1/charges/"+reference, body(500, "tok", fmt.Sprintf("o%d", n))); status == 201 {
					return
				}
			}
		})
	}
	wait.Wait()
	if s.LostAnswers() == 0 {
		t.Fatal("no answer was lost, so nothing was retried")
	}
	twice := s.ChargedTwice()
	if len(twice) == 0 {
		t.Fatal("a client that invents references was not caught")
	}
	for _, order := range twice {
		if len(order.References) < 2 || order.Merchant != "m1" {
			t.Errorf("order %+v has no second charge", order)
		}
	}
}

func TestStableReferencesAreNeverChargedTwiceThoughAnswersAreLost(t *testing.T) {
	s, h := start(t, Options{Seed: 7, LostAnswers: 0.3})
	for n := range 40 {
		for {
			if status, _ := call(t, h, "PUT", fmt.Sprintf("/v1/charges/r%d", n), body(500, "tok", fmt.Sprintf("o%d", n))); status != 0 {
				break
			}
		}
	}
	if s.LostAnswers() == 0 {
		t.Error("no answer was lost, so nothing was shown")
	}
	if twice := s.ChargedTwice(); len(twice) != 0 || len(s.Charges()) != 40 {
		t.Errorf("%d charges and charged twice = %v, want 40 and none", len(s.Charges()), twice)
	}
}

func TestDeclinesAreSeeded(t *testing.T) {
	declined := func(seed uint64) (references []string) {
		s, h := start(t, Options{Seed: seed, Declines: map[string]float64{"tok_bad": 0.5}})
		for n := range 60 {
			call(t, h, "PUT", fmt.Sprintf("/v1/charges/r%d", n), body(500, []string{"tok_bad", "tok_good"}[n%2], fmt.Sprint(n)))
		}
		for _, c := range s.Charges() {
			if c.Status == Declined {
				if c.PaymentMethod != "tok_bad" || c.AuthorizationCode != "" {
					t.Errorf("declined %+v", c)
				}
				references = append(references, c.Reference)
			}
		}
		return references
	}
	one, again, other := declined(1), declined(1), declined(2)
	if fmt.Sprint(one) != fmt.Sprint(again) {
		t.Errorf("the same seed declined %v, then %v", one, again)
	}
	if fmt.Sprint(one) == fmt.Sprint(other) || len(one) < 5 || len(one) > 25 {
		t.Errorf("seed 1 declined %v, seed 2 %v of 30: want about half, and not the same", one, other)
	}
}

func TestListPagesTheRecord(t *testing.T) {
	_, h := start(t, Options{})
	for n := range 5 {
		call(t, h, "PUT", fmt.Sprintf("/v1/charges/r%d", n), body(500, "tok", fmt.Sprint(n)))
	}
	var seen []string
	after := "0"
	for range 5 {
		status, page := call(t, h, "GET", "/v1/charges?limit=2&since=2020-01-01T00:00:00Z&after="+after, "")
		if status != 200 {
			t.Fatalf("list = %d %v", status, page)
		}
		for _, c := range page["charges"].([]any) {
			seen = append(seen, c.(map[string]any)["reference"].(string))
		}
		next, more := page["next_after"]
		if !more {
			break
		}
		after = fmt.Sprint(next)
	}
	if fmt.Sprint(seen) != "[r0 r1 r2 r3 r4]" {
		t.Errorf("pages held %v", seen)
	}
	_, later := call(t, h, "GET", "/v1/charges?since="+time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05Z"), "")
	if n := len(later["charges"].([]any)); n != 0 {
		t.Errorf("%d charges since an hour from now", n)
	}
}

func TestBadRequests(t *testing.T) {
	s, h := start(t, Options{MaxCharges: 1})
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"PUT", "/v1/charges/r", `{`, 400},
		{"PUT", "/v1/charges/r", body(0, "tok", "o"), 400},
		{"PUT", "/v1/charges/r", strings.Replace(body(1, "tok", "o"), "USD", "usd", 1), 400},
		{"PUT", "/v1/charges/r", body(1, "", "o"), 400},
		{"PUT", "/v1/charges/r", body(1, "tok", strings.Repeat("x", 129)), 400},
		{"PUT", "/v1/charges/r", `{"amount":1,"x":"` + strings.Repeat("x", maxBodyBytes) + `"}`, 400},
		{"GET", "/v1/charges?since=yesterday", "", 400},
		{"GET", "/v1/charges?limit=0", "", 400},
		{"GET", "/v1/charges?after=-1", "", 400},
		{"PUT", "/v1/charges/fits", body(1, "tok", "o"), 201},
		{"PUT", "/v1/charges/full", body(1, "tok", "o"), 503},
		{"PUT", "/v1/charges/fits", body(1, "tok", "o"), 200},
	} {
		if got, answer := call(t, h, c.method, c.path, c.body); got != c.want {
			t.Errorf("%s %s %.60s = %d %v, want %d", c.method, c.path, c.body, got, answer, c.want)
		}
	}
	if n := len(s.Charges()); n != 1 {
		t.Errorf("%d charges are recorded, want 1", n)
	}
}

// A client that gives up before half of the latency is not charged; one that gives up after it is.
func TestClientThatGivesUpEarlyIsNotCharged(t *testing.T) {
	s, h := start(t, Options{Latency: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	q, err := http.NewRequestWithContext(ctx, "PUT", h.URL+"/v1/charges/r", strings.NewReader(body(1, "tok", "o")))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := h.Client().Do(q)
		ended <- err
	}()
	cancel()
	if err := <-ended; err == nil {
		t.Error("the request was answered")
	}
	if n := len(s.Charges()); n != 0 {
		t.Errorf("%d charges are recorded, want 0", n)
	}
}

func TestStartServesUntilClose(t *testing.T) {
	s := New(Options{})
	if err := s.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(s.URL() + "/v1/charges")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := http.Get(s.URL() + "/v1/charges"); err == nil {
		t.Error("a closed acquirer answers")
	}
	if err := New(Options{}).Start("127.0.0.1:notaport"); err == nil {
		t.Error("a wrong address was accepted")
	}
}
