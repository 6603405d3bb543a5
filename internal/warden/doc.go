// Package warden runs one warden: the process that holds its site's lease, fences its database, and moves the term
// when it must. At least two run per site, and they are alike: every change of the record is a conditional write and
// every other step may be done twice, so nothing has to be agreed between them.
//
// A warden is a few independent activities over one guarded memory:
//
//	renewer    reads the record and renews the lease, every eighth of it. Nothing else may delay it.
//	extender   carries the trust that a renewal gave into the database's lease row.
//	loop       observes everything, asks package failover for the next step, and starts it. At most one step runs at
//	           a time, apart from the loop, so that a promotion of minutes stops neither observing nor answering.
//	publisher  writes the site's beacon.
//	server     answers /healthz, /targetz, /status and /metrics from the newest memory and the present clock.
//	watchdog   ends the process if the loop does not come round any more, so that the orchestrator starts another.
//
// Everything that decides is pure and lives in packages failover and term; the warden only keeps what they need to
// know: what was read and when it was answered, which of the own writes were sent and when (P4), and for how long
// conditions have held.
package warden
