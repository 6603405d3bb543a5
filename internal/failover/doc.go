// Package failover decides. From one [Observation] it derives one [Decision], without clocks, networks or memory, so
// that a warden killed at any point is replaced by one that carries on, and so that the very code that moves a payment
// company's writer can be run a hundred thousand times in a simulation.
//
// # Rules
//
// Two sites cannot form a quorum, so a third place decides: one versioned record in a store that survives the loss of
// any region (package term). The numbers below are the rules' names throughout the project.
//
//   - P1: only init creates the record; a record below the database's term stops everything.
//   - P2: writes name the version they read; a hand-over is taken back by the next term, never by clearing a field.
//   - P4, P6: [Renew] renews while the term is held; after expiry only over an unsealed database.
//   - P11: an expired term is taken only if every gate is open; an unknown lag is a shut gate.
//   - P12: the database is promoted only for a held term that is not in its lineage yet.
//   - P13: writer, then terms row, then lease, then served_term, then /healthz ([Judge]).
//   - P14: a planned hand-over seals, drains, lets the target replay, moves the writer, grants.
//   - P15, P16: every other exit, and a writer moved by hand, is state releasing.
//   - P17: [Automatic], [Approval] and [Manual] say who decides that a site acts, and nothing else.
//     What rests on an approval is decided again right before the write ([RestsOnApproval]).
//   - P18: a pin lets the holder go on without the store ([Pinned]), and keeps the other site still ([Abstains]).
//   - P19: hand-overs for health need a ready target, a budget and a cool-down; expiry needs none of them. Database,
//     application and balancer have a threshold each, and an outage that pauses for a moment is one outage.
//   - P20: an old volume's tail is exported before anything else happens to it; a database that has become the writer in
//     any way but a hand-over serves only once the record says that it may lack the end of the term before.
//
// # One term's life
//
//	           expiry or grant                 terms row, lease
//	(t-1, other) ───────────▶ (t, here, held) ──────────────────▶ served ──┐
//	                              │    ▲                            │      │ wanted: other
//	                              │    │ take back: (t+1, here)     │      ▼
//	 database dead, writer moved  │    └──────────────────────── sealed, drained
//	                              ▼                                        │ writer moved
//	                          releasing ──▶ (t+1, other) ◀── granted ◀─────┘
//	                                 lease + margin       at once
//
// # Trust
//
// A warden acts under a term only inside its own [term.Trust]. Steps that change the record are conditional writes, so
// two wardens that decide the same thing at once cost one of them a conflict. Steps that change the database (seal,
// drain, record the term) can be repeated without harm. The promotion call is the one step that nothing fences: it is
// made right after a fresh read, with its deadline at the trust deadline and without retries, and the rest of the race
// is stated in the documentation.
package failover
