package twin

import "holdfast/internal/twin/api"

// apiOptions joins the parts to the endpoint that shows them as AWS does.
func (t *Twin) apiOptions() api.Options {
	return api.Options{
		Topology: t.topo, Network: t.fabric, Logger: t.logger,
		Databases: t.aurora, Containers: t.scheduler, Balancers: t.balancers, HealthChecks: t.names,
		Tables: t.table, Secrets: secrets{t},
	}
}

// secrets gives the tasks' and the operator's secrets as api.Secrets.
type secrets struct{ t *Twin }

func (s secrets) Value(_, arn string) (string, bool) { return s.t.secret(arn) }
