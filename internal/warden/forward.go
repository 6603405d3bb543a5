package warden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"holdfast/internal/failover"
)

// HopHeader marks a request that one site has sent on to the other. Such a request is never sent on again, so two sites
// that each take the other for the active one do not pass it to and fro.
const HopHeader = "Holdfast-Forwarded"

// forwardCheck is the path of the target group's health check.
const forwardCheck = "/forwardz"

// Limits of forwarding.
const (
	// forwardHold is how long a request may wait for the other site to serve and for its turn then. It is the client's
	// patience that is spent, so it is the same at every speed of the twin.
	forwardHold = 3 * time.Second
	// forwardSlots is how many requests may wait or be under way at once; what is above it is refused.
	forwardSlots = 2000
	// forwardFirst is how many requests are sent on at once when the other site begins to serve; see [window].
	forwardFirst = 4
	// forwardBody bounds a request's body: more than any payment, and what a balancer would take too.
	forwardBody = 16 << 20
	// forwardIdle is what an Application Load Balancer waits for an answer by default.
	forwardIdle = 60 * time.Second
	forwardDial = 5 * time.Second
	// forwardRead bounds the arrival of a request, so that a body that trickles does not keep its slot.
	forwardRead = 60 * time.Second
	// forwardLimit bounds a request from its arrival to the end of its answer: to arrive, to wait for the other site's
	// answer, and for that to go through to who asked, each as long as a balancer would wait. Neither an answer that
	// trickles nor a reader that does keeps its slot for longer.
	forwardLimit = forwardHold + forwardRead + 2*forwardIdle
	// forwardHeaders bounds an answer's headers, in bytes.
	forwardHeaders = 64 << 10
	// forwardBuffer bounds what is taken of an answer before who asked for it has read it, in bytes.
	forwardBuffer = 256 << 10
	// forwardConns is how many idle connections to the other site are kept.
	forwardConns = 256
)

// forwarder sends the application's requests on to the other site while clients still follow an older DNS answer.
type forwarder struct {
	w         *Warden
	proxy     *httputil.ReverseProxy
	transport *forwardTransport
	slots     chan struct{}
	// hold and limit are forwardHold and forwardLimit unless a test says otherwise.
	hold, limit time.Duration

	windows windows
	reread  *reread
}

func newForwarder(w *Warden) (*forwarder, error) {
	peer, err := url.Parse(w.cfg.PeerAppURL)
	if err != nil || peer.Host == "" || peer.Scheme != "http" && peer.Scheme != "https" {
		return nil, fmt.Errorf("HOLDFAST_PEER_APP_URL is %q: want the other site's balancer, as in https://name:443", w.cfg.PeerAppURL)
	}
	f := &forwarder{w: w, windows: windows{slow: slowAnswer}, reread: newReread(), slots: make(chan struct{}, forwardSlots), hold: forwardHold, limit: forwardLimit}
	f.transport = newForwardTransport(peer, w.cfg.AppDNSName)
	f.proxy = &httputil.ReverseProxy{
		Transport: f.transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = peer.Scheme, peer.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.Out.Host = r.In.Host
			r.Out.Header.Set(HopHeader, w.cfg.Site)
			// The balancer in front has noted the client; its peer will append to that.
			for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port"} {
				if values, ok := r.In.Header[name]; ok {
					r.Out.Header[name] = values
				}
			}
		},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode < http.StatusInternalServerError {
				placeOf(r.Request.Context()).answered()
			}
			return nil
		},
		ErrorHandler: f.failed,
	}
	return f, nil
}

