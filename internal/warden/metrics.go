package warden

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"holdfast/internal/failover"
)

// metrics are what /metrics shows. Gauges are computed when they are asked for, so that they never lag behind the
// clock.
type metrics struct {
	registry                             *prometheus.Registry
	renewals, extensions, steps, beacons *prometheus.CounterVec
	capacity, diversions, forwarded      *prometheus.CounterVec
	stepSeconds                          *prometheus.HistogramVec
}

const namespace, subsystem = "holdfast", "warden"

func newMetrics(w *Warden) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		o := prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}
		return prometheus.NewCounterVec(o, labels)
	}
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		renewals:   counter("renewals_total", "Attempts to renew the lease, by result.", "result"),
		extensions: counter("lease_extensions_total", "Attempts to extend the database's write lease, by result.", "result"),
		steps:      counter("steps_total", "Steps taken, by step and result.", "step", "result"),
		beacons:    counter("beacons_total", "Beacons published, by result.", "result"),
		capacity:   counter("capacity_changes_total", "Changes of the autoscaling minimum, by result.", "result"),
		diversions: counter("diversions_total", "Changes of where the balancer sends the application's requests, by result.", "result"),
		forwarded:  counter("forwarded_requests_total", "Requests sent on to the other site or refused, by result.", "result"),
		stepSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "step_seconds", Help: "Duration of steps.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 15, 60, 300},
		}, []string{"step"}),
	}
	m.registry.MustRegister(m.renewals, m.extensions, m.steps, m.beacons, m.capacity, m.diversions, m.forwarded, m.stepSeconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, g := range gauges() {
		o := prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: g.name, Help: g.help}
		m.registry.MustRegister(prometheus.NewGaugeFunc(o, func() float64 { return g.value(w.fresh()) }))
	}
	return m
}

// gauge derives one number from what the warden knows.
type gauge struct {
	name, help string
	value      func(failover.Observation) float64
}

func gauges() []gauge {
	return []gauge{
		{
			"term", "The term in the record, as seen last.",
			func(o failover.Observation) float64 { return float64(o.Store.Record.Term) },
		},
		{
			"holder", "1 if this site holds the term.",
			func(o failover.Observation) float64 { return number(o.Store.Record.Holder == o.Site) },
		},
		{
			"trust_seconds", "Time left in this warden's trust.",
			func(o failover.Observation) float64 { return trustLeft(o).Seconds() },
		},
		{
			"store_readable", "1 if the newest read of the term store succeeded.",
			func(o failover.Observation) float64 { return number(o.Store.Readable) },
		},
		{
			"record_missing", "1 if the term store says that there is no record.",
			func(o failover.Observation) float64 { return number(o.Store.Missing) },
		},
		{
			"database_writer", "1 if the site's database takes writes.",
			func(o failover.Observation) float64 { return number(o.Database.Reachable && o.Database.Writer) },
		},
		{
			"serving", "1 if /healthz answers 200.",
			func(o failover.Observation) float64 { return number(failover.Judge(o).Serving) },
		},
		{
			"ready", "1 if the site serves or could take over now.",
			func(o failover.Observation) float64 { ready, _ := failover.Readiness(o); return number(ready) },
		},
		{
			"tail_unsaved", "1 if the end of a term that was taken over may be missing here and has not been exported yet.",
			func(o failover.Observation) float64 { return number(len(o.Store.Record.TailOf) > 0) },
		},
		{
			"pinned", "1 if the site goes on without the term store under a pin.",
			func(o failover.Observation) float64 { return number(failover.Pinned(o)) },
		},
		{"peer_beacon_age_seconds", "Age of the other site's beacon, -1 if it was never seen to move.", peerAge},
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func peerAge(o failover.Observation) float64 {
	if !o.PeerBeaconSeen {
		return -1
	}
	return o.PeerBeaconAge.Seconds()
}
