package metrics

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/termtable"
)

// noMajority is how long a request may wait for the other regions before it counts as failed. It is real time: the delays
// between the regions are.
const noMajority = time.Second

// maxLatencies is how many single latencies of a minute are kept for percentiles.
const maxLatencies = 1000

// Table is the term table with a look at every request.
type Table struct {
	*termtable.Table
	now func() time.Time

	mu      sync.Mutex
	tallies map[tallyKey]*tally
}

type tallyKey struct{ region, operation string }

// tally is what happened to one operation in one region since it was last published.
type tally struct {
	latencies []float64 // milliseconds
	errors    float64
}

// NewTable returns a table that counts.
func NewTable(table *termtable.Table) *Table {
	return &Table{Table: table, now: time.Now, tallies: map[tallyKey]*tally{}}
}

// GetItem is termtable's, counted; so are the others.
func (t *Table) GetItem(ctx context.Context, region string, in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
	return counted(ctx, t, region, "GetItem", in, t.Table.GetItem)
}

// PutItem is termtable's, counted.
func (t *Table) PutItem(ctx context.Context, region string, in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
	return counted(ctx, t, region, "PutItem", in, t.Table.PutItem)
}

// UpdateItem is termtable's, counted.
func (t *Table) UpdateItem(ctx context.Context, region string, in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
	return counted(ctx, t, region, "UpdateItem", in, t.Table.UpdateItem)
}

// DeleteItem is termtable's, counted.
func (t *Table) DeleteItem(ctx context.Context, region string, in *dynamodb.DeleteItemInput) (*dynamodb.DeleteItemOutput, error) {
	return counted(ctx, t, region, "DeleteItem", in, t.Table.DeleteItem)
}

// Query is termtable's, counted.
func (t *Table) Query(ctx context.Context, region string, in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
	return counted(ctx, t, region, "Query", in, t.Table.Query)
}

// Scan is termtable's, counted.
func (t *Table) Scan(ctx context.Context, region string, in *dynamodb.ScanInput) (*dynamodb.ScanOutput, error) {
	return counted(ctx, t, region, "Scan", in, t.Table.Scan)
}

// counted runs a request and counts how it went. One that waits too long counts as failed at once, whatever comes of it.
func counted[In, Out any](
	ctx context.Context, t *Table, region, operation string, in In, run func(context.Context, string, In) (Out, error),
) (Out, error) {
	key := tallyKey{region, operation}
	begun := t.now()
	failed := time.AfterFunc(noMajority, func() { t.count(key, func(y *tally) { y.errors++ }) })
	out, err := run(ctx, region, in)
	inTime := failed.Stop()
	switch {
	case inTime && errors.Is(err, termtable.ErrNoAnswer):
		t.count(key, func(y *tally) { y.errors++ })
	case inTime && err == nil:
		took := float64(t.now().Sub(begun)) / float64(time.Millisecond)
		t.count(key, func(y *tally) {
			if len(y.latencies) < maxLatencies {
				y.latencies = append(y.latencies, took)
			}
		})
	}
	return out, err
}

func (t *Table) count(key tallyKey, change func(*tally)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tallies[key] == nil {
		t.tallies[key] = &tally{}
	}
	change(t.tallies[key])
}

// take returns what was counted in a region since the last time, by operation.
func (t *Table) take(region string) map[string]*tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]*tally{}
	for key, y := range t.tallies {
		if key.region == region {
			out[key.operation] = y
			delete(t.tallies, key)
		}
	}
	return out
}

// measureTable publishes the term table's latencies and failures.
func (c *Collector) measureTable(region string, s span, sink Sink) {
	if c.options.Table == nil {
		return
	}
	for operation, y := range c.options.Table.take(region) {
		dimensions := map[string]string{"TableName": c.options.Table.Name(), "Operation": operation}
		if len(y.latencies) > 0 {
			sink.Put(region, "AWS/DynamoDB", stamped(s.at, alarms.Set("SuccessfulRequestLatency", y.latencies, "Milliseconds", dimensions))...)
		}
		if y.errors > 0 {
			sink.Put(region, "AWS/DynamoDB", stamped(s.at, alarms.One("SystemErrors", y.errors, "Count", dimensions))...)
		}
	}
}
