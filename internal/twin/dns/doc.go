// Package dns is the twin's Route 53: an authoritative DNS server for the public zones of the topology, health checkers
// that really request what they check, and failover records that follow them.
//
// It stands outside both regions and goes on when one of them is lost, as Route 53's data plane does.
//
// Eight checkers watch every health check, each with its own phase in the interval and its own count: a checker changes
// its verdict after FailureThreshold results of the other kind in a row, and the check is healthy while more than 18 % of
// the checkers pass, so that it takes seven of eight to fail it. New checks start healthy. A checker allows 4 s to connect
// and 2 s for an answer of 2xx or 3xx; certificates are not validated.
//
// A failover name is answered with its primary record if that is healthy; if not, with its secondary, unless the secondary
// has a check of its own that is unhealthy too: then with the primary whatever its state. AWS describes both under
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html and
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-how-route-53-chooses-records.html.
//
// Intervals, time limits and TTLs are divided by the twin's speed; TTLs are whole seconds and never less than one, and
// the time limits never less than half a second, which a busy machine needs to answer at all.
package dns
