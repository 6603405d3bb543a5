package warden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// movedSite is a site whose term has just gone to dr; served says whether dr serves it.
func movedSite(t *testing.T, peerURL string, served bool) (*Warden, *termtest.Memory) {
	t.Helper()
	r := firstRecord()
	r.Term, r.Holder, r.MovedAt, r.ServedTerm = 2, "dr", time.Now(), 1
	if served {
		r.ServedTerm = 2
	}
	store := newStore(t, r)
	w, _ := quiet(t, store, "primary", "dr", func(o *Options) {
		o.Config.PeerAppURL, o.Config.AppDNSName, o.Config.Settings.ForwardFor = peerURL, "app.example.com", time.Hour
		o.Database = &database{state: &fence.State{
			Installed: true, InRecovery: true, DatabaseTime: time.Unix(1000, 0), Terms: []term.Number{1}, Lease: fence.Lease{Term: 1, SealedTerm: 1, DrainedTerm: 1},
		}}
	})
	w.observe(t.Context())
	return w, store
}

func newTestForwarder(t *testing.T, w *Warden) *forwarder {
	t.Helper()
	f, err := newForwarder(w)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { f.run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done; f.transport.CloseIdleConnections() })
	return f
}

// otherSite records what reaches the other site.
type otherSite struct {
	*httptest.Server
	mu   sync.Mutex
	got  []*http.Request
	body []string
}

func newOtherSite(t *testing.T) *otherSite {
	t.Helper()
	s := &otherSite{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.got, s.body = append(s.got, r), append(s.body, string(body))
		s.mu.Unlock()
		rw.Header().Set("Payment", "accepted")
		rw.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(s.Close)
	return s
}

func pay(f http.Handler, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://app.example.com/v1/payments?x=1;y", strings.NewReader("{}"))
	r.Header.Set("X-Forwarded-For", "192.0.2.7")
	if change != nil {
		change(r)
	}
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, r)
	return rec
}

// waiting sends a request and returns when it has arrived; its status comes when it is answered.
func waiting(t *testing.T, f *forwarder) <-chan int {
	t.Helper()
	answered := make(chan int)
	go func() { answered <- pay(f, nil).Code }()
	eventually(t, "the request waits", func() error {
		if len(f.slots) == 0 {
			return errors.New("it has not arrived")
		}
		return nil
	})
	return answered
}

func TestForwardSendsARequestOnAsItCame(t *testing.T) {
	other := newOtherSite(t)
	w, _ := movedSite(t, other.URL, true)
	rec := pay(newTestForwarder(t, w), nil)
	if rec.Code != http.StatusCreated || rec.Header().Get("Payment") != "accepted" {
		t.Fatalf("answer %d %v", rec.Code, rec.Header())
	}
	got := other.got[0]
	if got.Host != "app.example.com" || got.URL.String() != "/v1/payments?x=1;y" || other.body[0] != "{}" {
		t.Errorf("%s %s %q", got.Host, got.URL, other.body[0])
	}
	if got.Header.Get(HopHeader) != "primary" || got.Header.Get("X-Forwarded-For") != "192.0.2.7" {
		t.Errorf("headers %v", got.Header)
	}
}

func TestForwardGoesOneHop(t *testing.T) {
	other := newOtherSite(t)
	w, _ := movedSite(t, other.URL, true)
	rec := pay(newTestForwarder(t, w), func(r *http.Request) { r.Header.Set(HopHeader, "dr") })
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" || len(other.got) > 0 {
		t.Errorf("answer %d after %d requests to the other site", rec.Code, len(other.got))
	}
}

// TestForwardHoldsRequestsUntilTheOtherSiteServes: the client of a switchover waits instead of failing.
func TestForwardHoldsRequestsUntilTheOtherSiteServes(t *testing.T) {
	other := newOtherSite(t)
	w, store := movedSite(t, other.URL, false)
	f := newTestForwarder(t, w)
	f.hold = patience
	answered := waiting(t, f)
	select {
	case code := <-answered:
		t.Fatalf("answered %d before the other site serves", code)
	default:
	}
	store.Edit(func(r *term.Record) { r.Version, r.ServedTerm = r.Version+1, r.Term })
	w.observe(t.Context())
	w.tellNews()
	if code := <-answered; code != http.StatusCreated {
		t.Errorf("answered %d", code)
	}
}

