// Package postgres keeps payments in PostgreSQL, in the schema "payd", behind the write fence.
//
// Every transaction that writes is one pipeline, hence one round trip: BEGIN, the statement, what is left of the write
// lease, COMMIT. The own clock is read before the pipeline is sent, so that the moment until which an answer is covered
// (rule P10) is never later than the lease itself, whatever the network does.
package postgres
