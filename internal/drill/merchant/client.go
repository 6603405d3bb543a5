package merchant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of one merchant's client.
const (
	maxAnswerBytes = 64 << 10
	maxConnections = 16
	maxRetryAfter  = 5 * time.Second
)

// client is one merchant's HTTP client: connections to the address that the name has right now, and no other.
type client struct {
	resolver *resolver
	port     int
	timeout  time.Duration

	mu        sync.Mutex
	address   string
	transport *http.Transport
}

// request is the body of POST /v1/payments.
type request struct {
	Merchant          string `json:"merchant"`
	MerchantReference string `json:"merchant_reference"`
	Amount            int64  `json:"amount"`
	Currency          string `json:"currency"`
	PaymentMethod     string `json:"payment_method"`
}

// answer is what the merchant reads of an answer: a payment's id and status, or a problem's title and detail. A
// problem's status is a number, so it is read as it comes.
type answer struct {
	ID     string          `json:"id"`
	Status json.RawMessage `json:"status"`
	Title  string          `json:"title"`
	Detail string          `json:"detail"`
}

// result is what one attempt came to.
type result struct {
	outcome   Outcome // Pending: try again
	paymentID string
	status    int
	address   string
	problem   string
	// retryAfter is what the server asked for, 0 if nothing.
	retryAfter time.Duration
}

// pay makes one attempt.
func (c *client) pay(ctx context.Context, p Payment) result {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	address, err := c.resolver.lookup(ctx)
	if err != nil {
		return result{outcome: Pending, problem: err.Error()}
	}
	body, err := json.Marshal(request{
		Merchant: p.Merchant, MerchantReference: p.Order, Amount: p.Amount, Currency: p.Currency, PaymentMethod: p.PaymentMethod,
	})
	if err != nil {
		return result{outcome: Refused, address: address, problem: err.Error()}
	}
	url := "http://" + net.JoinHostPort(c.resolver.name, strconv.Itoa(c.port)) + "/v1/payments"
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return result{outcome: Refused, address: address, problem: err.Error()}
	}
	// Without GetBody the transport can't send the request again by itself, which it would do for one with an
	// Idempotency-Key whose connection broke: every attempt has to be on the record.
	q.GetBody = nil
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Idempotency-Key", p.Key)
	transport := c.connect(address)
	defer c.release(transport) // after the body was closed: deferred calls run last in, first out
	response, err := transport.RoundTrip(q)
	if err != nil {
		return result{outcome: Pending, address: address, problem: reason(err)}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		// The status arrived, the body did not: nobody was told that the payment was made.
		return result{outcome: Pending, address: address, status: response.StatusCode, problem: reason(err)}
	}
	r := classify(response.StatusCode, text)
	r.address, r.retryAfter = address, retryAfter(response.Header.Get("Retry-After"))
	return r
}

// connect returns the transport for the address. When the address has changed, the old connections are given up:
// idle ones are closed now, busy ones by release when their request ends.
func (c *client) connect(address string) *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.address == address && c.transport != nil {
		return c.transport
	}
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
	target := net.JoinHostPort(address, strconv.Itoa(c.port))
	c.address = address
	c.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", target)
		},
		MaxConnsPerHost: maxConnections, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second,
		DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
	}
	return c.transport
}

// release closes the connection of a request that ended after the address had changed.
func (c *client) release(transport *http.Transport) {
	c.mu.Lock()
	retired := transport != c.transport
	c.mu.Unlock()
	if retired {
		transport.CloseIdleConnections()
	}
}

// close gives up all idle connections; no request may be under way any more.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
}

// classify reads an answer. Only a success that says the money was taken is an acknowledgement; what says "later" or
// nothing understandable is tried again with the same key, which is safe by construction.
func classify(status int, body []byte) result {
	var a answer
	_ = json.Unmarshal(body, &a) // an answer that is not JSON has no id and no status, which is judged below
	var said string
	_ = json.Unmarshal(a.Status, &said)
	r := result{outcome: Pending, status: status, paymentID: a.ID, problem: describe(a, said, body)}
	switch {
	case said == "declined" && (status == http.StatusPaymentRequired || status/100 == 2), status == http.StatusPaymentRequired:
		r.outcome = Declined
	case (status == http.StatusOK || status == http.StatusCreated) && a.ID != "" && succeeded(said):
		r.outcome, r.problem = Acknowledged, ""
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooEarly,
		status == http.StatusTooManyRequests:
		// 409 says that another attempt with the same key is under way.
	case status/100 == 4:
		r.outcome = Refused
	}
	return r
}

func succeeded(status string) bool {
	switch status {
	case "approved", "captured", "succeeded", "completed", "paid":
		return true
	}
	return false
}

// maxProblem bounds what is kept of an answer that was no success, in bytes.
const maxProblem = 200

func describe(a answer, said string, body []byte) string {
	text := strings.TrimSpace(strings.Join([]string{a.Title, a.Detail, said}, " "))
	if text == "" {
		text = strings.ToValidUTF8(string(body), "")
	}
	return text[:min(len(text), maxProblem)]
}

func retryAfter(header string) time.Duration {
	n, err := strconv.Atoi(header)
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxRetryAfter)
}

func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	return err.Error()
}
