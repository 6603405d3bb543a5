package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

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

// InstallFence puts the fence's schema into the database and the fence onto the tables, as the role of the connection,
// which must own the tables. Both may be done again. From then on the tables take writes only under a warden's lease.
func InstallFence(ctx context.Context, dsn string, tables []string) error {
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
	return fence.Protect(ctx, conn, tables...)
}
