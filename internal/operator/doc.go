// Package operator is what people may ask of a deployment: create its record, look at it, request a planned
// switchover or an unplanned failover, pin a site while the term store is gone, install the write fence. None of it moves
// anything by itself: it writes requests, approvals and pins that the wardens act on under the safety protocol, so a wrong or
// interrupted command can neither start a second active site nor leave a step half done. What would come of a command
// can be foreseen without it (the previews): the same checks, and the wardens' own decisions.
package operator
