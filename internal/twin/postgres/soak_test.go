package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"holdfast/internal/twin/network"
)

// A random walk over everything that can happen. When the faults stop, the twin must come to rest with one writer, every
// server up, and both sites equal. HOLDFAST_SOAK is the number of steps, HOLDFAST_SEED replays a walk.
func TestSoak(t *testing.T) {
	steps, _ := strconv.Atoi(os.Getenv("HOLDFAST_SOAK"))
	if steps == 0 {
		t.Skip("a walk takes minutes; HOLDFAST_SOAK=40 takes one of 40 steps")
	}
	seed, err := strconv.ParseUint(os.Getenv("HOLDFAST_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("HOLDFAST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	tw := start(t, nil)
	tw.empty(t)
	client := tw.startClient(t)
	for step := range steps {
		what := tw.randomStep(random)
		t.Logf("step %d: %s", step, what)
		<-time.After(time.Duration(random.IntN(1500)) * time.Millisecond)
	}
	tw.endFaults(t)
	client.stop()
	until(t, 90*time.Second, tw.atRest)
}

func (tw *twin) randomStep(random *rand.Rand) string {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	region, target := east, primaryID
	if random.IntN(2) == 0 {
		region, target = west, drID
	}
	link := tw.fabric.Link(east, west)
	switch random.IntN(9) {
	case 0:
		tw.fabric.SetRegion(region, false)
		return fmt.Sprint("lose ", region, tw.LoseRegion(region))
	case 1, 2:
		tw.fabric.SetRegion(region, true)
		return fmt.Sprint("return ", region, tw.ReturnRegion(ctx, region))
	case 3:
		return fmt.Sprint("freeze ", region, tw.FreezeRegion(region))
	case 4:
		return fmt.Sprint("thaw ", region, tw.ThawRegion(region))
	case 5:
		return fmt.Sprint("switchover ", target, tw.Switchover(ctx, region, globalID, target))
	case 6:
		return fmt.Sprint("failover ", target, tw.Failover(ctx, region, globalID, target, true))
	case 7:
		id := target + "-" + strconv.Itoa(1+random.IntN(2))
		return fmt.Sprint("kill ", id, tw.KillInstance(id))
	}
	tw.fabric.SetLink(east, west, network.LinkState{OneWayDelay: link.OneWayDelay, Partitioned: !link.Partitioned})
	return fmt.Sprint("partition ", !link.Partitioned)
}

func (tw *twin) endFaults(t *testing.T) {
	t.Helper()
	tw.fabric.SetLink(east, west, network.LinkState{OneWayDelay: tw.fabric.Link(east, west).OneWayDelay})
	for _, region := range []string{east, west} {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		tw.fabric.SetRegion(region, true)
		if err := errors.Join(tw.ReturnRegion(ctx, region), tw.ThawRegion(region)); err != nil {
			t.Log(err) // what does not start at once is restarted
		}
		cancel()
	}
}

// atRest fails unless one cluster is the writer, the other follows, and both hold the same rows.
func (tw *twin) atRest() error {
	writer, secondary := primaryID, drID
	if tw.GlobalClusters()[0].Members[1].IsWriter {
		writer, secondary = drID, primaryID
	}
	if err := tw.wantRoles(writer, secondary); err != nil {
		return err
	}
	const query = "select count(*)::text || ' ' || sum(id)::text from rows"
	want, err := tw.value(writer, writerEndpoint, query)
	if err != nil {
		return err
	}
	return errors.Join(tw.wantValue(secondary, readerEndpoint, query, want), tw.wantValue(writer, readerEndpoint, query, want))
}
