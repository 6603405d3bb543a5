package warden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// served is the record of a deployment whose primary site has served term 1 and fallen silent.
func served(renewal int64) term.Record {
	r := firstRecord()
	r.ServedTerm, r.Renewal, r.CoveredUntil = 1, renewal, time.Now().Add(time.Hour)
	return r
}

// takeover makes the standby site of a lost region, with a control plane that really promotes.
func takeover(t *testing.T) (*site, *termtest.Memory) {
	t.Helper()
	const renewal = 20
	dsn := standby(t, renewal)
	memory := newStore(t, served(renewal))
	s := newSite(t, memory, "dr", "primary", dsn, "primary")
	s.plane.promote = func(ctx context.Context, lossy bool) error {
		if err := promoteServer(ctx, dsn); err != nil {
			return err
		}
		s.plane.set(failover.ClusterView{Known: true, Writer: "dr", Member: true})
		return nil
	}
	return s, memory
}

// TestRegionLost: two wardens of the standby site watch the lease out, take the next term once, promote under it,
// record it, extend the lease, and only then say 200.
func TestRegionLost(t *testing.T) {
	t.Parallel()
	s, memory := takeover(t)
	promote := s.plane.promote
	s.plane.promote = func(ctx context.Context, lossy bool) error {
		r := recordOf(t, memory)
		if r.Holder != "dr" || r.Term != 2 || r.State != term.Held {
			t.Errorf("promoted under the record %+v", r)
		}
		if !lossy {
			t.Error("the lost region was asked for a switchover")
		}
		deadline, ok := ctx.Deadline()
		if left := time.Until(deadline); !ok || left > testLease-testMargin {
			t.Errorf("the promotion's deadline is %v away, beyond the trust", left)
		}
		return promote(ctx, lossy)
	}
	began := time.Now()
	one, two := s.start(t, 1), s.start(t, 2)
	eventually(t, "the term is taken", func() error {
		if r := recordOf(t, memory); r.Term == 1 {
			return errors.New("still term 1")
		}
		return nil
	})
	if since := time.Since(began); since < testLease+testMargin {
		t.Errorf("the term was taken after %v, before the lease and margin of %v were over", since, testLease+testMargin)
	}
	one.becomes(t, "/healthz", 200)
	two.becomes(t, "/healthz", 200)
	if r := recordOf(t, memory); r.Term != 2 || r.ServedTerm != 2 || r.Holder != "dr" {
		t.Errorf("record %+v, want term 2 served by dr", r)
	}
	if err := commit(t, s.dsn); err != nil {
		t.Errorf("the new active site refuses a write: %v", err)
	}
	steps := append(one.journal.done(t), two.journal.done(t)...)
	for _, once := range []string{"acquire", "serve"} {
		n := 0
		for _, step := range steps {
			if step == once {
				n++
			}
		}
		if n != 1 {
			t.Errorf("step %s was done %d times, want once: %v", once, n, steps)
		}
	}
	for _, step := range []string{"promote", "record-term"} {
		if !slices.Contains(steps, step) {
			t.Errorf("steps %v lack %s", steps, step)
		}
	}
}

// TestSlowPromotionKeepsTheTerm: a promotion that hangs until its deadline neither stops the renewals nor is it
// repeated beyond the trust it began under; a later attempt succeeds under the same term.
func TestSlowPromotionKeepsTheTerm(t *testing.T) {
	t.Parallel()
	s, memory := takeover(t)
	promote := s.plane.promote
	var attempts atomic.Int32
	hung := make(chan time.Duration, 1)
	s.plane.promote = func(ctx context.Context, lossy bool) error {
		if attempts.Add(1) == 1 {
			began := time.Now()
			<-ctx.Done()
			hung <- time.Since(began)
			return ctx.Err()
		}
		return promote(ctx, lossy)
	}
	w := s.start(t, 1)
	var atHang, renewed int64
	eventually(t, "the promotion hangs", func() error {
		if attempts.Load() == 0 {
			return errors.New("not asked yet")
		}
		return nil
	})
	atHang = recordOf(t, memory).Renewal
	select {
	case took := <-hung:
		if took > testLease {
			t.Errorf("the promotion was let hang for %v", took)
		}
	case <-time.After(patience):
		t.Fatal("the promotion was never given up")
	}
	if renewed = recordOf(t, memory).Renewal; renewed < atHang+2 {
		t.Errorf("%d renewals while the promotion hung", renewed-atHang)
	}
	w.becomes(t, "/healthz", 200)
	if r := recordOf(t, memory); r.Term != 2 {
		t.Errorf("term %d, want 2", r.Term)
	}
}

// TestPromotionNeedsAFreshRead: between the decision and the call somebody else took the term.
func TestPromotionNeedsAFreshRead(t *testing.T) {
	for name, change := range map[string]func(*term.Record){
		"another holder": func(r *term.Record) { r.Term, r.Holder = 3, "primary" },
		"releasing":      func(r *term.Record) { r.State = term.Releasing },
		"taken back":     func(r *term.Record) { r.Term = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			r := firstRecord()
			r.Holder, r.Term = "dr", 2
			memory := newStore(t, r)
			w, p := quiet(t, memory, "dr", "primary")
			w.memory.Trust = term.Trust{Term: 2, Until: w.boot().Add(time.Hour)}
			p.promote = func(context.Context, bool) error { return nil }
			d := failover.Decision{Step: failover.Promote, Lossy: true}
			if got := w.execute(t.Context(), failover.Observation{Store: failover.StoreView{Record: r}}, d); got.err != nil {
				t.Fatalf("under the own term: %v", got.err)
			}
			memory.Edit(change)
			if got := w.execute(t.Context(), failover.Observation{Store: failover.StoreView{Record: r}}, d); got.err == nil {
				t.Error("promoted although the record had changed")
			}
			if n := p.count("promote lossy=true"); n != 1 {
				t.Errorf("the control plane was called %d times, want 1", n)
			}
		})
	}
}

