// Package drill rehearses the loss of a region: it runs payments against a twin, takes the active region away, watches
// the other one take over, brings the region back, tries to make the old database take writes, switches back, and
// then counts every payment. Nothing in its verdict is derived by subtraction: each acknowledged payment is looked up
// in the surviving ledger, each order in the acquirer's record, each split-brain attempt at the old database itself.
//
// A drill has phases (see [Phase]), each with a limit of its own. Whatever goes wrong after the phases have begun
// ends in a verdict "fail" that names the phase and the reason.
package drill
