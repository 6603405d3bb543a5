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

// TestWatchIsAboutOneRenewalOfOneTerm: taking a term back raises the term and leaves renewal as it was, and nobody has
// watched that yet.
func TestWatchIsAboutOneRenewalOfOneTerm(t *testing.T) {
	long := sample.Lease() + sample.Margin()
	w := term.Watch{}.Observe(sample, 0).Observe(sample, term.Instant(long))
	if !w.Expired(sample) {
		t.Fatalf("stood %v", w.Stood())
	}
	for name, change := range map[string]func(*term.Record){
		"term": func(r *term.Record) { r.Term++ }, "renewal": func(r *term.Record) { r.Renewal++ },
	} {
		r := sample
		change(&r)
		if w.Expired(r) {
			t.Errorf("the watch is over for another %s", name)
		}
		if other := w.Observe(r, term.Instant(long)+1); other.Stood() != 0 || other.Expired(sample) {
			t.Errorf("another %s has been watched for %v", name, other.Stood())
		}
	}
	if (term.Watch{}).Expired(term.Record{}) {
		t.Error("a watch that has seen nothing is over")
	}
}

func TestTrustLeft(t *testing.T) {
	trust := term.Trusted(sample, 0)
	if left := trust.Left(trust.Until - 5); left != 5 {
		t.Errorf("5 ns before its end %v is left", left)
	}
	if left := trust.Left(trust.Until + 5); left != 0 {
		t.Errorf("after its end %v is left", left)
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
	for _, c := range []struct {
		lease, margin time.Duration
		speed         float64
		accepted      bool
	}{
		{20 * time.Second, 2500 * time.Millisecond, 40, false}, // the lease becomes shorter than two margins
		{1000 * time.Millisecond, 500 * time.Millisecond, 1, true},
		{999 * time.Millisecond, 500 * time.Millisecond, 1, false},
		{20 * time.Second, 499 * time.Millisecond, 1, false},
		{20 * time.Second, 2500 * time.Millisecond, 0.5, false},
	} {
		if _, _, err := term.Scale(c.lease, c.margin, c.speed); (err == nil) != c.accepted {
			t.Errorf("lease %v, margin %v, speed %g: %v", c.lease, c.margin, c.speed, err)
		}
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for name, change := range map[string]func(*term.Record){
		"deployment": func(r *term.Record) { r.Deployment = "" }, "version": func(r *term.Record) { r.Version = 0 },
		"term": func(r *term.Record) { r.Term = 0 }, "holder": func(r *term.Record) { r.Holder = "" },
		"served_term": func(r *term.Record) { r.ServedTerm = 4 }, "lease_ms": func(r *term.Record) { r.LeaseMS = 4999 },
		"margin_ms": func(r *term.Record) { r.MarginMS = 0 }, "negative": func(r *term.Record) { r.LeaseMS, r.MarginMS = -1, -1 },
		"state": func(r *term.Record) { r.State = "idle" }, "granted_to": func(r *term.Record) { r.GrantedTo = "dr" },
	} {
		r := sample
		change(&r)
		if err := r.Validate(); err == nil {
			t.Errorf("%s: an invalid record passed: %+v", name, r)
		}
	}
	shortest := sample
	shortest.LeaseMS = 2 * shortest.MarginMS
	for _, r := range []term.Record{sample, shortest} {
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
	}
}
