// Package vpc is the twin's private networks: what stands where in which VPC, and the security groups and routes that
// decide what may connect. They come from the topology and can be changed while the twin runs, as with the EC2 API.
//
// Package reach judges; this package knows who asks. Everything that the twin simulates has an address of its own on
// this machine, and [VPC.Place] says what stands there: a task, a balancer's nodes, a database instance, a health
// checker. A task's programs connect from 127.0.0.1 like everybody, so the twin gives each task relays of its own to all
// that its environment names; the relay's address then tells who called.
//
// A refused connection is dropped, as AWS drops it: nobody answers, and the caller's own time limit ends it. A change
// of a security group holds for new connections at once; those that are open go on, because security groups follow
// connections. A change of a route holds for every packet: open connections stall until a route is back.
package vpc
