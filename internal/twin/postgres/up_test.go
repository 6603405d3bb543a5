package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/pgserver"
)

// The events that leave the roles as they were share one twin, because a start costs seconds. Each begins with an empty
// table on both sites.
func TestGlobalDatabase(t *testing.T) {
	tw := start(t, nil)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *twin)
	}{
		{"rows reach the standby the link's delay later", testRowsFlow},
		{"a frozen standby falls behind and catches up", testFrozenStandby},
		{"a switchover there and back loses nothing", testSwitchoverThereAndBack},
		{"a crash of the writer moves it and loses nothing", testWriterCrash},
		{"a zone lost moves the writer until it returns", testZoneLost},
		{"a region lost for a moment goes on as it was", testRegionLostForAMoment},
		{"a switchover over a partition is cancelled", testSwitchoverOverAPartition},
		{"a switchover whose target is lost half-way goes back", testSwitchoverTargetLost},
		{"a replica that lost its place is rebuilt", testReplicaLostItsPlace},
	} {
		if !t.Run(test.name, func(t *testing.T) {
			tw.empty(t)
			test.run(t, tw)
		}) {
			break
		}
	}
}

func testRowsFlow(t *testing.T, tw *twin) {
	ctx := context.Background()
	standby, err := tw.open(ctx, drID, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer standby.Close(ctx)
	shortest := time.Hour
	for id := range 5 {
		tw.mustExec(t, primaryID, fmt.Sprintf("insert into rows values (%d)", id))
		committed := time.Now()
		until(t, 10*time.Second, func() error {
			var there bool
			if err := standby.QueryRow(ctx, "select exists (select from rows where id = $1)", id).Scan(&there); err != nil || !there {
				return errors.Join(fmt.Errorf("row %d is not there: %v", id, there), err)
			}
			return nil
		})
		shortest = min(shortest, time.Since(committed))
	}
	// mustExec closes its connection after the commit, which takes a moment of the delay.
	if shortest < 25*time.Millisecond {
		t.Errorf("a row arrived after %v although the link takes 35 ms", shortest)
	}
	until(t, 10*time.Second, func() error { return tw.wantValue(drID, readerEndpoint, "select count(*)::text from rows", "5") })

	if err := tw.exec(drID, writerEndpoint, "select 1"); err == nil {
		t.Error("the writer endpoint of the secondary lets clients in")
	}
	if err := tw.exec(drID, nil, "insert into rows values (99)"); err == nil {
		t.Error("the secondary accepts a write")
	}
	until(t, 10*time.Second, func() error {
		ms, ok := tw.ReplicationLagMilliseconds(west)
		if !ok || ms < 35 || ms > 5000 {
			return fmt.Errorf("lag of %s is %v ms, %v", west, ms, ok)
		}
		return nil
	})
	if ms, ok := tw.ReplicationLagMilliseconds(east); ok {
		t.Errorf("the writer's Region has a lag of %v ms, AWS publishes none there", ms)
	}
	checkSettings(t, tw)
	checkCallersFromElsewhere(t, tw)
	checkFigures(t, tw)
}

// checkFigures: a meter counts commits where they are made, sees a reader's lag, and goes on after its connection broke.
func checkFigures(t *testing.T, tw *twin) {
	t.Helper()
	meter := tw.NewMeter()
	defer meter.Close()
	ctx := context.Background()
	writer, reader := primaryID+"-1", primaryID+"-2"
	before := meter.Read(ctx, east)
	if len(before) != 2 || before[writer].ReplicaLag != 0 || before[reader].ReplicaLag > time.Minute {
		t.Errorf("figures of %s: %+v", east, before)
	}
	for id := range 5 {
		tw.mustExec(t, primaryID, fmt.Sprintf("insert into rows values (%d)", 1000+id))
	}
	// Servers count a backend's commits once a second, or when it ends.
	until(t, 20*time.Second, func() error {
		if after := meter.Read(ctx, east); after[writer].Commits < before[writer].Commits+5 {
			return fmt.Errorf("commits went from %d to %d", before[writer].Commits, after[writer].Commits)
		}
		return nil
	})
	tw.mustExec(t, primaryID, "delete from rows where id >= 1000")
	meter.Close()
	if again := meter.Read(ctx, east); again[writer].Commits == 0 {
		t.Errorf("figures over new connections: %+v", again)
	}
	if nowhere := meter.Read(ctx, "eu-west-1"); len(nowhere) != 0 {
		t.Errorf("figures of nowhere: %+v", nowhere)
	}
}

func checkSettings(t *testing.T, tw *twin) {
	t.Helper()
	for query, want := range map[string]string{
		"select current_setting('log_min_duration_statement')":                   "1234ms",
		"select current_setting('wal_level')":                                    "replica",
		"select current_setting('max_prepared_transactions')":                    "0",
		"select rolsuper::text from pg_roles where rolname = current_user":       "false",
		"select ssl::text from pg_stat_ssl where pid = pg_backend_pid()":         "true",
		"select count(*)::text from pg_stat_replication where state='streaming'": "2",
	} {
		if err := tw.wantValue(primaryID, writerEndpoint, query, want); err != nil {
			t.Error(err)
		}
	}
	want := []string{"rds.force_ssl", "shared_preload_libraries", "wal_level", "work_mem"}
	if got := tw.cluster(t, primaryID).IgnoredParameters; !slices.Equal(got, want) {
		t.Errorf("ignored parameters %v, want %v", got, want)
	}
	host, port, _ := tw.EndpointAddress(tw.cluster(t, primaryID).Endpoint)
	plain := strings.Replace(dsn("dbadmin", "master's-password", host, port, "payments"), "require", "disable", 1)
	if conn, err := pgx.Connect(context.Background(), plain); err == nil {
		_ = conn.Close(context.Background())
		t.Error("a connection without TLS is let in")
	}
}

// checkCallersFromElsewhere: a caller in the other Region reaches an endpoint over the link.
func checkCallersFromElsewhere(t *testing.T, tw *twin) {
	t.Helper()
	listen := tw.fabric.Allocate(west, "caller")
	relay, err := tw.Relay(tw.cluster(t, primaryID).Endpoint, west, listen, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	_, port, _ := tw.EndpointAddress(tw.cluster(t, primaryID).Endpoint)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn("dbadmin", "master's-password", listen.String(), port, "payments"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	begun := time.Now()
	if _, err := conn.Exec(ctx, "select 1"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 70*time.Millisecond {
		t.Errorf("a round trip from %s took %v, the link alone takes 70 ms", west, took)
	}
}

func TestRefusalsCarryAWSCodes(t *testing.T) {
	tw := build(t, nil)
	ctx := context.Background()
	for _, test := range []struct {
		name, region, global, target, code string
		lossy                              bool
	}{
		{"no such global cluster", west, "nobody", drID, CodeGlobalClusterNotFound, true},
		{"plain identifier in another Region", east, globalID, drID, CodeDBClusterNotFound, true},
		{"ARN of no member", east, globalID, drARN + "x", CodeDBClusterNotFound, true},
		{"already the primary", east, globalID, primaryID, CodeInvalidGlobalClusterState, true},
		{"already the primary, by ARN from elsewhere", west, globalID, primaryARN, CodeInvalidGlobalClusterState, false},
		{"target without a server", west, globalID, drID, CodeInvalidDBClusterState, true},
		{"target by ARN, identifiers not case-sensitive", east, strings.ToUpper(globalID), drARN, CodeInvalidDBClusterState, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantCode(t, tw.Failover(ctx, test.region, test.global, test.target, test.lossy), test.code)
		})
	}
	wantCode(t, tw.KillInstance("nobody"), CodeDBInstanceNotFound)
	wantCode(t, tw.KillInstance(primaryID+"-1"), CodeInvalidDBInstanceState)
	_, err := tw.InstanceDSN("nobody")
	wantCode(t, err, CodeDBClusterNotFound)
	_, err = tw.RestoreCluster(east, "restored", "rds:nothing")
	wantCode(t, err, CodeSnapshotNotFound)
	_, err = tw.RestoreCluster(east, strings.ToUpper(primaryID), "rds:nothing")
	wantCode(t, err, CodeDBClusterExists)
	for _, identifier := range []string{"", "../x", "a--b", "a-", "1a", strings.Repeat("a", 64)} {
		_, err = tw.RestoreCluster(east, identifier, "rds:nothing")
		wantCode(t, err, CodeInvalidParameter)
	}
	_, err = tw.CreateInstance(east, "nobody", "instance", "db.r6g.large")
	wantCode(t, err, CodeDBClusterNotFound)
	_, err = tw.CreateInstance(east, primaryID, "instance", "db.r6g.large")
	wantCode(t, err, CodeInvalidDBClusterState)
	_, err = tw.DeleteInstance(east, primaryID+"-1")
	wantCode(t, err, CodeInvalidDBInstanceState)
	_, err = tw.DeleteInstance(west, primaryID+"-1")
	wantCode(t, err, CodeDBInstanceNotFound)
	_, err = tw.DeleteCluster(east, primaryID)
	wantCode(t, err, CodeInvalidDBClusterState)
	_, err = tw.DeleteCluster(east, "nobody")
	wantCode(t, err, CodeDBClusterNotFound)
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Run("port in use", func(t *testing.T) {
		tw := build(t, nil)
		taken := net.JoinHostPort(tw.fabric.Allocate(east, "db:"+primaryID+"-1").String(), "5432")
		l, err := net.Listen("tcp", taken)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		wantSentence(t, tw.Start(context.Background()), "address already in use", "stop the program that uses the port")
	})
	t.Run("folder that PostgreSQL's user may not enter", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root's servers run as another user")
		}
		tw := build(t, func(opt *Options) {
			shut := filepath.Dir(opt.Dir)
			if err := errors.Join(os.Chown(shut, 0, 0), os.Chmod(shut, 0o700)); err != nil {
				t.Fatal(err)
			}
		})
		wantSentence(t, tw.Start(context.Background()), "may not enter", "choose a folder")
	})
	t.Run("folder that is a file", func(t *testing.T) {
		tw := build(t, func(opt *Options) {
			if err := os.WriteFile(opt.Dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		})
		wantSentence(t, tw.Start(context.Background()), "cannot be written", "not a directory")
	})
}

func wantSentence(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not say %q", err, part)
		}
	}
}

func TestNewRefusesATopologyThatMakesNoDatabase(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"has no DB instance":      func(o *Options) { o.Topology.DBInstances = o.Topology.DBInstances[:2] },
		"has no DB cluster":       func(o *Options) { o.Topology.DBClusters = nil },
		"which the topology lack": func(o *Options) { o.Topology.DBClusters[1].GlobalClusterIdentifier = "other" },
		"has two primary":         func(o *Options) { o.Topology.DBClusters[1].Secondary = false },
		"has no primary":          func(o *Options) { o.Topology.DBClusters[0].Secondary = true },
	} {
		tw := build(t, nil)
		opt := tw.opt
		opt.Topology = twoSites()
		opt.Installation = pgserver.Installation{}
		change(&opt)
		_, err := New(opt)
		wantSentence(t, err, name)
	}
}
