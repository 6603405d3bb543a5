package acquirer

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// The server's limits.
const (
	maxBodyBytes     = 16 << 10
	maxFieldLength   = 128
	defaultMaxCharge = 1_000_000
	maxListPage      = 1000
)

// Options configure a Server. The zero value answers at once, always, and approves everything.
type Options struct {
	// Seed draws latencies, lost answers and declines.
	Seed uint64
	// Latency is the mean time of an answer and Jitter how far it may be from that, either way. Half of it passes
	// before the charge is recorded and half after, so a client that gives up may or may not have been charged.
	Latency, Jitter time.Duration
	// LostAnswers is the share (0 to 1) of PUTs that are recorded and then never answered: the connection breaks.
	LostAnswers float64
	// Declines maps a payment method to the share (0 to 1) of its charges that are declined.
	Declines map[string]float64
	// MaxCharges bounds the record; above it a new charge is refused with 503. Zero means one million.
	MaxCharges int
	// Logger receives the server's own errors. Nil discards.
	Logger *slog.Logger
}

// Server is an acquirer. Make it with New.
type Server struct {
	options Options
	record  *record
	mux     *http.ServeMux
	http    *http.Server
	url     string
	lost    atomic.Int64
}

// New returns an acquirer that does not listen yet; it is an http.Handler, or call Start.
func New(options Options) *Server {
	if options.MaxCharges <= 0 {
		options.MaxCharges = defaultMaxCharge
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{options: options, record: newRecord(options.MaxCharges), mux: http.NewServeMux()}
	s.mux.HandleFunc("PUT /v1/charges/{reference}", s.put)
	s.mux.HandleFunc("GET /v1/charges/{reference}", s.get)
	s.mux.HandleFunc("POST /v1/charges/{reference}/void", s.void)
	s.mux.HandleFunc("GET /v1/charges", s.list)
	return s
}

// ServeHTTP answers the acquirer's API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Start listens on address (as in "127.0.0.1:0") and serves until Close.
func (s *Server) Start(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("start the acquirer at %s: %w", address, err)
	}
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.options.Logger.Error("the acquirer stopped serving", "error", err)
		}
	}()
	return nil
}

// URL is the server's base URL, after Start.
func (s *Server) URL() string { return s.url }

// Close stops serving: it lets requests finish until ctx is done, then breaks them. The record stays readable.
func (s *Server) Close(ctx context.Context) error {
	if s.http == nil {
		return nil
	}
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// Charges returns the whole record in the order of arrival.
func (s *Server) Charges() []Charge {
	charges, _ := s.record.list(time.Time{}, 0, s.options.MaxCharges)
	return charges
}

// ChargedTwice returns the merchants' orders that have more than one approved charge that is not voided.
func (s *Server) ChargedTwice() []Order { return s.record.chargedTwice() }

// LostAnswers is how many answers were deliberately lost.
func (s *Server) LostAnswers() int64 { return s.lost.Load() }

// draw returns a number in [0, 1) that depends only on the seed, the purpose, the reference and n.
func (s *Server) draw(purpose, reference string, n int) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d\x00%s\x00%s\x00%d", s.options.Seed, purpose, reference, n)
	x := h.Sum64()
	// FNV's low bits mix well and its high bits do not; the finaliser of splitmix64 spreads them.
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}
