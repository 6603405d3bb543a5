// Package foreign rehearses the loss of a region with an application that knows nothing of Holdfast: package notes below it,
// a plain web service over a table of its own. What it needs is done around it, as a team would do it
// (docs/foreign-application.md): its program stands for the image, its table gets the write fence from
// 'holdfast fence install', its health check is its own, and the only thing that anybody asks Holdfast is /healthz on the
// wardens.
//
// The test of this package is the drill: writers follow the DNS name, a region is lost under them and comes back, and every
// write that was acknowledged must be in the surviving database or in the exported tail, while the old database refuses
// every commit.
//
// What it can't show is what such an application lacks: rule P10 of the protocol. payd fetches with its commit how much
// longer the lease runs, and acknowledges only within that time. An application that does not may acknowledge a commit that
// had passed its check, was frozen with its database for longer than the lease, and landed when it thawed. Such a row is in
// the exported tail, but its client was told that it is kept.
package foreign
