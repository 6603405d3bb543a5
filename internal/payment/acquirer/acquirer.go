// Package acquirer is payd's client for the acquirer's HTTP API.
package acquirer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"holdfast/internal/payment"
)

// maxAnswerBytes bounds an answer's body.
const maxAnswerBytes = 64 << 10

// Options are a client's settings; zero values get defaults.
type Options struct {
	// Attempts is how often one call is sent at most (2), Timeout how long each attempt may take (3 s), and Pause is
	// the time between two (100 ms).
	Attempts       int
	Timeout, Pause time.Duration
	// MaxConnections bounds the connections to the acquirer (64).
	MaxConnections int
}

// Client talks to one acquirer. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	http      *http.Client
	transport *http.Transport
	options   Options
}

// New returns a client for the API at the base URL, as in http://acquirer:8082.
func New(base string, o Options) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(base, "/"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("acquirer URL %q: want http://host or https://host", base)
	}
	if o.Attempts <= 0 {
		o.Attempts = 2
	}
	if o.Timeout <= 0 {
		o.Timeout = 3 * time.Second
	}
	if o.Pause <= 0 {
		o.Pause = 100 * time.Millisecond
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 64
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 2 * time.Second, ForceAttemptHTTP2: true,
		MaxConnsPerHost: o.MaxConnections, MaxIdleConnsPerHost: o.MaxConnections, IdleConnTimeout: 60 * time.Second,
		MaxResponseHeaderBytes: 32 << 10,
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client := &http.Client{Transport: transport, CheckRedirect: noRedirect}
	return &Client{base: u, transport: transport, http: client, options: o}, nil
}

// Close gives up the idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// ErrNotFound: no charge has arrived under the reference so far. One may still arrive.
var ErrNotFound = errors.New("no charge has arrived under this reference so far")

type body struct {
	Amount            int64  `json:"amount"`
	Currency          string `json:"currency"`
	PaymentMethod     string `json:"payment_method"`
	Merchant          string `json:"merchant"`
	MerchantReference string `json:"merchant_reference"`
}

// Record is what the acquirer says of a charge.
type Record struct {
	Reference         string `json:"reference"`
	Status            string `json:"status"`
	Amount            int64  `json:"amount"`
	Currency          string `json:"currency"`
	AuthorizationCode string `json:"authorization_code"`
	Reason            string `json:"reason"`
	Error             string `json:"error"`
}

// Charge makes the charge, or learns what became of it. Every error leaves the outcome unknown.
func (c *Client) Charge(ctx context.Context, charge payment.Charge) (payment.Outcome, error) {
	text, err := json.Marshal(body{charge.Amount, charge.Currency, charge.PaymentMethod, charge.Merchant, charge.MerchantReference})
	if err != nil {
		return payment.Outcome{}, fmt.Errorf("charge %s: %w", charge.Reference, err)
	}
	status, record, err := c.call(ctx, http.MethodPut, charge.Reference, "", text)
	if err != nil {
		return payment.Outcome{}, fmt.Errorf("charge %s: %w", charge.Reference, err)
	}
	return judge(charge, status, record)
}

// judge turns an answer into an outcome.
func judge(charge payment.Charge, status int, r Record) (payment.Outcome, error) {
	unknown := func(why string) (payment.Outcome, error) {
		return payment.Outcome{}, fmt.Errorf("charge %s: the acquirer answered %d: %s", charge.Reference, status, why)
	}
	quarantine := func(why string) (payment.Outcome, error) {
		return payment.Outcome{Status: payment.Quarantined, Reason: why}, nil
	}
	switch {
	case status == http.StatusConflict && r.Error == "reference_conflict":
		return quarantine("the reference is known to the acquirer with other contents")
	case status == http.StatusConflict && r.Error == "reference_voided", status == http.StatusGone,
		status/100 == 2 && r.Status == "voided":
		return quarantine("the reference was voided at the acquirer")
	case status != http.StatusOK && status != http.StatusCreated:
		// Also a 400: it says nothing about whether an earlier attempt arrived.
		return unknown(r.Error)
	case r.Reference != charge.Reference:
		return unknown(fmt.Sprintf("about another reference, %q", r.Reference))
	case r.Amount != charge.Amount || r.Currency != charge.Currency:
		return quarantine(fmt.Sprintf("the acquirer has it with %d %s", r.Amount, r.Currency))
	case r.Status == "approved":
		return payment.Outcome{Status: payment.Approved, AuthorizationCode: r.AuthorizationCode}, nil
	case r.Status == "declined":
		return payment.Outcome{Status: payment.Declined, Reason: r.Reason}, nil
	}
	return unknown(fmt.Sprintf("unknown status %q", r.Status))
}

// Get returns what the acquirer has under a reference, or ErrNotFound.
func (c *Client) Get(ctx context.Context, reference string) (Record, error) {
	return c.expect(ctx, http.MethodGet, reference, "")
}

// Void takes a charge back. If none has arrived yet the acquirer leaves a tombstone that refuses it.
func (c *Client) Void(ctx context.Context, reference string) (Record, error) {
	return c.expect(ctx, http.MethodPost, reference, "/void")
}

func (c *Client) expect(ctx context.Context, method, reference, suffix string) (Record, error) {
	status, record, err := c.call(ctx, method, reference, suffix, nil)
	switch {
	case err != nil:
		return Record{}, fmt.Errorf("charge %s: %w", reference, err)
	case status == http.StatusNotFound:
		return Record{}, fmt.Errorf("charge %s: %w", reference, ErrNotFound)
	case status != http.StatusOK:
		return Record{}, fmt.Errorf("charge %s: the acquirer answered %d %s", reference, status, record.Error)
	}
	return record, nil
}

// call sends a request until it is answered by something else than a 5xx or 429. All of the API is idempotent.
func (c *Client) call(ctx context.Context, method, reference, suffix string, text []byte) (status int, r Record, err error) {
	target := c.base.String() + "/v1/charges/" + url.PathEscape(reference) + suffix
	for attempt := 1; ; attempt++ {
		status, r, err = c.once(ctx, method, target, text)
		final := err == nil && status < 500 && status != http.StatusTooManyRequests
		if final || attempt == c.options.Attempts || ctx.Err() != nil {
			return status, r, err
		}
		timer := time.NewTimer(c.options.Pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return status, r, errors.Join(err, ctx.Err())
		}
	}
}

func (c *Client) once(ctx context.Context, method, target string, text []byte) (int, Record, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(text))
	if err != nil {
		return 0, Record{}, err
	}
	if text != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(q)
	if err != nil {
		return 0, Record{}, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return 0, Record{}, fmt.Errorf("read the acquirer's answer: %w", err)
	}
	var r Record
	if err := json.Unmarshal(answer, &r); err != nil && response.StatusCode/100 == 2 {
		return 0, Record{}, fmt.Errorf("read the acquirer's answer: %w", err)
	}
	return response.StatusCode, r, nil
}
