package operator

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/aws"
	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// stopped is a region whose scheduler says how many wardens run, or does not answer.
type stopped struct {
	running int
	err     error
}

func (s stopped) globalCluster(context.Context, Site) (aws.GlobalCluster, error) {
	return aws.GlobalCluster{}, s.err
}

func (s stopped) service(context.Context, Site, string) (aws.Service, error) {
	return aws.Service{Desired: s.running, Running: s.running}, s.err
}

func (s stopped) bounds(context.Context, Site) (int, int, error) { return 0, 0, s.err }

func (s stopped) targets(context.Context, Site, string) ([]aws.Target, error) { return nil, s.err }

// pinnable is a deployment with the store gone, a writer of term 7 and its copy. A warden stands by that extends the
// lease as soon as a confirmed pin shows.
type pinnable struct {
	*Operator
	memory  *termtest.Memory
	request PinRequest
	writer  *pgx.Conn
}

func newPinnable(t *testing.T) *pinnable {
	t.Helper()
	server, dsn := pgservertest.Start(t, nil)
	writer, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = writer.Close(context.Background()) })
	ctx := t.Context()
	err = errors.Join(fence.EnsureSchema(ctx, writer), fence.RecordTerm(ctx, writer, 7, "primary"),
		fencetest.Extend(ctx, writer, 7, time.Now().Add(-time.Second), 1))
	if err != nil {
		t.Fatal(err)
	}
	_, copied := pgservertest.Standby(t, server)
	o, memory := withRecord(t)
	o.cfg.LeaseSeconds, o.cfg.MarginSeconds = 1, 0.25
	everywhere(o, func(termtest.Operation) termtest.Fault { return termtest.Fault{Before: errors.New("no answer")} })
	p := &pinnable{Operator: o, memory: memory, writer: writer, request: PinRequest{
		Site: "primary", By: "me", Reason: "the store is gone", For: time.Hour,
		Databases: map[string][]string{"primary": {dsn}, "dr": {copied}},
	}}
	p.warden(t, dsn)
	return p
}

// warden plays the pinned site's warden.
func (p *pinnable) warden(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for wait(ctx, 20*time.Millisecond) == nil {
			s, err := fence.Sample(ctx, conn)
			if err != nil {
				continue
			}
			if until, err := s.PinnedUntil("primary"); err == nil {
				_ = fence.ExtendOn(ctx, conn, s.ServerStarted, 7, until, 0) // the command waits for it, and says if nothing comes
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; _ = conn.Close(context.Background()) })
}

