package warden

import (
	"errors"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// others lets another party write the record right before each write of the warden, n times.
func others(memory *termtest.Memory, replica *termtest.Replica, n int, change func(*term.Record)) {
	replica.SetFault(func(o termtest.Operation) termtest.Fault {
		if o.Kind == "write" && n > 0 {
			n--
			memory.Edit(change)
		}
		return termtest.Fault{}
	})
}

// TestStepIsDecidedAgainWhenAnotherWriteComesFirst: with what that write says, at once, and not for ever.
func TestStepIsDecidedAgainWhenAnotherWriteComesFirst(t *testing.T) {
	renewal := func(r *term.Record) { r.Renewal++ }
	for name, c := range map[string]struct {
		writes  int
		change  func(*term.Record)
		written bool
	}{
		"nobody":                {0, renewal, true},
		"a renewal":             {1, renewal, true},
		"two renewals":          {2, renewal, true},
		"renewals without end":  {stepTries, renewal, false},
		"what makes it useless": {1, func(r *term.Record) { r.ServedTerm = r.Term }, false},
		"another request":       {1, func(r *term.Record) { r.Wanted = &term.Wanted{Site: "dr", At: time.Now()} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := firstRecord()
			r.ServedTerm = 0
			memory := newStore(t, r)
			replica := memory.Replica("own")
			w, _ := quiet(t, memory, "primary", "dr", func(o *Options) {
				o.Stores = []term.Store{replica}
				o.Decide = func(o failover.Observation) failover.Decision {
					next := o.Store.Record
					if next.ServedTerm == next.Term {
						return failover.Decision{Step: failover.Wait}
					}
					next.Version, next.ServedTerm = next.Version+1, next.Term
					return failover.Decision{Step: failover.Serve, Record: &next}
				}
			})
			w.observe(t.Context())
			others(memory, replica, c.writes, c.change)
			result := w.writeStep(t.Context(), w.observation().Store.Record, w.decide(w.observation()), false)
			if written := result.err == nil; written != c.written || !result.effective {
				t.Fatalf("%+v", result)
			}
			if !c.written && !errors.Is(result.err, term.ErrConflict) {
				t.Errorf("error %v", result.err)
			}
			if got := recordOf(t, memory); c.written && (got.ServedTerm != 1 || got.Renewal != r.Renewal+int64(c.writes)) {
				t.Errorf("record %+v", got)
			}
		})
	}
}

// TestNothingIsWrittenAgainOnAnOldApproval: an approval has to be looked for anew right before the write (P17).
func TestNothingIsWrittenAgainOnAnOldApproval(t *testing.T) {
	memory := newStore(t, firstRecord())
	replica := memory.Replica("own")
	w, _ := quiet(t, memory, "dr", "primary", func(o *Options) {
		o.Stores = []term.Store{replica}
		o.Decide = func(o failover.Observation) failover.Decision {
			next := o.Store.Record
			next.Version, next.Term, next.Holder = next.Version+1, next.Term+1, o.Site
			return failover.Decision{Step: failover.Acquire, Record: &next}
		}
	})
	w.observe(t.Context())
	w.memory.mu.Lock()
	w.memory.Own.Approval = &term.Approval{Term: 1, By: "operator", Expires: time.Now().Add(time.Hour)}
	w.memory.mu.Unlock()
	others(memory, replica, 1, func(r *term.Record) { r.Renewal++ })
	result := w.writeStep(t.Context(), w.observation().Store.Record, w.decide(w.observation()), true)
	if !errors.Is(result.err, term.ErrConflict) || !result.effective {
		t.Fatalf("%+v", result)
	}
	if got := recordOf(t, memory); got.Term != 1 {
		t.Errorf("record %+v", got)
	}
}
