package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast/internal/fence"
	"holdfast/internal/payment"
)

// Role is what the site's database is good for right now.
type Role string

// The roles.
const (
	// Active: the writer endpoint leads to a writer, its schema is ready and it has a valid lease.
	Active Role = "active"
	// Fenced: there is a writer, but it holds no valid lease, or its schema is not ready.
	Fenced Role = "fenced"
	// Standby: there is no writer here, and the reader follows another site.
	Standby Role = "standby"
	// Down: neither endpoint answers.
	Down Role = "down"
)

// Status is what the last look at the site's databases found.
type Status struct {
	Role Role
	// Readable says that payments can be read here.
	Readable bool
	// ServerStarted is when the writer was started, zero if there is none: another value is another server.
	ServerStarted time.Time
	// Remaining is what was left of the write lease.
	Remaining time.Duration
	// SchemaVersion is the version of the schema "payd" that reads go to, 0 if it is missing.
	SchemaVersion int64
	// Err says why the role is not Active.
	Err error
}

// DefaultConnections carry some hundreds of payments a second, each of which holds one twice for a few milliseconds. More of
// them would be more to end at the old writer and to make at the new one when the writer moves, all at once: to connect is
// the dearest statement there is.
const DefaultConnections = 4

// SiteOptions are a site's endpoints and settings; zero settings get defaults.
type SiteOptions struct {
	// Writer and Reader are connection strings.
	Writer, Reader string
	// MaxConnections bounds each of the two pools ([DefaultConnections]).
	MaxConnections int
	// ConnectTimeout bounds one attempt to connect (2 s).
	ConnectTimeout time.Duration
	// ProbeEvery is the time between two looks (500 ms).
	ProbeEvery time.Duration
	Logger     *slog.Logger
}

// Site is one site's databases: the writer endpoint, which may refuse connections while the site is a standby, and
// the reader endpoint. Connections whose server turned into a reader, was stopped or does not answer are dropped, so that the
// pools find the writer again when it moves.
type Site struct {
	options        SiteOptions
	writer, reader *pgxpool.Pool
	// Probes have connections of their own, so that full pools don't look like a dead database.
	writerProbe, readerProbe *pgxpool.Pool
	status                   atomic.Pointer[Status]
	// looking makes looks take turns; it guards slowLooks and watchers.
	looking   sync.Mutex
	slowLooks int
	watchers  []func(Status)
}

// OpenSite prepares the pools; it connects to nothing. Call [Site.Watch] to keep the status up to date.
func OpenSite(o SiteOptions) (*Site, error) {
	if o.MaxConnections <= 0 {
		o.MaxConnections = DefaultConnections
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 2 * time.Second
	}
	if o.ProbeEvery <= 0 {
		o.ProbeEvery = 500 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Site{options: o}
	s.status.Store(&Status{Role: Down, Err: errors.New("the databases have not been looked at yet")})
	for _, p := range []struct {
		into   **pgxpool.Pool
		dsn    string
		size   int
		writes bool
	}{
		{&s.writer, o.Writer, o.MaxConnections, true},
		{&s.writerProbe, o.Writer, 1, false},
		{&s.reader, o.Reader, o.MaxConnections, false},
		{&s.readerProbe, o.Reader, 1, false},
	} {
		pool, err := o.pool(p.dsn, p.size, p.writes)
		if err != nil {
			s.Close()
			return nil, err
		}
		*p.into = pool
	}
	return s, nil
}

func (o SiteOptions) pool(dsn string, size int, writes bool) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database settings: %w", err) // pgx leaves the password out
	}
	config.MaxConns = int32(size)
	config.MinConns = 0
	config.MaxConnIdleTime = time.Minute
	config.MaxConnLifetime = 30 * time.Minute
	config.MaxConnLifetimeJitter = 5 * time.Minute
	config.ConnConfig.ConnectTimeout = o.ConnectTimeout
	config.ConnConfig.RuntimeParams["application_name"] = "payd"
	// A forgotten transaction must not hold up a hand-over.
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "10s"
	if writes {
		config.ConnConfig.RuntimeParams["default_transaction_isolation"] = "read committed"
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	return pgxpool.NewWithConfig(context.Background(), config)
}

