package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/pgserver"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

const (
	east, west = "us-east-1", "us-west-2"
	globalID   = "global-aurora-test"
	primaryID  = "aurora-primary-test"
	drID       = "aurora-dr-test"
	primaryARN = "arn:aws:rds:us-east-1:123456789012:cluster:aurora-primary-test"
	drARN      = "arn:aws:rds:us-west-2:123456789012:cluster:aurora-dr-test"
)

// twoSites is a global database of two clusters with two instances each.
func twoSites() *topology.Topology {
	t := &topology.Topology{
		GlobalClusters: []topology.GlobalCluster{{Identifier: globalID, Engine: "aurora-postgresql", EngineVersion: "15.4"}},
	}
	for _, site := range []struct{ region, id, arn string }{{east, primaryID, primaryARN}, {west, drID, drARN}} {
		t.DBClusters = append(t.DBClusters, topology.DBCluster{
			Region: site.region, Identifier: site.id, ARN: site.arn, GlobalClusterIdentifier: globalID, Port: 5432,
			Endpoint: site.id + ".cluster-x.rds.amazonaws.com", ReaderEndpoint: site.id + ".cluster-ro-x.rds.amazonaws.com",
			DatabaseName: "payments", MasterUsername: "dbadmin", Secondary: site.id == drID,
			Parameters: map[string]string{
				"rds.force_ssl": "1", "log_min_duration_statement": "1234", "wal_level": "minimal",
				"shared_preload_libraries": "pg_stat_statements", "work_mem": "{DBInstanceClassMemory/32768}",
			},
		})
		for n := 1; n <= 2; n++ {
			id := fmt.Sprintf("%s-%d", site.id, n)
			t.DBInstances = append(t.DBInstances, topology.DBInstance{
				Region: site.region, Identifier: id, ARN: "arn:aws:rds:" + site.region + ":123456789012:db:" + id,
				ClusterIdentifier: site.id, PromotionTier: n - 1,
			})
		}
	}
	return t
}

// twin is a service under test with its network.
type twin struct {
	*Aurora
	fabric *network.Fabric
}

// build makes a twin that is not started. At the end of the test it must leave no process behind.
func build(t *testing.T, change func(*Options)) *twin {
	t.Helper()
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	fabric, err := network.New(network.Options{Regions: []string{east, west, "us-east-2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fabric.Close() })
	dir := pgservertest.Dir(t, in)
	opt := Options{
		Topology: twoSites(), Fabric: fabric, Dir: filepath.Join(dir, "db"), Installation: in, Password: "master's-password",
		ResyncDelay: 1500 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&opt)
	}
	a, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Error(err)
		}
		until(t, 5*time.Second, func() error { return nobodyIn(dir) })
		if t.Failed() {
			for _, path := range glob(filepath.Join(opt.Dir, "log", "*")) {
				data, _ := os.ReadFile(path)
				t.Logf("%s:\n%s", filepath.Base(path), data)
			}
		}
	})
	return &twin{Aurora: a, fabric: fabric}
}

func start(t *testing.T, change func(*Options)) *twin {
	t.Helper()
	tw := build(t, change)
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := tw.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("up after %v", time.Since(begun).Round(time.Millisecond))
	return tw
}

func glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern)
	return paths
}

// nobodyIn fails if a process has its working directory below dir.
func nobodyIn(dir string) error {
	for _, link := range glob("/proc/[0-9]*/cwd") {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir) {
			return fmt.Errorf("%s is in %s", link, cwd)
		}
	}
	return nil
}

// until polls until a condition holds.
func until(t *testing.T, limit time.Duration, holds func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := eventually(ctx, 10*time.Millisecond, holds); err != nil {
		t.Fatal(err)
	}
}

