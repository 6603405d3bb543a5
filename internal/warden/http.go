package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// Limits of the HTTP server. Route 53 gives a check two seconds to answer, the balancer less.
const (
	requestLimit  = 5 * time.Second
	idleLimit     = 2 * time.Minute
	headerLimit   = 16 << 10
	shutdownLimit = time.Second
)

// Status is the answer of /status.
type Status struct {
	Warden  string        `json:"warden"`
	Site    string        `json:"site"`
	Peer    string        `json:"peer"`
	At      time.Time     `json:"at"`
	Mode    failover.Mode `json:"mode"`
	Serving bool          `json:"serving"`
	Target  bool          `json:"target"`
	Reason  string        `json:"reason,omitempty"`
	Ready   bool          `json:"ready"`
	// NotReadyBecause says why the site could not take over now.
	NotReadyBecause string       `json:"not_ready_because,omitempty"`
	Store           string       `json:"store"`
	Record          *term.Record `json:"record,omitempty"`
	// TrustLeftMS is the rest of this warden's trust, StoodMS how long the record has been watched standing still.
	TrustLeftMS int64                 `json:"trust_left_ms"`
	StoodMS     int64                 `json:"stood_ms"`
	Database    failover.DatabaseView `json:"database"`
	Cluster     failover.ClusterView  `json:"cluster"`
	Application failover.AppView      `json:"application"`
	PeerBeacon  *term.Beacon          `json:"peer_beacon,omitempty"`
	// Decision is the newest one; Running is the step under way, if any.
	Decision failover.Step      `json:"decision"`
	Because  string             `json:"because,omitempty"`
	Refusals []failover.Refusal `json:"refusals,omitempty"`
	Running  failover.Step      `json:"running,omitempty"`
	// Lease is the outcome of the last attempt to extend the database's write lease.
	Lease string `json:"lease,omitempty"`
}

// Handler serves the warden's endpoints.
func (w *Warden) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		h := failover.Judge(w.fresh())
		answer(rw, h.Serving, "serving", h.Reason)
	})
	mux.HandleFunc("GET /targetz", func(rw http.ResponseWriter, _ *http.Request) {
		h := failover.Judge(w.fresh())
		answer(rw, h.Target, "in the target group", h.Reason)
	})
	mux.HandleFunc("GET /status", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(rw)
		enc.SetIndent("", "  ")
		_ = enc.Encode(w.Status()) // the client has gone; there is nobody to tell
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}

// answer says 200 or 503. The connection is closed after a 503, so that a client that keeps connections alive is sent
// elsewhere by the next look-up.
func answer(rw http.ResponseWriter, ok bool, yes, no string) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	rw.Header().Set("Cache-Control", "no-store")
	if ok {
		fmt.Fprintln(rw, yes)
		return
	}
	rw.Header().Set("Connection", "close")
	rw.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(rw, no)
}

// Status is a snapshot for people and programs.
func (w *Warden) Status() Status {
	o := w.fresh()
	h := failover.Judge(o)
	s := Status{
		Warden: o.Warden, Site: o.Site, Peer: o.Peer, At: o.WallClock, Mode: o.Settings.Mode,
		Serving: h.Serving, Target: h.Target, Reason: h.Reason, Store: storeWord(o.Store),
		TrustLeftMS: trustLeft(o).Milliseconds(), StoodMS: o.Watch.Stood().Milliseconds(),
		Database: o.Database, Cluster: o.Cluster, Application: o.App,
	}
	s.Ready, s.NotReadyBecause = failover.Readiness(o)
	if s.Ready {
		s.NotReadyBecause = ""
	}
	if o.Store.Record.Version > 0 {
		r := o.Store.Record
		s.Record = &r
	}
	if o.PeerBeaconSeen {
		b := o.PeerBeacon
		s.PeerBeacon = &b
	}
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Decision, s.Because, s.Refusals = m.decision.Step, m.decision.Reason, m.decision.Refusals
	s.Running, s.Lease = m.step, m.extended
	return s
}

// serve answers the warden's own endpoints until ctx ends.
func (w *Warden) serve(ctx context.Context, listener net.Listener) error {
	return serveUntil(ctx, listener, &http.Server{
		Handler: w.Handler(), ReadTimeout: requestLimit, WriteTimeout: requestLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: headerLimit,
	}, "serve health checks")
}

// serveUntil answers until ctx ends. Then it closes at once what is idle and gives running answers a moment.
func serveUntil(ctx context.Context, listener net.Listener, server *http.Server, what string) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("%s at %s: %w", what, listener.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		err = server.Close()
	}
	<-failed
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("stop: %s at %s: %w", what, listener.Addr(), err)
	}
	return nil
}
