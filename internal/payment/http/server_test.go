package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/payment"
	"holdfast/internal/term"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a store and an acquirer whose answers a test sets.
type fake struct {
	mu       sync.Mutex
	answers  map[string]payment.Answer
	begin    error
	finish   error
	read     error
	outcome  payment.Outcome
	charge   func(context.Context) error
	covered  term.Instant
	released int
}

func (f *fake) Begin(_ context.Context, o payment.Order, _ payment.Claim) (payment.Begun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begin != nil {
		return payment.Begun{}, f.begin
	}
	if a, ok := f.answers[o.PaymentID()]; ok {
		a.Replayed = true
		return payment.Begun{Answer: &a}, nil
	}
	return payment.Begun{Payment: payment.Payment{ID: o.PaymentID(), Reference: o.Reference(), Order: o, Status: payment.Pending, CreatedAt: time.Unix(0, 0)}}, nil
}

func (f *fake) Finish(_ context.Context, p payment.Payment, _ []payment.Entry, a payment.Answer) (payment.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.finish != nil {
		return payment.Answer{}, f.finish
	}
	a.CoveredUntil = f.covered
	f.answers[p.ID] = a
	return a, nil
}

func (f *fake) Release(context.Context, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released++
	return nil
}

func (f *fake) Overdue(context.Context, int, payment.Claim) ([]payment.Payment, error) {
	return nil, nil
}

func (f *fake) Payment(_ context.Context, id string) (payment.Payment, error) {
	if f.read != nil {
		return payment.Payment{}, f.read
	}
	return payment.Payment{ID: id, Order: payment.Order{Merchant: "shop"}, Status: payment.Approved}, nil
}

func (f *fake) Balance(context.Context, string) (payment.Balance, error) {
	return payment.Balance{Balanced: true}, f.read
}

func (f *fake) Charge(ctx context.Context, _ payment.Charge) (payment.Outcome, error) {
	if f.charge != nil {
		if err := f.charge(ctx); err != nil {
			return payment.Outcome{}, err
		}
	}
	return f.outcome, nil
}

type requests struct {
	mu       sync.Mutex
	problems []string
}

func (r *requests) Request(_ string, _ int, problem string, _ time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, problem)
}
func (r *requests) InFlight(int) {}

type api struct {
	*fake
	handler  *Handler
	ready    Readiness
	observed requests
}

func newAPI(t *testing.T, change func(*Options)) *api {
	t.Helper()
	a := &api{fake: &fake{answers: map[string]payment.Answer{}, outcome: payment.Outcome{Status: payment.Approved, AuthorizationCode: "A1"}, covered: 1000}}
	a.ready = Readiness{Role: "active", Site: "primary"}
	o := Options{
		Service: payment.NewService(a.fake, a.fake, payment.Options{}), Readiness: func() Readiness { return a.ready }, Observer: &a.observed,
		Metrics: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler), Now: func() term.Instant { return 500 },
	}
	if change != nil {
		change(&o)
	}
	a.handler = NewHandler(o)
	return a
}

const body = `{"merchant":"shop","amount":1250,"currency":"EUR","payment_method":"tok_1","merchant_reference":"order-1"}`

// post sends a payment; headers are name, value, name, value.
func (a *api) post(body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/payments", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "key-1")
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		} else {
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	return w
}

func (a *api) get(path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	return w
}

// wantProblem checks a problem: status, type, media type, and that the type can be fetched.
func wantProblem(t *testing.T, a *api, w *httptest.ResponseRecorder, status int, name string) payment.Problem {
	t.Helper()
	var p payment.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d %q: %v", w.Code, w.Body, err)
	}
	if w.Code != status || p.Status != status || p.Type != "/problems/"+name || w.Header().Get("Content-Type") != "application/problem+json" || p.Title == "" {
		t.Fatalf("got %d %s %s, want %d %s", w.Code, w.Header(), w.Body, status, name)
	}
	if (w.Header().Get("Retry-After") != "") != p.Retryable {
		t.Fatalf("%s: retryable %v with Retry-After %q", name, p.Retryable, w.Header().Get("Retry-After"))
	}
	if about := a.get(p.Type); about.Code != 200 || about.Body.Len() < 20 {
		t.Fatalf("%s can't be fetched: %d %s", p.Type, about.Code, about.Body)
	}
	return p
}

func TestCreateAndReplay(t *testing.T) {
	a := newAPI(t, nil)
	first := a.post(body)
	if first.Code != 201 || first.Header().Get("Idempotent-Replayed") != "" || first.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s %s", first.Code, first.Header(), first.Body)
	}
	var p struct{ ID, Status string }
	if err := json.Unmarshal(first.Body.Bytes(), &p); err != nil || p.Status != "approved" || first.Header().Get("Location") != "/v1/payments/"+p.ID {
		t.Fatalf("%+v, %v, %s", p, err, first.Header())
	}
	// With the merchant in the header instead it is the same order.
	again := a.post(strings.Replace(body, `"merchant":"shop",`, "", 1), "Merchant-Id", "shop")
	if again.Code != 201 || again.Header().Get("Idempotent-Replayed") != "true" || again.Body.String() != first.Body.String() || again.Header().Get("Location") != first.Header().Get("Location") {
		t.Fatalf("%d %s %s", again.Code, again.Header(), again.Body)
	}
}

