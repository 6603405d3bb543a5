package twin

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/jackc/pgx/v5"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
	"holdfast/internal/twin/api"
	"holdfast/internal/twin/network"
)

// The sites' regions.
const east, west = "us-east-1", "us-west-2"

func TestStepOfACall(t *testing.T) {
	held := term.Record{Version: 7, Term: 3, Holder: "primary", State: term.Held, ServedTerm: 3}
	change := func(from term.Record, do func(*term.Record)) term.Record {
		from.Version++
		do(&from)
		return from
	}
	taken := change(held, func(r *term.Record) { r.Term, r.Holder = 4, "dr" })
	granted := change(held, func(r *term.Record) { r.State, r.GrantedTo = term.Granted, "dr" })
	for _, c := range []struct {
		site         string
		input        any
		before, next term.Record
		want         failover.Step
	}{
		{"dr", nil, held, taken, failover.Acquire},
		{"dr", nil, granted, change(granted, func(r *term.Record) { r.Term, r.Holder, r.State = 4, "dr", term.Held }), failover.Acquire},
		{"primary", nil, granted, change(granted, func(r *term.Record) { r.Term, r.State = 4, term.Held }), failover.TakeBack},
		{"primary", nil, held, granted, failover.Grant},
		{"primary", nil, held, change(held, func(r *term.Record) { r.State = term.Releasing }), failover.Release},
		{"dr", nil, taken, change(taken, func(r *term.Record) { r.ServedTerm = 4 }), failover.Serve},
		{"dr", nil, taken, change(taken, func(r *term.Record) { r.Renewal++ }), ""},
		{"primary", nil, granted, change(granted, func(r *term.Record) { r.Renewal++ }), ""},
		{"primary", nil, held, change(granted, func(*term.Record) {}), ""}, // its condition will fail
		{"primary", nil, held, term.Record{}, ""},
		{"dr", &rds.FailoverGlobalClusterInput{}, held, term.Record{}, failover.Promote},
		{"dr", &rds.SwitchoverGlobalClusterInput{TargetDbClusterIdentifier: sdk.String("arn:aws:rds:us-west-2:1:cluster:c")}, held, term.Record{}, failover.Promote},
		{"primary", &rds.SwitchoverGlobalClusterInput{TargetDbClusterIdentifier: sdk.String("arn:aws:rds:us-west-2:1:cluster:c")}, held, term.Record{}, failover.MoveWriter},
	} {
		region := map[string]string{"primary": east, "dr": west}[c.site]
		if got := stepOf(c.site, region, c.input, c.before, c.next); got != c.want {
			t.Errorf("%s, %T, from %+v to %+v: %q, want %q", c.site, c.input, c.before, c.next, got, c.want)
		}
	}
}

// write is a warden's write of the term record.
func write(t *testing.T, region string, r term.Record) api.Arrival {
	t.Helper()
	item, err := attributevalue.MarshalMap(r)
	if err != nil {
		t.Fatal(err)
	}
	item["id"] = &types.AttributeValueMemberS{Value: "shop"}
	return api.Arrival{CallerRegion: region, Service: "dynamodb", Region: region, Operation: "PutItem", Input: &dynamodb.PutItemInput{Item: item}}
}

