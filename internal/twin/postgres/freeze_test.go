package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func testFrozenStandby(t *testing.T, tw *twin) {
	if err := tw.FreezeRegion(west); err != nil {
		t.Fatal(err)
	}
	tw.mustExec(t, primaryID, "insert into rows values (1)")
	until(t, 20*time.Second, func() error {
		if ms, ok := tw.ReplicationLagMilliseconds(west); !ok || ms < 1000 {
			return fmt.Errorf("lag of the frozen Region: %v ms, %v", ms, ok)
		}
		return nil
	})
	if err := tw.ThawRegion(west); err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, func() error {
		if ms, ok := tw.ReplicationLagMilliseconds(west); !ok || ms > 1000 {
			return fmt.Errorf("lag after the thaw: %v ms, %v", ms, ok)
		}
		return tw.wantValue(drID, readerEndpoint, "select count(*)::text from rows", "1")
	})
}

// A frozen writer is replaced; when it thaws it takes writes, on the connections that it had, until it is rebuilt.
func TestFrozenWriterThawsAsAZombie(t *testing.T) {
	tw := start(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	tw.empty(t)
	conn, err := tw.open(ctx, primaryID, writerEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := tw.FreezeRegion(east); err != nil {
		t.Fatal(err)
	}
	if err := tw.Failover(ctx, west, globalID, drID, true); err != nil {
		t.Fatal(err)
	}
	if err := tw.settle(t); err != nil {
		t.Fatal(err)
	}
	tw.mustExec(t, drID, "insert into rows values (1)")
	if err := tw.ThawRegion(east); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "insert into rows values (-1)"); err != nil {
		t.Errorf("the thawed writer does not take writes on an old connection: %v", err)
	}
	// Losing the Region once more, while its volume is being rebuilt, only makes it begin again.
	if err := tw.await(ctx, func() bool { return tw.clusters[0].rebuilding }); err != nil {
		t.Fatal(err)
	}
	tw.fabric.SetRegion(east, false)
	if err := tw.LoseRegion(east); err != nil {
		t.Fatal(err)
	}
	tw.fabric.SetRegion(east, true)
	if err := tw.ReturnRegion(ctx, east); err != nil {
		t.Fatal(err)
	}
	until(t, 40*time.Second, func() error {
		return errors.Join(tw.wantRoles(drID, primaryID), tw.wantValue(primaryID, nil, "select string_agg(id::text, ' ') from rows", "1"))
	})
	if snapshots := tw.Snapshots(east); len(snapshots) != 1 {
		t.Errorf("snapshots: %v", snapshots)
	}
}
