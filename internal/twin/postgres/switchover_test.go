package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func testSwitchoverThereAndBack(t *testing.T, tw *twin) {
	ctx := context.Background()
	client := tw.startClient(t)
	for _, move := range []struct{ region, target, to, from string }{{west, drID, drID, primaryID}, {west, primaryARN, primaryID, drID}} {
		client.waitMore(t, 100)
		client.gap()
		// failover-global-cluster without permission to lose data is a switchover.
		if err := tw.Failover(ctx, move.region, globalID, move.target, false); err != nil {
			t.Fatal(err)
		}
		wantCode(t, tw.Failover(ctx, move.region, globalID, move.target, true), CodeInvalidGlobalClusterState)
		if err := tw.settle(t); err != nil {
			t.Fatal(err)
		}
		client.waitMore(t, 50)
		t.Logf("no acknowledgement for %v while the writer moved to %s", client.gap().Round(time.Millisecond), move.to)
		until(t, 10*time.Second, func() error { return tw.wantRoles(move.to, move.from) })
		if snapshots := append(tw.Snapshots(east), tw.Snapshots(west)...); len(snapshots) > 0 {
			t.Errorf("a switchover rebuilt a volume: %v", snapshots)
		}
	}
	client.stop()
	for _, id := range []string{primaryID, drID} {
		until(t, 10*time.Second, func() error { return client.wantAll(id) })
	}
	// The readers of both sites follow the third timeline.
	for _, id := range []string{primaryID, drID} {
		until(t, 10*time.Second, func() error {
			return tw.wantValue(id, readerEndpoint, "select (max(id) >= "+fmt.Sprint(client.count())+")::text from rows", "true")
		})
	}
	tw.wantEvents(t, west, "0181", "0184", "0397", "0185", "0390", "0182")
	tw.wantEvents(t, east, "0390", "0182", "0181", "0184", "0397", "0185")
}

// Losing the target at the worst moment, when the old writer has been stopped, leaves one writer: the one on record.
func testSwitchoverTargetLost(t *testing.T, tw *twin) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	tw.mustExec(t, primaryID, "insert into rows values (1)")
	if err := tw.Switchover(ctx, east, globalID, drARN); err != nil {
		t.Fatal(err)
	}
	old := tw.clusters[0]
	if err := tw.await(ctx, func() bool { return old.head.server == nil }); err != nil {
		t.Fatal(err)
	}
	tw.fabric.SetRegion(west, false)
	if err := tw.LoseRegion(west); err != nil {
		t.Fatal(err)
	}
	outcome := tw.settle(t)
	t.Logf("the switchover ended with: %v", outcome)
	tw.fabric.SetRegion(west, true)
	if outcome == nil {
		// The target was promoted before it could be lost: it is the writer on record, and returns as that.
		if err := errors.Join(tw.ReturnRegion(ctx, west), tw.Switchover(ctx, east, globalID, primaryARN), tw.settle(t)); err != nil {
			t.Error(err)
		}
		return
	}
	tw.mustExec(t, primaryID, "insert into rows values (2)")
	tw.wantEvents(t, west, "0181")
	if err := tw.ReturnRegion(ctx, west); err != nil {
		t.Fatal(err)
	}
	until(t, 30*time.Second, func() error {
		return errors.Join(tw.wantRoles(primaryID, drID), tw.wantValue(drID, nil, "select count(*)::text from rows", "2"))
	})
}

// A switchover over a partitioned link is cancelled while the old writer still serves.
func testSwitchoverOverAPartition(t *testing.T, tw *twin) {
	ctx := context.Background()
	link := tw.fabric.Link(east, west)
	link.Partitioned = true
	tw.fabric.SetLink(east, west, link)
	client := tw.startClient(t)
	client.gap()
	tw.synchronizeLimit = 2 * time.Second
	defer func() { tw.synchronizeLimit = defaultSynchronizeLimit }()
	if err := tw.Switchover(ctx, east, globalID, drARN); err != nil {
		t.Fatal(err)
	}
	if err := tw.settle(t); !errors.Is(err, errNotCaughtUp) {
		t.Errorf("the switchover ended with %v", err)
	}
	client.stop()
	if gap := client.gap(); gap > 3*time.Second {
		t.Errorf("the writer did not serve for %v", gap)
	}
	tw.wantEvents(t, west, "0181", "0186")
	link.Partitioned = false
	tw.fabric.SetLink(east, west, link)
	until(t, 30*time.Second, func() error {
		return errors.Join(client.wantAll(drID), tw.wantRoles(primaryID, drID))
	})
}
