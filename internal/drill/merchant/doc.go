// Package merchant is the load of a drill: merchants that pay over the public DNS name, as their shops' backends do.
//
// Payments arrive open-loop, at a rate that does not fall when answers slow down. Each merchant resolves the name over
// real DNS, honours the answer's TTL in a cache of its own, opens new connections when the answer changes, and retries
// with the same Idempotency-Key under jittered exponential back-off until an answer is final or its patience ends. It
// keeps its own record of what it was told, because that, not what a server remembers, is what a merchant relies on.
//
// The seed draws arrivals, amounts, keys and jitter. What the network makes of them is not seeded: it is real.
package merchant