// ambushed is a twin with an ambush whose fault only notes itself in what happened.
func ambushed(t *testing.T, a Ambush) (tw *Twin, tr *trap, struck <-chan Struck, end func(), happened *[]string) {
	t.Helper()
	tw, happened = newFaultTwin(t), &[]string{}
	struck, end, err := tw.Ambush(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	tr = tw.traps.set[0]
	tr.inject = func(_ context.Context, f Fault) (Fault, error) {
		*happened = append(*happened, "strike")
		return f, nil
	}
	return tw, tr, struck, end, happened
}

// What is held is the call that is the step, before its effect or after it; the calls around it go through.
func TestAmbushStrikesInsideTheCall(t *testing.T) {
	serve := Ambush{Site: "dr", Step: failover.Serve}
	for name, c := range map[string]struct {
		fault string
		after bool
		want  []string
		lost  bool
	}{
		"before the effect": {WardenCrash, false, []string{"renewal", "strike", "again"}, true},
		"after the effect":  {WardenCrash, true, []string{"renewal", "serve", "strike", "again"}, true},
		"callers live on":   {DatabaseWriterCrash, false, []string{"renewal", "strike", "serve", "again"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := serve
				a.After, a.Fault = c.after, Fault{Name: c.fault, Site: "dr"}
				tw, _, struck, end, happened := ambushed(t, a)
				call := func(r term.Record, what string) error {
					_, err := tw.aroundCall(t.Context(), write(t, west, r), func() (any, error) { *happened = append(*happened, what); return nil, nil })
					return err
				}
				r := term.Record{Version: 5, Term: 4, Holder: "dr", State: term.Held, ServedTerm: 3}
				if err := call(r, "renewal"); err != nil {
					t.Fatal(err)
				}
				r.Version, r.ServedTerm = 6, 4
				if err := call(r, "serve"); errors.Is(err, api.ErrLost) != c.lost {
					t.Errorf("the step: %v", err)
				}
				if err := call(r, "again"); err != nil {
					t.Errorf("the step of the next warden: %v", err)
				}
				end()
				if s, ok := <-struck; !ok || s.Err != nil {
					t.Errorf("struck: %+v, %v", s, ok)
				}
				if !slices.Equal(*happened, c.want) {
					t.Errorf("happened: %v, want %v", *happened, c.want)
				}
			})
		})
	}
}

// A write that fails is not the step, and leaves the ambush where it is.
func TestAmbushWaitsForAnEffect(t *testing.T) {
	a := Ambush{Site: "dr", Step: failover.Promote, After: true, Fault: Fault{Name: WardenCrash, Site: "dr"}}
	tw, _, struck, end, happened := ambushed(t, a)
	refused := errors.New("refused")
	call := api.Arrival{CallerRegion: west, Input: &rds.FailoverGlobalClusterInput{}}
	if _, err := tw.aroundCall(t.Context(), call, func() (any, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("a refused call: %v", err)
	}
	call.CallerRegion = east
	if _, err := tw.aroundCall(t.Context(), call, func() (any, error) { return nil, nil }); err != nil {
		t.Errorf("the other site's call: %v", err)
	}
	end()
	if s, ok := <-struck; ok || len(*happened) > 0 {
		t.Errorf("struck: %+v, happened: %v", s, *happened)
	}
}

// A sibling's call of the same step that arrives during the strike is lost too: its warden is dead when its turn comes.
func TestSiblingsCallIsLostWithItsWarden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := Ambush{Site: "primary", Step: failover.MoveWriter, Fault: Fault{Name: WardenCrash, Site: "primary"}}
		tw, tr, _, end, _ := ambushed(t, a)
		move := api.Arrival{CallerRegion: east, Input: &rds.SwitchoverGlobalClusterInput{TargetDbClusterIdentifier: sdk.String("arn:aws:rds:us-west-2:1:cluster:c")}}
		made := func() (any, error) { t.Error("a call was made"); return nil, nil }
		sibling := make(chan error, 1)
		tr.inject = func(_ context.Context, f Fault) (Fault, error) {
			go func() {
				_, err := tw.aroundCall(t.Context(), move, made)
				sibling <- err
			}()
			synctest.Wait() // until the sibling waits for its turn
			return f, nil
		}
		if _, err := tw.aroundCall(t.Context(), move, made); !errors.Is(err, api.ErrLost) {
			t.Errorf("the call: %v", err)
		}
		if err := <-sibling; !errors.Is(err, api.ErrLost) {
			t.Errorf("the sibling's: %v", err)
		}
		end()
	})
}

// nowhere is a network that lets everything through.
type nowhere struct{ network.Filter }

func (nowhere) Open(context.Context, netip.Addr) error { return nil }

// An export of a tail is struck as it connects to the other site's database, once.
func TestAmbushOfAnExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tw, _, struck, end, happened := ambushed(t, Ambush{Site: "primary", Step: failover.ExportTail, Fault: Fault{Name: WardenCrash, Site: "primary"}})
		open := func(region string) error { return exportPath{nowhere{}, tw, region}.Open(t.Context(), netip.Addr{}) }
		if err := open(west); err != nil || len(*happened) > 0 {
			t.Errorf("the other site's connection: %v, happened %v", err, *happened)
		}
		if err := open(east); !errors.Is(err, api.ErrLost) {
			t.Errorf("the connection of the dead: %v", err)
		}
		if err := open(east); err != nil {
			t.Errorf("the next warden's: %v", err)
		}
		end()
		if s, ok := <-struck; !ok || s.Err != nil || len(*happened) != 1 {
			t.Errorf("struck: %+v, %v, happened %v", s, ok, *happened)
		}
	})
}