// open connects to an endpoint or, with an empty name, to a cluster's first instance.
func (tw *twin) open(ctx context.Context, clusterID string, endpoint func(Cluster) string) (*pgx.Conn, error) {
	url, err := tw.InstanceDSN(clusterID)
	if err != nil {
		return nil, err
	}
	if endpoint != nil {
		name := ""
		for _, region := range []string{east, west} {
			for _, c := range tw.Clusters(region) {
				if c.Identifier == clusterID {
					name = endpoint(c)
				}
			}
		}
		host, port, ok := tw.EndpointAddress(name)
		if !ok {
			return nil, fmt.Errorf("endpoint %q has no address", name)
		}
		url = dsn("dbadmin", "master's-password", host, port, "payments")
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return pgx.Connect(ctx, url)
}

func writerEndpoint(c Cluster) string { return c.Endpoint }
func readerEndpoint(c Cluster) string { return c.ReaderEndpoint }

// exec runs statements on a cluster.
func (tw *twin) exec(clusterID string, endpoint func(Cluster) string, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := tw.open(ctx, clusterID, endpoint)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func (tw *twin) mustExec(t *testing.T, clusterID string, statements ...string) {
	t.Helper()
	if err := tw.exec(clusterID, writerEndpoint, statements...); err != nil {
		t.Fatal(err)
	}
}

// empty makes the table of rows anew and waits until everybody sees it empty and the roles are as at the beginning.
func (tw *twin) empty(t *testing.T) {
	t.Helper()
	until(t, 30*time.Second, func() error { return tw.wantRoles(primaryID, drID) })
	tw.mustExec(t, primaryID, "drop table if exists rows", "create table rows (id int primary key)")
	until(t, 10*time.Second, func() error {
		const query = "select count(*)::text from rows"
		return errors.Join(tw.wantValue(drID, nil, query, "0"), tw.wantValue(drID, readerEndpoint, query, "0"),
			tw.wantValue(primaryID, readerEndpoint, query, "0"))
	})
}

// value asks a cluster for one value as text.
func (tw *twin) value(clusterID string, endpoint func(Cluster) string, query string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := tw.open(ctx, clusterID, endpoint)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var value string
	err = conn.QueryRow(ctx, query).Scan(&value)
	return value, err
}

func (tw *twin) wantValue(clusterID string, endpoint func(Cluster) string, query, want string) error {
	got, err := tw.value(clusterID, endpoint, query)
	if err == nil && got != want {
		err = fmt.Errorf("%s on %s = %q, want %q", query, clusterID, got, want)
	}
	return err
}

func (tw *twin) cluster(t *testing.T, id string) Cluster {
	t.Helper()
	for _, region := range []string{east, west} {
		for _, c := range tw.Clusters(region) {
			if c.Identifier == id {
				return c
			}
		}
	}
	t.Fatalf("no cluster %s", id)
	return Cluster{}
}

// wantRoles fails unless the views say that one cluster is the writer, the other follows, and both are available.
func (tw *twin) wantRoles(writer, secondary string) error {
	g := tw.GlobalClusters()[0]
	if g.Status != StatusAvailable {
		return fmt.Errorf("the global cluster is %s", g.Status)
	}
	for _, m := range g.Members {
		if m.IsWriter != (m.Identifier == writer) {
			return fmt.Errorf("member %s: writer is %v", m.Identifier, m.IsWriter)
		}
		if m.Identifier == secondary && m.SynchronizationStatus != SyncConnected {
			return fmt.Errorf("member %s is %s", m.Identifier, m.SynchronizationStatus)
		}
	}
	for _, region := range []string{east, west} {
		for _, c := range tw.Clusters(region) {
			if c.Status != StatusAvailable {
				return fmt.Errorf("cluster %s is %s", c.Identifier, c.Status)
			}
		}
		for _, in := range tw.Instances(region) {
			if in.Status != StatusAvailable {
				return fmt.Errorf("instance %s is %s", in.Identifier, in.Status)
			}
		}
	}
	return nil
}

func (tw *twin) settle(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	return tw.Settle(ctx, globalID)
}

// wantEvents fails unless the codes occur in this order among a Region's events.
func (tw *twin) wantEvents(t *testing.T, region string, codes ...string) {
	t.Helper()
	events := tw.Events(region)
	next := 0
	for _, e := range events {
		if next < len(codes) && e.Code == "RDS-EVENT-"+codes[next] {
			next++
		}
	}
	if next < len(codes) {
		t.Errorf("%s: no event %s in its place among %v", region, codes[next], events)
	}
}

// client inserts numbered rows through whichever cluster endpoint lets it in, as fast as it can, and remembers which
// were acknowledged.
type client struct {
	tw     *twin
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu           sync.Mutex
	acknowledged []int
	last         time.Time
	longestGap   time.Duration
}

func (tw *twin) startClient(t *testing.T) *client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{tw: tw, cancel: cancel}
	c.done.Go(func() { c.run(ctx) })
	t.Cleanup(c.stop)
	c.waitMore(t, 20)
	return c
}

func (c *client) run(ctx context.Context) {
	clusters := []string{primaryID, drID}
	var conn *pgx.Conn
	for id := 1; ctx.Err() == nil; id++ {
		for ctx.Err() == nil && (conn == nil || conn.IsClosed()) {
			var err error
			if conn, err = c.tw.open(ctx, clusters[0], writerEndpoint); err != nil {
				clusters[0], clusters[1] = clusters[1], clusters[0]
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		}
		if conn == nil || conn.IsClosed() {
			return
		}
		execCtx, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := conn.Exec(execCtx, "insert into rows values ($1)", id)
		cancel()
		if err != nil {
			_ = conn.Close(context.Background())
			continue
		}
		c.mu.Lock()
		now := time.Now()
		if !c.last.IsZero() {
			c.longestGap = max(c.longestGap, now.Sub(c.last))
		}
		c.last = now
		c.acknowledged = append(c.acknowledged, id)
		c.mu.Unlock()
	}
	if conn != nil {
		_ = conn.Close(context.Background())
	}
}

func (c *client) stop() {
	c.cancel()
	c.done.Wait()
}

func (c *client) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acknowledged)
}

// waitMore waits until so many more rows are acknowledged.
func (c *client) waitMore(t *testing.T, more int) {
	t.Helper()
	goal := c.count() + more
	until(t, 30*time.Second, func() error {
		if n := c.count(); n < goal {
			return fmt.Errorf("%d rows acknowledged, want %d", n, goal)
		}
		return nil
	})
}

// gap returns the longest time without an acknowledgement since it was last asked.
func (c *client) gap() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	gap := c.longestGap
	c.longestGap = 0
	return gap
}

// wantAll fails if a cluster lacks rows that were acknowledged.
func (c *client) wantAll(clusterID string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := c.tw.open(ctx, clusterID, nil)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "select id from rows")
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return err
	}
	there := map[int]bool{}
	for _, id := range ids {
		there[id] = true
	}
	var missing []int
	for _, id := range c.acknowledged {
		if !there[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s lacks %d of %d acknowledged rows: %v", clusterID, len(missing), len(c.acknowledged), missing)
	}
	return nil
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Errorf("error %v, want the code %s", err, code)
	}
}