// TestForwardHoldsWhatItHasNotSeenYet: between two looks of this warden at the database a sibling has sealed it, set the
// balancer, and perhaps handed the term over.
func TestForwardHoldsWhatItHasNotSeenYet(t *testing.T) {
	other := newOtherSite(t)
	for name, change := range map[string]func(*term.Record){
		"the seal":      func(r *term.Record) { r.Wanted = &term.Wanted{Site: "dr", By: "operator"} },
		"the hand-over": func(r *term.Record) { r.Term, r.Holder, r.MovedAt = 2, "dr", time.Now() },
	} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, firstRecord())
			w, _ := quiet(t, store, "primary", "dr", func(o *Options) {
				o.Config.PeerAppURL, o.Config.AppDNSName, o.Config.Settings.ForwardFor = other.URL, "app.example.com", time.Hour
				o.Database = &database{state: &fence.State{
					Installed: true, DatabaseTime: time.Unix(1000, 0), Terms: []term.Number{1}, Lease: fence.Lease{Term: 1},
				}}
			})
			learn := func(change func(*term.Record)) {
				t.Helper()
				store.Edit(func(r *term.Record) { r.Version++; change(r) })
				if _, err := w.read(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			w.observe(t.Context())
			learn(change)
			f := newTestForwarder(t, w)
			f.hold = patience
			answered := waiting(t, f)
			learn(func(r *term.Record) {
				r.Term, r.Holder, r.ServedTerm, r.MovedAt, r.Wanted = 2, "dr", 2, time.Now(), nil
			})
			w.tellNews()
			if code := <-answered; code != http.StatusCreated {
				t.Errorf("answered %d", code)
			}
		})
	}
}

// TestForwardAsksAboutWhatItDoesNotExpect: a request that should not come here may be the first news of a hand-over.
func TestForwardAsksAboutWhatItDoesNotExpect(t *testing.T) {
	other := newOtherSite(t)
	store := newStore(t, firstRecord())
	w, _ := quiet(t, store, "primary", "dr", func(o *Options) {
		o.Config.PeerAppURL, o.Config.AppDNSName, o.Config.Settings.ForwardFor = other.URL, "app.example.com", time.Hour
		o.Database = &database{state: &fence.State{
			Installed: true, DatabaseTime: time.Unix(1000, 0), Terms: []term.Number{1}, Lease: fence.Lease{Term: 1},
		}}
	})
	w.observe(t.Context())
	<-w.loopNow // the first record
	store.Edit(func(r *term.Record) { r.Version, r.Wanted = r.Version+1, &term.Wanted{Site: "dr", By: "operator"} })
	f := newTestForwarder(t, w)
	f.hold = patience
	const requests = 20
	answered := make(chan int)
	for range requests {
		go func() { answered <- pay(f, nil).Code }()
	}
	select {
	case <-w.loopNow: // the loop looks at once, and sees the hand-over too
	case code := <-answered:
		t.Fatalf("answered %d", code)
	}
	eventually(t, "all have arrived", func() error {
		if n := len(f.slots); n != requests {
			return fmt.Errorf("%d have", n)
		}
		return nil
	})
	store.Edit(func(r *term.Record) {
		r.Version, r.Term, r.Holder, r.ServedTerm, r.MovedAt, r.Wanted = r.Version+1, 2, "dr", 2, time.Now(), nil
	})
	if _, err := w.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range requests {
		if code := <-answered; code != http.StatusCreated {
			t.Errorf("answered %d", code)
		}
	}
}