func (p *pinnable) sample(t *testing.T) fence.State {
	t.Helper()
	s, err := fence.Sample(t.Context(), p.writer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPin: a dry run changes nothing and names the very steps that the real one then takes; the pin is confirmed only
// after the copy has shown it for a lease and margin; unpin ends it.
func TestPin(t *testing.T) {
	t.Parallel()
	p := newPinnable(t)
	dry := p.request
	dry.DryRun = true
	planned, err := p.Pin(t.Context(), dry)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.sample(t); s.Pin.ID != 0 {
		t.Fatalf("a dry run set %+v", s.Pin)
	}
	began := time.Now()
	done, err := p.Pin(t.Context(), p.request)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 1250*time.Millisecond {
		t.Errorf("confirmed after %v, before a lease and margin had gone by", took)
	}
	s := p.sample(t)
	if !s.Pin.Confirmed || !s.LeaseValid() || s.Pin.Term != 7 || done.Term != 7 || !strings.Contains(done.Evidence, "copy of dr") {
		t.Errorf("pinned %+v, sample %+v", done, s)
	}
	if len(planned.Plan.Steps) != len(done.Plan.Steps) || len(done.Plan.Steps) != 5 {
		t.Errorf("planned %+v, did %+v", planned.Plan.Steps, done.Plan.Steps)
	}
	for i := range planned.Plan.Steps {
		if planned.Plan.Steps[i].Step != done.Plan.Steps[i].Step {
			t.Errorf("step %d: planned %+v, did %+v", i, planned.Plan.Steps[i], done.Plan.Steps[i])
		}
	}
	if _, err := p.Pin(t.Context(), p.request); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "has a pin already") {
		t.Errorf("a second pin: %v", err)
	}
	u, err := p.Unpin(t.Context(), UnpinRequest{By: "me", Databases: p.request.Databases})
	if err != nil || u.Site != "primary" || u.Term != 7 {
		t.Errorf("unpinned %+v, %v", u, err)
	}
	if s := p.sample(t); s.Pin.Open() {
		t.Errorf("after unpin: %+v", s.Pin)
	}
}

// TestPinRefusals: what must not be pinned.
func TestPinRefusals(t *testing.T) {
	t.Parallel()
	p := newPinnable(t)
	for name, c := range map[string]struct {
		change func(*PinRequest)
		cloud  cloud
		want   error
		says   string
	}{
		"the standby":           {func(q *PinRequest) { q.Site = "dr" }, nil, ErrRefused, "is a standby"},
		"an unknown site":       {func(q *PinRequest) { q.Site = "x" }, nil, ErrUsage, "no site"},
		"too long":              {func(q *PinRequest) { q.For = 25 * time.Hour }, nil, ErrUsage, "24h"},
		"too short":             {func(q *PinRequest) { q.For = time.Second }, nil, ErrUsage, "3s to 24h"},
		"no reason":             {func(q *PinRequest) { q.Reason = "" }, nil, ErrUsage, "without a reason"},
		"the copy is not there": {func(q *PinRequest) { q.Databases = map[string][]string{"primary": q.Databases["primary"]} }, nil, ErrRefused, "--peer-stopped"},
		"the copy is a writer": {func(q *PinRequest) {
			q.Databases = map[string][]string{"primary": q.Databases["primary"], "dr": q.Databases["primary"]}
		}, nil, ErrRefused, "would make two"},
		"wardens run":             {func(q *PinRequest) { q.PeerStopped = true }, stopped{running: 2}, ErrRefused, "2 wardens of dr"},
		"wardens run all right":   {func(q *PinRequest) { q.IHaveStopped = "dr" }, stopped{running: 1}, ErrRefused, "1 wardens of dr"},
		"nobody knows":            {func(q *PinRequest) { q.PeerStopped = true }, stopped{err: errors.New("lost")}, ErrRefused, "--i-have-stopped dr"},
		"vouched for itself":      {func(q *PinRequest) { q.IHaveStopped = "primary" }, nil, ErrUsage, "not the other site"},
		"the writer is not there": {func(q *PinRequest) { q.Databases = nil }, nil, ErrEnvironment, "primary"},
	} {
		t.Run(name, func(t *testing.T) {
			q := p.request
			c.change(&q)
			o := New(p.cfg, p.stores)
			o.cloud = c.cloud
			if _, err := o.Pin(t.Context(), q); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
			if s := p.sample(t); s.Pin.Open() {
				t.Errorf("left %+v", s.Pin)
			}
		})
	}
	everywhere(p.Operator, func(termtest.Operation) termtest.Fault { return termtest.Fault{} })
	if _, err := p.Pin(t.Context(), p.request); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the term store answers") {
		t.Errorf("with the store there: %v", err)
	}
}

// TestPinOverAStoppedPeer: with the scheduler's or the operator's word the pin needs no copy that shows it, but what the
// other site's wardens did last is waited out all the same, and what was found out is kept with the pin.
func TestPinOverAStoppedPeer(t *testing.T) {
	t.Parallel()
	p := newPinnable(t)
	for name, c := range map[string]struct {
		change func(*PinRequest)
		cloud  cloud
		says   []string
	}{
		"the region is lost": {
			func(q *PinRequest) {
				q.IHaveStopped, q.Databases = "dr", map[string][]string{"primary": q.Databases["primary"]}
			},
			stopped{err: errors.New("lost")},
			[]string{"me vouches", "lost", "database of dr does not answer"},
		},
		"the copy answers": {
			func(q *PinRequest) { q.PeerStopped = true },
			stopped{},
			[]string{"scheduler of dr runs no warden", "database of dr is a copy"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var waited time.Duration
			p.cloud = c.cloud
			p.pause = func(_ context.Context, d time.Duration) error {
				if p.sample(t).Pin.Confirmed {
					t.Error("confirmed before the other site's last lease was waited out")
				}
				waited = d
				return nil
			}
			q := p.request
			c.change(&q)
			done, err := p.Pin(t.Context(), q)
			if err != nil || waited != 31250*time.Millisecond {
				t.Fatalf("%+v after %v, %v", done, waited, err)
			}
			var evidence string
			if err := p.writer.QueryRow(t.Context(), "SELECT evidence FROM holdfast.pins ORDER BY id DESC LIMIT 1").Scan(&evidence); err != nil || evidence != done.Evidence {
				t.Errorf("kept %q, %v", evidence, err)
			}
			for _, want := range c.says {
				if !strings.Contains(evidence, want) {
					t.Errorf("%q does not say %q", evidence, want)
				}
			}
			if _, err := p.Unpin(t.Context(), UnpinRequest{By: "me", Databases: q.Databases}); err != nil && !errors.Is(err, ErrEnvironment) {
				t.Fatal(err)
			}
		})
	}
}