// Close closes all connections. It waits for those in use.
func (s *Site) Close() {
	for _, p := range []*pgxpool.Pool{s.writer, s.writerProbe, s.reader, s.readerProbe} {
		if p != nil {
			p.Close()
		}
	}
}

// Writer is the pool of the writer endpoint, for migrations.
func (s *Site) Writer() *pgxpool.Pool { return s.writer }

// Status is what the last look found.
func (s *Site) Status() Status { return *s.status.Load() }

// OnStatus registers a function that is called after every look; it must not block or look itself. Register before [Site.Watch].
func (s *Site) OnStatus(f func(Status)) {
	s.looking.Lock()
	defer s.looking.Unlock()
	s.watchers = append(s.watchers, f)
}

// fencedLooks is how many times as often the databases are looked at while the writer is here and holds no lease: the site
// is between two states, and every moment until the lease is seen is downtime.
const fencedLooks = 4

// Watch looks at the databases again and again until ctx ends, and connects to a new writer while it does not take payments yet.
func (s *Site) Watch(ctx context.Context) {
	var warming sync.WaitGroup
	defer warming.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var warmed time.Time // the start of the server that has been connected to
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		status := s.Look(ctx)
		every := s.options.ProbeEvery
		if status.Role == Fenced {
			every /= fencedLooks
		}
		if status.Role == Fenced && !status.ServerStarted.Equal(warmed) {
			warmed = status.ServerStarted
			warming.Go(func() { s.warm(ctx) })
		}
		timer.Reset(max(time.Until(began.Add(every)), minimumPause))
	}
}

// warmShare of the connections to a new writer are made before it takes payments.
const warmShare = 2

// minimumPause is between two looks that take longer than they should.
const minimumPause = 10 * time.Millisecond

// warm makes some connections to a writer that gets its lease soon, one after the other. Whoever waits for a hand-over comes
// at once, and to connect is the dearest statement there is; too many would take the machine from those who bring the lease.
func (s *Site) warm(ctx context.Context) {
	for range s.options.MaxConnections / warmShare {
		if s.Status().Role != Fenced {
			return
		}
		limited, cancel := context.WithTimeout(ctx, s.options.ConnectTimeout)
		conn, err := s.writer.Acquire(limited)
		cancel()
		if err != nil {
			return // the next look says what is wrong
		}
		defer conn.Release() // not before the last one is made: the pool would hand out the same
	}
}

// Look looks at the databases once.
func (s *Site) Look(ctx context.Context) Status {
	s.looking.Lock()
	defer s.looking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.options.ConnectTimeout)
	defer cancel()
	var writer, reader probe
	var both sync.WaitGroup
	both.Go(func() { writer = look(ctx, s.writerProbe) })
	both.Go(func() { reader = look(ctx, s.readerProbe) })
	both.Wait()
	next := judge(writer, reader)
	if s.doubtful(next, writer) {
		return s.Status()
	}
	before := s.status.Swap(&next)
	sameServer := before.ServerStarted.Equal(next.ServerStarted)
	if before.Role != next.Role || !sameServer {
		s.options.Logger.Info("the site's database changed", "role", next.Role, "was", before.Role, "because", next.Err)
		if !sameServer || next.ServerStarted.IsZero() {
			// Idle connections lead to where the writer was; those in use find out by themselves. A lease that comes and goes
			// moves nothing: to connect anew each time is what a loaded site can do least.
			s.writer.Reset()
			s.reader.Reset()
		}
	}
	for _, f := range s.watchers {
		f(next)
	}
	return next
}

// doubtful reports whether a site that took payments a moment ago looks dead only because the writer was slow to say
// otherwise. A loaded database must not turn every payment away; a second slow look in a row counts. Until then the
// payments find out for themselves.
func (s *Site) doubtful(next Status, writer probe) bool {
	slow := late(writer.err) && next.Role == Down && s.Status().Role == Active
	if !slow {
		s.slowLooks = 0
		return false
	}
	s.slowLooks++
	return s.slowLooks < 2
}

// probe is what one endpoint says.
type probe struct {
	err       error
	recovery  bool
	started   time.Time
	remaining time.Duration
	version   int64
}

