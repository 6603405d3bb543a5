package twin

import (
	"path/filepath"

	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/api"
)

// prepareEndpoint joins the parts to the endpoint that shows them as AWS does.
func (t *Twin) prepareEndpoint() error {
	metrics := alarms.NewMetrics(nil)
	topics := alarms.NewTopics(t.topo, filepath.Join(t.dir, "mail"), "", nil)
	evaluator, err := alarms.NewEvaluator(alarms.Options{
		Topology: t.topo, Metrics: metrics, Speed: t.opts.Speed, Up: t.fabric.Up,
		Notify: topics.Publish, Logger: t.logger,
	})
	if err != nil {
		return err
	}
	t.alarms = evaluator
	t.endpoint, err = api.New(api.Options{
		Topology: t.topo, Network: t.fabric, Logger: t.logger,
		Databases: t.aurora, Containers: t.scheduler, Runner: t.scheduler, Images: t.scheduler, Balancers: t.balancers, HealthChecks: t.names,
		Tables: t.table, Secrets: secrets{t}, Metrics: metrics, Alarms: evaluator, Scaling: api.NewScalableTargets(t.topo),
	})
	return err
}

// secrets gives the tasks' and the operator's secrets as api.Secrets.
type secrets struct{ t *Twin }

func (s secrets) Value(_, arn string) (string, bool) { return s.t.secret(arn) }