func TestAmbushRefuses(t *testing.T) {
	tw := newFaultTwin(t)
	for want, a := range map[string]Ambush{
		"is called":       {Site: "moon", Step: failover.Serve},
		"can't be held":   {Site: "dr", Step: failover.Want},
		"only its start":  {Site: "dr", Step: failover.ExportTail, After: true},
		"lose its warden": {Site: "dr", Step: failover.Seal, Fault: Fault{Name: DatabaseWriterCrash}},
	} {
		if _, _, err := tw.Ambush(t.Context(), a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
	}
}

// A statement in a real database is held in its step, and then rolls back, or takes effect without its client. Afterwards
// the same statement goes through.
func TestStatementIsHeld(t *testing.T) {
	_, dsn := pgservertest.Start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watcher, warden := connect(ctx, t, dsn), connect(ctx, t, dsn)
	if err := fence.EnsureSchema(ctx, warden); err != nil {
		t.Fatal(err)
	}
	n := term.Number(1)
	if err := fence.RecordTerm(ctx, warden, n, "dr"); err != nil {
		t.Fatal(err)
	}
	for _, step := range databaseSteps {
		for _, after := range []bool{false, true} {
			n++
			a := Ambush{Site: "dr", Step: step, After: after, Fault: Fault{Name: WardenCrash, Site: "dr"}}
			t.Run(a.String(), func(t *testing.T) {
				holdOne(ctx, t, dsn, watcher, a, n)
			})
		}
	}
}

// The other site's statement of the same step is let through: a move may have gone another way.
func TestOtherSitesStatementIsNotHeld(t *testing.T) {
	_, dsn := pgservertest.Start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // a statement is held for longer
	defer cancel()
	conn := connect(ctx, t, dsn)
	if err := errors.Join(fence.EnsureSchema(ctx, conn), fence.RecordTerm(ctx, conn, 1, "primary")); err != nil {
		t.Fatal(err)
	}
	for _, step := range databaseSteps {
		if err := arm(ctx, conn, &trap{Ambush: Ambush{Site: "dr", Step: step}}, true); err != nil {
			t.Fatal(err)
		}
	}
	sealed := fence.Seal(ctx, conn, 1)
	_, drained := fence.Drain(ctx, conn, 1)
	if err := errors.Join(sealed, drained, fence.RecordTerm(ctx, conn, 2, "primary")); err != nil {
		t.Error(err)
	}
}

func holdOne(ctx context.Context, t *testing.T, dsn string, watcher *pgx.Conn, a Ambush, n term.Number) {
	warden, next := connect(ctx, t, dsn+"&application_name=holdfast-warden"), connect(ctx, t, dsn)
	if a.Step == failover.Drain {
		if err := fence.Seal(ctx, next, n); err != nil {
			t.Fatal(err)
		}
	}
	do := func(conn *pgx.Conn) (err error) {
		switch a.Step {
		case failover.Seal:
			err = fence.Seal(ctx, conn, n)
		case failover.Drain:
			_, err = fence.Drain(ctx, conn, n)
		default:
			err = fence.RecordTerm(ctx, conn, n, "dr")
		}
		return err
	}
	killed := false
	tr := &trap{Ambush: a, struck: make(chan Struck, 1), turn: make(chan struct{}, 1), inject: func(_ context.Context, f Fault) (Fault, error) {
		killed = true
		return f, nil
	}}
	if err := arm(ctx, watcher, tr, true); err != nil {
		t.Fatal(err)
	}
	outcome := make(chan error, 1)
	go func() { outcome <- do(warden) }()
	if !newFaultTwin(t).watchHeld(ctx, tr, dsn) {
		t.Fatal("the watch ended without a strike")
	}
	if s := <-tr.struck; s.Err != nil || !killed { // the strike itself looks at what the database says before and after
		t.Errorf("struck: %+v, killed: %v", s, killed)
	}
	if err := <-outcome; (err == nil) != a.After {
		t.Errorf("the statement: %v", err)
	}
	if err := do(next); err != nil {
		t.Errorf("the next warden's: %v", err)
	}
}

func connect(ctx context.Context, t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	return conn
}
