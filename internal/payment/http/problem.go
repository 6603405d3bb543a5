package http

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"holdfast/internal/payment"
)

// kind is one type of problem.
type kind struct {
	name, title string
	status      int
	retryable   bool
	// retryAfter is in seconds, 0 for none.
	retryAfter int
	// remedy is what /problems/{name} says.
	remedy string
}

// The kinds of problems, by the last part of their type.
var (
	invalidRequest = kind{"invalid-request", "The request is not valid", 400, false, 0, "Correct the fields that are listed under errors."}
	keyReused      = kind{"key-reused", "The idempotency key belongs to another order", 422, false, 0, "Use a new Idempotency-Key for a new order. To repeat an order, send the same body."}
	inFlight       = kind{"in-flight", "Another request with this key is under way", 409, true, 1, "Send the same request again after the time in Retry-After."}
	notFound       = kind{"not-found", "There is no such payment here", 404, false, 0, "Check the id. At a standby a payment appears once it is replicated."}
	noRoute        = kind{"no-route", "There is nothing here", 404, false, 0, "See docs/payd.md for the paths."}
	badMethod      = kind{"method-not-allowed", "This method is not allowed here", 405, false, 0, "See the header Allow."}
	tooLarge       = kind{"too-large", "The request is too large", 413, false, 0, "A body may have 16 KiB."}
	badMediaType   = kind{"media-type", "The body must be JSON", 415, false, 0, "Send Content-Type: application/json."}
	standby        = kind{"standby", "This site is a standby", 503, true, 2, "Payments are taken at the other site. Resolve the service's name again and send the same request with the same key."}
	noLease        = kind{"no-lease", "This site holds no write lease", 503, true, 1, "The site may be handing over. Send the same request with the same key again; resolve the service's name before."}
	unavailable    = kind{"database-unavailable", "The database is not available", 503, true, 1, "The outcome is unknown. Send the same request with the same key again: it is never charged twice."}
	notCovered     = kind{"lease-ended", "The write lease ended before the answer", 503, true, 1, "The payment may or may not survive. Send the same request with the same key again: it is never charged twice."}
	acquirerDown   = kind{"acquirer-unavailable", "The acquirer has not answered", 503, true, 1, "The payment is recorded and is finished in the background. Send the same request with the same key again for its outcome."}
	overloaded     = kind{"overloaded", "Too many requests are under way", 503, true, 1, "Send the same request with the same key again after the time in Retry-After."}
	draining       = kind{"draining", "This task is going away", 503, true, 1, "Send the same request with the same key again, on a new connection."}
	timeout        = kind{"timeout", "The request took too long", 503, true, 1, "The outcome is unknown. Send the same request with the same key again: it is never charged twice."}
	internal       = kind{"internal", "Something went wrong", 500, true, 1, "The outcome is unknown. Send the same request with the same key again: it is never charged twice."}
	quarantined    = kind{"quarantined", "The payment is quarantined", 422, false, 0, "The acquirer knows the payment's reference with other contents. A person has to look at it; do not send it again."}
)

var kinds = func() map[string]kind {
	m := map[string]kind{}
	for _, k := range []kind{
		invalidRequest, keyReused, inFlight, notFound, noRoute, badMethod, tooLarge, badMediaType, standby, noLease,
		unavailable, notCovered, acquirerDown, overloaded, draining, timeout, internal, quarantined,
	} {
		m[k.name] = k
	}
	return m
}()

// classify is the one place that maps errors to problems.
func classify(err error) (k kind, fields []payment.FieldError) {
	var invalid payment.InvalidOrder
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &invalid):
		return invalidRequest, invalid
	case errors.As(err, &tooBig):
		return tooLarge, nil
	case errors.Is(err, payment.ErrKeyReused):
		return keyReused, nil
	case errors.Is(err, payment.ErrInFlight):
		return inFlight, nil
	case errors.Is(err, payment.ErrNotFound):
		return notFound, nil
	case errors.Is(err, payment.ErrAcquirer): // before the others: what went wrong with the release is joined to it
		return acquirerDown, nil
	case errors.Is(err, payment.ErrStandby):
		return standby, nil
	case errors.Is(err, payment.ErrNoLease):
		return noLease, nil
	case errors.Is(err, payment.ErrUnavailable):
		return unavailable, nil
	case errors.Is(err, errNotCovered):
		return notCovered, nil
	}
	return internal, nil
}

// errNotCovered: the answer is known, but the lease that covers it is over (P10).
var errNotCovered = errors.New("the write lease ended before the answer could be given")

func (k kind) write(w http.ResponseWriter, detail string, fields []payment.FieldError) {
	body, err := json.Marshal(payment.Problem{Type: "/problems/" + k.name, Title: k.title, Status: k.status, Detail: detail, Retryable: k.retryable, Errors: fields})
	if err != nil {
		http.Error(w, k.title, k.status)
		return
	}
	if k.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(k.retryAfter))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(k.status)
	_, _ = w.Write(append(body, '\n')) // a client that is gone can't be told
}

// describe answers /problems/{name}.
func describe(w http.ResponseWriter, r *http.Request) {
	k, ok := kinds[r.PathValue("name")]
	if !ok {
		noRoute.write(w, "", nil)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(k.title + " (" + strconv.Itoa(k.status) + ").\n\n" + k.remedy + "\n"))
}
