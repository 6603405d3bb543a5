package operator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/aws"
	"holdfast/internal/fence"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

const configJSON = `{"suffix":"prod","dns_name":"app.example","account_id":"123456789012","term_table":"terms","term_regions":["us-east-1","us-west-2"],
"witness_region":"us-east-2","global_cluster":"g","lease_seconds":20,"margin_seconds":2.5,"sites":[
{"name":"primary","region":"us-east-1","db_cluster_arn":"arn:p","db_endpoint":"w.p","db_reader_endpoint":"r.p","db_port":5432,"db_name":"payments","db_user":"u","load_balancer_dns_name":"lb.p"},
{"name":"dr","region":"us-west-2","db_cluster_arn":"arn:d","db_endpoint":"w.d","db_reader_endpoint":"r.d","db_port":5432,"db_name":"payments","db_user":"u","load_balancer_dns_name":"lb.d"}]}`

func testConfig(t *testing.T) Config {
	t.Helper()
	c, err := ParseConfig([]byte(configJSON))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newOperator(t *testing.T) (*Operator, *termtest.Memory) {
	t.Helper()
	m := termtest.NewMemory()
	o := New(testConfig(t), []term.Store{m.Replica("one"), m.Replica("other")})
	o.pause = func(context.Context, time.Duration) error { return nil }
	return o, m
}

func withRecord(t *testing.T) (*Operator, *termtest.Memory) {
	t.Helper()
	o, m := newOperator(t)
	if _, err := o.Init(t.Context(), InitOptions{VouchForTerm: true, HighestTerm: 6}); err != nil {
		t.Fatal(err)
	}
	m.Edit(func(r *term.Record) { r.ServedTerm = r.Term })
	return o, m
}

// everywhere decides what happens to every call on every replica.
func everywhere(o *Operator, fault func(termtest.Operation) termtest.Fault) {
	for _, s := range o.stores {
		s.(*termtest.Replica).SetFault(fault)
	}
}

func TestParseConfig(t *testing.T) {
	for name, text := range map[string]string{
		"terraform output -json holdfast": configJSON,
		"terraform output -json":          `{"other":{"value":1},"holdfast":{"sensitive":false,"value":` + configJSON + `}}`,
		"one output with its envelope":    `{"sensitive":false,"type":"x","value":` + configJSON + `}`,
	} {
		c, err := ParseConfig([]byte(text))
		if err != nil || c.Suffix != "prod" || len(c.Sites) != 2 || c.Lease() != 20*time.Second || c.Margin() != 2500*time.Millisecond {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	for text, want := range map[string]string{
		"":               "not valid JSON",
		configJSON[:200]: "not valid JSON",
		"{}":             "suffix",
		"[]":             "not valid JSON",
		strings.Replace(configJSON, `"name":"dr"`, `"name":"primary"`, 1):  "both sites are named",
		strings.Replace(configJSON, `"lease_seconds":20`, `"lease":20`, 1): "lease_seconds",
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
	if _, err := ReadConfig(filepath.Join(t.TempDir(), "none")); ExitCode(err) != 2 || !strings.Contains(err.Error(), "terraform output") {
		t.Errorf("a missing file: %v", err)
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, configLimit+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(big); ExitCode(err) != 2 {
		t.Errorf("a huge file: %v", err)
	}
}

// TestInitIsAboveEveryTerm: the first record's term is above everything that either database shows (P1), and the
// record is created once.
func TestInitIsAboveEveryTerm(t *testing.T) {
	ctx := t.Context()
	_, one := pgservertest.Start(t, nil)
	_, other := pgservertest.Start(t, nil)
	for dsn, n := range map[string]term.Number{one: 3, other: 8} {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(fence.EnsureSchema(ctx, conn), fence.RecordTerm(ctx, conn, n, "x"), conn.Close(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	o, m := newOperator(t)
	if _, err := o.Init(ctx, InitOptions{Databases: map[string][]string{"primary": {one}}}); ExitCode(err) != 3 || !strings.Contains(err.Error(), `site "dr"`) {
		t.Errorf("with one database unreachable: %v", err)
	}
	if _, ok := m.Record(); ok {
		t.Fatal("a record was created without asking both databases")
	}
	const dead = "postgres://u@127.0.0.1:1/x"
	r, err := o.Init(ctx, InitOptions{Databases: map[string][]string{"primary": {dead, one}, "dr": {other}}})
	if err != nil || r.Term != 9 || r.Holder != "primary" || r.ServedTerm != 8 || r.State != term.Held || r.Lease() != 20*time.Second || r.TakeoverBudget != DefaultTakeoverBudget {
		t.Fatalf("record %+v, %v", r, err)
	}
	if !r.MovedAt.IsZero() {
		t.Errorf("moved_at is %v: a new record would forbid hand-overs for health for a whole cool-down", r.MovedAt)
	}
	if stored, _ := m.Record(); stored.Nonce != r.Nonce || stored.Version != 1 {
		t.Errorf("stored %+v", stored)
	}
	if _, err := o.Init(ctx, InitOptions{VouchForTerm: true, HighestTerm: 99}); !errors.Is(err, ErrRefused) || ExitCode(err) != 1 {
		t.Errorf("a second init: %v", err)
	}
	if stored, _ := m.Record(); stored.Term != 9 {
		t.Errorf("a second init changed the record: %+v", stored)
	}
}

// TestInitIsAboveEveryReport: a term that is in no database any more is still in a site's last report.
func TestInitIsAboveEveryReport(t *testing.T) {
	o, m := newOperator(t)
	if err := m.Replica("x").PutBeacon(t.Context(), term.Beacon{Deployment: "prod", Site: "dr", Sequence: 1, LineageTerm: 11}); err != nil {
		t.Fatal(err)
	}
	if r, err := o.PreviewInit(t.Context(), InitOptions{VouchForTerm: true, HighestTerm: 6}); err != nil || r.Term != 12 {
		t.Errorf("record %+v, %v", r, err)
	}
}

// TestInitOverALostRecord: somebody may still trust in the record that was lost, and bring its term into service. So the
// lease is waited out before anything is created, and what has been served meanwhile counts.
func TestInitOverALostRecord(t *testing.T) {
	ctx := t.Context()
	_, dsn := pgservertest.Start(t, nil)
	serve := func(n term.Number) {
		t.Helper()
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(fence.EnsureSchema(ctx, conn), fence.RecordTerm(ctx, conn, n, "x"), conn.Close(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	serve(3)
	opt := InitOptions{Databases: map[string][]string{"primary": {dsn}, "dr": {dsn}}}
	o, m := newOperator(t)
	var waited time.Duration
	o.pause = func(_ context.Context, d time.Duration) error {
		if _, ok := m.Record(); ok {
			t.Error("the record was created before the lease was waited out")
		}
		waited = d
		serve(4)
		return nil
	}
	if r, err := o.Init(ctx, opt); err != nil || r.Term != 5 || r.ServedTerm != 4 || waited != 22500*time.Millisecond {
		t.Errorf("record %+v after %v, %v", r, waited, err)
	}
	interrupted, left := newOperator(t)
	interrupted.pause = func(context.Context, time.Duration) error { return context.Canceled }
	if _, err := interrupted.Init(ctx, opt); ExitCode(err) != 3 || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if r, ok := left.Record(); ok {
		t.Errorf("an interrupted init created %+v", r)
	}
	fresh, _ := newOperator(t)
	fresh.pause = func(context.Context, time.Duration) error {
		t.Error("a new deployment has nothing to wait for")
		return nil
	}
	if _, err := fresh.Init(ctx, InitOptions{VouchForTerm: true}); err != nil {
		t.Error(err)
	}
}

func TestInitWithALostAnswer(t *testing.T) {
	o, m := newOperator(t)
	lost := errors.New("lost")
	everywhere(o, func(op termtest.Operation) termtest.Fault {
		if op.Kind == "create" {
			return termtest.Fault{Lost: lost}
		}
		return termtest.Fault{}
	})
	r, err := o.Init(t.Context(), InitOptions{VouchForTerm: true})
	if stored, _ := m.Record(); err != nil || stored.Nonce != r.Nonce || r.Term != 1 {
		t.Errorf("%+v, %v; stored %+v", r, err, stored)
	}
}

func TestInitRefusesBadSettings(t *testing.T) {
	o, m := newOperator(t)
	for name, opt := range map[string]InitOptions{
		"unknown holder":         {VouchForTerm: true, Holder: "mars"},
		"lease below the margin": {VouchForTerm: true, Lease: time.Second},
	} {
		if _, err := o.Init(t.Context(), opt); ExitCode(err) != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok := m.Record(); ok {
		t.Error("a record was created")
	}
}

// TestFailoverOutlivesAStoreThatPauses: the beacons can't be read for a moment, and the command goes on.
func TestFailoverOutlivesAStoreThatPauses(t *testing.T) {
	o, m := withRecord(t)
	var approved atomic.Bool
	var asked atomic.Int32
	everywhere(o, func(op termtest.Operation) termtest.Fault {
		switch {
		case op.Kind == "put-beacon":
			approved.Store(true)
		case op.Kind == "beacons" && approved.Load() && asked.Add(1) <= 2: // one look at both replicas
			return termtest.Fault{Before: errors.New("throttled")}
		}
		return termtest.Fault{}
	})
	play(t, m, move{
		func(term.Record) bool { return asked.Load() > 2 },
		func(r *term.Record) { r.Term, r.Holder, r.ServedTerm = 8, "dr", 8 },
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if moved, err := o.Failover(ctx, Request{To: "dr"}, false, time.Hour); err != nil || moved.Term != 8 {
		t.Errorf("%+v, %v", moved, err)
	}
}

// move is a change of the record that somebody else makes once the record is in a state.
type move struct {
	when   func(term.Record) bool
	change func(*term.Record)
}

// play makes the moves in turn, until the test ends.
func play(t *testing.T, m *termtest.Memory, moves ...move) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for _, next := range moves {
			for r, _ := m.Record(); !next.when(r); r, _ = m.Record() {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
			m.Edit(next.change)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func wanted(r term.Record) bool { return r.Wanted != nil && r.Wanted.Site == "dr" }

func TestSwitchoverWaitsUntilTheTargetServes(t *testing.T) {
	o, m := withRecord(t)
	// The first writes lose to renewals.
	var once sync.Once
	everywhere(o, func(op termtest.Operation) termtest.Fault {
		if op.Kind == "write" {
			once.Do(func() { m.Edit(func(r *term.Record) { r.Renewal++ }) })
		}
		return termtest.Fault{}
	})
	play(t, m,
		move{
			func(r term.Record) bool { return wanted(r) && r.Wanted.By == "me" && r.Wanted.Reason == "test" },
			func(r *term.Record) { r.State, r.GrantedTo = term.Granted, "dr" },
		},
		move{
			func(term.Record) bool { return true },
			func(r *term.Record) {
				r.Term, r.Holder, r.State, r.GrantedTo, r.Wanted = r.Term+1, "dr", term.Held, "", nil
			},
		},
		move{func(term.Record) bool { return true }, func(r *term.Record) { r.ServedTerm = r.Term }})
	var said []string
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	moved, err := o.Switchover(ctx, Request{To: "dr", By: "me", Reason: "test", Progress: func(s string) { said = append(said, s) }})
	if err != nil || moved.Site != "dr" || moved.From != "primary" || moved.Term != 8 || moved.Already {
		t.Errorf("moved %+v, %v", moved, err)
	}
	if len(said) == 0 || !strings.Contains(said[len(said)-1], "dr serves term 8") {
		t.Errorf("progress %q", said)
	}
	if moved, err = o.Switchover(ctx, Request{To: "dr", By: "me"}); err != nil || !moved.Already {
		t.Errorf("once more: %+v, %v", moved, err)
	}
}

// TestMoveToTheHolder: a site that holds the term is the active one only once it serves it. Until then it is waited for, and
// a term that it lets go of is an error, not a success.
func TestMoveToTheHolder(t *testing.T) {
	commands := map[string]func(context.Context, *Operator) (Moved, error){
		"switchover": func(ctx context.Context, o *Operator) (Moved, error) {
			return o.Switchover(ctx, Request{To: "primary"})
		},
		"failover": func(ctx context.Context, o *Operator) (Moved, error) {
			return o.Failover(ctx, Request{To: "primary"}, false, time.Hour)
		},
	}
	for name, command := range commands {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			o, m := withRecord(t)
			m.Edit(func(r *term.Record) { r.ServedTerm = r.Term - 1 })
			play(t, m, move{func(term.Record) bool { return true }, func(r *term.Record) { r.ServedTerm = r.Term }})
			moved, err := command(ctx, o)
			if r, _ := m.Record(); err != nil || moved.Site != "primary" || moved.Term != 7 || r.ServedTerm != 7 {
				t.Errorf("while it does not serve: %+v, %v", moved, err)
			}
			m.Edit(func(r *term.Record) { r.State = term.Releasing })
			if _, err := command(ctx, o); !errors.Is(err, ErrRefused) {
				t.Errorf("while it lets the term go: %v", err)
			}
		})
	}
}

func TestSwitchoverTurnedDown(t *testing.T) {
	for name, c := range map[string]struct {
		play move
		want string
	}{
		"cleared":      {move{wanted, func(r *term.Record) { r.Wanted = nil }}, "turned the request down"},
		"taken back":   {move{wanted, func(r *term.Record) { r.Wanted, r.Term = nil, r.Term+1 }}, "took the hand-over back"},
		"never played": {move{func(term.Record) bool { return false }, nil}, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			o, m := withRecord(t)
			play(t, m, c.play)
			limit := 30 * time.Second
			if name == "never played" {
				limit = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := o.Switchover(ctx, Request{To: "dr", By: "me"})
			if err == nil || !strings.Contains(err.Error(), c.want) || ExitCode(err) != 1 {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestWithdrawSwitchover: who has thought better of a request takes it back, unless the writer is on its way by then, or it is
// the wardens', or for the other site.
func TestWithdrawSwitchover(t *testing.T) {
	o, m := withRecord(t)
	if was, err := o.WithdrawSwitchover(t.Context(), "dr"); was || err != nil {
		t.Errorf("without a request: %v, %v", was, err)
	}
	if _, err := o.WithdrawSwitchover(t.Context(), "moon"); !errors.Is(err, ErrUsage) {
		t.Errorf("a site that is none: %v", err)
	}
	m.Edit(func(r *term.Record) { r.Wanted = &term.Wanted{Site: "dr", By: "me"} })
	before, _ := m.Record()
	if was, err := o.WithdrawSwitchover(t.Context(), "primary"); was || err != nil {
		t.Errorf("a request for the other site: %v, %v", was, err)
	}
	if was, err := o.WithdrawSwitchover(t.Context(), "dr"); !was || err != nil {
		t.Errorf("a request: %v, %v", was, err)
	}
	if r, _ := m.Record(); r.Wanted != nil || r.Version != before.Version+1 || r.Term != before.Term {
		t.Errorf("the record is %+v, was %+v", r, before)
	}
	for name, too := range map[string]func(*term.Record, *term.Beacon){
		"granted":      func(r *term.Record, _ *term.Beacon) { r.State, r.GrantedTo = term.Granted, "dr" },
		"replayed":     func(r *term.Record, b *term.Beacon) { b.DrainedTerm = r.Term },
		"moved":        func(_ *term.Record, b *term.Beacon) { b.ObservedWriter = "dr" },
		"the wardens'": func(r *term.Record, _ *term.Beacon) { r.Wanted.By = "warden primary/1" },
	} {
		b := term.Beacon{Site: "dr"}
		m.Edit(func(r *term.Record) {
			r.State, r.GrantedTo, r.Wanted = term.Held, "", &term.Wanted{Site: "dr", By: "me"}
			too(r, &b)
		})
		if err := m.Replica("warden").PutBeacon(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if was, err := o.WithdrawSwitchover(t.Context(), "dr"); was || !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, %v", name, was, err)
		}
		if r, _ := m.Record(); r.Wanted == nil {
			t.Errorf("%s: the request is gone", name)
		}
	}
}

// TestSwitchoverSaysWhatItWaitsFor: the holder's gates and the target's readiness are told while they are waited for, and stay
// in the error when the request is turned down, or nobody waits any longer. What an old beacon says is not told.
func TestSwitchoverSaysWhatItWaitsFor(t *testing.T) {
	const gate = "gate peer readiness: capacity, want ready; start tasks in dr"
	for name, answer := range map[string]func(*termtest.Memory){
		"turned down": func(m *termtest.Memory) { m.Edit(func(r *term.Record) { r.Wanted = nil }) },
		"no answer":   nil,
	} {
		t.Run(name, func(t *testing.T) {
			o, m := withRecord(t)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			for _, b := range []term.Beacon{
				{Site: "primary", Sequence: 1, Ready: true, WaitsFor: []string{gate}, At: time.Now()},
				{Site: "dr", Sequence: 1, NotReadyBecause: "no task runs", WaitsFor: []string{"gate of yesterday"}, At: time.Now().Add(-24 * time.Hour)},
			} {
				if err := m.Replica("x").PutBeacon(ctx, b); err != nil {
					t.Fatal(err)
				}
			}
			var said []string
			_, err := o.Switchover(ctx, Request{To: "dr", Progress: func(text string) {
				said = append(said, text)
				switch {
				case !strings.Contains(text, gate):
				case answer == nil:
					cancel()
				default:
					answer(m)
				}
			}})
			if all := strings.Join(said, "\n"); !strings.Contains(all, "primary waits, "+gate) || strings.Contains(all, "yesterday") {
				t.Errorf("said %q", said)
			}
			if err == nil || !strings.Contains(err.Error(), "primary waits, "+gate) || errors.Is(err, ErrRefused) != (answer != nil) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSwitchoverRefusesAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		to     string
		change func(*term.Record)
		code   int
	}{
		"unknown site":       {"mars", func(*term.Record) {}, 2},
		"releasing":          {"dr", func(r *term.Record) { r.State = term.Releasing }, 1},
		"another is wanted":  {"dr", func(r *term.Record) { r.Wanted = &term.Wanted{Site: "primary", By: "x"} }, 1},
		"granted to another": {"dr", func(r *term.Record) { r.State, r.GrantedTo = term.Granted, "dr" }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			o, m := withRecord(t)
			m.Edit(c.change)
			before, _ := m.Record()
			_, err := o.Switchover(t.Context(), Request{To: c.to})
			if ExitCode(err) != c.code {
				t.Errorf("%v, want exit code %d", err, c.code)
			}
			if after, _ := m.Record(); after.Version != before.Version {
				t.Errorf("the record was changed: %+v", after)
			}
		})
	}
}

// TestFailoverApprovalOutlivesBeacons: a warden's beacon overwrites the one with the approval; the command puts it
// back, with the warden's own sequence, because only a warden's report is a sign of life.
func TestFailoverApprovalOutlivesBeacons(t *testing.T) {
	o, m := withRecord(t)
	quick(m)
	replica := m.Replica("warden")
	if err := replica.PutBeacon(t.Context(), term.Beacon{Site: "dr", Sequence: 5, Ready: true}); err != nil {
		t.Fatal(err)
	}
	approvals := make(chan term.Beacon, 100)
	everywhere(o, func(op termtest.Operation) termtest.Fault {
		if op.Kind == "put-beacon" {
			approvals <- op.Beacon
		}
		return termtest.Fault{}
	})
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() {
		moved, err := o.Failover(ctx, Request{To: "dr", By: "me", Reason: "lost"}, true, time.Hour)
		if err == nil && moved.Term != 8 {
			err = fmt.Errorf("moved %+v", moved)
		}
		done <- err
	}()
	for _, sequence := range []int64{5, 9} {
		var b term.Beacon
		select {
		case b = <-approvals:
		case <-ctx.Done():
			t.Fatalf("no approval was written: %v", ctx.Err())
		}
		if b.Sequence != sequence || b.Approval == nil || b.Approval.Term != 7 || !b.Approval.AllowDataLoss || b.Approval.Reason != "lost" || !b.Ready {
			t.Errorf("beacon %+v with approval %+v, want sequence %d", b, b.Approval, sequence)
		}
		if sequence == 5 {
			if err := replica.PutBeacon(ctx, term.Beacon{Site: "dr", Sequence: 9, Ready: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.Edit(func(r *term.Record) { r.Term, r.Holder, r.ServedTerm = 8, "dr", 8 })
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFailoverEndsWhenSomebodyElseMoves(t *testing.T) {
	o, m := withRecord(t)
	quick(m)
	play(t, m, move{func(term.Record) bool { _, ok := m.Beacon("dr"); return ok }, func(r *term.Record) { r.Term++ }})
	if _, err := o.Failover(t.Context(), Request{To: "dr"}, true, time.Hour); !errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
}

type fakeCloud struct{ lost string }

func (f fakeCloud) globalCluster(_ context.Context, s Site) (aws.GlobalCluster, error) {
	if s.Name == f.lost {
		return aws.GlobalCluster{}, errors.New("no answer from " + s.Region)
	}
	return aws.GlobalCluster{Status: "available", Members: []aws.GlobalMember{{ClusterARN: "arn:d", Writer: true}, {ClusterARN: "arn:p"}}}, nil
}

func (f fakeCloud) service(_ context.Context, s Site, name string) (aws.Service, error) {
	if s.Name == f.lost {
		return aws.Service{}, errors.New("no answer from " + s.Region)
	}
	return aws.Service{Desired: 3, Running: 2}, nil
}

func (f fakeCloud) bounds(_ context.Context, s Site) (int, int, error) {
	if s.Name == f.lost {
		return 0, 0, errors.New("lost")
	}
	return 2, 10, nil
}

func (f fakeCloud) targets(_ context.Context, s Site, _ string) ([]aws.Target, error) {
	if s.Name == f.lost {
		return nil, errors.New("no answer from " + s.Region)
	}
	return []aws.Target{{State: "healthy"}, {State: "initial"}}, nil
}

// TestStatusOfALostRegion: what answers is shown, what does not is named, and the active site is the record's as long as
// that is renewed.
func TestStatusOfALostRegion(t *testing.T) {
	o, m := withRecord(t)
	o.cloud = fakeCloud{lost: "primary"}
	o.lookup = func(_ context.Context, host string) ([]string, error) {
		return map[string][]string{"app.example": {"10.0.0.2"}, "lb.d": {"10.0.0.2"}, "lb.p": {"10.0.0.1"}}[host], nil
	}
	m.Edit(func(r *term.Record) { r.Term, r.ServedTerm, r.Holder, r.LeaseMS, r.MarginMS = 8, 8, "dr", 400, 100 })
	renewing(t, m)
	for site, ready := range map[string]bool{"primary": false, "dr": true} {
		b := term.Beacon{Site: site, Sequence: 1, Ready: ready, NotReadyBecause: "it is gone", LineageTerm: 7, TrustLeftMS: 100, At: time.Now()}
		if site == "primary" {
			b.At = b.At.Add(-24 * time.Hour)
		}
		if err := o.stores[0].PutBeacon(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	o.stores[0].(*termtest.Replica).Partition() // the lost region's replica
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := o.Status(ctx)
	if s.Active != "dr" || !s.LeaseRunning || s.DNS.Site != "dr" || s.Record == nil || s.Record.Term != 8 {
		t.Errorf("status %+v", s)
	}
	primary, dr := s.Sites[0], s.Sites[1]
	if primary.Role != "standby" || len(primary.Errors) != 6 || primary.LagMS != nil || primary.TrustLeftMS != 0 || primary.SilentForMS < 86_400_000 {
		t.Errorf("primary %+v", primary)
	}
	if dr.Role != "active" || dr.Writer != "arn:d" || dr.RunningTasks != 2 || dr.DesiredTasks != 3 || dr.HealthyTargets != 1 || len(dr.Errors) != 0 || dr.TrustLeftMS != 100 || dr.SilentForMS != 0 {
		t.Errorf("dr %+v", dr)
	}
	var text strings.Builder
	if err := s.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"term       8, held by dr", "the balancer of dr", "that it was not ready: it is gone", "no answer from us-east-1", "it was renewed", "silent 24h0m0s", "reported last 24h0m0s ago"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
}

// TestStatusOfADeadHolder: what a site said a day ago, and a record that nobody renews, make nobody the active site.
func TestStatusOfADeadHolder(t *testing.T) {
	o, m := withRecord(t)
	m.Edit(func(r *term.Record) { r.LeaseMS, r.MarginMS = 400, 100 })
	dead := term.Beacon{Site: "primary", Sequence: 1, Ready: true, LineageTerm: 7, TrustLeftMS: 17_000, At: time.Now().Add(-24 * time.Hour)}
	if err := m.Replica("x").PutBeacon(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	s := o.Status(t.Context())
	if primary := s.Sites[0]; s.Active != "" || primary.Role != "silent" || primary.TrustLeftMS != 0 || primary.SilentForMS == 0 {
		t.Errorf("active %q, %+v", s.Active, primary)
	}
	var text strings.Builder
	if err := s.WriteText(&text); err != nil || strings.Contains(text.String(), "17s") || strings.Contains(text.String(), " yes ") {
		t.Errorf("%v:\n%s", err, text.String())
	}
}

func TestStatusWithoutARecord(t *testing.T) {
	o, _ := newOperator(t)
	s := o.Status(t.Context())
	var text strings.Builder
	if err := s.WriteText(&text); err != nil || s.Active != "" || !strings.Contains(text.String(), "holdfast init") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

func TestStatusSeesRenewals(t *testing.T) {
	o, m := withRecord(t)
	m.Edit(func(r *term.Record) { r.LeaseMS, r.MarginMS = 4000, 100 })
	everywhere(o, func(op termtest.Operation) termtest.Fault {
		// Each look asks both replicas and takes the first answer, so nobody can say which read is the second look's.
		if op.Kind == "read" {
			m.Edit(func(r *term.Record) { r.Renewal++ })
		}
		return termtest.Fault{}
	})
	if s := o.Status(t.Context()); !s.LeaseRunning {
		t.Error("a renewal during the look was not seen")
	}
}

func TestInstallFence(t *testing.T) {
	_, dsn := pgservertest.Start(t, nil)
	ctx := t.Context()
	if err := InstallFence(ctx, dsn, nil, false); ExitCode(err) != 2 {
		t.Errorf("without tables: %v", err)
	}
	if err := InstallFence(ctx, "postgres://u@127.0.0.1:1/x", []string{"t"}, false); ExitCode(err) != 3 {
		t.Errorf("without a database: %v", err)
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "create table t (n int)"); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := InstallFence(soon, dsn, []string{"public.t"}, false); !errors.Is(err, ErrRefused) {
		t.Errorf("without a lease: %v", err)
	}
	busy, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close(ctx)
	tx, err := busy.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "insert into t values (0)"); err != nil {
		t.Errorf("a write before the fence: %v", err)
	}
	if err := InstallFence(ctx, dsn, []string{"public.t"}, true); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "pg_stat_activity") {
		t.Errorf("over a table that is in use: %v", err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := InstallFence(ctx, dsn, []string{"public.t"}, true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(ctx, "insert into t values (1)"); !fence.IsRefused(err) {
		t.Errorf("a write without a lease: %v", err)
	}
}

func TestDSNs(t *testing.T) {
	got := testConfig(t).Sites[1].DSNs("a/b")
	want := []string{
		"postgres://u:a%2Fb@w.d:5432/payments?sslmode=require&application_name=holdfast&connect_timeout=5",
		"postgres://u:a%2Fb@r.d:5432/payments?sslmode=require&application_name=holdfast&connect_timeout=5",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
