package preflight

import (
	"holdfast/internal/aws"
	"holdfast/internal/operator"
)

// FromAWS are the sources of a deployment that the process's AWS configuration reaches, be it AWS or the twin.
func FromAWS(session *aws.Session, op *operator.Operator) Sources {
	return Sources{
		Deployment:  op,
		Databases:   func(region string) Databases { return session.Databases(region) },
		Services:    func(region string) Services { return session.Services(region) },
		Balancers:   func(region string) Balancers { return session.Balancers(region) },
		Alarms:      func(region string) Alarms { return session.Alarms(region) },
		Topics:      func(region string) Topics { return session.Topics(region) },
		Names:       session.Names(),
		Permissions: session.Permissions(),
		Account:     session,
		SQL:         Login{Password: op.Password},
	}
}
