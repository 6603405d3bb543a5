package http

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"holdfast/internal/payment"
	"holdfast/internal/term"
)

// Limits of the API.
const (
	MaxBodyBytes   = 16 << 10
	MaxHeaderBytes = 16 << 10
	// DefaultInFlight is how many requests to /v1 may be under way.
	DefaultInFlight = 256
	DefaultTimeout  = 10 * time.Second
)

//go:embed openapi.json
var openAPI []byte

// Readiness says what the process can do right now.
type Readiness struct {
	// Writes is nil if payments can be taken, else why not (one of the payment package's errors).
	Writes error
	// Reads is nil if payments can be read.
	Reads error
	// Role and Site are for people.
	Role, Site string
	// Draining: the process is about to end and wants no new requests.
	Draining bool
}

// Observer is told of every request to /v1, for metrics.
type Observer interface {
	// Request: a request to the route was answered. problem is the problem's name, empty for a success.
	Request(route string, status int, problem string, took time.Duration)
	// InFlight: that many requests are under way.
	InFlight(n int)
}

// Options make a [Handler].
type Options struct {
	Service *payment.Service
	// Readiness is asked on every request and must not block.
	Readiness func() Readiness
	Observer  Observer
	// Metrics answers /metrics.
	Metrics http.Handler
	// MaxInFlight and Timeout default to DefaultInFlight and DefaultTimeout.
	MaxInFlight int
	Timeout     time.Duration
	Logger      *slog.Logger
	// Now is the boot clock; it defaults to [term.Boot].
	Now func() term.Instant
}

// Handler is the API.
type Handler struct {
	options Options
	slots   chan struct{}
	mux     *http.ServeMux
}

// NewHandler returns the API.
func NewHandler(o Options) *Handler {
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = DefaultInFlight
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Now == nil {
		o.Now = term.Boot
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	h := &Handler{options: o, slots: make(chan struct{}, o.MaxInFlight), mux: http.NewServeMux()}
	h.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	h.mux.HandleFunc("GET /readyz", h.readyz)
	h.mux.Handle("GET /metrics", o.Metrics)
	h.mux.HandleFunc("GET /problems/{name}", describe)
	h.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openAPI)
	})
	h.mux.Handle("POST /v1/payments", h.admit("create", h.create))
	h.mux.Handle("GET /v1/payments/{id}", h.admit("payment", h.payment))
	h.mux.Handle("GET /v1/ledger/balance", h.admit("balance", h.balance))
	// Patterns without a method catch what the others leave.
	for path, allow := range map[string]string{
		"/v1/payments": "POST", "/v1/payments/{id}": "GET, HEAD", "/v1/ledger/balance": "GET, HEAD",
	} {
		h.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", allow)
			badMethod.write(w, "", nil)
		})
	}
	h.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { noRoute.write(w, "", nil) })
	return h
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// NewServer wraps a handler in a server with limits on everything that a client could let grow or hang.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		// Longer than a balancer's own idle timeout (60 s), or it would send into a connection that is being closed.
		IdleTimeout:    90 * time.Second,
		MaxHeaderBytes: MaxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status  int
	problem string
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// fail answers with the problem that the error stands for.
func (h *Handler) fail(w *recorder, r *http.Request, err error) {
	k, fields := classify(err)
	if errors.Is(err, context.DeadlineExceeded) && k.status == http.StatusInternalServerError {
		k = timeout
	}
	h.problem(w, k, "", fields)
	level := slog.LevelDebug
	if k.status >= 500 {
		level = slog.LevelWarn
	}
	h.options.Logger.Log(r.Context(), level, "request failed",
		"method", r.Method, "path", r.URL.Path, "problem", k.name, "error", err)
}

func (h *Handler) problem(w *recorder, k kind, detail string, fields []payment.FieldError) {
	w.problem = k.name
	if detail == "" {
		detail = k.remedy
	}
	k.write(w, detail, fields)
}

// admit bounds how many requests are under way, gives each a deadline, and survives a panic in one.
func (h *Handler) admit(route string, next func(*recorder, *http.Request)) http.Handler {
	return http.HandlerFunc(func(plain http.ResponseWriter, r *http.Request) {
		began := time.Now()
		w := &recorder{ResponseWriter: plain}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				h.options.Logger.Error("a request panicked", "route", route, "panic", p, "stack", string(debug.Stack()))
				if w.status == 0 {
					h.problem(w, internal, "", nil)
				}
			}
			h.options.Observer.Request(route, w.status, w.problem, time.Since(began))
		}()
		if h.options.Readiness().Draining {
			w.Header().Set("Connection", "close")
		}
		select {
		case h.slots <- struct{}{}:
		default:
			h.problem(w, overloaded, "", nil)
			return
		}
		h.options.Observer.InFlight(len(h.slots))
		defer func() {
			<-h.slots
			h.options.Observer.InFlight(len(h.slots))
		}()
		ctx, cancel := context.WithTimeout(r.Context(), h.options.Timeout)
		defer cancel()
		next(w, r.WithContext(ctx))
	})
}

