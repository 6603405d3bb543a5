package twin_test

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/fence"
	"holdfast/internal/topology"
)

// Tasks of the application at each site, while it is the standby (its pilot light) and while the first one serves.
const (
	pilotTasks = 1
	siteTasks  = 3
)

// lit is the default deployment with the first site at its full size and the second one at its pilot light, which keeps the
// capacity of a move for two minutes.
func lit(t *testing.T) topology.Topology {
	t.Helper()
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	tasks := map[string]int{topo.Sites[0].Region: siteTasks, topo.Sites[1].Region: pilotTasks}
	for i, s := range topo.Services {
		for _, site := range topo.Sites {
			if s.Region == site.Region && s.Name == site.AppService {
				topo.Services[i].DesiredCount = tasks[s.Region]
			}
		}
	}
	for i, target := range topo.ScalableTargets {
		topo.ScalableTargets[i].Min = tasks[target.Region]
	}
	for i, definition := range topo.TaskDefinitions {
		for j, c := range definition.Containers {
			if c.Environment["HOLDFAST_APP_MIN_TASKS"] == "" {
				continue
			}
			changed := maps.Clone(c.Environment)
			changed["HOLDFAST_APP_MIN_TASKS"], changed["HOLDFAST_CAPACITY_FOR"] = strconv.Itoa(tasks[definition.Region]), "2m"
			topo.TaskDefinitions[i].Containers[j].Environment = changed
		}
	}
	return topo
}

// TestCapacityComesBeforeTheTraffic: for a planned move the standby is raised from its pilot light to what the active site wants,
// and nobody is kept waiting before that many of its tasks are healthy. Some time after the move its floor is the pilot light
// again.
func TestCapacityComesBeforeTheTraffic(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tw := bringUpTopology(ctx, t, lit(t), 10)
	first, second := tw.Sites()[0], tw.Sites()[1]
	healthy := func() (n int) {
		for _, state := range tw.Targets(second.AppTargetGroupARN) {
			if strings.HasPrefix(state, "healthy") {
				n++
			}
		}
		return n
	}
	if n, floor := healthy(), tw.Floor(second.Region, second.AppService); n != pilotTasks || floor != pilotTasks {
		t.Fatalf("the standby begins with %d healthy tasks and a floor of %d", n, floor)
	}
	database, err := pgx.Connect(ctx, tw.DatabaseDSN(first.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close(context.Background())
	asked := make(chan error, 1)
	go func() { asked <- tw.RequestSwitchover(ctx, second.Name) }()

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for sealed := false; !sealed; {
		s, err := fence.Sample(ctx, database)
		// A writer that has gone before it was seen sealed has handed over all the same.
		if sealed = err != nil || s.Lease.SealedTerm > 0; sealed && healthy() < siteTasks {
			t.Fatalf("payments are stopped for a site with %d healthy tasks", healthy())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the move did not begin: %d healthy tasks", healthy())
		}
	}
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	waitServes(ctx, t, tw, second.Name)
	if floor := tw.Floor(second.Region, second.AppService); floor != siteTasks {
		t.Errorf("the floor is %d while the traffic comes", floor)
	}
	for tw.Floor(second.Region, second.AppService) != pilotTasks {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the floor was not given back")
		}
	}
}