// TestAClientThatHangsUpDoesNotMakeTheStoreUnreadable: what a request makes the warden read is everybody's.
func TestAClientThatHangsUpDoesNotMakeTheStoreUnreadable(t *testing.T) {
	store := newStore(t, firstRecord())
	replica := store.Replica("own")
	w, _ := quiet(t, store, "primary", "dr", func(o *Options) {
		o.Stores = []term.Store{replica}
		o.Config.PeerAppURL, o.Config.AppDNSName = "http://unused", "app.example.com"
		o.Database = &database{state: &fence.State{
			Installed: true, DatabaseTime: time.Unix(1000, 0), Terms: []term.Number{1}, Lease: fence.Lease{Term: 1},
		}}
	})
	w.observe(t.Context())
	f := newTestForwarder(t, w)
	reading, answer := make(chan struct{}), make(chan struct{})
	replica.SetFault(func(o termtest.Operation) termtest.Fault {
		if o.Kind == "read" {
			close(reading)
			<-answer
		}
		return termtest.Fault{}
	})
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		pay(f, func(r *http.Request) { *r = *r.WithContext(ctx) })
		close(gone)
	}()
	<-reading
	hangUp()
	<-gone
	close(answer)
	replica.SetFault(nil)
	<-f.reread.after()
	if o := w.observation(); !o.Store.Readable {
		t.Errorf("the store: %+v", o.Store)
	}
}

func TestForwardRefuses(t *testing.T) {
	other := newOtherSite(t)
	t.Run("when nobody serves for too long", func(t *testing.T) {
		w, _ := movedSite(t, other.URL, false)
		f := newTestForwarder(t, w)
		f.hold = time.Millisecond
		if rec := pay(f, nil); rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
			t.Errorf("answer %d %v", rec.Code, rec.Header())
		}
	})
	t.Run("at once when nothing is to be forwarded", func(t *testing.T) {
		w, _ := movedSite(t, other.URL, true)
		w.cfg.Settings.ForwardFor = 0
		f := newTestForwarder(t, w)
		f.hold = time.Hour
		if rec := pay(f, nil); rec.Code != http.StatusServiceUnavailable {
			t.Errorf("answer %d", rec.Code)
		}
	})
	t.Run("above its limit", func(t *testing.T) {
		w, _ := movedSite(t, other.URL, true)
		f := newTestForwarder(t, w)
		f.slots = make(chan struct{})
		if rec := pay(f, nil); rec.Code != http.StatusServiceUnavailable {
			t.Errorf("answer %d", rec.Code)
		}
	})
	if len(other.got) > 0 {
		t.Errorf("%d requests reached the other site", len(other.got))
	}
	t.Run("a body that is too large", func(t *testing.T) {
		w, _ := movedSite(t, other.URL, true)
		rec := pay(newTestForwarder(t, w), func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", forwardBody+1))), -1
		})
		if rec.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("answer %d", rec.Code)
		}
	})
	t.Run("what may have been carried out is no 503", func(t *testing.T) {
		gone := httptest.NewServer(http.NotFoundHandler())
		gone.Close()
		w, _ := movedSite(t, gone.URL, true)
		if rec := pay(newTestForwarder(t, w), nil); rec.Code != http.StatusBadGateway {
			t.Errorf("answer %d", rec.Code)
		}
	})
}

// TestForwardEndsWhatTakesTooLong: neither an answer that does not come to its end nor a client that does not read it keeps
// a slot.
func TestForwardEndsWhatTakesTooLong(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"an answer that stops half-way": func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, "half")
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		},
		"a client that does not read": func(rw http.ResponseWriter, r *http.Request) {
			for chunk := make([]byte, 1<<20); r.Context().Err() == nil; {
				if _, err := rw.Write(chunk); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{})
			other := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				close(arrived)
				answer(rw, r)
			}))
			defer other.Close()
			w, _ := movedSite(t, other.URL, true)
			f := newTestForwarder(t, w)
			f.limit = 500 * time.Millisecond
			front := httptest.NewUnstartedServer(nil)
			front.Config = f.server()
			front.Start()
			defer front.Close()
			client, err := net.Dial("tcp", front.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := io.WriteString(client, "GET /v1/payments HTTP/1.1\r\nHost: app.example.com\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			<-arrived
			eventually(t, "the slot is free again", func() error {
				if n := len(f.slots); n != 0 {
					return fmt.Errorf("%d slots taken", n)
				}
				return nil
			})
		})
	}
}

