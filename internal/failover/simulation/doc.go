// Package simulation runs the real decision and lease code (packages failover and term) in virtual time, against a
// model of everything around it: the term store with slow, lost and late answers, two PostgreSQL databases with
// replication, the global database's control plane, clocks that drift, processes that crash and freeze, operators who
// act at the worst moment. One seed is one run, and replays exactly.
//
// After every commit check, acknowledgement and change of hands the invariants are checked:
//
//   - I1: every commit check passed under term t comes, in real time, before every one passed under a later term, and
//     no term passes at two sites; nothing is acknowledged under t once a later term has begun.
//   - I2: every acknowledged payment is in the surviving ledger or on a volume that was kept; a granted hand-over
//     loses none at all.
//   - I5: once faults stop, some site serves within a bound, or a warden says which operator decision it waits for.
//
// I3 and I4 are properties of the payment service and are checked there and by the drill.
//
// A [Mutation] switches one rule off. For ten of them a recorded seed shows that the checker sees what follows, which is
// what makes a run without violation worth something. The others have not been found yet, so a run says nothing about
// the rules that they stand for: it takes a model with more of what they prevent.
package simulation
