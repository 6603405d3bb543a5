package payd

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"holdfast/internal/payment"
	"holdfast/internal/payment/postgres"
)

// metrics are the process's own, in a registry of their own.
type metrics struct {
	registry                     *prometheus.Registry
	decided, problems            *prometheus.CounterVec
	requests, acquirer           *prometheus.HistogramVec
	inFlight, lease              prometheus.Gauge
	role                         *prometheus.GaugeVec
	recoveryFound, recoveryFixed prometheus.Counter
}

var latencyBuckets = []float64{.0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func newMetrics(site string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		decided: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payd_payments_decided_total",
			Help: "Payments decided and recorded by this process, by status; recovered says that the recovery worker did it.",
		}, []string{"status", "recovered"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payd_problems_total",
			Help: "Requests answered with a problem, by the problem's type.",
		}, []string{"route", "problem"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "payd_request_duration_seconds",
			Help: "Duration of requests to /v1.", Buckets: latencyBuckets,
		}, []string{"route", "status"}),
		acquirer: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "payd_acquirer_duration_seconds",
			Help: "Duration of calls to the acquirer, retries included, by outcome.", Buckets: latencyBuckets,
		}, []string{"outcome"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "payd_requests_in_flight", Help: "Requests to /v1 under way."}),
		lease: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "payd_write_lease_remaining_seconds",
			Help: "What was left of the database's write lease when it was last looked at.",
		}),
		role: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "payd_database_role",
			Help: "1 for what the site's database is good for: active, fenced, standby or down.",
		}, []string{"role"}),
		recoveryFound: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "payd_recovery_found_total",
			Help: "Unfinished payments that the recovery worker took on.",
		}),
		recoveryFixed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "payd_recovery_finished_total",
			Help: "Unfinished payments that the recovery worker finished.",
		}),
	}
	prometheus.WrapRegistererWith(prometheus.Labels{"site": site}, m.registry).MustRegister(m.decided, m.problems,
		m.requests, m.acquirer, m.inFlight, m.lease, m.role, m.recoveryFound, m.recoveryFixed)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: 5 * time.Second, MaxRequestsInFlight: 4})
}

// Decided and Charged implement [payment.Observer].
func (m *metrics) Decided(s payment.Status, recovered bool) {
	m.decided.WithLabelValues(string(s), strconv.FormatBool(recovered)).Inc()
}

func (m *metrics) Charged(outcome string, took time.Duration) {
	m.acquirer.WithLabelValues(outcome).Observe(took.Seconds())
}

// Request and InFlight implement the API's observer.
func (m *metrics) Request(route string, status int, problem string, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
	if problem != "" {
		m.problems.WithLabelValues(route, problem).Inc()
	}
}

func (m *metrics) InFlight(n int) { m.inFlight.Set(float64(n)) }

func (m *metrics) status(s postgres.Status) {
	m.lease.Set(s.Remaining.Seconds())
	for _, role := range []postgres.Role{postgres.Active, postgres.Fenced, postgres.Standby, postgres.Down} {
		value := 0.0
		if role == s.Role {
			value = 1
		}
		m.role.WithLabelValues(string(role)).Set(value)
	}
}
