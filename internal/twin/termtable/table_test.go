package termtable

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/goleak"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	east, west, witness = "us-east-1", "us-west-2", "us-east-2"
	tableName           = "holdfast-term-test"
)

// newTable builds a table over a real fabric. It must run outside a synctest bubble's accept loop, so the fabric's
// guard is closed by the test's clean-up.
func newTable(t *testing.T) (*Table, *network.Fabric) {
	t.Helper()
	fabric, err := network.New(network.Options{Regions: []string{east, west, witness}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fabric.Close)
	for _, pair := range [][2]string{{east, west}, {east, witness}, {west, witness}} {
		fabric.SetLink(pair[0], pair[1], network.LinkState{OneWayDelay: 5 * time.Millisecond})
	}
	table, err := New(Options{
		Table: topology.TermTable{
			Name: tableName, ReplicaRegions: []string{east, west}, WitnessRegion: witness, MultiRegionConsistency: "STRONG",
		},
		AccountID: "123456789012", Network: fabric,
	})
	if err != nil {
		t.Fatal(err)
	}
	return table, fabric
}

func put(version int, condition string) *dynamodb.PutItemInput {
	in := &dynamodb.PutItemInput{
		TableName: aws.String(tableName), Item: item{"id": str("prod"), "version": num(strconv.Itoa(version))},
	}
	if condition != "" {
		in.ConditionExpression = &condition
		if strings.Contains(condition, ":read") {
			in.ExpressionAttributeValues = item{":read": num(strconv.Itoa(version - 1))}
		}
	}
	return in
}

func version(t *testing.T, table *Table, region string) int {
	t.Helper()
	out, err := table.GetItem(t.Context(), region, &dynamodb.GetItemInput{
		TableName: aws.String(tableName), Key: item{"id": str("prod")}, ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.Item == nil {
		return 0
	}
	n, err := strconv.Atoi(out.Item["version"].(*types.AttributeValueMemberN).Value)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestWriteInOneRegionIsReadInTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, _ := newTable(t)
		start := time.Now()
		if _, err := table.PutItem(t.Context(), east, put(1, "attribute_not_exists(id)")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("the write took %v, want the round trip to the nearest region, 10ms", took)
		}
		if got := version(t, table, west); got != 1 {
			t.Errorf("the other region reads version %d, want 1", got)
		}
		_, err := table.PutItem(t.Context(), west, put(1, "attribute_not_exists(id)"))
		if code(err) != "ConditionalCheckFailedException" {
			t.Errorf("second create = %v, want ConditionalCheckFailedException", err)
		}
		for _, tt := range []struct{ region, name string }{{witness, tableName}, {"eu-west-1", tableName}, {east, "other"}} {
			in := put(2, "")
			in.TableName = aws.String(tt.name)
			if _, err := table.PutItem(t.Context(), tt.region, in); code(err) != "ResourceNotFoundException" {
				t.Errorf("write to %s in %s = %v, want ResourceNotFoundException", tt.name, tt.region, err)
			}
		}
	})
}

func TestMajorityDecides(t *testing.T) {
	cut := network.LinkState{OneWayDelay: 5 * time.Millisecond, Partitioned: true}
	tests := []struct {
		name       string
		fault      func(f *network.Fabric)
		east, west bool
	}{
		{"all connected", func(*network.Fabric) {}, true, true},
		{"east is lost", func(f *network.Fabric) { f.SetRegion(east, false) }, false, true},
		{"witness is lost", func(f *network.Fabric) { f.SetRegion(witness, false) }, true, true},
		{"east and west are lost", func(f *network.Fabric) { f.SetRegion(east, false); f.SetRegion(west, false) }, false, false},
		{"the sites cannot see each other", func(f *network.Fabric) { f.SetLink(east, west, cut) }, true, true},
		{"east is cut off", func(f *network.Fabric) { f.SetLink(east, west, cut); f.SetLink(east, witness, cut) }, false, true},
		{"all links are cut", func(f *network.Fabric) {
			f.SetLink(east, west, cut)
			f.SetLink(east, witness, cut)
			f.SetLink(west, witness, cut)
		}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, fabric := newTable(t)
				tt.fault(fabric)
				for region, want := range map[string]bool{east: tt.east, west: tt.west} {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					_, err := table.PutItem(ctx, region, put(1, ""))
					cancel()
					if (err == nil) != want || err != nil && !errors.Is(err, ErrNoAnswer) {
						t.Errorf("write in %s = %v, want success %v", region, err, want)
					}
				}
				if !tt.east && !tt.west && table.Len() != 0 {
					t.Error("a write without a majority took effect")
				}
			})
		})
	}
}

// TestLostAnswerLeavesTheWrite pins the case that PROTOCOL P4 calls unknown: the write is there, the client does not
// know.
func TestLostAnswerLeavesTheWrite(t *testing.T) {
	faults := map[string]func(f *network.Fabric){
		"partition": func(f *network.Fabric) {
			cut := network.LinkState{OneWayDelay: 5 * time.Millisecond, Partitioned: true}
			f.SetLink(east, west, cut)
			f.SetLink(east, witness, cut)
		},
		"region lost": func(f *network.Fabric) { f.SetRegion(east, false) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, fabric := newTable(t)
				time.AfterFunc(7*time.Millisecond, func() { fault(fabric) }) // it arrives after 5 ms, the answer after 10
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := table.PutItem(ctx, east, put(1, "attribute_not_exists(id)"))
				if !errors.Is(err, ErrNoAnswer) {
					t.Fatalf("write = %v, want no answer", err)
				}
				if got := version(t, table, west); got != 1 {
					t.Errorf("the other region reads version %d, want 1: the write stays", got)
				}
			})
		})
	}
}

