// Package balancer is the twin's Application Load Balancer: an HTTP reverse proxy per load balancer of the topology, on
// an address of its own, with the listeners' rules, the target groups' health checks, deregistration delays and the
// answers that an ALB gives when it has nobody to ask.
//
// It behaves as AWS documents: rules by priority with * and ? in paths and hosts; round robin over the healthy targets; all
// targets if none is healthy (fail open); 503 without any target, 502 when a target refuses or breaks off, 504 when it does
// not answer in time; a request is never tried twice, so a payment is never sent twice by the balancer. Durations of
// the configuration are divided by the twin's speed.
package balancer
