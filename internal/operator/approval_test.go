package operator

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// quick shortens the lease, so that what goes by renewal periods goes by quickly.
func quick(m *termtest.Memory) {
	m.Edit(func(r *term.Record) { r.LeaseMS, r.MarginMS = 800, 100 })
}

// A site that renews has lost nothing, and an approval that stands would cost data at its first pause.
func TestLossOfALiveSiteIsRefused(t *testing.T) {
	o, m := withRecord(t)
	quick(m)
	renewing(t, m)
	if _, err := o.Failover(t.Context(), Request{To: "dr"}, true, time.Hour); !errors.Is(err, ErrRefused) {
		t.Errorf("failover: %v", err)
	}
	if _, err := o.PreviewFailover(t.Context(), Request{To: "dr"}, true, time.Hour); !errors.Is(err, ErrRefused) {
		t.Errorf("its preview: %v", err)
	}
	if b, _ := m.Beacon("dr"); b.Approval != nil {
		t.Errorf("approved %+v", b.Approval)
	}
}

// The holder comes back to life while the command waits: the approval must not outlive the command.
func TestApprovalOfALossIsWithdrawnWhenTheHolderRenews(t *testing.T) {
	o, m := withRecord(t)
	quick(m)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	play(t, m, move{func(term.Record) bool { b, _ := m.Beacon("dr"); return b.Approval != nil }, func(r *term.Record) { r.Renewal++ }})
	if _, err := o.Failover(ctx, Request{To: "dr"}, true, time.Hour); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	if b, _ := m.Beacon("dr"); stands(b.Approval) {
		t.Errorf("%+v stands", b.Approval)
	}
}

// A warden that read the approval a moment ago writes it once more.
func TestWithdrawnApprovalStaysAway(t *testing.T) {
	o, m := withRecord(t)
	quick(m)
	approval := term.Approval{Term: 7, By: "me", Expires: time.Now().Add(time.Hour), AllowDataLoss: true}
	replica := m.Replica("warden")
	put := func(sequence int64) {
		if err := replica.PutBeacon(t.Context(), term.Beacon{Site: "dr", Sequence: sequence, Approval: &approval}); err != nil {
			t.Error(err)
		}
	}
	put(5)
	var puts atomic.Int64
	everywhere(o, func(op termtest.Operation) termtest.Fault {
		if op.Kind == "put-beacon" {
			puts.Add(1)
		}
		return termtest.Fault{}
	})
	var late atomic.Bool
	o.pause = func(ctx context.Context, d time.Duration) error {
		if late.CompareAndSwap(false, true) {
			put(6)
		}
		return wait(ctx, d)
	}
	if was, err := o.Withdraw(t.Context(), "dr"); err != nil || !was {
		t.Fatalf("%v, %v", was, err)
	}
	if b, _ := m.Beacon("dr"); stands(b.Approval) || b.Sequence != 6 || puts.Load() != 2 {
		t.Errorf("after %d writes: beacon %d with %+v", puts.Load(), b.Sequence, b.Approval)
	}
	if was, err := o.Withdraw(t.Context(), "dr"); err != nil || was {
		t.Errorf("again: %v, %v", was, err)
	}
}
