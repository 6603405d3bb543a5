// Package simulation runs the real decision and lease code (packages failover and term) in virtual time, against a model
// of everything around it: many wardens, two sites, the term store, two PostgreSQL databases, the global database's
// control plane, the acquirer, DNS and clients. One seed is one run, and replays exactly, whatever else runs beside it.
//
// # What is real
//
// [failover.Decide], [failover.Renew], [failover.Readiness], [failover.Judge], [failover.Memory] (what a warden learns
// from answers, when a renewal gives trust, since when conditions hold), what sets the pace ([failover.Pace],
// [failover.NextLook], [failover.Attempt], [failover.News]) and the arithmetic of package term. The wardens'
// activities around them (renewer, extender, loop, publisher, and one step at a time) follow package warden call by
// call, with its limits, its retries and its order of asking, and are checked against the real ones on the twin.
//
// # What is modelled
//
//   - Time: an explicit clock with a queue of events. Every machine's own clock is off and drifts.
//   - Requests: each way takes its own time, may be lost, may be answered in vain, and may arrive long after the caller
//     has given up. A frozen server's requests wait in its socket until it thaws.
//   - The term store: a replica per region and a witness, a majority of which has to reach each other; linearizable.
//   - Databases: a log of transactions, replication, the fence as of the moment of the check, server processes that
//     start again on another machine with another clock, volumes that part and are kept. Transactions come in the kinds
//     that attack a fence: old snapshots, long open ones, slow flushes, prepared ones. One is always on its way to its
//     commit check in the last milliseconds of a lease, and in the first of a new one. A change of the lease may be rolled
//     back after the check has seen it (ADR 0019).
//   - Payments: phases, a derived charge reference, an acquirer who is slow and reached late, clients who try again at
//     either site, a recovery worker, a ledger with two entries per payment.
//   - Faults, at any instant and in any number: see the list in fault.go. A trap freezes or crashes a warden right
//     before or right after one of its effects. Operators ask for hand-overs, promote by hand, approve, accept the loss of
//     data, pin a site while the store is gone, vouch that a pinned site is lost, save a tail from a snapshot, create a lost
//     record anew, and publish a longer lease, whatever else goes on.
//
// # What is checked, after every step
//
//   - I1: a commit check passes under one term at one site, and none after a later term's first; nothing becomes durable
//     under a drained term; nothing is acknowledged past the end of the lease that its check passed under, or under a term
//     once a later one has begun elsewhere.
//   - I2: a granted hand-over loses no acknowledged payment; a takeover that no person forced loses no more than its
//     gate allows, and what a person forced excuses the next term only; at the end each is in a surviving ledger, in an
//     export, or on a volume that was kept, and if it is in neither of the first two the record says that the end of its
//     term is missing, whoever moved the writer. (Where it was moved away by hand and came back before another term was
//     served nobody can tell, and neither the run nor, after a failover by hand, the start of its next term is asked.)
//   - I3: no purchase is charged twice.
//   - I4: every database's ledger adds up to zero in every currency.
//   - I5: once faults are over a site serves, or a warden names the decision that it waits for: one that only a person can
//     make, and that nothing else comes before. That is asked once the protocol's computed patience is over.
//   - P17 and P19, which no invariant needs: a warden takes over only if the mode lets it, and for health only within budget
//     and cool-down.
//
// # What is assumed
//
// Clock rates, the databases' included, within 1 % of real time, and databases' wall clocks are not stepped; the time
// from a commit's check to its flush is below the margin, unless the database is frozen; nobody restores an old record,
// or shortens the lease while a longer one is trusted. What a run shows holds under these, and no further. A promotion that
// is on its way while a region is frozen may take effect after its term, because nothing fences it (P12): where that leaves
// the term served last behind, a warden has to name it.
//
// # What is not modelled
//
// The contents of PostgreSQL's pages and of AWS's answers, which the fence's own tests and the twin's drills have for
// real; forwarding, capacity and DNS beyond one health check, which no safety rests on; the restore of a snapshot as a
// cluster of its own; a suspended machine's timers, which here end when it thaws and in truth have stood still.
//
// # Why it can be believed
//
// A [Mutation] switches one rule off, where it is applied, and leaves faults and everything else alone. The package's
// tests show, for every mutation, a seed in which the checker sees what follows.
//
// # Second bounds
//
// Some rules can be switched off without a violation in thousands of runs, because something else holds first. They stay,
// as second bounds, and no mutation stands for them:
//
//   - The fresh read before a promotion, a move of the writer and the record of a term (P12): the observation that the step
//     was decided from has read or written the record last and shown trust, the call ends with the trust, and a database takes neither
//     a term nor a lease below those that it has. It keeps what a slow observation can do to availability short.
//   - The order of asking, database before control plane before record: a wrong "moved by hand" has to be seen for two
//     renewal periods before anything follows from it (P16). Without the order a site may give up a term for nothing.
//   - [failover.Memory.Learn] leaves out what is older than what it knows: whatever is decided from an older record is a
//     write that names an older version (P2), and trust only grows.
//   - [term.Watch.Unreadable] leaves out the time in which the store could not be read: the pair that is seen again
//     afterwards was not renewed meanwhile, and a takeover names the version of a record that has been read (P5).
//   - No renewal over a seal once trust has run out (P6): the database extends no lease for a term that is sealed (P9), so
//     the renewal would keep the term and not let anything be committed.
package simulation
