package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The writer of a site crashes again and again under load: the writer moves to the other instance, and nothing
// acknowledged is lost, although the readers stream asynchronously.
func testWriterCrash(t *testing.T, tw *twin) {
	client := tw.startClient(t)
	for round, names := range [][2]string{{primaryID + "-1", primaryID + "-2"}, {primaryID + "-2", primaryID + "-1"}} {
		client.waitMore(t, 100)
		client.gap()
		if err := tw.KillInstance(names[0]); err != nil {
			t.Fatal(err)
		}
		until(t, 30*time.Second, func() error {
			for _, m := range tw.cluster(t, primaryID).Members {
				if m.IsWriter != (m.InstanceIdentifier == names[1]) {
					return fmt.Errorf("round %d: %s is the writer: %v", round, m.InstanceIdentifier, m.IsWriter)
				}
			}
			return tw.wantRoles(primaryID, drID)
		})
		client.waitMore(t, 50)
		t.Logf("no acknowledgement for %v", client.gap().Round(time.Millisecond))
	}
	client.stop()
	if err := client.wantAll(primaryID); err != nil {
		t.Error(err)
	}
	tw.wantEvents(t, east, "0073", "0071", "0073", "0071")
	for _, id := range []string{primaryID, drID} {
		until(t, 20*time.Second, func() error {
			return tw.wantValue(id, readerEndpoint, "select (max(id) >= "+fmt.Sprint(client.count())+")::text from rows", "true")
		})
	}
	// A crashed standby just comes back.
	if err := tw.KillInstance(drID + "-1"); err != nil {
		t.Fatal(err)
	}
	tw.mustExec(t, primaryID, "insert into rows values (-1)")
	until(t, 20*time.Second, func() error {
		return errors.Join(tw.wantRoles(primaryID, drID), tw.wantValue(drID, nil, "select count(*)::text from rows where id = -1", "1"))
	})
}

// A standby that needs WAL which its source no longer has can never follow again; it is rebuilt.
func testReplicaLostItsPlace(t *testing.T, tw *twin) {
	tw.mustExec(t, primaryID, "insert into rows values (1)")
	tw.fabric.SetRegion(west, false)
	if err := tw.LoseRegion(west); err != nil {
		t.Fatal(err)
	}
	// The writer forgets what it wrote: its WAL up to now is removed as if the Region had been away for hours.
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	writer := tw.clusters[0].head
	for range 3 {
		if _, err := ask[string](ctx, tw.Aurora, writer, "select pg_switch_wal()::text"); err != nil {
			t.Fatal(err)
		}
		tw.mustExec(t, primaryID, "insert into rows select coalesce(max(id), 0) + 1 from rows")
	}
	current, err := ask[string](ctx, tw.Aurora, writer, "select pg_walfile_name(pg_current_wal_lsn())")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range glob(writer.volume + "/pg_wal/" + strings.Repeat("[0-9A-F]", 24)) {
		if path < writer.volume+"/pg_wal/"+current {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	tw.fabric.SetRegion(west, true)
	if err := tw.ReturnRegion(ctx, west); err != nil {
		t.Fatal(err)
	}
	until(t, 40*time.Second, func() error {
		return errors.Join(tw.wantRoles(primaryID, drID), tw.wantValue(drID, readerEndpoint, "select count(*)::text from rows", "4"))
	})
	tw.wantEvents(t, west, "0240", "0241")
}
