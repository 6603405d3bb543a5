package twin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/autoscaling"
	"holdfast/internal/twin/metrics"
	"holdfast/internal/twin/postgres"
)

// maxPendingEvents is how many database events wait for their delivery at a time; more are dropped with a warning.
const maxPendingEvents = 256

// monitor is what watches the twin: metrics, the alarms on them, scaling, and what people are told.
type monitor struct {
	t         *Twin
	metrics   *alarms.Metrics
	topics    *alarms.Topics
	scaler    *autoscaling.Scaler
	evaluator *alarms.Evaluator
	table     *metrics.Table
	meter     *postgres.Meter
	collector *metrics.Collector

	events chan postgres.Event
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// newMonitor joins the parts; start lets them run.
func newMonitor(t *Twin) (*monitor, error) {
	m := &monitor{
		t: t, metrics: alarms.NewMetrics(nil), topics: alarms.NewTopics(t.topo, t.mailDir(), "", nil), table: metrics.NewTable(t.table),
		meter: t.aurora.NewMeter(), events: make(chan postgres.Event, maxPendingEvents),
	}
	var err error
	if m.scaler, err = autoscaling.New(autoscaling.Options{
		Topology: t.topo, Services: t.scheduler, Metrics: m.metrics, Speed: t.opts.Speed, Logger: t.logger,
	}); err != nil {
		return nil, err
	}
	if m.evaluator, err = alarms.NewEvaluator(alarms.Options{
		Topology: t.topo, Extra: m.scaler.Alarms(), Metrics: m.metrics, Speed: t.opts.Speed, Up: t.works, Notify: m.notify,
		OnState: m.alarmChanged, Logger: t.logger,
	}); err != nil {
		return nil, err
	}
	m.collector, err = metrics.New(metrics.Options{
		Topology: t.topo, Sink: m.metrics, Speed: t.opts.Speed, Up: t.works, Databases: t.aurora, Figures: m.meter,
		Containers: t.scheduler, Balancers: t.balancers, HealthChecks: t.names, Table: m.table, Logger: t.logger,
	})
	return m, err
}

// works reports whether a region is there and does anything.
func (t *Twin) works(region string) bool { return t.fabric.Up(region) && !t.fabric.Frozen(region) }

// mailDir is where mail is delivered, a folder per address.
func (t *Twin) mailDir() string { return filepath.Join(t.dir, "mail") }

// startMonitor begins to measure and to judge, once everything that could be missed is there.
func (t *Twin) startMonitor(context.Context) error {
	t.onDown(func(context.Context) { t.monitor.stop() })
	t.monitor.start()
	return nil
}

func (m *monitor) start() {
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background()) // until stop
	m.collector.Start(ctx)
	m.evaluator.Start(ctx)
	m.done.Go(func() { m.deliver(ctx) })
}

func (m *monitor) stop() {
	m.cancel()
	m.evaluator.Stop()
	m.collector.Stop()
	m.done.Wait()
	m.meter.Close()
}

// notify carries an alarm's action out.
func (m *monitor) notify(ctx context.Context, action string, n alarms.Notification) error {
	arn, err := topology.ParseARN(action)
	switch {
	case err != nil:
		return err
	case arn.Service == "sns":
		return m.topics.Publish(ctx, action, n)
	case arn.Service == "autoscaling":
		return m.scaler.Act(ctx, action, n)
	}
	return fmt.Errorf("the twin has no action of the service %s", arn.Service)
}

// alarmChanged tells of alarms that go off and are over. Those of target tracking are left out: what they do shows.
func (m *monitor) alarmChanged(n alarms.Notification) {
	if strings.HasPrefix(n.Alarm.Name, "TargetTracking-") || n.From != alarms.Alarm && n.To != alarms.Alarm {
		return
	}
	m.t.tell(m.t.siteOf(n.Alarm.Region), "alarm", "%s is %s, was %s", n.Alarm.Name, n.To, n.From)
}

// databaseEvent hands an event over for delivery. It does not block.
func (m *monitor) databaseEvent(e postgres.Event) {
	select {
	case m.events <- e:
	default:
		m.t.logger.Warn("too many database events wait for delivery: one is dropped", "event", e.Message)
	}
}

// deliver sends the databases' events to the topics that are subscribed to them.
func (m *monitor) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-m.events:
			if err := m.publish(ctx, e); err != nil {
				m.t.logger.Warn("a database event was not delivered", "event", e.Message, "error", err)
			}
		}
	}
}

func (m *monitor) publish(ctx context.Context, e postgres.Event) error {
	if !m.t.works(e.Region) {
		return nil
	}
	var errs []error
	for _, s := range m.t.topo.EventSubscriptions {
		if subscribed(s, e) {
			errs = append(errs, m.topics.PublishMessage(ctx, s.TopicARN, eventMessage(e)))
		}
	}
	return errors.Join(errs...)
}

// subscribed reports whether a subscription wants an event. RDS writes its categories with blanks in events and with
// hyphens in subscriptions.
func subscribed(s topology.EventSubscription, e postgres.Event) bool {
	return s.Region == e.Region && (s.SourceType == "" || s.SourceType == e.SourceType) &&
		(len(s.SourceIDs) == 0 || slices.Contains(s.SourceIDs, e.Source)) &&
		(len(s.Categories) == 0 || slices.ContainsFunc(e.Categories, func(c string) bool {
			return slices.Contains(s.Categories, strings.ReplaceAll(c, " ", "-"))
		}))
}

// eventMessage is an event as RDS publishes it.
func eventMessage(e postgres.Event) alarms.Message {
	fields := [][2]string{
		{"Event Source", e.SourceType},
		{"Event Time", e.At.UTC().Format(time.DateTime + ".000")},
		{"Source ID", e.Source},
		{"Source ARN", e.SourceARN},
		{"Event ID", e.Code},
		{"Event Message", e.Message},
	}
	var text strings.Builder
	body := map[string]string{}
	for _, f := range fields {
		fmt.Fprintf(&text, "%-15s %s\n", f[0]+":", f[1])
		body[f[0]] = f[1]
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		encoded = nil // strings always can be encoded; without JSON the text is sent
	}
	return alarms.Message{Subject: "RDS Notification Message", Text: text.String(), JSON: string(encoded), Label: "rds-event-" + e.Source}
}
