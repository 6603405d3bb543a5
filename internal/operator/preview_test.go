package operator

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/reconcile"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// withBeacons is a deployment whose two sites have just reported: primary serves term 7, dr is ready.
func withBeacons(t *testing.T) (*Operator, *termtest.Memory) {
	t.Helper()
	o, m := withRecord(t)
	now := time.Now().UTC()
	m.Edit(func(r *term.Record) { r.CoveredUntil, r.LeaseMS, r.MarginMS = now, 400, 100 })
	for _, site := range []string{"primary", "dr"} {
		b := term.Beacon{
			Deployment: "prod", Site: site, Sequence: 1, Ready: true, LineageTerm: 7, CoveredUntil: now, RunningTasks: 2, HealthyTargets: 2,
			Mode: "automatic", MaxLagMS: 60_000, TrustLeftMS: 100, At: now,
		}
		if err := m.Replica("x").PutBeacon(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return o, m
}

// renewing keeps the record's renewal moving until the test ends.
func renewing(t *testing.T, m *termtest.Memory) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				m.Edit(func(r *term.Record) { r.Renewal++ })
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

func stepsOf(p Plan) (steps []string) {
	for _, s := range p.Steps {
		if s.Step != "wait" {
			steps = append(steps, s.By+" "+s.Step)
		}
	}
	return steps
}

// TestPreviews: a dry run tells the wardens' own next decisions, and changes nothing.
func TestPreviews(t *testing.T) {
	o, m := withBeacons(t)
	before, _ := m.Record()
	lossless, err := o.PreviewFailover(t.Context(), Request{To: "dr", By: "me"}, false, time.Hour)
	if err != nil || !slices.Contains(stepsOf(lossless), "dr serve") || !slices.Contains(stepsOf(lossless), "dr promote") {
		t.Errorf("failover from a silent site: %v, %v", stepsOf(lossless), err)
	}
	if after, _ := m.Record(); after.Version != before.Version {
		t.Errorf("a dry run wrote %+v", after)
	}
	if beacons, _ := m.Replica("x").Beacons(t.Context()); beacons["dr"].Approval != nil {
		t.Error("a dry run approved")
	}
	renewing(t, m)
	plan, err := o.PreviewSwitchover(t.Context(), Request{To: "dr", By: "me"})
	want := []string{
		"operator write the request into the record", "primary seal", "primary drain", "primary move-writer", "primary grant",
		"dr acquire", "dr record-term", "dr serve",
	}
	if err != nil || !slices.Equal(stepsOf(plan), want) {
		t.Errorf("switchover: %v, %v, want %v", stepsOf(plan), err, want)
	}
	alive, err := o.PreviewFailover(t.Context(), Request{To: "dr"}, false, time.Hour)
	if err != nil || len(stepsOf(alive)) != 1 || !strings.Contains(strings.Join(alive.Saw, " "), "holdfast switchover --to dr") {
		t.Errorf("failover from a live site: %+v, %v", alive, err)
	}
	if err := m.Replica("x").PutBeacon(t.Context(), term.Beacon{Site: "dr", Sequence: 2, LineageTerm: 7, At: time.Now().Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if dead, err := o.PreviewFailover(t.Context(), Request{To: "dr"}, false, time.Hour); err != nil || !strings.Contains(strings.Join(dead.Saw, " "), "wardens of dr are silent") {
		t.Errorf("failover to a silent site: %+v, %v", dead, err)
	}
	if plan, err := o.PreviewSwitchover(t.Context(), Request{To: "primary"}); err != nil || len(plan.Steps) != 0 {
		t.Errorf("switchover to the active site: %+v, %v", plan, err)
	}
	var text strings.Builder
	if err := plan.WriteText(&text); err != nil || !strings.Contains(text.String(), "move-writer") {
		t.Errorf("%v: %s", err, text.String())
	}
	m.Edit(func(r *term.Record) { r.State = term.Releasing })
	if _, err := o.PreviewSwitchover(t.Context(), Request{To: "dr"}); !errors.Is(err, ErrRefused) {
		t.Errorf("what would be refused: %v", err)
	}
}

// TestStatusShowsShutGates: which gates would keep the standby from taking over, each with its remedy; trust; the tail.
func TestStatusShowsShutGates(t *testing.T) {
	o, m := withBeacons(t)
	m.Edit(func(r *term.Record) { r.CoveredUntil, r.TailOf = r.CoveredUntil.Add(time.Hour), []term.Number{6} })
	if err := m.Replica("x").PutBeacon(t.Context(), term.Beacon{Site: "primary", Sequence: 2, TrustLeftMS: 100, WaitsFor: []string{"gate budget: none left"}, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	s := o.Status(t.Context())
	var text strings.Builder
	if err := s.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if len(s.Sites[1].Gates) != 1 || s.Sites[1].Gates[0].Gate != "lag" || s.Sites[0].TrustLeftMS != 100 || len(s.Sites[0].Gates) != 0 {
		t.Errorf("sites %+v", s.Sites)
	}
	for _, want := range []string{"dr could not take over, gate lag", "--allow-data-loss", "100ms", "primary waits, gate budget: none left", "the end of term 6 may be missing"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	if _, err := o.TailSaved(t.Context(), 5, "me", nil); !errors.Is(err, ErrRefused) {
		t.Errorf("the tail of another term: %v", err)
	}
	if _, err := o.TailSaved(t.Context(), 6, "me", &reconcile.Summary{Term: 5}); !errors.Is(err, ErrRefused) {
		t.Errorf("with an export of another term: %v", err)
	}
	r, err := o.TailSaved(t.Context(), 6, "me", &reconcile.Summary{Term: 6, Folder: "/x/tail-primary-term-6", SHA256: "5c7c"})
	if err != nil || len(r.TailOf) != 0 || r.TailSavedBy != "term 6: me (tail-primary-term-6: 0 rows missing, 0 different, manifest sha256 5c7c)" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestPinIsSeen: a pinned site is lost. Status and dry run know its pin from the copy that shows it: the lag counts what was
// committed under it, nobody is said to take over before it ends, and what the standby waits for is shown.
func TestPinIsSeen(t *testing.T) {
	o, m := withBeacons(t)
	now := time.Now().UTC()
	pin := failover.PinView{ID: 3, Term: 7, Site: "primary", For: 2 * time.Hour, PinnedAt: now.Add(-time.Minute)}
	b := term.Beacon{
		Deployment: "prod", Site: "dr", Sequence: 2, LineageTerm: 7, CoveredUntil: now, RunningTasks: 2, HealthyTargets: 2, Mode: "automatic",
		MaxLagMS: 60_000, At: now, Pin: pin.Report(), WaitsFor: []string{"gate pin: primary is pinned"},
	}
	put := func() {
		t.Helper()
		if err := m.Replica("x").PutBeacon(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	put()
	s := o.Status(t.Context())
	var text strings.Builder
	if err := s.WriteText(&text); err != nil || !strings.Contains(text.String(), "dr waits, gate pin") || !strings.Contains(text.String(), "dr has a pin of primary") {
		t.Errorf("%v:\n%s", err, text.String())
	}
	dr := s.Sites[1]
	if dr.LagMS == nil || *dr.LagMS < (118*time.Minute).Milliseconds() || !slices.ContainsFunc(dr.Gates, func(r failover.Refusal) bool { return r.Gate == "pin" }) {
		t.Errorf("%+v", dr)
	}
	foresees := func() bool {
		t.Helper()
		plan, err := o.PreviewFailover(t.Context(), Request{To: "dr"}, true, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(stepsOf(plan), "dr serve")
	}
	if foresees() {
		t.Error("a takeover is foreseen under a pin")
	}
	pin.Ended, pin.EndedAt = true, now.Add(-30*time.Second)
	b.Pin = pin.Report()
	put()
	if !foresees() {
		t.Error("no takeover is foreseen after the pin's end")
	}
}

func TestLastDrill(t *testing.T) {
	dir := t.TempDir()
	if d, err := ReadLastDrill(filepath.Join(dir, "none")); d != nil || err != nil {
		t.Errorf("without a folder: %v, %v", d, err)
	}
	for i, name := range []string{"later", "earlier"} {
		folder := filepath.Join(dir, name)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(folder, verdictFile)
		if err := os.WriteFile(file, []byte(`{"verdict":"pass","fault":"`+name+`","speed":10,"rto_seconds":5.2}`), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-time.Duration(i) * time.Hour)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	d, err := ReadLastDrill(dir)
	if err != nil || d.Fault != "later" || !strings.Contains(d.String(), "RTO 5.2 s") {
		t.Errorf("%+v, %v", d, err)
	}
}
