package simulation

import (
	"time"

	"holdfast/internal/term"
)

// store is the term store: linearizable while it is up.
type store struct {
	up      bool
	exists  bool
	record  term.Record
	beacons [2]term.Beacon
}

func newStore(w *world) store {
	return store{up: true, exists: true, record: term.Record{
		Deployment: "d", Version: 1, Term: 1, Holder: "primary", Nonce: "init",
		LeaseMS: w.lease.Milliseconds(), MarginMS: w.margin.Milliseconds(), State: term.Held, TakeoverBudget: 3,
	}}
}

// write is the conditional write.
func (s *store) write(next term.Record) bool {
	if !s.exists || s.record.Version != next.Version-1 {
		return false
	}
	s.record = next
	return true
}

func (s *site) reachesStore() func() bool {
	return func() bool { return s.up && s.storeReach && s.w.store.up }
}

func (w *world) beacon(s *site) *term.Beacon {
	if s == w.sites[0] {
		return &w.store.beacons[0]
	}
	return &w.store.beacons[1]
}

// attemptTimeout bounds one request to the store, as the warden does.
func (w *world) attemptTimeout() time.Duration { return (w.lease - w.margin) / 4 }
