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

// again is the advice of every problem that leaves the outcome unknown.
const again = "Send the same request with the same key again: it is never charged twice."

// The kinds of problems, by the last part of their type.
var (
	invalidRequest = kind{
		name: "invalid-request", title: "The request is not valid", status: 400,
		remedy: "Correct the fields that are listed under errors.",
	}
	keyReused = kind{
		name: "key-reused", title: "The idempotency key belongs to another order", status: 422,
		remedy: "Use a new Idempotency-Key for a new order. To repeat an order, send the same body.",
	}
	inFlight = kind{
		name: "in-flight", title: "Another request with this key is under way", status: 409, retryable: true, retryAfter: 1,
		remedy: "Send the same request again after the time in Retry-After.",
	}
	notFound = kind{
		name: "not-found", title: "There is no such payment here", status: 404,
		remedy: "Check the id. At a standby a payment appears once it is replicated.",
	}
	noRoute = kind{
		name: "no-route", title: "There is nothing here", status: 404,
		remedy: "See docs/payd.md for the paths.",
	}
	badMethod = kind{
		name: "method-not-allowed", title: "This method is not allowed here", status: 405,
		remedy: "See the header Allow.",
	}
	tooLarge = kind{
		name: "too-large", title: "The request is too large", status: 413,
		remedy: "A body may have 16 KiB.",
	}
	badMediaType = kind{
		name: "media-type", title: "The body must be JSON", status: 415,
		remedy: "Send Content-Type: application/json.",
	}
	standby = kind{
		name: "standby", title: "This site is a standby", status: 503, retryable: true, retryAfter: 1,
		remedy: "Payments are taken at the other site. Resolve the service's name again and send the same request " +
			"with the same key.",
	}
	noLease = kind{
		name: "no-lease", title: "This site holds no write lease", status: 503, retryable: true, retryAfter: 1,
		remedy: "The site may be handing over. Send the same request with the same key again; resolve the service's " +
			"name before.",
	}
	unavailable = kind{
		name: "database-unavailable", title: "The database is not available", status: 503, retryable: true, retryAfter: 1,
		remedy: "The outcome is unknown. " + again,
	}
	notCovered = kind{
		name: "lease-ended", title: "The write lease ended before the answer", status: 503, retryable: true, retryAfter: 1,
		remedy: "The payment may or may not survive. " + again,
	}
	acquirerDown = kind{
		name: "acquirer-unavailable", title: "The acquirer has not answered", status: 503, retryable: true, retryAfter: 1,
		remedy: "The payment is recorded and is finished in the background. Send the same request with the same key " +
			"again for its outcome.",
	}
	overloaded = kind{
		name: "overloaded", title: "Too many requests are under way", status: 503, retryable: true, retryAfter: 1,
		remedy: "Send the same request with the same key again after the time in Retry-After.",
	}
	timeout = kind{
		name: "timeout", title: "The request took too long", status: 503, retryable: true, retryAfter: 1,
		remedy: "The outcome is unknown. " + again,
	}
	internal = kind{
		name: "internal", title: "Something went wrong", status: 500, retryable: true, retryAfter: 1,
		remedy: "The outcome is unknown. " + again,
	}
	quarantined = kind{
		name: "quarantined", title: "The payment is quarantined", status: 422,
		remedy: "The acquirer knows the payment's reference with other contents. A person has to look at it; do not " +
			"send it again.",
	}
)

var kinds = func() map[string]kind {
	m := map[string]kind{}
	for _, k := range []kind{
		invalidRequest, keyReused, inFlight, notFound, noRoute, badMethod, tooLarge, badMediaType, standby, noLease,
		unavailable, notCovered, acquirerDown, overloaded, timeout, internal, quarantined,
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
	body, err := json.Marshal(payment.Problem{
		Type: "/problems/" + k.name, Title: k.title, Status: k.status, Detail: detail, Retryable: k.retryable, Errors: fields,
	})
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
