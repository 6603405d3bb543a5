package operator

import (
	"context"
	"net"

	"holdfast/internal/aws"
)

// regions asks each site's own region.
type regions struct {
	cfg     Config
	session *aws.Session
}

func (r regions) globalCluster(ctx context.Context, s Site) (aws.GlobalCluster, error) {
	return r.session.Databases(s.Region).GlobalCluster(ctx, r.cfg.GlobalCluster)
}

func (r regions) service(ctx context.Context, s Site, name string) (aws.Service, error) {
	return r.session.Services(s.Region).Service(ctx, s.ECSClusterName, name)
}

func (r regions) bounds(ctx context.Context, s Site) (minimum, maximum int, err error) {
	return r.session.Services(s.Region).Bounds(ctx, s.ECSClusterName, s.AppService)
}

func (r regions) targets(ctx context.Context, s Site, targetGroupARN string) ([]aws.Target, error) {
	return r.session.Balancers(s.Region).TargetHealth(ctx, targetGroupARN)
}

// resolver looks names up at the given server ("host:port"), or as the machine does if it is empty.
func resolver(server string) func(context.Context, string) ([]string, error) {
	r := &net.Resolver{}
	if server != "" {
		r.PreferGo = true
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server)
		}
	}
	return r.LookupHost
}
