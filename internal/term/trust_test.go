package term_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/internal/term"
)

var sample = term.Record{Deployment: "d", Version: 1, Term: 3, Holder: "primary", Renewal: 9, LeaseMS: 20000, MarginMS: 2500, State: term.Held}

func TestTrustCountsFromBeforeTheAttempt(t *testing.T) {
	trust := term.Trusted(sample, 1000)
	if want := term.Instant(1000).Add(17500 * time.Millisecond); trust.Until != want {
		t.Errorf("trust until %v, want %v", trust.Until, want)
	}
	if trust.Holds(3, trust.Until) {
		t.Error("trust holds at its deadline")
	}
	if trust.Holds(4, 1000) || (term.Trust{}).Holds(0, -1) {
		t.Error("trust holds for a term it was not given for")
	}
}

func TestWatchForgetsUnreadableTime(t *testing.T) {
	w := term.Watch{}.Observe(sample, 0).Observe(sample, term.Instant(10*time.Second))
	w = w.Unreadable(term.Instant(20*time.Second)).Observe(sample, term.Instant(25*time.Second))
	if w.Stood() != 15*time.Second {
		t.Errorf("stood %v, want 15s: the 10 s before the failed read are no evidence", w.Stood())
	}
}

// TestWatchOutlivesTrust is the heart of the lease: whatever the delays of attempt and reads, a watch that has expired
// lies after the end of the trust that the watched renewal gave, even if the two clocks differ in rate by 1 % each way.
func TestWatchOutlivesTrust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.99, 1.01)
		holderRate, watcherRate := rate.Draw(t, "holder rate"), rate.Draw(t, "watcher rate")
		delay := rapid.Int64Range(0, int64(30*time.Second))
		attempt := time.Duration(delay.Draw(t, "attempt"))
		written := attempt + time.Duration(delay.Draw(t, "write delay"))
		at := written + time.Duration(delay.Draw(t, "first read answered"))
		until := term.Trusted(sample, term.Instant(float64(attempt)*holderRate)).Until
		w := term.Watch{}
		for !w.Expired(sample) {
			local := term.Instant(float64(at) * watcherRate)
			if rapid.Bool().Draw(t, "readable") {
				w = w.Observe(sample, local)
			} else {
				w = w.Unreadable(local)
			}
			at += time.Second + time.Duration(delay.Draw(t, "gap"))/10
		}
		if trustEnds := time.Duration(float64(until) / holderRate); at < trustEnds {
			t.Fatalf("the watch expired at %v, before the trust ended at %v", at, trustEnds)
		}
	})
}

func TestScaleKeepsThePhysicalMargin(t *testing.T) {
	l, m, err := term.Scale(20*time.Second, 2500*time.Millisecond, 10)
	if err != nil || l != 2*time.Second || m != 700*time.Millisecond {
		t.Errorf("got %v, %v, %v", l, m, err)
	}
	if _, _, err := term.Scale(20*time.Second, 2500*time.Millisecond, 40); err == nil {
		t.Error("a lease shorter than two margins was accepted")
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for name, change := range map[string]func(*term.Record){
		"deployment": func(r *term.Record) { r.Deployment = "" }, "version": func(r *term.Record) { r.Version = 0 },
		"term": func(r *term.Record) { r.Term = 0 }, "holder": func(r *term.Record) { r.Holder = "" },
		"served_term": func(r *term.Record) { r.ServedTerm = 4 }, "lease_ms": func(r *term.Record) { r.LeaseMS = 4000 },
		"state": func(r *term.Record) { r.State = "idle" }, "granted_to": func(r *term.Record) { r.GrantedTo = "dr" },
	} {
		r := sample
		change(&r)
		if err := r.Validate(); err == nil {
			t.Errorf("%s: an invalid record passed: %+v", name, r)
		}
	}
	if err := sample.Validate(); err != nil {
		t.Error(err)
	}
}
