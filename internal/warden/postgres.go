package warden

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// Limits of the connections to one endpoint: the loop, the extender and a step use one each.
const (
	poolConnections = 4
	dialLimit       = 3 * time.Second
	connectionLife  = 5 * time.Minute
)

// Postgres is the site's database, behind the cluster's two endpoints.
type Postgres struct {
	writer, reader *pgxpool.Pool
}

var _ Database = (*Postgres)(nil)

// NewPostgres prepares connections to the writer and the reader endpoint, given as connection strings. Nothing is
// dialled until it is used. Close ends it.
func NewPostgres(writerDSN, readerDSN string) (*Postgres, error) {
	writer, err := newPool(writerDSN)
	if err != nil {
		return nil, fmt.Errorf("prepare connections to the writer endpoint: %w", err)
	}
	reader, err := newPool(readerDSN)
	if err != nil {
		writer.Close()
		return nil, fmt.Errorf("prepare connections to the reader endpoint: %w", err)
	}
	return &Postgres{writer: writer, reader: reader}, nil
}

func newPool(dsn string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns, cfg.MinConns = poolConnections, 0
	cfg.MaxConnLifetime = connectionLife
	cfg.ConnConfig.ConnectTimeout = dialLimit
	return pgxpool.NewWithConfig(context.Background(), cfg)
}

// Close closes the connections.
func (p *Postgres) Close() {
	p.writer.Close()
	p.reader.Close()
}

// Sample implements [Database]. The writer endpoint gets half of the time, because in a secondary cluster it may be
// inactive without refusing.
func (p *Postgres) Sample(ctx context.Context) (fence.State, error) {
	s, err := p.sampleWriter(ctx)
	if err == nil {
		return s, nil
	}
	s, errReader := fence.Sample(ctx, p.reader)
	if errReader != nil {
		return fence.State{}, fmt.Errorf("writer endpoint: %w; reader endpoint: %w", err, errReader)
	}
	return s, nil
}

func (p *Postgres) sampleWriter(ctx context.Context) (fence.State, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	s, err := fence.Sample(ctx, p.writer)
	if err == nil && s.InRecovery {
		// The connection outlived its server's time as a writer; the endpoint's name may mean another one by now.
		p.writer.Reset()
	}
	return s, err
}

// Extend implements [Database] on one connection.
func (p *Postgres) Extend(ctx context.Context, n term.Number, renewal int64, until func(fence.State) (time.Time, error)) error {
	return p.onWriter(ctx, func(db fence.DB) error {
		s, err := fence.Sample(ctx, db)
		if err != nil {
			return err
		}
		validUntil, err := until(s)
		if err != nil {
			return err
		}
		return fence.ExtendOn(ctx, db, s.ServerStarted, n, validUntil, renewal)
	})
}

// RecordTerm implements [Database].
func (p *Postgres) RecordTerm(ctx context.Context, n term.Number, site string) error {
	return p.onWriter(ctx, func(db fence.DB) error {
		if err := fence.EnsureSchema(ctx, db); err != nil {
			return err
		}
		return fence.RecordTerm(ctx, db, n, site)
	})
}

// Seal implements [Database].
func (p *Postgres) Seal(ctx context.Context, n term.Number) error {
	return p.onWriter(ctx, func(db fence.DB) error { return fence.Seal(ctx, db, n) })
}

// Drain implements [Database].
func (p *Postgres) Drain(ctx context.Context, n term.Number) (position string, err error) {
	err = p.onWriter(ctx, func(db fence.DB) error {
		position, err = fence.Drain(ctx, db, n)
		return err
	})
	return position, err
}

// Unpin implements [Database].
func (p *Postgres) Unpin(ctx context.Context, because string) error {
	return p.onWriter(ctx, func(db fence.DB) error {
		_, err := fence.EndPins(ctx, db, because)
		return err
	})
}

func (p *Postgres) onWriter(ctx context.Context, do func(fence.DB) error) error {
	conn, err := p.writer.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to the writer endpoint: %w", err)
	}
	defer conn.Release()
	err = do(conn)
	if errors.Is(err, fence.ErrStandby) || errors.Is(err, fence.ErrServerChanged) {
		p.writer.Reset()
	}
	return err
}
