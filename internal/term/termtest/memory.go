// Package termtest checks implementations of [term.Store] with one contract suite, and has an in-memory store whose
// faults a test decides call by call.
package termtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"holdfast/internal/term"
)

// Operation is a call on a [Replica], as a [Fault] hook sees it.
type Operation struct {
	// Replica is the name given to [Memory.Replica].
	Replica string
	// Kind is "read", "write", "create", "beacons" or "put-beacon".
	Kind string
	// Next is what a write or create would store.
	Next term.Record
	// Beacon is what a put-beacon would store.
	Beacon term.Beacon
}

// Fault is what happens to one call. The zero value is no fault.
type Fault struct {
	// Before fails the call without any effect.
	Before error
	// Lost lets the call take effect and fails it afterwards: the answer was lost.
	Lost error
	// Hang keeps the call, without effect, until its context ends, as a partition does.
	Hang bool
	// HangAnswer lets the call take effect and then keeps the answer until the context ends.
	HangAnswer bool
	// Delay is waited out before the effect; the context's end cuts it short, and the call is then without effect.
	Delay time.Duration
}

// ErrPartitioned is what a call on a partitioned replica ends with once its context has ended.
var ErrPartitioned = errors.New("the replica can't be reached")

// Memory is one strongly consistent store in memory. Its replicas show the same items; each has its own faults.
type Memory struct {
	mu      sync.Mutex
	record  *term.Record
	beacons map[string]term.Beacon
	writes  int
}

// NewMemory makes an empty store.
func NewMemory() *Memory { return &Memory{beacons: map[string]term.Beacon{}} }

// Record returns the record past all faults, and whether there is one.
func (m *Memory) Record() (term.Record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.record == nil {
		return term.Record{}, false
	}
	return *m.record, true
}

// Writes counts the conditional writes that took effect.
func (m *Memory) Writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// Edit changes the record past all faults, as another party would: the version is raised by one.
func (m *Memory) Edit(change func(*term.Record)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.record == nil {
		panic("termtest: Edit of a store without a record")
	}
	next := *m.record
	change(&next)
	next.Version = m.record.Version + 1
	m.record = &next
}

// Beacon returns a site's beacon past all faults.
func (m *Memory) Beacon(site string) (term.Beacon, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.beacons[site]
	return b, ok
}

// Replica is a view of a [Memory]: a [term.Store] whose calls can be made to fail.
type Replica struct {
	memory *Memory
	name   string

	mu    sync.Mutex
	fault func(Operation) Fault
	calls map[string]int
}

var _ term.Store = (*Replica)(nil)

// Replica makes another view of the store.
func (m *Memory) Replica(name string) *Replica {
	return &Replica{memory: m, name: name, calls: map[string]int{}}
}

// String names the replica.
func (r *Replica) String() string { return "memory@" + r.name }

// SetFault decides, from now on, what happens to each call; nil is no faults. The hook runs on the caller's goroutine.
func (r *Replica) SetFault(f func(Operation) Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// Partition makes every call hang until its context ends; Heal ends that.
func (r *Replica) Partition() { r.SetFault(func(Operation) Fault { return Fault{Hang: true} }) }

// Heal ends all faults.
func (r *Replica) Heal() { r.SetFault(nil) }

// Calls counts the calls of a kind, faulty ones included.
func (r *Replica) Calls(kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[kind]
}

// Read implements [term.Store].
func (r *Replica) Read(ctx context.Context) (rec term.Record, err error) {
	err = r.do(ctx, Operation{Kind: "read"}, func() error {
		if r.memory.record == nil {
			return term.ErrNoRecord
		}
		rec = clone(*r.memory.record)
		return nil
	})
	if err != nil {
		return term.Record{}, err
	}
	return rec, nil
}

// Write implements [term.Store].
func (r *Replica) Write(ctx context.Context, next term.Record) error {
	if err := next.Validate(); err != nil {
		return err
	}
	return r.do(ctx, Operation{Kind: "write", Next: next}, func() error {
		if r.memory.record == nil || r.memory.record.Version != next.Version-1 {
			return term.ErrConflict
		}
		stored := clone(next)
		r.memory.record = &stored
		r.memory.writes++
		return nil
	})
}

// Create implements [term.Store].
func (r *Replica) Create(ctx context.Context, first term.Record) error {
	first.Version = 1
	if err := first.Validate(); err != nil {
		return err
	}
	return r.do(ctx, Operation{Kind: "create", Next: first}, func() error {
		if r.memory.record != nil {
			return term.ErrConflict
		}
		stored := clone(first)
		r.memory.record = &stored
		return nil
	})
}

// Beacons implements [term.Store].
func (r *Replica) Beacons(ctx context.Context) (found map[string]term.Beacon, err error) {
	err = r.do(ctx, Operation{Kind: "beacons"}, func() error {
		found = maps.Clone(r.memory.beacons)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// PutBeacon implements [term.Store].
func (r *Replica) PutBeacon(ctx context.Context, b term.Beacon) error {
	return r.do(ctx, Operation{Kind: "put-beacon", Beacon: b}, func() error {
		r.memory.beacons[b.Site] = b
		return nil
	})
}

func (r *Replica) do(ctx context.Context, op Operation, effect func() error) error {
	op.Replica = r.name
	r.mu.Lock()
	r.calls[op.Kind]++
	decide := r.fault
	r.mu.Unlock()
	var fault Fault
	if decide != nil {
		fault = decide(op)
	}
	if fault.Before != nil {
		return fault.Before
	}
	if fault.Hang {
		<-ctx.Done()
		return fmt.Errorf("%s %s: %w: %w", op.Kind, r, ErrPartitioned, ctx.Err())
	}
	if fault.Delay > 0 {
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("%s %s: %w", op.Kind, r, ctx.Err())
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", op.Kind, r, err)
	}
	r.memory.mu.Lock()
	err := effect()
	r.memory.mu.Unlock()
	switch {
	case fault.HangAnswer:
		<-ctx.Done()
		return fmt.Errorf("%s %s: the answer was lost: %w", op.Kind, r, ctx.Err())
	case fault.Lost != nil:
		return fault.Lost
	}
	return err
}

// clone keeps callers from sharing the pointer inside a record.
func clone(r term.Record) term.Record {
	if r.Wanted != nil {
		w := *r.Wanted
		r.Wanted = &w
	}
	return r
}