func (h *Handler) readyz(w http.ResponseWriter, _ *http.Request) {
	ready := h.options.Readiness()
	status, state := http.StatusOK, "ready"
	switch {
	case ready.Draining:
		status, state = http.StatusServiceUnavailable, "draining"
	case ready.Reads != nil:
		status, state = http.StatusServiceUnavailable, "not ready: "+ready.Reads.Error()
	}
	writes := "yes"
	if ready.Writes != nil {
		writes = "no: " + ready.Writes.Error()
	}
	writeText(w, status, state+"\nsite: "+ready.Site+"\nrole: "+ready.Role+"\nwrites: "+writes+"\n")
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// order is the body of POST /v1/payments.
type order struct {
	Merchant          string `json:"merchant"`
	Amount            int64  `json:"amount"`
	Currency          string `json:"currency"`
	PaymentMethod     string `json:"payment_method"`
	MerchantReference string `json:"merchant_reference"`
}

// decode reads the order from headers and body.
func decode(w http.ResponseWriter, r *http.Request) (payment.Order, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	if err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return payment.Order{}, err
		}
		return payment.Order{}, payment.InvalidOrder{{Field: "body", Message: "could not be read"}}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	var in order
	if err := decoder.Decode(&in); err != nil {
		return payment.Order{}, payment.InvalidOrder{{Field: "body", Message: err.Error()}}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return payment.Order{}, payment.InvalidOrder{{Field: "body", Message: "one JSON object is required, and nothing after it"}}
	}
	merchant := r.Header.Get("Merchant-Id")
	if merchant == "" {
		merchant = in.Merchant
	} else if in.Merchant != "" && in.Merchant != merchant {
		return payment.Order{}, payment.InvalidOrder{{Field: "merchant", Message: "differs from the header Merchant-Id"}}
	}
	for _, name := range []string{"Idempotency-Key", "Merchant-Id"} {
		if len(r.Header.Values(name)) > 1 {
			return payment.Order{}, payment.InvalidOrder{{Field: name, Message: "the header is there more than once"}}
		}
	}
	return payment.Order{
		Merchant: merchant, Key: r.Header.Get("Idempotency-Key"), Amount: in.Amount, Currency: in.Currency,
		PaymentMethod: in.PaymentMethod, MerchantReference: in.MerchantReference,
	}, nil
}

func (h *Handler) create(w *recorder, r *http.Request) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		h.problem(w, badMediaType, "", nil)
		return
	}
	o, err := decode(w, r)
	if err == nil {
		err = o.Validate()
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if err := h.options.Readiness().Writes; err != nil {
		h.fail(w, r, err)
		return
	}
	// A client that goes away does not stop a payment half-way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.options.Timeout)
	defer cancel()
	answer, err := h.options.Service.Create(ctx, o)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.answer(w, r, answer)
}

// answer gives a recorded answer, if the lease still covers it (P10): the clock is read as late as can be.
func (h *Handler) answer(w *recorder, r *http.Request, a payment.Answer) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	if a.Status >= 400 {
		header.Set("Content-Type", "application/problem+json")
		w.problem = quarantined.name
	} else {
		header.Set("Location", payment.Location(a.PaymentID))
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(a.Body)))
	if a.Replayed {
		header.Set("Idempotent-Replayed", "true")
	}
	if !a.Covered(h.options.Now()) {
		for _, name := range []string{"Location", "Content-Length", "Idempotent-Replayed"} {
			header.Del(name)
		}
		h.fail(w, r, errNotCovered)
		return
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}

func (h *Handler) payment(w *recorder, r *http.Request) {
	ready := h.options.Readiness()
	p, err := h.options.Service.Payment(r.Context(), r.PathValue("id"))
	if merchant := r.Header.Get("Merchant-Id"); err == nil && merchant != "" && merchant != p.Order.Merchant {
		err = payment.ErrNotFound
	}
	h.show(w, r, ready, p, err)
}

func (h *Handler) balance(w *recorder, r *http.Request) {
	ready := h.options.Readiness()
	merchant := r.URL.Query().Get("merchant")
	if merchant != "" && !payment.ValidMerchant(merchant) {
		h.fail(w, r, payment.InvalidOrder{{Field: "merchant", Message: "is not a merchant's name"}})
		return
	}
	b, err := h.options.Service.Balance(r.Context(), merchant)
	h.show(w, r, ready, b, err)
}

// show answers a read. The header Payd-Role tells a fresh answer from a standby's, which may be behind.
func (h *Handler) show(w *recorder, r *http.Request, ready Readiness, value any, err error) {
	w.Header().Set("Payd-Role", ready.Role)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	body, err := json.Marshal(value)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n'))
}