// listener is a balancer that does what it is told, and can be changed behind the warden's back.
type listener struct {
	on    bool
	calls []bool
	err   error
}

func (l *listener) Diverted(context.Context) (bool, error) { return l.on, l.err }

func (l *listener) Divert(_ context.Context, on bool) error {
	l.calls = append(l.calls, on)
	if l.err == nil {
		l.on = on
	}
	return l.err
}

func TestDivert(t *testing.T) {
	w, _ := movedSite(t, "http://unused", true)
	l := &listener{}
	now := term.Boot()
	w.balancer, w.boot = l, func() term.Instant { return now }
	w.observe(t.Context())
	var d diverter
	w.divert(t.Context(), &d)
	w.divert(t.Context(), &d)
	if len(l.calls) != 1 || !l.on {
		t.Fatalf("after two rounds: %v", l.calls)
	}
	l.on = false // somebody else
	now = now.Add(divertLook * w.renewEvery())
	w.observe(t.Context())
	w.divert(t.Context(), &d)
	if !l.on {
		t.Error("a change from elsewhere was not noticed")
	}
	w.cfg.Settings.ForwardFor = 0
	l.err = errors.New("throttled")
	w.divert(t.Context(), &d)
	l.err = nil
	w.divert(t.Context(), &d)
	if l.on {
		t.Error("not given back after a failure")
	}
}

type scaler struct{ asked []int }

func (s *scaler) Scale(_ context.Context, tasks int) error {
	s.asked = append(s.asked, tasks)
	return nil
}

func TestCapacityIsRaisedOnce(t *testing.T) {
	w, _ := movedSite(t, "http://unused", true)
	s := &scaler{}
	app := &application{view: failover.AppView{Known: true, HealthyTargets: 2, RunningTasks: 2, MinimumTasks: 2, MaximumTasks: 10}}
	w.scaler, w.app = s, app
	w.observe(t.Context())
	if w.scale(t.Context()) {
		t.Errorf("without a pilot light it asked for %v", s.asked)
	}
	w.cfg.Settings.PilotTasks, w.cfg.Settings.PilotSet = 4, true
	w.observe(t.Context())
	if !w.scale(t.Context()) || len(s.asked) != 1 || s.asked[0] != 4 {
		t.Fatalf("asked for %v", s.asked)
	}
	app.view.MinimumTasks = 4
	w.observe(t.Context())
	if w.scale(t.Context()) {
		t.Error("asked again for what is there")
	}
	app.view.MaximumTasks = 0
	app.view.MinimumTasks = 0
	w.observe(t.Context())
	if w.scale(t.Context()) {
		t.Error("scaled an application that has no autoscaling")
	}
}

// TestDesiredTasksOutliveTheScheduler: the beacon goes on to say what the load needs while the scheduler does not answer, or
// nobody wants a task any more.
func TestDesiredTasksOutliveTheScheduler(t *testing.T) {
	w, _ := movedSite(t, "http://unused", true)
	app := &application{view: failover.AppView{Known: true, HealthyTargets: 2, RunningTasks: 2, DesiredTasks: 8}}
	w.app = app
	w.observe(t.Context())
	if err := w.putBeacon(t.Context(), w.beacon(0)); err != nil {
		t.Fatal(err)
	}
	app.view = failover.AppView{Err: "throttled"}
	w.observe(t.Context())
	if b := w.beacon(0); b.DesiredTasks != 8 || b.RunningTasks != 0 {
		t.Errorf("the beacon says that %d tasks are wanted and %d run", b.DesiredTasks, b.RunningTasks)
	}
}