// TestDelayedWriteMayLandLate pins that a write that was under way when the link broke can still take effect after it
// has healed, long after the client gave it up for lost: what a version check has to catch.
func TestDelayedWriteMayLandLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, fabric := newTable(t)
		cut := network.LinkState{OneWayDelay: 5 * time.Millisecond, Partitioned: true}
		fabric.SetLink(east, west, cut)
		fabric.SetLink(east, witness, cut)
		time.AfterFunc(3*time.Second, func() {
			fabric.SetLink(east, witness, network.LinkState{OneWayDelay: 5 * time.Millisecond})
		})
		if _, err := table.PutItem(t.Context(), east, put(1, "")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRacingRegionsGetAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, _ := newTable(t)
		var wg sync.WaitGroup
		outcomes := map[string]error{}
		var mu sync.Mutex
		for _, region := range []string{east, west} {
			wg.Go(func() {
				_, err := table.PutItem(t.Context(), region, put(1, ""))
				mu.Lock()
				defer mu.Unlock()
				outcomes[region] = err
			})
		}
		wg.Wait()
		codes := map[string]int{}
		for _, err := range outcomes {
			codes[code(err)]++
		}
		if codes[""] != 1 || codes["ReplicatedWriteConflictException"] != 1 {
			t.Errorf("outcomes = %v, want one success and one ReplicatedWriteConflictException", outcomes)
		}
		// Without a race the same region's and the other region's writes pass.
		for _, region := range []string{east, west, west, east} {
			if _, err := table.PutItem(t.Context(), region, put(2, "")); err != nil {
				t.Errorf("write in %s = %v", region, err)
			}
		}
	})
}

// TestConditionalWritesAreLinearizable lets clients of both regions raise a version by conditional writes while links
// and regions come and go. Every version must have been written by exactly one client, and only clients that got no
// answer may have written a version without knowing.
func TestConditionalWritesAreLinearizable(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { raceForVersions(t, seed) })
		})
	}
}

func raceForVersions(t *testing.T, seed uint64) {
	table, fabric := newTable(t)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var mu sync.Mutex
	winners := map[int][]string{} // version -> clients that were told that they wrote it
	unknown := map[int]int{}
	var wg sync.WaitGroup
	for c := range 4 {
		region := []string{east, west}[c%2]
		random := rand.New(rand.NewPCG(seed, uint64(c)))
		wg.Go(func() {
			floor := 0
			for ctx.Err() == nil {
				attempt, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
				next := readThenWrite(t, attempt, table, region, &floor)
				cancel()
				mu.Lock()
				switch {
				case next > 0:
					winners[next] = append(winners[next], region)
				case next < 0:
					unknown[-next]++
				}
				mu.Unlock()
				wait(ctx, time.Duration(random.IntN(20))*time.Millisecond)
			}
		})
	}
	wg.Go(func() { disturb(ctx, fabric, rand.New(rand.NewPCG(seed, 99))) })
	wg.Wait()
	heal(fabric)
	last := version(t, table, west)
	known := 0
	for v := 1; v <= last; v++ {
		if len(winners[v]) > 1 {
			t.Errorf("version %d was written by %v", v, winners[v])
		}
		if len(winners[v]) == 0 && unknown[v] == 0 {
			t.Errorf("version %d appeared from nowhere", v)
		}
		known += len(winners[v])
	}
	for v := range winners {
		if v > last {
			t.Errorf("version %d was acknowledged, but the table ends at %d", v, last)
		}
	}
	if known < 20 || len(unknown) == 0 {
		t.Errorf("%d known and %d unknown writes: the run shows nothing", known, len(unknown))
	}
}

// readThenWrite raises the version once: it returns the version written, its negative if the answer is missing, or 0.
func readThenWrite(t *testing.T, ctx context.Context, table *Table, region string, floor *int) int {
	out, err := table.GetItem(ctx, region, &dynamodb.GetItemInput{
		TableName: aws.String(tableName), Key: item{"id": str("prod")},
	})
	if err != nil {
		return 0
	}
	current, condition := 0, "attribute_not_exists(id)"
	if out.Item != nil {
		current, _ = strconv.Atoi(out.Item["version"].(*types.AttributeValueMemberN).Value)
		condition = "version = :read"
	}
	if current < *floor {
		t.Errorf("%s read version %d after it had seen %d", region, current, *floor)
	}
	*floor = current
	_, err = table.PutItem(ctx, region, put(current+1, condition))
	switch {
	case err == nil:
		*floor = current + 1
		return current + 1
	case errors.Is(err, ErrNoAnswer):
		return -(current + 1)
	case code(err) != "ConditionalCheckFailedException" && code(err) != "ReplicatedWriteConflictException":
		t.Errorf("write in %s: %v", region, err)
	}
	return 0
}

func disturb(ctx context.Context, fabric *network.Fabric, random *rand.Rand) {
	regions := []string{east, west, witness}
	for ctx.Err() == nil {
		a, b := regions[random.IntN(3)], regions[random.IntN(3)]
		switch {
		case a == b:
			fabric.SetRegion(a, random.IntN(3) > 0)
		default:
			fabric.SetLink(a, b, network.LinkState{
				OneWayDelay: time.Duration(1+random.IntN(20)) * time.Millisecond, Partitioned: random.IntN(3) == 0,
			})
		}
		wait(ctx, time.Duration(random.IntN(60))*time.Millisecond)
	}
}

func heal(fabric *network.Fabric) {
	for _, r := range []string{east, west, witness} {
		fabric.SetRegion(r, true)
	}
	for _, p := range [][2]string{{east, west}, {east, witness}, {west, witness}} {
		fabric.SetLink(p[0], p[1], network.LinkState{OneWayDelay: time.Millisecond})
	}
}

// wait lets time pass in a synctest bubble.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