// TestPinOverAPeerThatHasTakenOver: the other site took the next term while this one was cut off. Its database says so, and
// no word of its scheduler or of an operator counts against that, whether it shows before the wait or only after it.
func TestPinOverAPeerThatHasTakenOver(t *testing.T) {
	t.Parallel()
	p := newPinnable(t)
	p.cloud = stopped{}
	q := p.request
	q.PeerStopped = true
	ctx := t.Context()
	takeOver := func() error {
		conn, err := pgx.Connect(ctx, q.Databases["dr"][0])
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		_, err = conn.Exec(ctx, "SELECT pg_promote(true)")
		return errors.Join(err, fence.RecordTerm(ctx, conn, 8, "dr"), fencetest.Extend(ctx, conn, 8, time.Now().Add(time.Hour), 1))
	}
	p.pause = func(context.Context, time.Duration) error { return takeOver() }
	if done, err := p.Pin(ctx, q); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "has term 8") {
		t.Errorf("a site that took over meanwhile: %+v, %v", done, err)
	}
	if s := p.sample(t); s.Pin.ID == 0 || s.Pin.Open() || s.Pin.Confirmed {
		t.Errorf("left %+v", s.Pin)
	}
	p.pause = func(context.Context, time.Duration) error {
		t.Error("nothing was refused before the wait")
		return nil
	}
	first := p.sample(t).Pin.ID
	q.IHaveStopped = "dr"
	if done, err := p.Pin(ctx, q); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "dr has taken over") {
		t.Errorf("a site that had taken over: %+v, %v", done, err)
	}
	if s := p.sample(t); s.Pin.ID != first {
		t.Errorf("wrote %+v", s.Pin)
	}
	q.Databases = map[string][]string{"primary": q.Databases["primary"], "dr": q.Databases["primary"]}
	if _, err := p.Pin(ctx, q); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "would make two") {
		t.Errorf("a database that takes writes: %v", err)
	}
}

// TestPinOverWardensThatAreStartedAgain: somebody raises the count again while the command waits.
func TestPinOverWardensThatAreStartedAgain(t *testing.T) {
	t.Parallel()
	p := newPinnable(t)
	p.cloud = stopped{}
	p.pause = func(context.Context, time.Duration) error {
		p.cloud = stopped{running: 2}
		return nil
	}
	q := p.request
	q.PeerStopped = true
	if done, err := p.Pin(t.Context(), q); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "2 wardens of dr") {
		t.Errorf("%+v, %v", done, err)
	}
	if s := p.sample(t); s.Pin.Open() || s.Pin.Confirmed {
		t.Errorf("left %+v", s.Pin)
	}
}

// TestPinWithoutReplication: no copy ever shows the pin, so it is ended, and gives nothing.
func TestPinWithoutReplication(t *testing.T) {
	t.Parallel()
	p := newPinnable(t)
	copied, err := pgx.Connect(t.Context(), p.request.Databases["dr"][0])
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close(context.Background())
	if _, err := copied.Exec(t.Context(), "SELECT pg_wal_replay_pause()"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := p.Pin(ctx, p.request)
		done <- err
	}()
	// Interrupted as soon as the row is there, whatever the command is doing then.
	for p.sample(t).Pin.ID == 0 {
		select {
		case err := <-done:
			t.Fatalf("ended before it had set the pin: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("confirmed a pin that no copy shows")
	}
	if s := p.sample(t); s.Pin.ID == 0 || s.Pin.Open() || s.Pin.Confirmed {
		t.Errorf("left %+v", s.Pin)
	}
}

// TestLiftPin: the pinned site is lost; on the operator's word, and only while its scheduler does not contradict it, the
// record says that its pin is over.
func TestLiftPin(t *testing.T) {
	t.Parallel()
	p := newPinnable(t)
	if _, err := p.Pin(t.Context(), p.request); err != nil {
		t.Fatal(err)
	}
	everywhere(p.Operator, func(termtest.Operation) termtest.Fault { return termtest.Fault{} })
	lost := map[string][]string{"dr": p.request.Databases["dr"]}
	if _, err := p.Unpin(t.Context(), UnpinRequest{By: "me", Databases: lost}); !errors.Is(err, ErrEnvironment) || !strings.Contains(err.Error(), "--i-have-stopped") {
		t.Errorf("unpin without the pinned database: %v", err)
	}
	q := UnpinRequest{By: "me", Reason: "region lost", Databases: lost, IHaveStopped: "primary"}
	p.cloud = stopped{running: 2}
	if _, err := p.Unpin(t.Context(), q); !errors.Is(err, ErrRefused) {
		t.Errorf("while its wardens run: %v", err)
	}
	p.cloud = stopped{err: errors.New("lost")}
	if u, err := p.Unpin(t.Context(), q); err != nil || u.Site != "primary" {
		t.Errorf("%+v, %v", u, err)
	}
	if r, _ := p.memory.Record(); r.UnpinnedTerm != 7 || r.UnpinnedBy != "me: region lost" || r.State != term.Held {
		t.Errorf("record %+v", r)
	}
}
