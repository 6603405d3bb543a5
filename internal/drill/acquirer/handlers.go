package acquirer

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// failure is the body of every answer that is not a charge.
type failure struct {
	Error   string `json:"error"`
	Message string `json:"message"`
	// Charge is what the acquirer has recorded under the reference, in a conflict.
	Charge *Charge `json:"charge,omitempty"`
}

func (s *Server) put(w http.ResponseWriter, r *http.Request) {
	reference := r.PathValue("reference")
	var q Request
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err := decoder.Decode(&q); err != nil {
		s.answer(w, http.StatusBadRequest, failure{Error: "invalid_request", Message: "body: " + err.Error()})
		return
	}
	if problem := q.problem(reference); problem != "" {
		s.answer(w, http.StatusBadRequest, failure{Error: "invalid_request", Message: problem})
		return
	}
	pause := s.latency(reference) / 2
	if !wait(r.Context(), pause) {
		return // the client is gone and nothing was charged
	}
	status := Approved
	if s.draw("decline", reference, 0) < s.options.Declines[q.PaymentMethod] {
		status = Declined
	}
	charge, first, arrival, err := s.record.charge(reference, q, status, time.Now())
	if err == nil && s.draw("lost", reference, arrival) < s.options.LostAnswers {
		s.lost.Add(1)
		panic(http.ErrAbortHandler) // net/http closes the connection without an answer
	}
	if !wait(r.Context(), pause) {
		return
	}
	switch {
	case errors.Is(err, ErrConflict):
		s.answer(w, http.StatusConflict,
			failure{Error: err.Error(), Message: "the reference is known with other contents", Charge: &charge})
	case errors.Is(err, ErrVoided):
		s.answer(w, http.StatusConflict, failure{Error: err.Error(), Message: "the reference was voided", Charge: &charge})
	case err != nil:
		s.answer(w, http.StatusServiceUnavailable, failure{Error: err.Error(), Message: "the acquirer's record is full"})
	case first:
		s.answer(w, http.StatusCreated, charge)
	default:
		s.answer(w, http.StatusOK, charge)
	}
}

func (q Request) problem(reference string) string {
	switch {
	case len(reference) > maxFieldLength:
		return "reference: at most 128 bytes"
	case q.Amount <= 0:
		return "amount: a positive integer in the currency's minor unit is required"
	case len(q.Currency) != 3 || strings.Trim(q.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
		return "currency: an ISO 4217 code of three capital letters is required"
	}
	for _, field := range [][2]string{{"payment_method", q.PaymentMethod}, {"merchant", q.Merchant}, {"merchant_reference", q.MerchantReference}} {
		if field[1] == "" || len(field[1]) > maxFieldLength {
			return field[0] + ": 1 to 128 bytes are required"
		}
	}
	return ""
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	charge, ok := s.record.get(r.PathValue("reference"))
	if !ok {
		s.answer(w, http.StatusNotFound, failure{Error: "not_found", Message: "no charge has arrived under this reference so far"})
		return
	}
	s.answer(w, http.StatusOK, charge)
}

func (s *Server) void(w http.ResponseWriter, r *http.Request) {
	reference := r.PathValue("reference")
	if len(reference) > maxFieldLength {
		s.answer(w, http.StatusBadRequest, failure{Error: "invalid_request", Message: "reference: at most 128 bytes"})
		return
	}
	charge, err := s.record.void(reference, time.Now())
	if err != nil {
		s.answer(w, http.StatusServiceUnavailable, failure{Error: err.Error(), Message: "the acquirer's record is full"})
		return
	}
	s.answer(w, http.StatusOK, charge)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var since time.Time
	var after int64
	limit := maxListPage
	var err error
	if text := query.Get("since"); text != "" {
		if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			s.answer(w, http.StatusBadRequest, failure{Error: "invalid_request", Message: "since: an RFC 3339 time is required"})
			return
		}
	}
	if text := query.Get("after"); text != "" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			s.answer(w, http.StatusBadRequest, failure{Error: "invalid_request", Message: "after: a sequence number is required"})
			return
		}
	}
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxListPage {
			s.answer(w, http.StatusBadRequest, failure{Error: "invalid_request", Message: "limit: a number from 1 to 1000 is required"})
			return
		}
	}
	charges, more := s.record.list(since, after, limit)
	page := struct {
		Charges []Charge `json:"charges"`
		// NextAfter is the value of "after" for the next page; it is absent on the last one.
		NextAfter int64 `json:"next_after,omitempty"`
	}{Charges: charges}
	if more {
		page.NextAfter = charges[len(charges)-1].Sequence
	}
	s.answer(w, http.StatusOK, page)
}

func (s *Server) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.options.Logger.Debug("the acquirer's client went away", "error", err)
	}
}

// latency is the time that answers about this reference take.
func (s *Server) latency(reference string) time.Duration {
	swing := (2*s.draw("latency", reference, 0) - 1) * float64(s.options.Jitter)
	return max(0, s.options.Latency+time.Duration(swing))
}

// wait pauses for d and reports whether ctx is still alive.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
