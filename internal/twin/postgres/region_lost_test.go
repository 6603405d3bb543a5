package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/twin/network"
)

// The whole life of an old writer: its Region is lost with a tail that was not replicated, the other takes over, it comes
// back as a zombie that takes writes, and is rebuilt with the tail put aside.
func TestRegionLostFailoverReturnZombieRejoin(t *testing.T) {
	tw := start(t, nil)
	ctx := context.Background()
	tw.empty(t)
	client := tw.startClient(t)
	client.waitMore(t, 100)
	client.stop()
	until(t, 10*time.Second, func() error {
		return tw.wantValue(drID, nil, "select (max(id) >= "+fmt.Sprint(client.count())+")::text from rows", "true")
	})
	// What is committed behind a partition never arrives.
	link := tw.fabric.Link(east, west)
	tw.fabric.SetLink(east, west, network.LinkState{OneWayDelay: link.OneWayDelay, Partitioned: true})
	tw.mustExec(t, primaryID, "insert into rows values (-1)")

	tw.fabric.SetRegion(east, false)
	if err := tw.LoseRegion(east); err != nil {
		t.Fatal(err)
	}
	tw.fabric.SetLink(east, west, link)
	wantCode(t, tw.Switchover(ctx, east, globalID, drARN), CodeInvalidGlobalClusterState)
	if err := tw.exec(primaryID, nil, "select 1"); err == nil {
		t.Fatal("a lost Region's server answers")
	}

	asked := time.Now()
	if err := tw.Failover(ctx, west, globalID, drID, true); err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, func() error { return tw.exec(drID, writerEndpoint, "insert into rows values (-2)") })
	t.Logf("first write %v after the request", time.Since(asked).Round(time.Millisecond))
	if err := tw.settle(t); err != nil {
		t.Fatal(err)
	}
	if err := client.wantAll(drID); err != nil {
		t.Error(err)
	}
	tw.wantEvents(t, west, "0391", "0397", "0238")

	checkZombie(t, tw)
	checkTail(t, tw)

	// The rebuilt cluster can take its role back.
	if err := tw.Switchover(ctx, west, globalID, primaryARN); err != nil {
		t.Fatal(err)
	}
	if err := tw.settle(t); err != nil {
		t.Fatal(err)
	}
	until(t, 10*time.Second, func() error { return tw.wantRoles(primaryID, drID) })
	tw.mustExec(t, primaryID, "insert into rows values (-5)")
}

// checkZombie returns the lost Region and expects its old writer to take writes until it is rebuilt.
func checkZombie(t *testing.T, tw *twin) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tw.fabric.SetRegion(east, true)
	if err := tw.ReturnRegion(ctx, east); err != nil {
		t.Fatal(err)
	}
	if err := tw.exec(primaryID, writerEndpoint, "insert into rows values (-3)"); err != nil {
		t.Errorf("the zombie does not take writes: %v", err)
	}
	if role := tw.cluster(t, primaryID).Role; role != RoleStale {
		t.Errorf("the old writer is %s", role)
	}
	wantCode(t, tw.Failover(ctx, east, globalID, primaryID, true), CodeInvalidDBClusterState)

	until(t, 40*time.Second, func() error { return tw.wantRoles(drID, primaryID) })
	tw.wantEvents(t, east, "0240", "0169", "0241")
	tw.mustExec(t, drID, "insert into rows values (-4)")
	const survivors = "select string_agg(id::text, ' ' order by id) from rows where id < 0"
	until(t, 10*time.Second, func() error {
		return errors.Join(tw.wantValue(primaryID, nil, survivors, "-4 -2"), tw.wantValue(primaryID, readerEndpoint, survivors, "-4 -2"))
	})
	if err := tw.exec(primaryID, writerEndpoint, "select 1"); err == nil {
		t.Error("the writer endpoint of the rejoined cluster lets clients in")
	}
	until(t, 10*time.Second, func() error {
		if ms, ok := tw.ReplicationLagMilliseconds(east); !ok || ms < 35 {
			return fmt.Errorf("lag of the rejoined cluster: %v ms, %v", ms, ok)
		}
		return nil
	})
}