func TestBadRequests(t *testing.T) {
	for name, c := range map[string]struct {
		body    string
		headers []string
		status  int
		problem string
	}{
		"no key":             {body, []string{"Idempotency-Key", ""}, 400, "invalid-request"},
		"two keys":           {body, []string{"Idempotency-Key", "b"}, 400, "invalid-request"},
		"no merchant":        {strings.Replace(body, "shop", "", 1), nil, 400, "invalid-request"},
		"two merchants":      {body, []string{"Merchant-Id", "other"}, 400, "invalid-request"},
		"not JSON":           {"amount=1", nil, 400, "invalid-request"},
		"empty":              {"", nil, 400, "invalid-request"},
		"two objects":        {body + body, nil, 400, "invalid-request"},
		"fraction":           {strings.Replace(body, "1250", "12.50", 1), nil, 400, "invalid-request"},
		"amount as text":     {strings.Replace(body, "1250", `"1250"`, 1), nil, 400, "invalid-request"},
		"beyond 64 bits":     {strings.Replace(body, "1250", "92233720368547758080", 1), nil, 400, "invalid-request"},
		"unknown field":      {strings.Replace(body, "amount", "amuont", 1), nil, 400, "invalid-request"},
		"card number":        {strings.Replace(body, "tok_1", "4242424242424242", 1), nil, 400, "invalid-request"},
		"too large":          {strings.Replace(body, "tok_1", strings.Repeat("x", MaxBodyBytes), 1), nil, 413, "too-large"},
		"no media type":      {body, []string{"Content-Type", ""}, 415, "media-type"},
		"another media type": {body, []string{"Content-Type", "", "Content-Type", "text/plain"}, 415, "media-type"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, nil)
			p := wantProblem(t, a, a.post(c.body, c.headers...), c.status, c.problem)
			if c.status == 400 && len(p.Errors) == 0 {
				t.Fatal("the problem does not say which field")
			}
			if len(a.answers) != 0 {
				t.Fatal("a payment was made")
			}
		})
	}
}

func TestErrorsBecomeProblems(t *testing.T) {
	cause := errors.New("secret detail of the database")
	for _, c := range []struct {
		err     error
		status  int
		problem string
	}{
		{payment.ErrKeyReused, 422, "key-reused"},
		{payment.ErrInFlight, 409, "in-flight"},
		{payment.ErrStandby, 503, "standby"},
		{payment.ErrNoLease, 503, "no-lease"},
		{payment.ErrUnavailable, 503, "database-unavailable"},
		{cause, 500, "internal"},
		{context.DeadlineExceeded, 503, "timeout"},
	} {
		for phase, set := range map[string]func(*api){
			"begin":  func(a *api) { a.fake.begin = fmt.Errorf("%w: %w", c.err, cause) },
			"finish": func(a *api) { a.fake.finish = fmt.Errorf("%w: %w", c.err, cause) },
			"gate":   func(a *api) { a.ready.Writes = fmt.Errorf("%w: %w", c.err, cause) },
		} {
			t.Run(c.problem+"/"+phase, func(t *testing.T) {
				a := newAPI(t, nil)
				set(a)
				w := a.post(body)
				wantProblem(t, a, w, c.status, c.problem)
				if strings.Contains(w.Body.String(), "secret") {
					t.Fatalf("the answer shows the cause: %s", w.Body)
				}
				if a.observed.problems[0] != c.problem {
					t.Fatalf("observed %v", a.observed.problems)
				}
			})
		}
	}
	a := newAPI(t, nil)
	a.fake.charge = func(context.Context) error { return errors.New("connection reset") }
	wantProblem(t, a, a.post(body), 503, "acquirer-unavailable")
	if a.released != 1 {
		t.Fatal("the claim was kept, so that a retry would wait")
	}
}

// TestNotCovered: the answer is recorded, but the lease is over when it would be given (P10).
func TestNotCovered(t *testing.T) {
	a := newAPI(t, nil)
	a.covered = 500
	w := a.post(body)
	wantProblem(t, a, w, 503, "lease-ended")
	if w.Header().Get("Location") != "" || w.Header().Get("Content-Length") != "" {
		t.Fatalf("headers of the answer are left: %s", w.Header())
	}
	w = a.post(body) // the recorded one is not given either
	wantProblem(t, a, w, 503, "lease-ended")
	if w.Header().Get("Idempotent-Replayed") != "" {
		t.Fatal("a refusal passes for a replay")
	}
}

