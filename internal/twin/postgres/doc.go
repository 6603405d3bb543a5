// Package postgres is the twin's Aurora Global Database: a real PostgreSQL server for every DB instance of the topology,
// with streaming replication in place of Aurora's storage replication, and the control plane that promotes, demotes,
// restarts and rebuilds them.
//
// # Who replicates from whom
//
// The first instance of a cluster, by promotion tier and identifier, is the cluster's head. The head of the global
// writer's cluster is the one server that is not in recovery; the heads of the other clusters stream from it through a
// relay with the link's delay; every other instance of a cluster streams from its own head.
//
// # Roles
//
// A cluster has one of three roles. The writer is the global cluster's writer. A secondary follows it. A stale cluster
// was the writer until a failover took the role away: whatever of it still runs, or comes back, is a zombie that accepts
// connections and writes, because Aurora's fencing of an old primary is best effort, until Aurora resynchronizes it.
//
//	writer ──switchover: stopped, all replayed, target promoted──▶ secondary
//	writer ──failover: another cluster promoted─────────────────▶ stale ──resync: snapshot, new volume──▶ secondary
//	secondary ──promoted──▶ writer
//
// The role is written down at the instant that the target's promotion is certain and never before: until then a failed
// operation goes back to the old writer, after it the operation goes forward. Whether a target that died in between was
// promoted is settled by its volume (pg_controldata), not by a guess.
//
// # Volumes
//
// Aurora's instances of one Region share one volume, so a crashed writer loses no acknowledged commit. Here each
// instance has a volume of its own, and in-site streaming is asynchronous; therefore a crash of the writer never promotes
// the reader's volume. The surviving instance takes over the writer's volume and the crashed one comes back on the
// reader's: endpoints and roles move as on Aurora, and nothing acknowledged is lost. Between Regions replication is
// asynchronous, on Aurora as here, and a failover can lose a tail; the volume that has the tail is kept (see [Snapshot]).
//
// Servers run with fsync off: the twin simulates the death of processes and Regions, which the operating system's page
// cache outlives, and not the death of the machine that it runs on.
package postgres
