package warden

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// database is a database that is not there, unless a test gives it a state.
type database struct {
	state *fence.State
	// sampled is called with every sample's number, before it is answered.
	sampled func(number int)
	samples int
	extend  func(n term.Number, renewal int64, validUntil time.Time)
	delay   func()
}

var errNoDatabase = errors.New("no database in this test")

func (d *database) Sample(context.Context) (fence.State, error) {
	d.samples++
	if d.sampled != nil {
		d.sampled(d.samples)
	}
	if d.state == nil {
		return fence.State{}, errNoDatabase
	}
	return *d.state, nil
}

func (d *database) Extend(_ context.Context, n term.Number, renewal int64, until func(fence.State) (time.Time, error)) error {
	if d.state == nil {
		return errNoDatabase
	}
	sampled := *d.state
	if d.delay != nil {
		d.delay()
	}
	validUntil, err := until(sampled)
	if err != nil {
		return err
	}
	d.extend(n, renewal, validUntil)
	return nil
}

func (d *database) RecordTerm(context.Context, term.Number, string) error { return errNoDatabase }
func (d *database) Seal(context.Context, term.Number) error               { return errNoDatabase }
func (d *database) Drain(context.Context, term.Number) (string, error)    { return "", errNoDatabase }
func (d *database) Unpin(context.Context, string) error                   { return errNoDatabase }

// clock is a boot clock that stands until it is moved.
type clock struct{ now term.Instant }

func (c *clock) boot() term.Instant { return c.now }

// serving makes a warden that would say 200 until the clock moves.
func servingWarden(t *testing.T) (*Warden, *clock, *database) {
	t.Helper()
	c := &clock{now: term.Instant(time.Hour)}
	db := &database{state: &fence.State{
		Installed: true, DatabaseTime: time.Unix(1000, 0), ServerStarted: time.Unix(1, 0), Terms: []term.Number{1},
		Lease: fence.Lease{Term: 1, ServerStarted: time.Unix(1, 0), ValidUntil: time.Unix(2000, 0)},
	}}
	r := firstRecord()
	r.ServedTerm = 1
	w, _ := quiet(t, newStore(t, r), "primary", "dr", func(o *Options) {
		o.Boot, o.Database = c.boot, db
		o.Cluster = &plane{view: failover.ClusterView{Known: true, Writer: "primary", Member: true}}
		o.Application = &application{view: failover.AppView{Known: true, HealthyTargets: 1}}
	})
	return w, c, db
}

func healthz(w *Warden) int {
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	return rec.Code
}

// TestSuspendedWardenDoesNotServe: the health answer is computed when it is asked for, on the clock that counts the
// suspended time, so a warden that wakes up past its lease says 503 before it has done anything else.
func TestSuspendedWardenDoesNotServe(t *testing.T) {
	w, c, _ := servingWarden(t)
	w.renew(t.Context(), false)
	w.observe(t.Context())
	if code := healthz(w); code != http.StatusOK {
		t.Fatalf("/healthz: %d, %s", code, failover.Judge(w.fresh()).Reason)
	}
	c.now = c.now.Add(testLease - testMargin - 1)
	if code := healthz(w); code != http.StatusOK {
		t.Errorf("/healthz just before the end of the trust: %d", code)
	}
	c.now = c.now.Add(1)
	if code := healthz(w); code != http.StatusServiceUnavailable {
		t.Errorf("/healthz at the end of the trust: %d", code)
	}
}

// TestStaleObservationsAreUnknown: trust alone does not make a site serve if the loop has not come round.
func TestStaleObservationsAreUnknown(t *testing.T) {
	w, c, _ := servingWarden(t)
	w.observe(t.Context())
	c.now = c.now.Add(testLease + 1)
	w.renew(t.Context(), false)
	if code := healthz(w); code != http.StatusServiceUnavailable {
		t.Errorf("/healthz on an observation older than the lease: %d", code)
	}
	w.observe(t.Context())
	if code := healthz(w); code != http.StatusOK {
		t.Errorf("/healthz after a new observation: %d", code)
	}
}

