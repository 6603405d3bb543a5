package twin

import "holdfast/internal/twin/api"

// prepareEndpoint joins the parts to the endpoint that shows them as AWS does.
func (t *Twin) prepareEndpoint() error {
	m, err := newMonitor(t)
	if err != nil {
		return err
	}
	t.monitor = m
	t.endpoint, err = api.New(api.Options{
		Topology: t.topo, Network: t.fabric, Admit: t.admitCall, Around: t.aroundCall, Logger: t.logger,
		Databases: t.aurora, Containers: t.scheduler, Runner: t.scheduler, Images: t.scheduler, Balancers: t.balancers, HealthChecks: t.names,
		Tables: m.table, Secrets: secrets{t}, Metrics: m.metrics, Alarms: m.evaluator, Scaling: m.scaler, Networks: t.vpc,
	})
	return err
}

// secrets gives the tasks' and the operator's secrets as api.Secrets.
type secrets struct{ t *Twin }

func (s secrets) Value(_, arn string) (string, bool) { return s.t.secret(arn) }
