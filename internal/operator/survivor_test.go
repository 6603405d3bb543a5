package operator

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/fence"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
)

// TestSurvivorIsTheWriterThatServes: neither a copy, which may be behind, nor a writer of an earlier term is taken for it.
func TestSurvivorIsTheWriterThatServes(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	writer, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close(context.Background())
	if err := errors.Join(fence.EnsureSchema(t.Context(), writer), fence.RecordTerm(t.Context(), writer, 7, "primary")); err != nil {
		t.Fatal(err)
	}
	_, copied := pgservertest.Standby(t, server)
	o, memory := withRecord(t)
	conn, site, err := o.Survivor(t.Context(), map[string][]string{"primary": {copied, dsn}, "dr": {copied}})
	if err != nil || site != "primary" {
		t.Fatalf("survivor %s, %v", site, err)
	}
	defer conn.Close(context.Background())
	if s, err := fence.Sample(t.Context(), conn); err != nil || s.InRecovery {
		t.Errorf("the copy was taken for the survivor: %+v, %v", s, err)
	}
	if _, _, err := o.Survivor(t.Context(), map[string][]string{"primary": {copied}}); !errors.Is(err, ErrEnvironment) {
		t.Errorf("with nothing but a copy: %v", err)
	}
	memory.Edit(func(r *term.Record) { r.Term = 8 })
	if _, _, err := o.Survivor(t.Context(), map[string][]string{"primary": {dsn}}); !errors.Is(err, ErrRefused) {
		t.Errorf("before the term is served: %v", err)
	}
	memory.Edit(func(r *term.Record) { r.ServedTerm = 8 })
	if _, _, err := o.Survivor(t.Context(), map[string][]string{"primary": {dsn}}); !errors.Is(err, ErrEnvironment) {
		t.Errorf("a writer that never served the record's term: %v", err)
	}
}
