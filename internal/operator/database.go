package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/fence"
)

// sample asks the first of a database's endpoints that answers.
func sample(ctx context.Context, dsns []string) (fence.State, error) {
	var errs []error
	for _, dsn := range dsns {
		s, err := sampleOne(ctx, dsn)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("no endpoint is known"))
	}
	return fence.State{}, errors.Join(errs...)
}

func sampleOne(ctx context.Context, dsn string) (fence.State, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fence.State{}, err // pgx names the host and hides the password
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return fence.Sample(ctx, conn)
}

// lockLimit bounds how long the fence waits for a table. Whoever waits for such a lock has every later writer of the table
// wait behind itself, so a long transaction must end the installation and not the payments.
const lockLimit = time.Second

// leaseLimit bounds the wait for a lease: wardens that have just been started have one by then.
const leaseLimit = 30 * time.Second

// InstallFence puts the fence's schema into the database and the fence onto the tables, as the role of the connection,
// which must own the tables. Both may be done again. From then on the tables take writes only under a warden's lease, so
// it is waited for before anything is protected, unless withoutLease says that nobody writes to them yet.
func InstallFence(ctx context.Context, dsn string, tables []string, withoutLease bool) error {
	if len(tables) == 0 {
		return fmt.Errorf("%w: no table named: pass --tables schema.table,…", ErrUsage)
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := fence.EnsureSchema(ctx, conn); err != nil {
		return err
	}
	if !withoutLease {
		if err := leased(ctx, conn); err != nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = %d", lockLimit.Milliseconds())); err != nil {
		return fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	err = fence.Protect(ctx, conn, tables...)
	if refusal := new(pgconn.PgError); errors.As(err, &refusal) && refusal.Code == "55P03" { // lock_not_available
		return fmt.Errorf("%w: %w: it was in use for longer than %v: find the transaction in pg_stat_activity, let it end, and run this again; "+
			"tables named before it are protected already", ErrRefused, err, lockLimit)
	}
	return err
}

// leased waits until commits would pass the fence.
func leased(ctx context.Context, conn *pgx.Conn) error {
	limited, cancel := context.WithTimeout(ctx, leaseLimit)
	defer cancel()
	for {
		s, err := fence.Sample(limited, conn)
		switch {
		case err == nil && s.LeaseValid():
			return nil
		case err != nil && limited.Err() == nil:
			return fmt.Errorf("%w: %w", ErrEnvironment, err)
		}
		if wait(limited, pollEvery) != nil {
			return fmt.Errorf("%w: the database has no valid write lease, and with the fence every write to these tables would be refused: "+
				"run 'holdfast init', start the site's wardens, wait until 'holdfast status' calls it active, and run this again; "+
				"if nobody writes to the tables yet, pass --without-lease", ErrRefused)
		}
	}
}
