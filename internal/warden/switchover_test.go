package warden

import (
	"context"
	"fmt"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// peerReports keeps the other site's beacon moving until the test ends: ready, and reporting as replayed what the
// database at dsn has drained.
func peerReports(t *testing.T, memory *termtest.Memory, dsn string) {
	t.Helper()
	beaconMoves(t, memory, "dr", func(ctx context.Context, b *term.Beacon) {
		b.Ready, b.LineageTerm = true, 1
		if r, ok := memory.Record(); ok && r.Wanted != nil && r.Wanted.Site == "dr" {
			b.Request = r.Wanted.At
		}
		if s, err := sampleOnce(ctx, dsn); err == nil {
			b.DrainedTerm = s.Lease.DrainedTerm
		}
	})
}

// beaconMoves keeps a site's beacon moving until the test ends, with what report puts into it.
func beaconMoves(t *testing.T, memory *termtest.Memory, site string, report func(context.Context, *term.Beacon)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		replica := memory.Replica("peer")
		for sequence := int64(1); sleep(ctx, 50*time.Millisecond); sequence++ {
			b := term.Beacon{Deployment: "test", Site: site, Sequence: sequence, Warden: site + "/1"}
			report(ctx, &b)
			if err := replica.PutBeacon(ctx, b); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func sampleOnce(ctx context.Context, dsn string) (fence.State, error) {
	p, err := NewPostgres(dsn, dsn)
	if err != nil {
		return fence.State{}, err
	}
	defer p.Close()
	return p.Sample(ctx)
}

// TestSwitchover: a wanted hand-over is sealed, drained, moved and granted, in this order, and no write passes from the
// seal on, although the lease was not over.
func TestSwitchover(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	protectedTable(t, dsn)
	memory := newStore(t, firstRecord())
	s := newSite(t, memory, "primary", "dr", dsn, "primary")
	s.plane.move = func(ctx context.Context) error {
		state, err := sampleOnce(ctx, dsn)
		if err != nil {
			return err
		}
		if state.Lease.SealedTerm != 1 || state.Lease.DrainedTerm != 1 {
			t.Errorf("the writer is moved with the lease row %+v", state.Lease)
		}
		s.plane.set(failover.ClusterView{Known: true, Writer: "dr", Member: true})
		return nil
	}
	peerReports(t, memory, dsn)
	one, two := s.start(t, 1), s.start(t, 2)
	one.becomes(t, "/healthz", 200)
	two.becomes(t, "/healthz", 200)
	memory.Edit(func(r *term.Record) {
		r.Wanted = &term.Wanted{Site: "dr", By: "test", Reason: "rehearsal", At: time.Now().UTC()}
	})
	eventually(t, "the term is granted", func() error {
		if r := recordOf(t, memory); r.State != term.Granted || r.GrantedTo != "dr" {
			return fmt.Errorf("record %+v", r)
		}
		return nil
	})
	if commit(t, dsn) == nil {
		t.Error("a write passed under a sealed term")
	}
	one.becomes(t, "/healthz", 503)
	two.becomes(t, "/healthz", 503)
	if r := recordOf(t, memory); r.Term != 1 || r.ServedTerm != 1 {
		t.Errorf("record %+v", r)
	}
}

// TestHandOverIsTakenBack: nobody takes the grant in time, so the holder goes on under the next term, and the sealed
// database opens again for that one only.
func TestHandOverIsTakenBack(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	protectedTable(t, dsn)
	memory := newStore(t, firstRecord())
	s := newSite(t, memory, "primary", "dr", dsn, "primary")
	s.plane.move = func(context.Context) error { return nil } // accepted, and nothing moves
	peerReports(t, memory, dsn)
	w := s.start(t, 1, func(o *Options) { o.Config.Settings.HandoffTimeout = 3 * time.Second })
	w.becomes(t, "/healthz", 200)
	memory.Edit(func(r *term.Record) { r.Wanted = &term.Wanted{Site: "dr", By: "test", At: time.Now().UTC()} })
	eventually(t, "the term is taken back", func() error {
		if r := recordOf(t, memory); r.Term != 2 || r.Holder != "primary" || r.Wanted != nil {
			return fmt.Errorf("record %+v", r)
		}
		return nil
	})
	w.becomes(t, "/healthz", 200)
	if err := commit(t, dsn); err != nil {
		t.Errorf("the database refuses a write under the new term: %v", err)
	}
	if err := inOrder(w.journal.done(t), "seal", "drain", "move-writer", "take-back", "record-term", "serve"); err != nil {
		t.Error(err)
	}
}