// checkTail reads the divergent tail from the snapshot.
func checkTail(t *testing.T, tw *twin) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	snapshots := tw.Snapshots(east)
	if len(snapshots) != 1 {
		t.Fatalf("snapshots: %v", snapshots)
	}
	if _, err := os.Stat(filepath.Join(snapshots[0].Path, "PG_VERSION")); err != nil {
		t.Error(err)
	}
	if _, err := tw.RestoreCluster(east, "tail", snapshots[0].Identifier); err != nil {
		t.Fatal(err)
	}
	_, err := tw.RestoreCluster(east, "tail", snapshots[0].Identifier)
	wantCode(t, err, CodeDBClusterExists)
	until(t, 20*time.Second, func() error { return wantStatus(tw.cluster(t, "tail").Status, StatusAvailable) })
	created, err := tw.CreateInstance(east, "tail", "tail-1", "db.t4g.medium")
	if err != nil || created.Status != StatusCreating || created.ARN == tw.cluster(t, "tail").ARN {
		t.Fatalf("created %+v, %v", created, err)
	}
	_, err = tw.DeleteCluster(east, "tail")
	wantCode(t, err, CodeInvalidDBClusterState)
	_, err = tw.CreateInstance(east, "tail", "tail-2", "db.t4g.medium")
	wantCode(t, err, CodeInvalidDBClusterState)
	until(t, 20*time.Second, func() error { return wantStatus(tw.instanceStatus("tail-1"), StatusAvailable) })
	read := dsn("dbadmin", "master's-password", created.Address, created.Port, "payments")
	const tail = "select string_agg(id::text, ' ' order by id) from rows where id < 0"
	if got, err := valueAt(ctx, read, tail); err != nil || got != "-3 -1" {
		t.Errorf("the snapshot's tail is %q (%v), want -3 -1", got, err)
	}
	// It is a server of its Region like any other: it dies with it, and comes back with it.
	tw.fabric.SetRegion(east, false)
	if err := tw.LoseRegion(east); err != nil {
		t.Fatal(err)
	}
	if got, err := valueAt(ctx, read, tail); err == nil {
		t.Errorf("a restored server of a lost Region says %q", got)
	}
	tw.fabric.SetRegion(east, true)
	if err := tw.ReturnRegion(ctx, east); err != nil {
		t.Fatal(err)
	}
	if got, err := valueAt(ctx, read, tail); err != nil || got != "-3 -1" {
		t.Errorf("after the Region's return the tail is %q (%v), want -3 -1", got, err)
	}
	if deleted, err := tw.DeleteInstance(east, "tail-1"); err != nil || deleted.Status != StatusDeleting {
		t.Errorf("deleted %+v, %v", deleted, err)
	}
	until(t, 20*time.Second, func() error { return wantStatus(tw.instanceStatus("tail-1"), "") })
	if _, err := tw.DeleteCluster(east, "tail"); err != nil {
		t.Error(err)
	}
	until(t, 20*time.Second, func() error {
		if clusters := tw.Clusters(east); len(clusters) != 1 {
			return fmt.Errorf("clusters are left: %+v", clusters)
		}
		return nil
	})
	if left, _ := filepath.Glob(filepath.Join(tw.opt.Dir, "restored", "*")); len(left) > 0 {
		t.Errorf("volumes are left: %v", left)
	}
	tw.wantEvents(t, east, "0170", "0005", "0003", "0171")
}

func wantStatus(got, want string) error {
	if got != want {
		return fmt.Errorf("status %q, want %q", got, want)
	}
	return nil
}

// instanceStatus is empty for an instance that is not there.
func (tw *twin) instanceStatus(identifier string) string {
	for _, in := range tw.Instances(east) {
		if in.Identifier == identifier {
			return in.Status
		}
	}
	return ""
}

func valueAt(ctx context.Context, dsn, query string) (value string, err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, query).Scan(&value)
	return value, err
}

// A Region that comes back before anybody took over goes on as the writer, with all that it had acknowledged.
func testRegionLostForAMoment(t *testing.T, tw *twin) {
	client := tw.startClient(t)
	for _, region := range []string{east, west} {
		tw.fabric.SetRegion(region, false)
		if err := tw.LoseRegion(region); err != nil {
			t.Fatal(err)
		}
		if status := tw.Clusters(region)[0].Status; status != StatusUnreachable {
			t.Errorf("the cluster in lost %s is %s", region, status)
		}
		tw.fabric.SetRegion(region, true)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		if err := tw.ReturnRegion(ctx, region); err != nil {
			t.Fatal(err)
		}
		cancel()
		client.waitMore(t, 50)
	}
	client.stop()
	if err := client.wantAll(primaryID); err != nil {
		t.Error(err)
	}
	until(t, 10*time.Second, func() error { return tw.wantRoles(primaryID, drID) })
	until(t, 10*time.Second, func() error { return client.wantAll(drID) })
}
