package payd

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"holdfast/internal/payment/postgres"
)

// Config is what the environment says.
type Config struct {
	// Site is the name of the site, for people and metrics.
	Site string
	// Address and Port are where the API listens; an empty address is all, port 0 a free one.
	Address string
	Port    int
	// AcquirerURL is the base of the acquirer's API.
	AcquirerURL string
	// Writer and Reader are connection strings.
	Writer, Reader string

	RequestTimeout, AcquirerTimeout, DatabaseTimeout, ConnectTimeout time.Duration
	// ProbeEvery is the time between two looks at the databases, RecoverEvery between two runs of the recovery worker.
	ProbeEvery, RecoverEvery time.Duration
	// Claim is how long a request may work on a payment before others may take it over.
	Claim time.Duration
	// DrainDelay is how long the API goes on after /readyz has turned bad; DrainTimeout bounds the end of the requests
	// that are under way then. The two together must stay below the scheduler's stop timeout (30 s on ECS).
	DrainDelay, DrainTimeout    time.Duration
	MaxInFlight, MaxConnections int
}

// Usage names the variables, for -help.
const Usage = `payd is configured by its environment:

  PAYD_SITE              name of the site (required)
  PAYD_ACQUIRER_URL      base URL of the acquirer (required)
  DB_WRITER_HOST         the cluster's writer endpoint (required)
  DB_READER_HOST         the cluster's reader endpoint (the writer endpoint)
  DB_PORT                port of both, unless the host names one (5432)
  DB_NAME, DB_USER       (required)
  DB_PASSWORD            (empty)
  DB_SSLMODE             disable, require, verify-ca or verify-full (require)
  DB_SSLROOTCERT         file with the root certificates for verify-ca and verify-full
  PAYD_PORT              (8080)
  HOLDFAST_TASK_ADDRESS  address to listen on (all)
  PAYD_REQUEST_TIMEOUT   for one request (10s)
  PAYD_ACQUIRER_TIMEOUT  for one attempt at the acquirer, at most two are made (3s)
  PAYD_DB_TIMEOUT        for one database operation (3s)
  PAYD_DB_CONNECT_TIMEOUT  (2s)
  PAYD_PROBE_INTERVAL    between two looks at the databases (500ms)
  PAYD_RECOVERY_INTERVAL between two looks for unfinished payments (2s)
  PAYD_CLAIM             how long a request may work on a payment alone (15s)
  PAYD_DRAIN_DELAY       from /readyz turning bad to refusing connections (2s)
  PAYD_DRAIN_TIMEOUT     for the requests under way then (20s)
  PAYD_MAX_IN_FLIGHT     requests under way (64)
  PAYD_DB_MAX_CONNECTIONS  for each of writer and reader (4)
`

// reader reads variables and gathers what is wrong with them.
type reader struct {
	get  func(string) string
	errs []error
}

func (r *reader) text(name, fallback string) string {
	if v := r.get(name); v != "" {
		return v
	}
	return fallback
}

func (r *reader) required(name string) string {
	v := r.get(name)
	if v == "" {
		r.errs = append(r.errs, fmt.Errorf("%s is not set", name))
	}
	return v
}

func (r *reader) number(name string, fallback, low, high int) int {
	v := r.get(name)
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		r.errs = append(r.errs, fmt.Errorf("%s is %q, want a number from %d to %d", name, v, low, high))
	}
	return n
}

func (r *reader) duration(name string, fallback time.Duration) time.Duration {
	v := r.get(name)
	if v == "" {
		return fallback
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 || d > time.Hour {
		r.errs = append(r.errs, fmt.Errorf("%s is %q, want a duration up to 1h, as in 500ms or 2s", name, v))
	}
	return d
}

// ReadConfig reads the configuration by asking getenv (os.Getenv). The error lists everything that is wrong.
func ReadConfig(getenv func(string) string) (Config, error) {
	r := &reader{get: getenv}
	c := Config{
		Site:            r.required("PAYD_SITE"),
		Address:         r.text("HOLDFAST_TASK_ADDRESS", ""),
		Port:            r.number("PAYD_PORT", 8080, 0, 65535),
		AcquirerURL:     r.required("PAYD_ACQUIRER_URL"),
		RequestTimeout:  r.duration("PAYD_REQUEST_TIMEOUT", 10*time.Second),
		AcquirerTimeout: r.duration("PAYD_ACQUIRER_TIMEOUT", 3*time.Second),
		DatabaseTimeout: r.duration("PAYD_DB_TIMEOUT", 3*time.Second),
		ConnectTimeout:  r.duration("PAYD_DB_CONNECT_TIMEOUT", 2*time.Second),
		ProbeEvery:      r.duration("PAYD_PROBE_INTERVAL", 500*time.Millisecond),
		RecoverEvery:    r.duration("PAYD_RECOVERY_INTERVAL", 2*time.Second),
		Claim:           r.duration("PAYD_CLAIM", 15*time.Second),
		DrainDelay:      r.duration("PAYD_DRAIN_DELAY", 2*time.Second),
		DrainTimeout:    r.duration("PAYD_DRAIN_TIMEOUT", 20*time.Second),
		MaxInFlight:     r.number("PAYD_MAX_IN_FLIGHT", 64, 1, 100_000),
		MaxConnections:  r.number("PAYD_DB_MAX_CONNECTIONS", postgres.DefaultConnections, 1, 1000),
	}
	r.required("DB_NAME")
	r.required("DB_USER")
	writer := r.required("DB_WRITER_HOST")
	c.Writer = r.dsn(writer)
	c.Reader = r.dsn(r.text("DB_READER_HOST", writer))
	if r.get("DB_PASSWORD") == "" {
		// Not an error: the server may know the client otherwise.
		c.Writer, c.Reader = withoutPassword(c.Writer), withoutPassword(c.Reader)
	}
	if err := errors.Join(r.errs...); err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

// dsn is the connection string of one endpoint, which may name a port of its own.
func (r *reader) dsn(host string) string {
	port := strconv.Itoa(r.number("DB_PORT", 5432, 1, 65535))
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	query := url.Values{"sslmode": {r.text("DB_SSLMODE", "require")}}
	if file := r.get("DB_SSLROOTCERT"); file != "" {
		query.Set("sslrootcert", file)
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(r.get("DB_USER"), r.get("DB_PASSWORD")),
		Host: net.JoinHostPort(host, port), Path: "/" + r.get("DB_NAME"), RawQuery: query.Encode(),
	}
	return u.String()
}

func withoutPassword(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn
	}
	u.User = url.User(u.User.Username())
	return u.String()
}
