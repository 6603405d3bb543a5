package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// longAnswer is a size in bytes that no longer fits into the buffers of usual clients in one read, and longLatency how
// long such an answer takes at least (a real Describe call takes longer). A client that gets a long answer while it
// still has the request in its hands trips over itself: the SDK for Go closes the request's body when it sees the
// answer's header, net/http takes the closed body for an error and closes the connection, and the rest of the answer is
// lost. Across a real network nobody sees that; on one busy machine it happens all the time.
const (
	longAnswer  = 3 << 10
	longLatency = 25 * time.Millisecond
)

// controlPlaneRegion is where global services live.
const controlPlaneRegion = "us-east-1"

// Handler returns the handler for callers in a region, "" for callers outside.
func (e *Endpoint) Handler(callerRegion string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{
			endpoint: e, http: r, caller: callerRegion,
			call: Call{At: e.options.Now(), CallerRegion: callerRegion, RequestID: uuid.NewString()},
		}
		started := time.Now()
		answer, ok := x.run(w)
		if len(answer.body) > longAnswer {
			x.takeTime()
		}
		x.call.Duration = time.Since(started)
		x.call.Status, x.call.Code = answer.status, answer.code
		e.calls.add(x.call)
		if !ok {
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
		for name, values := range answer.header {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.status)
		if r.Method != http.MethodHead {
			_, _ = w.Write(answer.body) // the client may be gone; there is nobody to tell
		}
	})
}

// exchange is one request on its way.
type exchange struct {
	endpoint *Endpoint
	http     *http.Request
	caller   string
	call     Call
	message  *message
	service  *service
	// scope is the service's name in the signature, which is that of its endpoints too.
	scope string
	// received is when the whole request had been read.
	received time.Time
}

// run carries a request to its service and the answer back. ok is false if the client gets no answer.
func (x *exchange) run(w http.ResponseWriter) (answer reply, ok bool) {
	e := x.endpoint
	select {
	case e.travelling <- struct{}{}:
		defer func() { <-e.travelling }()
	default: // too many clients wait for lost regions already
		return reply{}, false
	}
	signed, authErr := parseScope(x.http.Header)
	x.message = &message{protocol: protocolOf(x.http, signed.service), http: x.http}
	if err := x.readBody(w); err != nil {
		if known := new(Error); errors.As(err, &known) {
			return x.fail(known)
		}
		return reply{}, false // the client is gone
	}
	x.service, x.scope = e.services[signed.service], signed.service
	x.call.Service, x.call.Region = signed.service, signed.region
	if x.service != nil {
		x.call.Service = x.service.id
		if x.service.global {
			x.call.Region = controlPlaneRegion
		}
	}
	if authErr != nil {
		return x.fail(authErr)
	}
	if !e.knownRegion(signed.region) {
		return x.fail(&Error{
			Code: "SignatureDoesNotMatch", Status: http.StatusForbidden,
			Message: "Credential should be scoped to a valid region. The twin has no region " + signed.region + ".",
		})
	}
	if x.service == nil {
		return x.fail(x.message.unserved(signed.service))
	}
	return x.travel()
}

// takeTime waits until a long answer's latency has passed since the request was read.
func (x *exchange) takeTime() {
	timer := time.NewTimer(longLatency - time.Since(x.received))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.http.Context().Done():
	}
}

// readBody reads the body, which SDKs compress if it is long.
func (x *exchange) readBody(w http.ResponseWriter) error {
	limit := x.endpoint.options.Limits.BodyBytes
	tooLarge := &Error{
		Code: "RequestEntityTooLarge", Status: http.StatusRequestEntityTooLarge,
		Message: "The request body is larger than the endpoint's limit.",
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, x.http.Body, limit))
	x.received = time.Now()
	if err != nil {
		if over := new(http.MaxBytesError); errors.As(err, &over) {
			return tooLarge
		}
		return err
	}
	if x.http.Header.Get("Content-Encoding") == "gzip" {
		reader, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return fail("SerializationException", "The body is not compressed as its Content-Encoding says")
		}
		if body, err = io.ReadAll(io.LimitReader(reader, limit+1)); err != nil {
			return fail("SerializationException", "The body is not compressed as its Content-Encoding says")
		}
		if int64(len(body)) > limit {
			return tooLarge
		}
	}
	x.message.body = body
	return nil
}

