package pgserver_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/pgserver/pgservertest"
)

func TestServerAnswersAndDiesWhenKilled(t *testing.T) {
	s, dsn := pgservertest.Start(t, nil)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if _, err := conn.Exec(ctx, "select 1"); err == nil {
		t.Error("a killed server still answers")
	}
}
