package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// defaultSynchronizeLimit bounds how long a switchover waits for the target to catch up while the old writer still serves.
	defaultSynchronizeLimit = 10 * time.Second
	// replayLimit bounds how long it waits after the old writer has stopped, while nobody serves.
	replayLimit = 5 * time.Second
)

// Switchover is switchover-global-cluster: the writer moves to the target without losing a commit. The old writer is
// stopped in order, the target must have replayed its very last record, and only then is promoted; until then every
// failure leads back to the old writer.
//
// It validates, and returns when the operation is under way; [Aurora.Settle] waits for its end. Errors are of type
// *[Error]. The end of ctx does not stop an operation that was accepted.
func (a *Aurora) Switchover(ctx context.Context, region, globalID, target string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("switchover of %s: %w", globalID, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	g, to, err := a.resolve(region, globalID, target)
	if err != nil {
		return err
	}
	if err := g.eligible(to); err != nil {
		return err
	}
	from := g.writer
	if !from.region.up || !from.head.running() || from.doing != "" {
		return refuse(CodeInvalidGlobalClusterState, "DB cluster %s, the primary of global cluster %s, is not available: "+
			"a switchover needs a healthy primary", from.spec.Identifier, g.spec.Identifier)
	}
	if !a.spawnLocked(func() { a.switchover(g, from, to) }) {
		return fmt.Errorf("switchover of %s: %w", globalID, errStopped)
	}
	g.operation = &FailoverState{Status: StatusSwitchingOver, FromARN: from.spec.ARN, ToARN: to.spec.ARN}
	from.doing, to.doing = StatusSwitchingOver, StatusSwitchingOver
	a.broadcast()
	return nil
}

// demotedRest is how long the old writer's server stays down after a switchover. On AWS it comes back on a machine of its own;
// here its start would take the processor from the target while clients wait for that one.
const demotedRest = 1500 * time.Millisecond

func (a *Aurora) switchover(g *global, from, to *cluster) {
	a.globalEvent(to, "0181", "Global switchover to", " started.")
	ctx, cancel := context.WithTimeout(a.ctx, operationLimit)
	defer cancel()
	err := a.moveGlobalWriter(ctx, g, from, to)
	// Last, so that who has seen the operation end finds its events.
	defer a.finish(g, err, from, to)
	switch {
	case err == nil:
		a.globalEvent(to, "0185", "Global switchover to", " finished.")
	case errors.Is(err, errNotCaughtUp):
		a.globalEvent(to, "0186", "Global switchover to", " is cancelled.")
	default:
		a.globalEvent(to, "0187", "Global switchover to", " failed.")
	}
}

// moveGlobalWriter does the work of a switchover. It returns nil if the target is the writer at the end.
func (a *Aurora) moveGlobalWriter(ctx context.Context, g *global, from, to *cluster) error {
	acquireCtx, cancelAcquire := context.WithTimeout(ctx, acquireLimit)
	defer cancelAcquire()
	release, err := a.acquire(acquireCtx, from, to)
	if err != nil {
		return err
	}
	defer release()
	// One connection to the target for all of it: nobody serves while one is being made.
	var target probe
	defer target.close()
	if err := a.synchronize(ctx, from, to, &target); err != nil {
		return err
	}
	if err := a.demote(ctx, from, to, &target); err != nil {
		return errors.Join(err, a.goBack(from))
	}
	a.blockEvent(from, to, true)
	a.globalEvent(from, "0182", "Old primary", " successfully shut down.")
	if err := a.promoteHeld(ctx, g, to, RoleSecondary, &target); err != nil {
		return errors.Join(err, a.goBack(from))
	}
	a.globalEvent(to, "0184", "New primary", " was successfully promoted.")
	a.endpointEvent(to)
	// From here on the target is the writer, whatever happens to the old one.
	select {
	case <-ctx.Done():
	case <-time.After(demotedRest):
	}
	if err := a.start(a.epoch(from), from.head); err != nil {
		a.heal(from.head)
		return nil
	}
	followCtx, cancel := context.WithTimeout(ctx, a.synchronizeLimit)
	defer cancel()
	if err := a.waitFollowing(followCtx, from); err != nil {
		a.globalEvent(from, "", "Old primary", " does not follow the new one yet: "+err.Error())
	}
	return nil
}

// synchronize waits until the target has all that the writer had when it began, and makes the writer flush its pages
// now, so that its shutdown is short.
func (a *Aurora) synchronize(ctx context.Context, from, to *cluster, target *probe) error {
	ctx, cancel := context.WithTimeout(ctx, a.synchronizeLimit)
	defer cancel()
	// Nothing is to be waited for once the writer's Region is lost; the failover that follows must not be kept waiting.
	defer context.AfterFunc(a.epoch(from), cancel)()
	conn, err := a.connect(ctx, from.head)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var position string
	if _, err := conn.Exec(ctx, "checkpoint"); err != nil {
		return fmt.Errorf("checkpoint on instance %s: %w", from.head.spec.Identifier, err)
	}
	if err := conn.QueryRow(ctx, "select pg_current_wal_flush_lsn()::text").Scan(&position); err != nil {
		return fmt.Errorf("position of instance %s: %w", from.head.spec.Identifier, err)
	}
	if err := a.waitReplayedOver(ctx, target, to.head, position); err != nil {
		return fmt.Errorf("%w: %w", errNotCaughtUp, err)
	}
	return nil
}

// demote stops the old writer in order and verifies that the target has replayed its very last record, the checkpoint
// of its shutdown.
func (a *Aurora) demote(ctx context.Context, from, to *cluster, target *probe) error {
	a.mu.Lock()
	volume := from.head.volume
	a.mu.Unlock()
	if err := a.stop(from.head); err != nil {
		return err
	}
	data, err := a.opt.Installation.ControlData(ctx, volume)
	if err != nil {
		return fmt.Errorf("read the last position of instance %s: %w", from.head.spec.Identifier, err)
	}
	if state := data["Database cluster state"]; state != "shut down" {
		return fmt.Errorf("instance %s was not stopped in order: its volume is %q", from.head.spec.Identifier, state)
	}
	// The label names where the checkpoint record begins; a replay position behind it has replayed the record.
	last := data["Latest checkpoint location"]
	const question = "select coalesce(pg_last_wal_replay_lsn() > $1::pg_lsn, false)"
	ctx, cancel := context.WithTimeout(ctx, replayLimit)
	defer cancel()
	err = eventually(ctx, 5*time.Millisecond, func() error {
		var done bool
		if err := target.query(ctx, a, to.head, question, &done, last); err != nil {
			return err
		}
		if !done {
			return fmt.Errorf("instance %s has not replayed %s", to.head.spec.Identifier, last)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errNotCaughtUp, err)
	}
	return nil
}

// goBack makes the old writer serve again after a switchover that did not get to the target's promotion. In a lost
// Region there is nothing to start; it returns as the writer with its Region.
func (a *Aurora) goBack(from *cluster) error {
	a.mu.Lock()
	role := from.role
	a.mu.Unlock()
	if role != RoleWriter {
		return nil
	}
	if err := a.start(a.epoch(from), from.head); err != nil {
		a.heal(from.head)
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}
