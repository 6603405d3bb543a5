// Package fence is the database's own refusal to commit writes past the trust deadline (rules P7 to P10 of the
// safety protocol). It owns the schema "holdfast" in the application's database:
//
//	holdfast.write_lease      one row: term, valid_until, server_started, sealed_term, drained_term, renewal
//	holdfast.terms            one row per term served: the lineage of this database
//	holdfast.pins             break glass: leave to go on without the term store (P18)
//	holdfast.protected_tables a view of the tables that carry the trigger
//
// and a deferred constraint trigger, ENABLE ALWAYS, on every protected table. A transaction that wrote to one of them
// commits only if the lease row is still valid on the database's own clock, was given to this very postmaster
// (a row that was replicated, restored or promoted is void), and its term is not sealed. A refused commit fails with
// SQLSTATE [Refused].
//
// # What it costs
//
// The trigger's WHEN clause is evaluated when a row is written; it marks the transaction (a transaction-local setting
// that holds the transaction's id) and is true only for the first row. So a transaction queues one deferred check,
// whatever number of rows and tables it writes, and every other row costs two built-in calls. The mark is rolled back
// with a savepoint exactly as the queued check is. When the check fires it clears the mark, so that rows written
// after SET CONSTRAINTS ... IMMEDIATE are checked again, statement by statement.
//
// Measured on PostgreSQL 15.18, two shared cores, as processor time of the server's process (the least of several runs;
// BenchmarkCommit and BenchmarkManyRows measure it again):
//
//	                                          none     this   a check per row   a helper row per statement
//	transaction of 5 rows in 3 statements   0.04 ms  0.11 ms          0.13 ms                      0.11 ms
//	transaction of 10,000 rows                 8 ms    10 ms            66 ms                        12 ms
//
// The helper row is no cheaper, and writes to a table of its own. About 0.02 ms of the check is its fixed search_path.
//
// # What it does not cover
//
// The check comes just before the commit record, not in one instant with it. A transaction that is frozen between
// the two, or that runs its checks early with SET CONSTRAINTS ... IMMEDIATE, may land later: for a planned hand-over
// [Seal] and [Drain] close that hole, for an expiry the margin of the lease does, and an application that must not
// acknowledge such a commit asks holdfast.remaining_lease_ms() in the same pipeline as COMMIT and acknowledges only
// while that much time has not gone by (P10). TRUNCATE has no deferred trigger: it is checked when it is executed.
// A REPEATABLE READ transaction sees the lease as it was at its snapshot, so it is refused once it is older than that.
package fence
