package twin

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// The statements that hold a step in a database.
var (
	//go:embed sql/ambush.sql
	ambushSQL string
	//go:embed sql/ambush_arm.sql
	ambushArmSQL string
	//go:embed sql/ambush_held.sql
	ambushHeldSQL string
	//go:embed sql/ambush_cut.sql
	ambushCutSQL string
	//go:embed sql/ambush_effect.sql
	ambushEffectSQL string
)

const (
	ambushedSQL = "SELECT EXISTS (SELECT FROM twin.ambush WHERE step = $1 AND site = $2 AND armed)"
	laidSQL     = "SELECT to_regclass('twin.ambush') IS NOT NULL"
	// heldEvery is how often a database is asked whether it holds a statement, which waits for the answer.
	heldEvery = 10 * time.Millisecond
)

// ambushDatabase arms a step in the global writer's database, from where the site's copy learns of it before the step is
// due there, and lies in wait at the site's. The statement stays held while nobody asks, so that a database that restarts
// in between makes no difference. The returned function ends it.
func (t *Twin) ambushDatabase(ctx context.Context, tr *trap) (stop func(), err error) {
	ctx, cancelArming := context.WithTimeout(ctx, strikeLimit)
	defer cancelArming()
	if err := t.arm(ctx, tr, true); err != nil {
		return nil, err
	}
	if err := t.untilArmed(ctx, tr); err != nil {
		return nil, err
	}
	watching, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for watching.Err() == nil && !t.watchHeld(watching, tr, t.DatabaseDSN(tr.Site)) {
			wait(watching, heldEvery)
		}
	}()
	return func() {
		cancel()
		<-done
		if tr.sprung {
			return // and so disarmed
		}
		// A copy that stays armed holds a statement for some seconds, which the step survives.
		ctx, cancel := context.WithTimeout(context.Background(), strikeLimit)
		defer cancel()
		if err := t.arm(ctx, tr, false); err != nil {
			t.tell(tr.Site, "strike", "the ambush %s could not be taken back: %v", tr.Ambush, err)
		}
	}, nil
}

// arm says in the global writer's database whether the step is to be held.
func (t *Twin) arm(ctx context.Context, tr *trap, armed bool) error {
	for _, s := range t.topo.Sites {
		if !t.isWriter(s) {
			continue
		}
		conn, err := pgx.Connect(ctx, t.DatabaseDSN(s.Name))
		if err != nil {
			return fmt.Errorf("connect to the database of %s: %w", s.Name, err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		return arm(ctx, conn, tr, armed)
	}
	return errors.New("no site's database is the global writer")
}

func arm(ctx context.Context, conn *pgx.Conn, tr *trap, armed bool) error {
	var laid bool
	if err := conn.QueryRow(ctx, laidSQL).Scan(&laid); err != nil {
		return fmt.Errorf("look for the triggers that hold a step: %w", err)
	}
	if !laid {
		if _, err := conn.Exec(ctx, ambushSQL); err != nil {
			return fmt.Errorf("create the triggers that hold a step: %w", err)
		}
	}
	if _, err := conn.Exec(ctx, ambushArmSQL, string(tr.Step), tr.Site, armed); err != nil {
		return fmt.Errorf("arm the step: %w", err)
	}
	return nil
}

// untilArmed waits until the site's own database knows.
func (t *Twin) untilArmed(ctx context.Context, tr *trap) error {
	for {
		armed, err := t.armed(ctx, tr)
		switch {
		case armed:
			return nil
		case !wait(ctx, heldEvery):
			return fmt.Errorf("the database of %s did not learn of it in time: %w", tr.Site, errors.Join(err, ctx.Err()))
		}
	}
}

func (t *Twin) armed(ctx context.Context, tr *trap) (armed bool, err error) {
	conn, err := pgx.Connect(ctx, t.DatabaseDSN(tr.Site))
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// The name of a table that is not there yet can't be parsed.
	if err := conn.QueryRow(ctx, laidSQL).Scan(&armed); err != nil || !armed {
		return false, err
	}
	err = conn.QueryRow(ctx, ambushedSQL, string(tr.Step), tr.Site).Scan(&armed)
	return armed, err
}

// watchHeld asks over one connection whether the site's database holds a statement, and strikes then. It reports whether it
// has; otherwise the connection ended, and is to be made again.
func (t *Twin) watchHeld(ctx context.Context, tr *trap, dsn string) bool {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return false
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		var held []int32
		if conn.QueryRow(ctx, ambushHeldSQL, string(tr.Step)).Scan(&held) != nil {
			return false
		}
		if len(held) > 0 {
			break
		}
		if !wait(ctx, heldEvery) {
			return false
		}
	}
	defer tr.take()()
	var before string
	err = conn.QueryRow(ctx, ambushEffectSQL).Scan(&before)
	_ = t.spring(tr, func(ctx context.Context) error { return errors.Join(err, t.letGo(ctx, conn, tr, before)) })
	return true
}

// letGo ends what is held once its callers are dead: the statement rolls back, because its connection ends, or it takes
// effect, and nobody hears of it. before is what the database said while it was held.
func (t *Twin) letGo(ctx context.Context, conn *pgx.Conn, tr *trap, before string) error {
	if !tr.After {
		if err := untilNone(ctx, conn, ambushCutSQL); err != nil {
			return fmt.Errorf("end the dead wardens' connections: %w", err)
		}
	}
	if err := arm(ctx, conn, tr, false); err != nil {
		return err
	}
	if err := untilNone(ctx, conn, "SELECT cardinality(("+ambushHeldSQL+"))", string(tr.Step)); err != nil {
		return fmt.Errorf("wait for the end of the statement that was held: %w", err)
	}
	var after string
	if err := conn.QueryRow(ctx, ambushEffectSQL).Scan(&after); err != nil {
		return fmt.Errorf("look whether the statement took effect: %w", err)
	}
	if (after != before) != tr.After {
		return fmt.Errorf("the database says %q, and %q while the statement was held, with the strike %s", after, before, tr.Ambush)
	}
	return nil
}

// untilNone asks until the answer is 0.
func untilNone(ctx context.Context, conn *pgx.Conn, count string, args ...any) error {
	for {
		var n int
		if err := conn.QueryRow(ctx, count, args...).Scan(&n); err != nil || n == 0 {
			return err
		}
		if !wait(ctx, heldEvery) {
			return ctx.Err()
		}
	}
}

// wait reports whether ctx lasted for d.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
