// Package drill rehearses faults: it runs payments against a twin, breaks something, watches what the system does about
// it, mends it, and then counts every payment. Nothing in its verdict is derived by subtraction: each acknowledged payment
// is looked up in the surviving ledger, each order in the acquirer's record, each commit without a lease at the database
// that had to refuse it.
//
// What is broken, what has to happen and how that is shown is a scenario (scenario.go). The loss of a region is the
// longest: takeover, return, an attack on the old database, rebuilding, switching back. Others must not lead to a
// failover at all. A scenario is made of phases (see [Phase]), each with a limit of its own. Whatever goes wrong after
// the phases have begun ends in a verdict "fail" that names the phase and the reason.
//
// How the freezing drills know that nothing gets in that had not passed its commit check: before the freeze they open
// transactions that have written and not committed, and send COMMIT to the frozen server, so that it is the first thing
// which the server reads when it goes on. None may be committed. From the trust deadline until the thaw nothing may be
// acknowledged at the frozen site's address; after it, nothing that the surviving ledger lacks. What thawed and was
// acknowledged to nobody is counted with the exported tail.
//
// Results are kept per run ([Folder]) and summed up by [WriteReport].
package drill
