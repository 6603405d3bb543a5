// Package fence is the database's own refusal to commit writes past the trust deadline (rules P7 to P10 of the
// safety protocol). It owns the schema "holdfast" in the application's database:
//
//	holdfast.write_lease      one row: term, valid_until, server_started, sealed_term, drained_term, renewal
//	holdfast.lease_until,     sequences: the same once more, for the check
//	  holdfast.lease_server
//	holdfast.terms            one row per term served: the lineage of this database
//	holdfast.pins             break glass: leave to go on without the term store (P18)
//	holdfast.protected_tables a view of the tables that carry the trigger
//	holdfast.remaining_lease  a view: how long commits will pass
//
// and a deferred constraint trigger, ENABLE ALWAYS, on every protected table. A transaction that wrote to one of them
// commits only if the lease is still valid on the database's own clock, was given to this very postmaster
// (one that was replicated, restored or promoted is void), and its term is not sealed. A refused commit fails with
// SQLSTATE [Refused].
//
// The check runs for every row, and is made so small that this costs less than to find out whether it is needed: ADRs 0016
// and 0019 have the figures. There is no state beside the queued checks themselves, so savepoints, settings and SET
// CONSTRAINTS can't part a write from its check.
//
// The check reads the sequences, which a trigger on the row sets. They change at once, for everybody: a transaction with an
// old snapshot sees a seal, and one that is rolled back leaves them changed. The next extension makes that good.
//
// # What it does not cover
//
// The check comes just before the commit record, not in one instant with it. A transaction that is frozen between
// the two, or that runs its checks early with SET CONSTRAINTS ... IMMEDIATE, may land later: for a planned hand-over
// [Seal] and [Drain] close that hole, for an expiry the margin of the lease does, and an application that must not
// acknowledge such a commit asks holdfast.remaining_lease (a view, or the function holdfast.remaining_lease_ms) in the
// same pipeline as COMMIT and acknowledges only while that much time has not gone by (P10). TRUNCATE has no deferred
// trigger: it is checked when it is executed.
package fence
