// Package acquirertest is an acquirer for tests: it remembers every charge, and loses answers when told to.
package acquirertest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Charge is what the acquirer recorded under a reference.
type Charge struct {
	Reference         string `json:"reference"`
	Status            string `json:"status"`
	Amount            int64  `json:"amount"`
	Currency          string `json:"currency"`
	Merchant          string `json:"merchant"`
	MerchantReference string `json:"merchant_reference"`
	PaymentMethod     string `json:"payment_method"`
	AuthorizationCode string `json:"authorization_code,omitempty"`
	// Calls counts the requests that named the reference.
	Calls int `json:"-"`
}

// Fate is what happens to one request.
type Fate int

// The fates.
const (
	// Answer: the charge is recorded and answered.
	Answer Fate = iota
	// Lose: the charge is recorded, the connection is closed without an answer.
	Lose
	// Drop: the connection is closed before anything is recorded.
	Drop
	// Fail: 503, nothing is recorded.
	Fail
)

// Server is an acquirer. Payment methods that begin with "declined" are declined.
type Server struct {
	URL string

	mu      sync.Mutex
	charges map[string]*Charge
	decide  func(reference string, call int) Fate
}

// New starts an acquirer that ends with the test. decide is asked for every PUT; nil answers all. It may block, until
// the test's end at the latest.
func New(t testing.TB, decide func(reference string, call int) Fate) *Server {
	t.Helper()
	s := &Server{charges: map[string]*Charge{}, decide: decide}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return s
}

// Charges returns a copy of what was recorded, by reference.
func (s *Server) Charges() map[string]Charge {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]Charge{}
	for k, c := range s.charges {
		if c.Status != "" {
			all[k] = *c
		}
	}
	return all
}

// SetFate replaces the function that decides.
func (s *Server) SetFate(decide func(reference string, call int) Fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = decide
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	reference, void := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v1/charges/"), "/void")
	switch {
	case r.Method == http.MethodPut:
		s.put(w, r, reference)
	case r.Method == http.MethodPost && void:
		s.mu.Lock()
		c := s.find(reference)
		c.Status = "voided"
		answer := *c
		s.mu.Unlock()
		reply(w, http.StatusOK, answer)
	case r.Method == http.MethodGet:
		s.mu.Lock()
		answer := *s.find(reference)
		s.mu.Unlock()
		if answer.Status == "" {
			reply(w, http.StatusNotFound, map[string]string{"error": "not_found"})
			return
		}
		reply(w, http.StatusOK, answer)
	default:
		http.NotFound(w, r)
	}
}

// find returns the line of a reference; one without a status has only been asked about. The caller holds the lock.
func (s *Server) find(reference string) *Charge {
	c := s.charges[reference]
	if c == nil {
		c = &Charge{Reference: reference}
		s.charges[reference] = c
	}
	return c
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, reference string) {
	var in Charge
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		return
	}
	s.mu.Lock()
	c := s.find(reference)
	c.Calls++
	call, decide := c.Calls, s.decide
	s.mu.Unlock()
	fate := Answer
	if decide != nil {
		fate = decide(reference, call)
	}
	switch fate {
	case Drop:
		panic(http.ErrAbortHandler)
	case Fail:
		reply(w, http.StatusServiceUnavailable, map[string]string{"error": "unavailable"})
		return
	}
	s.mu.Lock()
	first := c.Status == ""
	if first {
		calls := c.Calls
		*c = in
		c.Reference, c.Calls, c.Status, c.AuthorizationCode = reference, calls, "approved", "A"+reference[len(reference)-6:]
		if strings.HasPrefix(in.PaymentMethod, "declined") {
			c.Status, c.AuthorizationCode = "declined", ""
		}
	}
	answer := *c
	s.mu.Unlock()
	switch {
	case fate == Lose:
		panic(http.ErrAbortHandler)
	case answer.Status == "voided":
		reply(w, http.StatusConflict, map[string]string{"error": "reference_voided"})
	case answer.Amount != in.Amount || answer.Currency != in.Currency:
		reply(w, http.StatusConflict, map[string]any{
			"error": "reference_conflict", "amount": answer.Amount, "currency": answer.Currency,
		})
	case first:
		reply(w, http.StatusCreated, answer)
	default:
		reply(w, http.StatusOK, answer)
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