// TestDelaysShortenTheDatabasesLease pins P8: however long the sample's answer took, the lease on the database's clock
// ends no later than the trust on the own one.
func TestDelaysShortenTheDatabasesLease(t *testing.T) {
	w, c, db := servingWarden(t)
	var got time.Time
	db.extend = func(_ term.Number, _ int64, validUntil time.Time) { got = validUntil }
	w.observe(t.Context())
	w.renew(t.Context(), false)
	if err := w.extendLease(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := db.state.DatabaseTime.Add(testLease - testMargin); !got.Equal(want) {
		t.Errorf("valid until %v, want %v", got, want)
	}
	db.delay = func() { c.now = c.now.Add(time.Second) }
	if err := w.extendLease(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := db.state.DatabaseTime.Add(testLease - testMargin - time.Second); !got.Equal(want) {
		t.Errorf("after a slow sample valid until %v, want %v", got, want)
	}
	got = time.Time{}
	db.delay = func() { c.now = c.now.Add(testLease) }
	if err := w.extendLease(t.Context()); !errors.Is(err, errNothingToExtend) || !got.IsZero() {
		t.Errorf("after a sample slower than the trust: %v, valid until %v", err, got)
	}
}

// TestNoExtension lists the states in which the database's lease must run out.
func TestNoExtension(t *testing.T) {
	for name, change := range map[string]func(*Warden, *fence.State){
		"standby":              func(_ *Warden, s *fence.State) { s.InRecovery = true },
		"fence not installed":  func(_ *Warden, s *fence.State) { s.Installed = false },
		"sealed":               func(_ *Warden, s *fence.State) { s.Lease.SealedTerm = 1 },
		"not in the lineage":   func(_ *Warden, s *fence.State) { s.Terms = nil },
		"releasing":            func(w *Warden, _ *fence.State) { w.memory.Store.Record.State = term.Releasing },
		"held by the other":    func(w *Warden, _ *fence.State) { w.memory.Store.Record.Holder = "dr" },
		"next term":            func(w *Warden, _ *fence.State) { w.memory.Store.Record.Term = 2 },
		"no trust":             func(w *Warden, _ *fence.State) { w.memory.Trust = term.Trust{} },
		"reported end is past": func(w *Warden, s *fence.State) { w.memory.Store.Record.CoveredUntil = s.DatabaseTime },
	} {
		t.Run(name, func(t *testing.T) {
			w, _, db := servingWarden(t)
			extended := 0
			db.extend = func(term.Number, int64, time.Time) { extended++ }
			w.observe(t.Context())
			w.renew(t.Context(), false)
			if err := w.extendLease(t.Context()); err != nil || extended != 1 {
				t.Fatalf("before the change: %v", err)
			}
			change(w, db.state)
			if err := w.extendLease(t.Context()); !errors.Is(err, errNothingToExtend) || extended != 1 {
				t.Errorf("extended %d times, %v", extended, err)
			}
		})
	}
}

// TestLateLandingRenewalGivesTrustFromItsSending: the write times out everywhere, lands later, and is recognised by its
// nonce in a later read. Its trust counts from before it was sent.
func TestLateLandingRenewalGivesTrustFromItsSending(t *testing.T) {
	w, c, _ := servingWarden(t)
	replica := w.stores[0].(*termtest.Replica)
	var late term.Record
	replica.SetFault(func(op termtest.Operation) termtest.Fault {
		if op.Kind == "write" {
			late = op.Next
			return termtest.Fault{Before: errors.New("no answer")}
		}
		return termtest.Fault{}
	})
	sent := c.now
	w.renew(t.Context(), false)
	if o := w.observation(); o.Trust.Term != 0 {
		t.Fatalf("a write that did not land gave the trust %+v", o.Trust)
	}
	replica.Heal()
	c.now = c.now.Add(time.Second)
	if err := replica.Write(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if _, err := w.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := w.observation().Trust, (term.Trust{Term: 1, Until: sent.Add(testLease - testMargin)}); got != want {
		t.Errorf("trust %+v, want %+v", got, want)
	}
}

// TestForeignNonceGivesNoTrust: the sibling renews; reading "holder = my site" is worth nothing (P4).
func TestForeignNonceGivesNoTrust(t *testing.T) {
	w, _, _ := servingWarden(t)
	if _, err := w.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := w.observation(); o.Trust != (term.Trust{}) {
		t.Errorf("reading gave the trust %+v", o.Trust)
	}
}

// TestWritesThatDoNotRenewGiveNoTrust: others watch (term, renewal), so a write that leaves both alone must not count.
func TestWritesThatDoNotRenewGiveNoTrust(t *testing.T) {
	w, _, _ := servingWarden(t)
	r, err := w.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Version++
	got := w.execute(t.Context(), w.observation(), failover.Decision{Step: failover.Serve, Record: &r})
	expectStep(t, got, true)
	if o := w.observation(); o.Trust != (term.Trust{}) {
		t.Errorf("a write of served_term gave the trust %+v", o.Trust)
	}
}

// TestWatchCountsFromTheAnswer: the watch on the other's record runs from answer to answer, and a failed read takes
// the time before it away (P5).
func TestWatchCountsFromTheAnswer(t *testing.T) {
	r := firstRecord()
	memory := newStore(t, r)
	c := &clock{now: term.Instant(time.Hour)}
	w, _ := quiet(t, memory, "dr", "primary", func(o *Options) { o.Boot = c.boot })
	replica := w.stores[0].(*termtest.Replica)
	slow := 500 * time.Millisecond
	replica.SetFault(func(termtest.Operation) termtest.Fault { c.now = c.now.Add(slow); return termtest.Fault{} })
	read := func() { _, _ = w.read(t.Context()) }
	read()
	if stood := w.observation().Watch.Stood(); stood != 0 {
		t.Errorf("after the first answer the record has stood for %v", stood)
	}
	slow = 0
	c.now = c.now.Add(2 * time.Second)
	read()
	if stood := w.observation().Watch.Stood(); stood != 2*time.Second {
		t.Errorf("stood %v, want 2s: from answer to answer", stood)
	}
	replica.SetFault(func(termtest.Operation) termtest.Fault { return termtest.Fault{Before: errors.New("down")} })
	c.now = c.now.Add(time.Hour)
	read()
	replica.Heal()
	c.now = c.now.Add(time.Second)
	read()
	if stood := w.observation().Watch.Stood(); stood != 3*time.Second {
		t.Errorf("stood %v: time without answers was counted", stood)
	}
}

// TestOvertakenAnswerIsIgnored: two calls overlap, and the older answer comes last.
func TestOvertakenAnswerIsIgnored(t *testing.T) {
	w, _, _ := servingWarden(t)
	older, newer := firstRecord(), firstRecord()
	newer.Version, newer.Renewal = 5, 5
	w.learn(newer, 10, 20)
	w.learn(older, 5, 30)
	if r, _ := w.record(); r.Version != 5 {
		t.Errorf("version %d, want 5", r.Version)
	}
	// A record that really went back (restored, created again) is shown by a later call, and believed.
	w.learn(older, 40, 50)
	if r, _ := w.record(); r.Version != 1 {
		t.Errorf("version %d, want 1", r.Version)
	}
}

type exporter struct {
	calls int
	err   error
}

func (e *exporter) Export(context.Context) (string, error) {
	e.calls++
	return "3 rows", e.err
}

// TestTailIsExportedOnce: the mark is durable and names the volume by its newest term; a failure leaves none.
func TestTailIsExportedOnce(t *testing.T) {
	e := &exporter{err: errors.New("the survivor is away")}
	r := firstRecord()
	r.Term, r.Holder, r.ServedTerm = 2, "dr", 2
	dir := filepath.Join(t.TempDir(), "made on demand")
	db := &database{state: &fence.State{Installed: true, Terms: []term.Number{1}}}
	change := func(o *Options) { o.Tail, o.Config.ExportDir, o.Database = e, dir, db }
	w, _ := quiet(t, newStore(t, r), "primary", "dr", change)
	step := func(w *Warden) outcome {
		return w.execute(t.Context(), w.observe(t.Context()), failover.Decision{Step: failover.ExportTail})
	}
	if got := step(w); got.err == nil {
		t.Fatal("a failed export was reported as done")
	}
	if w.observe(t.Context()).TailExported {
		t.Error("a failed export left a mark")
	}
	e.err = nil
	o := w.observe(t.Context())
	db.state.InRecovery = true
	if got := w.execute(t.Context(), o, failover.Decision{Step: failover.ExportTail}); got.err == nil || w.observe(t.Context()).TailExported {
		t.Errorf("a volume that was rebuilt meanwhile counts as exported: %+v", got)
	}
	db.state.InRecovery = false
	if w.observe(t.Context()).TailExported {
		t.Error("the export of a rebuilt volume left a mark")
	}
	expectStep(t, step(w), true)
	if !w.observe(t.Context()).TailExported {
		t.Error("a finished export left no mark")
	}
	content, err := os.ReadFile(filepath.Join(dir, "tail-exported-test-primary-term-1"))
	if err != nil || string(content) != "3 rows\n" {
		t.Errorf("the mark: %q, %v", content, err)
	}
	again, _ := quiet(t, newStore(t, r), "primary", "dr", change)
	expectStep(t, step(again), true)
	if e.calls != 3 {
		t.Errorf("exported %d times, want 3 (a failure, one of a rebuilt volume, one success)", e.calls)
	}
	db.state.Terms = []term.Number{1, 2, 3}
	if w.observe(t.Context()).TailExported {
		t.Error("the mark of an older volume counts for a newer one")
	}
}

// TestTailSavedOnlyWhereItWasServed: a copy that was promoted, and lost before it recorded a term of its own, ends with the
// other site's term. Its export lets it be rebuilt, and saves nothing of that term.
func TestTailSavedOnlyWhereItWasServed(t *testing.T) {
	r := firstRecord()
	r.Term, r.Holder, r.ServedTerm, r.TailOf = 3, "dr", 3, []term.Number{1}
	for servedBy, saved := range map[string]term.Number{"primary": 1, "dr": 0} {
		db := &database{state: &fence.State{Installed: true, Terms: []term.Number{1}, ServedBy: servedBy}}
		w, _ := quiet(t, newStore(t, r), "primary", "dr", func(o *Options) {
			o.Tail, o.Config.ExportDir, o.Database = &exporter{}, t.TempDir(), db
		})
		expectStep(t, w.execute(t.Context(), w.observe(t.Context()), failover.Decision{Step: failover.ExportTail}), true)
		if o := w.observe(t.Context()); !o.TailExported || o.TailSaved != saved {
			t.Errorf("term 1 was served by %s: exported %v, saved the end of term %d, want %d", servedBy, o.TailExported, o.TailSaved, saved)
		}
	}
}

// TestQuietTicksAreNotJournaled: numbers that always move are no news, and a change is.
func TestQuietTicksAreNotJournaled(t *testing.T) {
	w, c, db := servingWarden(t)
	w.renew(t.Context(), false)
	first := gistOf(w.observe(t.Context()), failover.Decision{Step: failover.Wait, Reason: "watched for 3.1s"})
	c.now = c.now.Add(time.Second)
	w.renew(t.Context(), false)
	db.state.Position, db.state.Lease.Renewal = "0/99", 99
	if again := gistOf(w.observe(t.Context()), failover.Decision{Step: failover.Wait, Reason: "watched for 4.2s"}); again != first {
		t.Errorf("a quiet tick is news:\n%s\n%s", first, again)
	}
	db.state.Lease.SealedTerm = 1
	if again := gistOf(w.observe(t.Context()), failover.Decision{Step: failover.Wait, Reason: "watched for 4.2s"}); again == first {
		t.Error("a seal is no news")
	}
}

func TestApprovalSurvivesTheWardensBeacon(t *testing.T) {
	w, _, _ := servingWarden(t)
	approval := &term.Approval{Term: 1, By: "op", Expires: time.Now().Add(time.Hour), AllowDataLoss: true}
	if err := w.stores[0].PutBeacon(t.Context(), term.Beacon{Site: "primary", Sequence: 41, Approval: approval}); err != nil {
		t.Fatal(err)
	}
	w.observe(t.Context())
	b := w.beacon(0)
	if b.Sequence != 42 || !reflect.DeepEqual(b.Approval, approval) {
		t.Errorf("beacon %+v", b)
	}
	w.memory.Store.Record.Term = 2
	if b := w.beacon(b.Sequence); b.Approval != nil || b.Sequence != 43 {
		t.Errorf("a used approval stays in the beacon: %+v", b)
	}
}

// TestChangesOfHandsCarryTheJournalsHead: what is written with a change of hands lets others witness the journal.
func TestChangesOfHandsCarryTheJournalsHead(t *testing.T) {
	w, _, _ := servingWarden(t)
	w.journal.head = func() string { return "the head" }
	r, err := w.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Version++
	expectStep(t, w.execute(t.Context(), w.observation(), failover.Decision{Step: failover.Serve, Record: &r}), true)
	if r, err = w.read(t.Context()); err != nil || r.Journal != "the head" {
		t.Errorf("record %+v, %v", r, err)
	}
	if b := w.beacon(0); b.Journal != "the head" {
		t.Errorf("beacon %+v", b)
	}
}

// TestBeaconSaysWhatIsWaitedFor: what a person has to decide is told to who asks for the status of the deployment.
func TestBeaconSaysWhatIsWaitedFor(t *testing.T) {
	w, _, _ := servingWarden(t)
	w.remember(failover.Decision{Step: failover.Wait, Refusals: []failover.Refusal{{Gate: "budget", Current: "0", Wanted: "1", Remedy: "approve"}}})
	if b := w.beacon(0); !slices.Equal(b.WaitsFor, []string{"gate budget: 0, want 1; approve"}) {
		t.Errorf("beacon %+v", b)
	}
}

// TestNothingIsChangedOverHTTP: the endpoints show, and none of them takes anything, so none of them needs a token.
func TestNothingIsChangedOverHTTP(t *testing.T) {
	w, _, _ := servingWarden(t)
	for _, path := range []string{"/healthz", "/targetz", "/status", "/metrics"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "PIN"} {
			rec := httptest.NewRecorder()
			w.Handler().ServeHTTP(rec, httptest.NewRequest(method, path, strings.NewReader("{}")))
			if rec.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, rec.Code)
			}
		}
	}
}

func TestMetricsAndStatus(t *testing.T) {
	w, _, _ := servingWarden(t)
	w.renew(t.Context(), false)
	w.observe(t.Context())
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{"holdfast_warden_serving 1\n", "holdfast_warden_trust_seconds 3\n", "holdfast_warden_holder 1\n", `holdfast_warden_renewals_total{result="renewed"} 1`} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	if s := w.Status(); !s.Serving || s.Record == nil || s.TrustLeftMS != 3000 || s.Store != "readable" {
		t.Errorf("status %+v", s)
	}
}
