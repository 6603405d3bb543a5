package warden

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast/internal/aws"
	"holdfast/internal/failover"
)

// globalDatabase is the part of a region's database control plane that a warden uses.
type globalDatabase interface {
	GlobalCluster(ctx context.Context, identifier string) (aws.GlobalCluster, error)
	Failover(ctx context.Context, identifier, targetARN string) error
	Switchover(ctx context.Context, identifier, targetARN string) error
}

// Aurora is the control plane of an Aurora Global Database, as a warden of one site sees it.
type Aurora struct {
	cfg Config
	// own is the own region's control plane, peer the other's; only a switchover out of the other site needs that one.
	own, peer globalDatabase
}

var _ ControlPlane = (*Aurora)(nil)

// NewAurora makes the control plane from the adapters of both regions.
func NewAurora(cfg Config, own, peer *aws.Databases) *Aurora {
	return &Aurora{cfg: cfg, own: own, peer: peer}
}

// View implements [ControlPlane].
func (a *Aurora) View(ctx context.Context) (failover.ClusterView, error) {
	g, err := a.own.GlobalCluster(ctx, a.cfg.GlobalCluster)
	if err != nil {
		return failover.ClusterView{}, err
	}
	v := failover.ClusterView{Known: true, Moving: g.Moving, Member: g.HasMember(a.cfg.ClusterARN), Lossless: g.SwitchingTo == a.cfg.ClusterARN}
	switch g.Writer() {
	case a.cfg.ClusterARN:
		v.Writer = a.cfg.Site
	case a.cfg.PeerClusterARN:
		v.Writer = a.cfg.PeerSite
	}
	return v, nil
}

// ErrSwitchoverRefused says that the other region will not take the switchover from this site, whenever it is asked.
var ErrSwitchoverRefused = errors.New("the other region does not let this site ask for a switchover")

// Promote implements [ControlPlane]: a failover is asked of the own region, a switchover of the present writer's. The
// role of infra/modules/warden allows nothing there: who wants the switchover all the same has to widen it.
func (a *Aurora) Promote(ctx context.Context, lossy bool) error {
	if lossy {
		return a.own.Failover(ctx, a.cfg.GlobalCluster, a.cfg.ClusterARN)
	}
	err := a.peer.Switchover(ctx, a.cfg.GlobalCluster, a.cfg.ClusterARN)
	if aws.Denied(err) {
		return fmt.Errorf("%w: %w", ErrSwitchoverRefused, err)
	}
	return err
}

// MoveWriter implements [ControlPlane]. The own region is the present writer's.
func (a *Aurora) MoveWriter(ctx context.Context) error {
	return a.own.Switchover(ctx, a.cfg.GlobalCluster, a.cfg.PeerClusterARN)
}

// scheduler is the part of a region's container scheduler that a warden uses.
type scheduler interface {
	Service(ctx context.Context, cluster, service string) (aws.Service, error)
	Bounds(ctx context.Context, cluster, service string) (minimum, maximum int, err error)
	Scale(ctx context.Context, cluster, service string, tasks int) error
}

// Fargate is the application: an ECS service behind a target group.
type Fargate struct {
	cfg       Config
	balancers *aws.Balancers
	services  scheduler

	mu    sync.Mutex
	count taskCount
	asked time.Time
}

// taskCount is what the scheduler says about the application, and the bounds of its autoscaling.
type taskCount struct {
	running, desired, minimum, maximum int
	err                                string
}

// tasksEvery is how often the scheduler is asked; nothing that is decided at once rests on the number of tasks.
const tasksEvery = 5 * time.Second

var (
	_ Application = (*Fargate)(nil)
	_ Scaler      = (*Fargate)(nil)
)

// NewFargate makes the application's view from the own region's adapters.
func NewFargate(cfg Config, balancers *aws.Balancers, services *aws.Services) *Fargate {
	return &Fargate{cfg: cfg, balancers: balancers, services: services}
}

// View implements [Application]. The targets' health decides, so a scheduler that does not answer hides nothing.
func (f *Fargate) View(ctx context.Context) (failover.AppView, error) {
	var wg sync.WaitGroup
	var count taskCount
	wg.Go(func() { count = f.tasks(ctx) })
	targets, err := f.balancers.TargetHealth(ctx, f.cfg.AppTargetGroupARN)
	wg.Wait()
	if err != nil {
		return failover.AppView{}, err
	}
	return failover.AppView{
		Known: true, HealthyTargets: aws.Healthy(targets), RunningTasks: count.running, DesiredTasks: count.desired,
		MinimumTasks: count.minimum, MaximumTasks: count.maximum, Err: count.err,
	}, nil
}

// tasks asks the scheduler and its autoscaling, or remembers what they said a moment ago.
func (f *Fargate) tasks(ctx context.Context) taskCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.asked.IsZero() && time.Since(f.asked) < tasksEvery {
		return f.count
	}
	s, err := f.services.Service(ctx, f.cfg.ECSCluster, f.cfg.AppService)
	minimum, maximum, scalingErr := f.services.Bounds(ctx, f.cfg.ECSCluster, f.cfg.AppService)
	if scalingErr != nil { // what is set does not change with who answers: with the old bounds tasks can still be asked for
		minimum, maximum = f.count.minimum, f.count.maximum
	}
	f.asked, f.count = time.Now(), taskCount{running: s.Running, desired: s.Desired, minimum: minimum, maximum: maximum}
	if err := errors.Join(err, scalingErr); err != nil {
		f.count.err = err.Error()
	}
	return f.count
}

// Scale implements [Scaler].
func (f *Fargate) Scale(ctx context.Context, tasks int) error {
	err := f.services.Scale(ctx, f.cfg.ECSCluster, f.cfg.AppService, tasks)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = time.Time{} // what was remembered is over
	return err
}

// Listener is the balancer's listener in front of the application.
type Listener struct {
	cfg       Config
	balancers *aws.Balancers
}

var _ Balancer = (*Listener)(nil)

// NewListener makes it from the own region's adapter. It is nil where nothing is forwarded.
func NewListener(cfg Config, balancers *aws.Balancers) Balancer {
	if cfg.AppListenerARN == "" {
		return nil
	}
	return &Listener{cfg: cfg, balancers: balancers}
}

// Diverted implements [Balancer].
func (l *Listener) Diverted(ctx context.Context) (bool, error) {
	weights, err := l.balancers.Weights(ctx, l.cfg.AppListenerARN)
	return weights[l.cfg.ForwardTargetGroupARN] > 0, err
}

// Divert implements [Balancer].
func (l *Listener) Divert(ctx context.Context, on bool) error {
	app, forward := int32(1), int32(0)
	if on {
		app, forward = forward, app
	}
	return l.balancers.SetWeights(ctx, l.cfg.AppListenerARN, []aws.Weight{
		{TargetGroupARN: l.cfg.AppTargetGroupARN, Weight: app}, {TargetGroupARN: l.cfg.ForwardTargetGroupARN, Weight: forward},
	})
}
