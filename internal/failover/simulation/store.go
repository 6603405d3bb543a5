package simulation

import (
	"time"

	"holdfast/internal/term"
)

// The links between the three regions.
const (
	linkSites          = iota // between the sites: their replicas, their databases, each other's endpoints
	linkPrimaryWitness        // from the first site's region to the witness
	linkDRWitness
	links
)

// store is the term store: a replica in each site's region and a witness. A replica answers while it reaches one of the
// other two, and what is answered is linearizable.
type store struct {
	exists bool
	record term.Record
	// current is what is read: the record as it was written, which nobody changes, or nil.
	current *term.Record
	beacons [2]*term.Beacon
	// gone, witnessDown, replicaDown and readOnly count faults: nobody is answered; the witness's region is lost; the
	// replica in a site's region does not answer; no write from a site gets through (throttled, forbidden).
	gone, witnessDown     int
	replicaDown, readOnly [2]int
}

func (s *store) serves(w *world, replica *site) bool {
	if s.gone > 0 || s.replicaDown[replica.index] > 0 || !replica.up || replica.stopped > 0 {
		return false
	}
	peer := replica.peer
	if peer.up && peer.stopped == 0 && w.cut[linkSites] == 0 {
		return true
	}
	return s.witnessDown == 0 && w.cut[linkPrimaryWitness+replica.index] == 0
}

// write is the conditional write, of the first version the creation; it reports whether the condition held.
func (s *store) write(w *world, next *term.Record) bool {
	named := s.record.Version == next.Version-1
	switch w.mutation {
	case AcquireNamesTerm:
		named = named || s.record.Term == next.Term-1
	case ClearInsteadOfTakeBack:
		named = named || s.record.Holder == next.Holder && s.record.Term == next.Term
	}
	if s.exists && !named || !s.exists && next.Version != 1 {
		return false
	}
	if next.Term != s.record.Term || next.State != s.record.State {
		w.trace("record: term %d, %s, %s, by %s", next.Term, next.Holder, next.State, next.Nonce)
	}
	before := s.record
	if s.record, s.exists, s.current = *next, true, next; next.Term > before.Term {
		w.acquired(&before, next)
	}
	return true
}

// replicas are the places of the store that a site's wardens try, in their order (P4).
func (s *site) replicas() [2]place {
	return [2]place{{toStore, s}, {toStore, s.peer}}
}

// latency is one way of a request.
func (w *world) latency() time.Duration {
	if w.slow > 0 && w.chance(w.slow) {
		return w.between(0, 2*w.lease)
	}
	return w.between(w.network/8, w.network)
}