// travel takes the request to the service's region, serves it there, and takes the answer back.
func (x *exchange) travel() (reply, bool) {
	e := x.endpoint
	deadline, cancel := context.WithTimeout(e.base, e.options.Limits.Hang)
	defer cancel()
	// The client's leaving ends the way there and back, but not what the service has begun: a request that was
	// received takes effect, whoever still listens.
	client, cancelClient := context.WithCancel(deadline)
	defer cancelClient()
	stop := context.AfterFunc(x.http.Context(), cancelClient)
	defer stop()

	if e.options.Admit != nil {
		from, _ := netip.ParseAddrPort(x.http.RemoteAddr) // a caller without an address is a stranger
		if e.options.Admit(client, from.Addr(), x.call.Region, x.scope) != nil {
			return reply{}, false
		}
	}
	if e.move(client, x.caller, x.call.Region) != nil {
		return reply{}, false
	}
	answer, ok := x.serve(deadline)
	if !ok || !e.there(x.call.Region) {
		<-client.Done() // silence, as long as the client listens
		return reply{}, false
	}
	if e.move(client, x.call.Region, x.caller) != nil {
		return reply{}, false
	}
	return answer, true
}

// move takes one message's time between two regions.
func (e *Endpoint) move(ctx context.Context, from, to string) error {
	if from == to && e.there(to) || !e.knownRegion(to) && to != "" || !e.knownRegion(from) && from != "" {
		return ctx.Err() // inside a region; or the control plane of a region that the twin does not have
	}
	return e.options.Network.OneWay(ctx, from, to)
}

func (e *Endpoint) there(region string) bool {
	return !e.knownRegion(region) || e.options.Network.Up(region)
}

// serve runs the action, in the region that it was sent to.
func (x *exchange) serve(ctx context.Context) (reply, bool) {
	here := place{x.scope, x.call.Region}
	if !x.endpoint.knownRegion(here.region) {
		here.region = ""
	}
	running := x.endpoint.running[here]
	select {
	case running <- struct{}{}:
		defer func() { <-running }()
	default:
		return x.fail(fail("ThrottlingException", "Rate exceeded"))
	}
	o, in, err := x.message.operation(x.service)
	x.call.Operation = o.name
	if err != nil {
		return x.fail(err)
	}
	if err := x.service.check(o, in); err != nil {
		return x.fail(err)
	}
	out, err := x.perform(ctx, o, in)
	if err != nil {
		return x.fail(err)
	}
	answer, err := x.message.success(x.service, o, x.call.RequestID, out)
	if err != nil {
		return x.fail(err)
	}
	return answer, true
}

// perform lets the operation take effect.
func (x *exchange) perform(ctx context.Context, o operation, in any) (any, error) {
	call := func() (any, error) { return o.call(ctx, request{region: x.call.Region}, in) }
	around := x.endpoint.options.Around
	if around == nil {
		return call()
	}
	return around(ctx, Arrival{
		CallerRegion: x.caller, Service: x.call.Service, Region: x.call.Region, Operation: o.name, Input: in,
	}, call)
}

// fail answers with an error, or not at all.
func (x *exchange) fail(err error) (reply, bool) {
	if silent(err) {
		return reply{}, false
	}
	e, known := asError(err)
	if !known {
		x.endpoint.options.Logger.Error("AWS call failed", "service", x.call.Service, "region", x.call.Region,
			"operation", x.call.Operation, "request_id", x.call.RequestID, "error", err)
	}
	return x.message.failure(x.service, x.call.RequestID, e), true
}