// TestPromotionNeedsTrust: the record shows the own site, but this warden has not renewed.
func TestPromotionNeedsTrust(t *testing.T) {
	r := firstRecord()
	r.Holder, r.Term = "dr", 2
	w, p := quiet(t, newStore(t, r), "dr", "primary")
	p.promote = func(context.Context, bool) error { return nil }
	for _, trust := range []term.Trust{{}, {Term: 2, Until: w.boot() - 1}, {Term: 1, Until: w.boot().Add(time.Hour)}} {
		w.memory.Trust = trust
		got := w.execute(t.Context(), failover.Observation{Store: failover.StoreView{Record: r}}, failover.Decision{Step: failover.Promote, Lossy: true})
		if got.err == nil {
			t.Errorf("promoted with the trust %+v", trust)
		}
	}
	if len(p.calls) != 0 {
		t.Errorf("the control plane was called: %v", p.calls)
	}
}

// TestRefusedSwitchoverBecomesAFailover: the other site is there, but its region does not let this one ask for the
// switchover. The failover follows at once, and not when the patience with a switchover has ended.
func TestRefusedSwitchoverBecomesAFailover(t *testing.T) {
	t.Parallel()
	s, memory := takeover(t)
	succeed := s.plane.promote
	s.plane.promote = func(ctx context.Context, lossy bool) error {
		if !lossy {
			return fmt.Errorf("%w: AccessDenied", ErrSwitchoverRefused)
		}
		if r := recordOf(t, memory); !slices.Equal(r.TailOf, []term.Number{1}) {
			t.Errorf("failed over under a record with tail_of %d, want 1", r.TailOf)
		}
		return succeed(ctx, lossy)
	}
	beaconMoves(t, memory, "primary", func(context.Context, *term.Beacon) {})
	w := s.start(t, 1)
	w.becomes(t, "/healthz", 200)
	if n := s.plane.count("promote lossy=false"); n != 1 {
		t.Errorf("a switchover was asked for %d times, want once", n)
	}
	if n := s.plane.count("promote lossy=true"); n != 1 {
		t.Errorf("a failover was asked for %d times, want once", n)
	}
}

// TestWriterMovedByHandSaysWhatItMayLack: the other site's wardens are there all the while and nobody promotes, and still
// the record says that the end of the term may be missing before the next one is in the lineage (P16, P20).
func TestWriterMovedByHandSaysWhatItMayLack(t *testing.T) {
	t.Parallel()
	s, memory := takeover(t)
	if err := s.plane.promote(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	memory.Edit(func(r *term.Record) { r.State = term.Releasing })
	beaconMoves(t, memory, "primary", func(context.Context, *term.Beacon) {})
	w := s.start(t, 1)
	w.becomes(t, "/healthz", 200)
	if r := recordOf(t, memory); r.Holder != "dr" || !slices.Equal(r.TailOf, []term.Number{1}) {
		t.Errorf("served under %+v, want tail_of 1", r)
	}
	if n := s.plane.count("promote lossy=true"); n != 0 {
		t.Errorf("the wardens promoted %d times", n)
	}
}

// TestWhatIsAskedAgainWithinAPeriod: a promotion only as a failover in place of a switchover that was refused.
func TestWhatIsAskedAgainWithinAPeriod(t *testing.T) {
	for _, row := range []struct {
		name         string
		was, refused bool
		lossy        bool
		now          term.Instant
		want         bool
	}{
		{"the switchover again", false, false, false, 105, false},
		{"the switchover again, a period later", false, false, false, 110, true},
		{"a failover after a switchover that was accepted", false, false, true, 105, false},
		{"a failover after a switchover that was refused", false, true, true, 105, true},
		{"that failover again", true, true, true, 105, false},
		{"that failover again, a period later", true, true, true, 110, true},
	} {
		var o failover.Observation
		o.Store.Record.Term = 2
		if row.refused {
			o.SwitchoverRefused = 2
		}
		last := failover.Attempt{Step: failover.Promote, Lossy: row.was, Began: 100}
		if got := last.MayFollow(o, failover.Decision{Step: failover.Promote, Lossy: row.lossy}, row.now, 10); got != row.want {
			t.Errorf("%s: %t, want %t", row.name, got, row.want)
		}
	}
}

// quiet makes a warden that does not run, over one replica and without a database.
func quiet(t *testing.T, memory *termtest.Memory, name, peer string, change ...func(*Options)) (*Warden, *plane) {
	t.Helper()
	p := &plane{}
	o := Options{
		Config: Config{Deployment: "test", Site: name, PeerSite: peer, Warden: name + "/1", Settings: testSettings(), ExportDir: t.TempDir()},
		Stores: []term.Store{memory.Replica("one")}, Database: &database{}, Cluster: p, Application: &application{},
	}
	for _, c := range change {
		c(&o)
	}
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w, p
}

// expectStep fails the test unless the step succeeded.
func expectStep(t *testing.T, got outcome, effective bool) {
	t.Helper()
	if got.err != nil || got.effective != effective {
		t.Fatalf("outcome %+v", fmt.Sprintf("%+v", got))
	}
}
