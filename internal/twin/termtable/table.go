package termtable

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"holdfast/internal/topology"
)

// KeyName is the table's only key attribute, a string.
const KeyName = "id"

// Network is what the table needs of the links between the regions. It is implemented by the twin's fabric.
type Network interface {
	// Up reports whether a region is there.
	Up(region string) bool
	// OneWay takes as long as a message from one region to another. While the link is partitioned, or either region is
	// down, it waits until ctx ends and returns an error.
	OneWay(ctx context.Context, from, to string) error
}

// Options say which table to serve.
type Options struct {
	Table topology.TermTable
	// AccountID is part of the table's ARN.
	AccountID string
	Network   Network
	// Now is the clock for the table's creation date; time.Now if nil.
	Now func() time.Time
}

// Table is one global table. Its methods may be called from many goroutines.
type Table struct {
	options Options
	created time.Time

	mu    sync.Mutex
	items map[string]item
	// commits counts the writes so far; it is the time that races are judged by.
	commits int64
	writes  map[string]lastWrite
}

// item is one item's attributes by name.
type item map[string]types.AttributeValue

// lastWrite says which region wrote an item last, and when.
type lastWrite struct {
	region string
	at     int64
}

// New returns an empty table.
func New(options Options) (*Table, error) {
	switch {
	case options.Network == nil:
		return nil, errors.New("term table: no network given")
	case options.Table.Name == "":
		return nil, errors.New("term table: the topology names no table; is the term table in the state?")
	case len(options.Table.ReplicaRegions) != 2 || options.Table.WitnessRegion == "":
		return nil, errors.New("term table " + options.Table.Name + ": want two replica regions and a witness region")
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Table{
		options: options, created: options.Now(), items: map[string]item{}, writes: map[string]lastWrite{},
	}, nil
}

// Name is the table's name.
func (t *Table) Name() string { return t.options.Table.Name }

// Len is how many items the table holds.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.items)
}
