package termtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	termtest.Run(t, func(*testing.T) (term.Store, term.Store) {
		m := termtest.NewMemory()
		return m.Replica("one"), m.Replica("other")
	})
}

func TestMemoryFaults(t *testing.T) {
	m := termtest.NewMemory()
	one, other := m.Replica("one"), m.Replica("other")
	ctx := context.Background()
	if err := one.Create(ctx, termtest.First()); err != nil {
		t.Fatal(err)
	}
	next := termtest.First()
	next.Version = 2
	lost := errors.New("lost")
	one.SetFault(func(termtest.Operation) termtest.Fault { return termtest.Fault{Lost: lost} })
	if err := one.Write(ctx, next); !errors.Is(err, lost) {
		t.Errorf("Write with a lost answer: %v", err)
	}
	if r, _ := m.Record(); r.Version != 2 {
		t.Errorf("a lost answer undid the write: version %d", r.Version)
	}
	one.Partition()
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := one.Read(short); !errors.Is(err, termtest.ErrPartitioned) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read of a partitioned replica: %v", err)
	}
	if _, err := other.Read(ctx); err != nil {
		t.Errorf("Read of the other replica: %v", err)
	}
	one.Heal()
	if r, err := one.Read(ctx); err != nil || r.Version != 2 {
		t.Errorf("Read after healing: %+v, %v", r, err)
	}
	if one.Calls("read") != 2 {
		t.Errorf("counted %d reads, want 2", one.Calls("read"))
	}
}