// look asks an endpoint. Missing schemas are not an error: the version is 0 then, and the lease void.
func look(ctx context.Context, pool *pgxpool.Pool) (p probe) {
	var remainingMS int64
	p.err = pool.QueryRow(ctx, `SELECT pg_is_in_recovery(), pg_postmaster_start_time(),
		coalesce((SELECT r.ms FROM holdfast.remaining_lease AS r), 0),
		(SELECT coalesce(max(version_id), 0) FROM `+versionTable+` WHERE is_applied)`).
		Scan(&p.recovery, &p.started, &remainingMS, &p.version)
	var pgErr *pgconn.PgError
	if errors.As(p.err, &pgErr) && (pgErr.Code == "42P01" || pgErr.Code == "3F000" || pgErr.Code == "42883") {
		p.version, remainingMS = 0, 0
		p.err = pool.QueryRow(ctx, "SELECT pg_is_in_recovery(), pg_postmaster_start_time()").Scan(&p.recovery, &p.started)
	}
	if p.err != nil {
		pool.Reset()
	}
	p.remaining = time.Duration(remainingMS) * time.Millisecond
	return p
}

// judge derives the status from what the two endpoints say.
func judge(writer, reader probe) Status {
	st := Status{}
	if reader.err == nil {
		st.SchemaVersion = reader.version
	}
	switch {
	case writer.err == nil && !writer.recovery:
		st.ServerStarted, st.Remaining, st.SchemaVersion = writer.started, writer.remaining, writer.version
		st.Role = Active
		switch {
		case writer.version < SchemaVersion:
			st.Role = Fenced
			st.Err = fmt.Errorf("the schema is at version %d, this program needs %d", writer.version, SchemaVersion)
		case writer.remaining <= 0:
			st.Role, st.Err = Fenced, payment.ErrNoLease
		}
	case reader.err == nil && reader.recovery:
		st.Role, st.Err = Standby, payment.ErrStandby
	default:
		st.Role = Down
		st.Err = fmt.Errorf("%w: writer endpoint: %w; reader endpoint: %w", payment.ErrUnavailable, outcome(writer), outcome(reader))
	}
	st.Readable = st.SchemaVersion >= SchemaVersion && (st.Role == Active || st.Role == Fenced || reader.err == nil)
	return st
}

var (
	errIsReader = errors.New("a server that takes no writes answers")
	errIsWriter = errors.New("a server that takes writes answers")
)

func outcome(p probe) error {
	switch {
	case p.err != nil:
		return p.err
	case p.recovery:
		return errIsReader
	}
	return errIsWriter
}

// explain turns what the driver says into the domain's errors.
func (s *Site) explain(err error) error {
	var pgErr *pgconn.PgError
	var connectErr *pgconn.ConnectError
	switch {
	case fence.IsRefused(err):
		return fmt.Errorf("%w: %w", payment.ErrNoLease, err)
	case errors.As(err, &pgErr) && pgErr.Code == "25006":
		return fmt.Errorf("%w: %w", payment.ErrStandby, err)
	case s.Status().Role == Standby && errors.As(err, &connectErr):
		return fmt.Errorf("%w: %w", payment.ErrStandby, err)
	case errors.As(err, &pgErr) && pgErr.Code[:2] == "23":
		return err // our own mistake, not the database's
	}
	return fmt.Errorf("%w: %w", payment.ErrUnavailable, err)
}

// lost reports whether the error is about the connection or the server, not about the statement.
func (s *Site) lost(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return !errors.Is(err, pgx.ErrNoRows)
	}
	switch pgErr.Code[:2] {
	case "08", "25", "53", "57", "58":
		return true
	}
	return false
}

// discard closes a connection after an error that says that the server is not what it was, or that leaves a
// transaction open; and the idle ones, which lead to the same server. Being late says nothing about the server, and to
// connect anew is the dearest of all statements: closing all connections of a loaded site for that would keep it down. One
// that hangs is found out by [Site.Look].
func (s *Site) discard(conn *pgxpool.Conn, err error) {
	if conn.Conn().PgConn().TxStatus() != 'I' || s.lost(err) {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = conn.Conn().Close(ctx) // the error that led here is what counts
	}
	if s.lost(err) && !late(err) {
		s.writer.Reset()
	}
}

// late: the caller's time was over before the server had answered.
func late(err error) bool { return errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) }
