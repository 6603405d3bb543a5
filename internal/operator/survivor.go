package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/fence"
)

// Survivor connects to the database that serves now: the holder's, which must be a writer and have served the record's
// term. databases are connection strings by site, tried in turn. The caller closes the connection.
func (o *Operator) Survivor(ctx context.Context, databases map[string][]string) (*pgx.Conn, string, error) {
	r, err := o.Record(ctx)
	if err != nil {
		return nil, "", err
	}
	if r.ServedTerm != r.Term {
		return nil, "", fmt.Errorf("%w: %s holds term %d and does not serve it yet: wait until 'holdfast status' shows a site that serves",
			ErrRefused, r.Holder, r.Term)
	}
	var errs []error
	for _, dsn := range databases[r.Holder] {
		conn, err := connect(ctx, []string{dsn})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s, err := fence.Sample(ctx, conn)
		if err == nil && s.InRecovery {
			err = errors.New("a copy answers, which may be behind")
		}
		if err == nil && !slices.Contains(s.Terms, r.ServedTerm) {
			err = fmt.Errorf("it has served the terms %v, not the record's term %d", s.Terms, r.ServedTerm)
		}
		if err == nil {
			return conn, r.Holder, nil
		}
		errs = append(errs, errors.Join(err, conn.Close(context.WithoutCancel(ctx))))
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("no endpoint is known"))
	}
	return nil, "", fmt.Errorf("%w: the database of %s, which serves: %w", ErrEnvironment, r.Holder, errors.Join(errs...))
}
