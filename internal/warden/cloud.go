package warden

import (
	"context"
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
	v := failover.ClusterView{Known: true, Moving: g.Moving, Member: g.HasMember(a.cfg.ClusterARN)}
	switch g.Writer() {
	case a.cfg.ClusterARN:
		v.Writer = a.cfg.Site
	case a.cfg.PeerClusterARN:
		v.Writer = a.cfg.PeerSite
	}
	return v, nil
}

// Promote implements [ControlPlane]: a failover is asked of the own region, a switchover of the present writer's.
func (a *Aurora) Promote(ctx context.Context, lossy bool) error {
	if lossy {
		return a.own.Failover(ctx, a.cfg.GlobalCluster, a.cfg.ClusterARN)
	}
	return a.peer.Switchover(ctx, a.cfg.GlobalCluster, a.cfg.ClusterARN)
}

// MoveWriter implements [ControlPlane]. The own region is the present writer's.
func (a *Aurora) MoveWriter(ctx context.Context) error {
	return a.own.Switchover(ctx, a.cfg.GlobalCluster, a.cfg.PeerClusterARN)
}

// Fargate is the application: an ECS service behind a target group.
type Fargate struct {
	cfg       Config
	balancers *aws.Balancers
	services  *aws.Services

	mu    sync.Mutex
	tasks int
	asked time.Time
	err   string
}

// tasksEvery is how often the scheduler is asked; the number of tasks is only told to people.
const tasksEvery = 5 * time.Second

var _ Application = (*Fargate)(nil)

// NewFargate makes the application's view from the own region's adapters.
func NewFargate(cfg Config, balancers *aws.Balancers, services *aws.Services) *Fargate {
	return &Fargate{cfg: cfg, balancers: balancers, services: services}
}

// View implements [Application]. The targets' health decides, so a scheduler that does not answer hides nothing.
func (f *Fargate) View(ctx context.Context) (failover.AppView, error) {
	var wg sync.WaitGroup
	var v failover.AppView
	wg.Go(func() { v.RunningTasks, v.Err = f.runningTasks(ctx) })
	targets, err := f.balancers.TargetHealth(ctx, f.cfg.AppTargetGroupARN)
	wg.Wait()
	if err != nil {
		return failover.AppView{}, err
	}
	v.Known, v.HealthyTargets = true, aws.Healthy(targets)
	return v, nil
}

func (f *Fargate) runningTasks(ctx context.Context) (int, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.asked.IsZero() && time.Since(f.asked) < tasksEvery {
		return f.tasks, f.err
	}
	s, err := f.services.Service(ctx, f.cfg.ECSCluster, f.cfg.AppService)
	f.asked, f.tasks, f.err = time.Now(), s.Running, ""
	if err != nil {
		f.err = err.Error()
	}
	return f.tasks, f.err
}
