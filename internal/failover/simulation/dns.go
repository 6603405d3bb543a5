package simulation

import (
	"time"

	"holdfast/internal/failover"
)

// timeToLive is that of an alias to a load balancer.
const timeToLive = 60 * time.Second

// dns is a failover record: it answers with the first site while its health check passes, else with the second.
type dns struct {
	answer, before *site
	since          instant
	against        int
	// customer is how old the answer is that the one client has by whom the run measures the time to recover.
	customer time.Duration
}

func (n *dns) start(w *world) {
	n.answer, n.before, n.customer = w.sites[0], w.sites[0], w.between(0, timeToLive)
	w.after(w.between(0, w.options.CheckEvery), func() { n.check(w) })
}

func (n *dns) check(w *world) {
	w.after(w.options.CheckEvery, func() { n.check(w) })
	if w.sites[0].healthy() == (n.answer == w.sites[0]) {
		n.against = 0
		return
	}
	if n.against++; n.against == w.options.CheckThreshold {
		n.against = 0
		n.before, n.answer, n.since = n.answer, n.answer.peer, w.now
	}
}

// ask is the answer that a client has: its resolver's copy is up to a time to live old.
func (n *dns) ask(w *world) *site { return n.cached(w, w.between(0, timeToLive)) }

// cached is the answer of a resolver that asked so long ago.
func (n *dns) cached(w *world, ago time.Duration) *site {
	if n.since > 0 && w.now-ago < n.since {
		return n.before
	}
	return n.answer
}

// healthy is what /healthz says: the balancer asks a warden of the site that trusts its term.
func (s *site) healthy() bool {
	if !s.up || s.stopped > 0 || s.clientsCut > 0 {
		return false
	}
	for _, d := range s.wardens {
		if d.frozen() || !d.known() || d.now().Sub(d.observedAt) > s.w.lease {
			continue
		}
		if failover.Judge(d.observation()).Serving {
			return true
		}
	}
	return false
}
