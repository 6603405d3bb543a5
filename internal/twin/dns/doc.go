// Package dns is the twin's Route 53: an authoritative DNS server for the zones of the topology, health checkers that
// really request what they check, and failover records that follow them.
//
// It stands outside both regions and goes on when one of them is lost, as Route 53's data plane does.
package dns
