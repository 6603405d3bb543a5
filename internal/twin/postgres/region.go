package postgres

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sync/errgroup"

	"holdfast/internal/pgserver"
)

// LoseRegion is SIGKILL to everything of a Region at once. It returns when everything is dead; the volumes stay.
func (a *Aurora) LoseRegion(region string) error {
	a.mu.Lock()
	r := a.regions[region]
	if r == nil {
		a.mu.Unlock()
		return fmt.Errorf("lose Region %s: it has no DB cluster", region)
	}
	r.up = false
	r.end()
	servers := a.serversOf(r)
	for _, c := range a.allClusters() {
		if c.region == r {
			for _, in := range c.instances {
				a.detachLocked(in)
			}
		}
	}
	for group := range r.programs {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
	a.mu.Unlock()
	kill(servers)
	return nil
}

// serversOf lists a Region's servers. The caller holds the lock.
func (a *Aurora) serversOf(r *region) []*pgserver.Server {
	var servers []*pgserver.Server
	for _, c := range a.allClusters() {
		if c.region != r {
			continue
		}
		for _, in := range c.instances {
			if in.server != nil {
				servers = append(servers, in.server)
			}
		}
	}
	return servers
}

// ReturnRegion starts a lost Region's servers again, each on the volume that it had: a writer that nobody replaced goes
// on as the writer, a secondary follows again, and an old writer that was replaced meanwhile comes back as a zombie,
// until Aurora resynchronizes it. It returns when the servers answer. A server that does not is named in the error and
// tried again in the background; a Region that is not lost is left as it is.
func (a *Aurora) ReturnRegion(ctx context.Context, region string) error {
	a.mu.Lock()
	r := a.regions[region]
	if r == nil || a.stopping {
		a.mu.Unlock()
		return fmt.Errorf("return Region %s: it has no DB cluster, or the twin is being stopped", region)
	}
	if r.up {
		a.mu.Unlock()
		return nil
	}
	r.up, r.frozen = true, false
	r.epoch, r.end = context.WithCancel(a.ctx)
	a.broadcast()
	a.mu.Unlock()
	var group errgroup.Group
	for _, c := range a.clusters {
		if c.region == r {
			group.Go(func() error { return a.comeBack(ctx, c) })
		}
	}
	group.Go(func() error { return a.returnRestored(ctx, r) })
	if err := group.Wait(); err != nil {
		return fmt.Errorf("return Region %s: %w", region, err)
	}
	return nil
}

func (a *Aurora) comeBack(ctx context.Context, c *cluster) error {
	release, err := a.acquire(ctx, c)
	if err != nil {
		return err
	}
	defer release()
	a.mu.Lock()
	rebuilding := c.rebuilding
	a.mu.Unlock()
	if rebuilding {
		return nil // the job that rebuilds the volume goes on by itself
	}
	return a.bringHeld(ctx, c)
}

// FreezeRegion stops every process of a Region (SIGSTOP), as when its machines hang: connections stay open and nothing answers.
func (a *Aurora) FreezeRegion(region string) error { return a.freeze(region, true) }

// ThawRegion lets a frozen Region's processes go on.
func (a *Aurora) ThawRegion(region string) error { return a.freeze(region, false) }

func (a *Aurora) freeze(region string, frozen bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.regions[region]
	if r == nil || !r.up {
		return fmt.Errorf("freeze or thaw Region %s: it has no DB cluster or is lost", region)
	}
	signal, act := syscall.SIGCONT, (*pgserver.Server).Thaw
	if frozen {
		signal, act = syscall.SIGSTOP, (*pgserver.Server).Freeze
	}
	var errs []error
	for _, server := range a.serversOf(r) {
		errs = append(errs, act(server))
	}
	for group := range r.programs {
		_ = syscall.Kill(-group, signal)
	}
	r.frozen = frozen
	a.broadcast()
	return errors.Join(errs...)
}