func TestQuarantined(t *testing.T) {
	a := newAPI(t, nil)
	a.outcome = payment.Outcome{Status: payment.Quarantined, Reason: "another amount"}
	for range 2 {
		if p := wantProblem(t, a, a.post(body), 422, "quarantined"); p.PaymentID == "" {
			t.Fatal("the problem does not name the payment")
		}
	}
}

// TestClientGoesAway: the payment comes to its end nevertheless.
func TestClientGoesAway(t *testing.T) {
	a := newAPI(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	a.fake.charge = func(inner context.Context) error {
		cancel()
		return inner.Err()
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/payments", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "key-1")
	a.handler.ServeHTTP(httptest.NewRecorder(), r)
	if len(a.answers) != 1 {
		t.Fatal("the payment was given up half-way")
	}
}

func TestOverload(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	a := newAPI(t, func(o *Options) { o.MaxInFlight = 1 })
	a.fake.charge = func(context.Context) error { close(entered); <-leave; return nil }
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- a.post(body) }()
	<-entered
	wantProblem(t, a, a.post(body, "Idempotency-Key", ""), 503, "overloaded")
	wantProblem(t, a, a.get("/v1/ledger/balance"), 503, "overloaded")
	if w := a.get("/livez"); w.Code != 200 {
		t.Fatalf("livez under load: %d", w.Code)
	}
	close(leave)
	if w := <-done; w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	a.fake.charge = nil
	if w := a.post(body); w.Code != 201 {
		t.Fatalf("after the load: %d %s", w.Code, w.Body)
	}
}

func TestPanicIsOneRequestsOwn(t *testing.T) {
	a := newAPI(t, nil)
	a.fake.charge = func(context.Context) error { panic("boom") }
	wantProblem(t, a, a.post(body), 500, "internal")
	a.fake.charge = nil
	if w := a.post(body); w.Code != 201 {
		t.Fatalf("after a panic: %d", w.Code)
	}
}

func TestReads(t *testing.T) {
	a := newAPI(t, nil)
	a.ready = Readiness{Role: "standby", Site: "dr", Writes: payment.ErrStandby}
	if w := a.get("/v1/payments/pay_1"); w.Code != 200 || w.Header().Get("Payd-Role") != "standby" || !strings.Contains(w.Body.String(), `"pay_1"`) {
		t.Fatalf("%d %s %s", w.Code, w.Header(), w.Body)
	}
	wantProblem(t, a, a.get("/v1/payments/pay_1", "Merchant-Id", "another"), 404, "not-found")
	if w := a.get("/v1/ledger/balance?merchant=shop"); w.Code != 200 || !strings.Contains(w.Body.String(), `"balanced":true`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	wantProblem(t, a, a.get("/v1/ledger/balance?merchant=a:b"), 400, "invalid-request")
	a.read = payment.ErrNotFound
	wantProblem(t, a, a.get("/v1/payments/pay_1"), 404, "not-found")
	wantProblem(t, a, a.post(body), 503, "standby")
}

func TestRoutes(t *testing.T) {
	a := newAPI(t, nil)
	wantProblem(t, a, a.get("/v1/nothing"), 404, "no-route")
	wantProblem(t, a, a.get("/problems/nothing"), 404, "no-route")
	w := a.get("/v1/payments")
	wantProblem(t, a, w, 405, "method-not-allowed")
	if w.Header().Get("Allow") != "POST" {
		t.Fatalf("Allow: %q", w.Header().Get("Allow"))
	}
}

func TestReadyz(t *testing.T) {
	a := newAPI(t, nil)
	for name, c := range map[string]struct {
		ready Readiness
		want  int
	}{
		"active":   {Readiness{}, 200},
		"standby":  {Readiness{Writes: payment.ErrStandby}, 200},
		"no reads": {Readiness{Writes: payment.ErrUnavailable, Reads: payment.ErrUnavailable}, 503},
		"draining": {Readiness{Draining: true}, 503},
	} {
		a.ready = c.ready
		if w := a.get("/readyz"); w.Code != c.want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w := a.get("/livez"); w.Code != 200 {
			t.Errorf("%s: livez %d", name, w.Code)
		}
	}
}

// TestLimitsOfTheServer: a client that sends its header slowly, or too much of it, is cut off.
func TestLimitsOfTheServer(t *testing.T) {
	a := newAPI(t, nil)
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(a.handler, slog.New(slog.DiscardHandler))
	if c := server.Config; c.ReadHeaderTimeout <= 0 || c.ReadTimeout <= 0 || c.WriteTimeout <= 0 || c.IdleTimeout <= 60*time.Second {
		t.Fatalf("a limit is missing: %+v", c)
	}
	server.Start()
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Padding", strings.Repeat("x", 2*MaxHeaderBytes))
	client := server.Client()
	w, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if _, err := io.Copy(io.Discard, w.Body); err != nil || w.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Fatalf("%d, %v", w.StatusCode, err)
	}
}
