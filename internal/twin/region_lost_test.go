package twin_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/task"
)

func TestMain(m *testing.M) {
	task.ReaperMain() // does not return if this process was started as a twin's reaper
	os.Exit(m.Run())
}

// images builds the project's two programs and returns them under the names of the default topology's images.
func images(t *testing.T) map[string]ecs.Image {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "holdfast/cmd/holdfast", "holdfast/cmd/payd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	return map[string]ecs.Image{"payd:twin": {Path: filepath.Join(dir, "payd")}, "holdfast:twin": {Path: filepath.Join(dir, "holdfast")}}
}

// TestTakeoverAsksNothingThatIsLost: from the loss of us-east-1 until the other site serves, no call of the AWS API goes to
// the lost region, and none to Route 53, whose control plane is there.
func TestTakeoverAsksNothingThatIsLost(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tw := bringUp(ctx, t, 10)
	first, second := tw.Sites()[0], tw.Sites()[1]
	lostAt := time.Now()
	if err := tw.LoseRegion(ctx, first.Name); err != nil {
		t.Fatal(err)
	}
	waitServes(ctx, t, tw, second.Name)
	served := time.Now()
	counted := 0
	for _, call := range tw.Calls() {
		if call.At.Before(lostAt) || call.At.After(served) || call.CallerRegion != second.Region {
			continue
		}
		counted++
		if call.Region == first.Region || call.Service == "route53" {
			t.Errorf("%s called %s %s in %s during the takeover", call.CallerRegion, call.Service, call.Operation, call.Region)
		}
	}
	if counted == 0 {
		t.Error("the access log shows no call of the other region at all, so this test shows nothing")
	}
	t.Logf("%s served %v after the loss; %d calls", second.Name, served.Sub(lostAt).Round(10*time.Millisecond), counted)
}

func waitServes(ctx context.Context, t *testing.T, tw *twin.Twin, site string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		active, serving, err := tw.Active(ctx)
		if err == nil && active == site && serving {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s does not serve: active %s, serving %v, %v", site, active, serving, err)
		case <-tick.C:
		}
	}
}

// bringUp builds the default deployment's twin, takes it down after the test, and wants nothing to be left of it.
func bringUp(ctx context.Context, t *testing.T, speed float64) *twin.Twin {
	t.Helper()
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	return bringUpTopology(ctx, t, topo, speed)
}

// bringUpTopology is bringUp for another deployment.
func bringUpTopology(ctx context.Context, t *testing.T, topo topology.Topology, speed float64) *twin.Twin {
	t.Helper()
	tw, err := twin.Up(ctx, twin.Options{
		Topology: topo, Speed: speed, AcquirerURL: "http://127.0.0.1:1", // nobody pays here
		Images: images(t), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tw.Down(context.Background()); err != nil {
			t.Errorf("take the twin down: %v", err)
		}
		if _, err := os.Stat(tw.Dir()); err == nil {
			t.Errorf("the state folder %s is still there", tw.Dir())
		}
	})
	return tw
}