// ServeHTTP sends one request on, once. What it refuses itself it refuses with a 503 before the request has gone
// anywhere, so that a client may repeat it.
func (f *forwarder) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path == forwardCheck {
		answer(rw, true, "forwarding is up", "")
		return
	}
	if from := r.Header.Get(HopHeader); from != "" {
		f.refuse(rw, "hop", "sent on by "+from+" already, and this site does not serve either")
		return
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		f.refuse(rw, "full", "too many requests are waiting for the other site")
		return
	}
	place, because := f.admit(r.Context())
	if place == nil {
		f.refuse(rw, because.result, because.reason)
		return
	}
	defer place.leave()
	// The server's own limit ends a write to who does not read. Only the context ends waiting for who does not write.
	ctx, cancel := context.WithTimeout(withPlace(r.Context(), place), f.limit)
	defer cancel()
	r = r.WithContext(ctx)
	r.Body = http.MaxBytesReader(rw, r.Body, forwardBody)
	f.w.metrics.forwarded.WithLabelValues("sent").Inc()
	f.proxy.ServeHTTP(rw, r)
}

// turnedAway is why a request is not sent on: result for the metrics, reason for who sent it.
type turnedAway struct{ result, reason string }

// admit waits until the other site serves, and then until it is the request's turn. Without a place the request must be
// refused.
func (f *forwarder) admit(ctx context.Context) (*place, turnedAway) {
	ctx, cancel := context.WithTimeout(ctx, f.hold)
	defer cancel()
	if !f.await(ctx) {
		return nil, turnedAway{"unserved", "no site serves at the moment"}
	}
	r, _ := f.w.record()
	place, err := f.windows.of(r.Term).enter(ctx)
	if err != nil {
		return nil, turnedAway{"full", "too many requests are waiting for the other site"}
	}
	return place, turnedAway{}
}

// await waits until the other site serves. It returns false if that takes too long, or if nothing is to be forwarded
// any more: a balancer may still be sending here what it should not. That is believed only of a record that was read since the
// request came: that the balancer sent it may mean that a sibling has seen a hand-over begin which this warden has not.
func (f *forwarder) await(ctx context.Context) bool {
	asked := false
	for {
		news := f.w.news()
		switch state, known := failover.Forward(f.w.fresh()); {
		case state.Peer:
			return true
		case known && !state.Divert && !state.Moving:
			if asked {
				return false
			}
			asked, news = true, f.reread.after()
		default:
			f.transport.spare.want()
		}
		select {
		case <-ctx.Done():
			return false
		case <-news:
		}
	}
}

func (f *forwarder) refuse(rw http.ResponseWriter, result, reason string) {
	f.w.metrics.forwarded.WithLabelValues(result).Inc()
	rw.Header().Set("Retry-After", "1")
	answer(rw, false, "", reason)
}

// failed answers for a request that went out and came to nothing: it may have been carried out, so it is not a 503.
func (f *forwarder) failed(rw http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(r.Context().Err(), context.Canceled) { // the client has gone
		f.w.metrics.forwarded.WithLabelValues("abandoned").Inc()
		return
	}
	var tooLarge *http.MaxBytesError
	status := http.StatusBadGateway
	if errors.As(err, &tooLarge) {
		status = http.StatusRequestEntityTooLarge
	}
	f.w.metrics.forwarded.WithLabelValues("failed").Inc()
	http.Error(rw, "the other site did not answer: "+err.Error(), status)
}

// serveForward answers until ctx ends.
func (w *Warden) serveForward(ctx context.Context, listener net.Listener) error {
	f, err := newForwarder(w)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer f.transport.CloseIdleConnections()
	var background sync.WaitGroup
	defer background.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	background.Go(func() { f.run(ctx) })
	return serveUntil(ctx, listener, f.server(), "forward requests")
}

// run does what requests ask for, until ctx ends.
func (f *forwarder) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { f.transport.spare.run(ctx) })
	wg.Go(func() {
		f.reread.run(ctx, func(ctx context.Context) { _, _ = f.w.read(ctx) }) // the memory keeps the outcome
	})
	wg.Wait()
}

func (f *forwarder) server() *http.Server {
	return &http.Server{
		Handler: f, ReadHeaderTimeout: requestLimit, ReadTimeout: forwardRead, WriteTimeout: f.limit, IdleTimeout: idleLimit,
		MaxHeaderBytes: 64 << 10,
	}
}
