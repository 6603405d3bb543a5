package aws

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"holdfast/internal/term"
)

// tableKey is the table's partition key; the Terraform creates the table with it.
const tableKey = "id"

// tableAPI lists the DynamoDB calls that a [TermStore] makes.
type tableAPI interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
}

// TermStore is a [term.Store] over one replica of a DynamoDB global table with multi-Region strong consistency. The
// record is the item "<deployment>", a site's beacon the item "<deployment>/beacon/<site>".
type TermStore struct {
	api        tableAPI
	region     string
	table      string
	deployment string
	sites      []string
}

var _ term.Store = (*TermStore)(nil)

// TermStore makes the adapter for the table's replica in a region. Beacons reads those of the given sites.
func (s *Session) TermStore(region, table, deployment string, sites ...string) *TermStore {
	api := dynamodb.NewFromConfig(s.cfg, func(o *dynamodb.Options) {
		o.Region = region
		o.Retryer = once()
	})
	return &TermStore{api: api, region: region, table: table, deployment: deployment, sites: sites}
}

// String names the replica in journals and errors.
func (t *TermStore) String() string { return t.table + "@" + t.region }

// Read implements [term.Store] with a strongly consistent read.
func (t *TermStore) Read(ctx context.Context) (term.Record, error) {
	item, err := t.get(ctx, t.deployment)
	if err != nil {
		return term.Record{}, err
	}
	if item == nil {
		return term.Record{}, fmt.Errorf("read the term record %q from %s: %w", t.deployment, t, term.ErrNoRecord)
	}
	var r term.Record
	if err := attributevalue.UnmarshalMap(item, &r); err != nil {
		return term.Record{}, fmt.Errorf("read the term record %q from %s: %w", t.deployment, t, err)
	}
	if err := r.Validate(); err != nil {
		return term.Record{}, fmt.Errorf("read the term record %q from %s: %w", t.deployment, t, err)
	}
	return r, nil
}

// Write implements [term.Store]: one request, conditional on the version that next replaces.
func (t *TermStore) Write(ctx context.Context, next term.Record) error {
	if err := next.Validate(); err != nil {
		return fmt.Errorf("write the term record %q: %w", t.deployment, err)
	}
	return t.put(ctx, t.deployment, next, func(in *dynamodb.PutItemInput) {
		in.ConditionExpression = sdk.String("#version = :read")
		in.ExpressionAttributeNames = map[string]string{"#version": "version"}
		in.ExpressionAttributeValues = map[string]types.AttributeValue{
			":read": &types.AttributeValueMemberN{Value: strconv.FormatInt(next.Version-1, 10)},
		}
	})
}

// Create implements [term.Store].
func (t *TermStore) Create(ctx context.Context, first term.Record) error {
	first.Version = 1
	if err := first.Validate(); err != nil {
		return fmt.Errorf("create the term record %q: %w", t.deployment, err)
	}
	return t.put(ctx, t.deployment, first, func(in *dynamodb.PutItemInput) {
		in.ConditionExpression = sdk.String("attribute_not_exists(#id)")
		in.ExpressionAttributeNames = map[string]string{"#id": tableKey}
	})
}

// Beacons implements [term.Store]. It uses plain reads, because the global table has no transactions and a batch of
// two saves nothing.
func (t *TermStore) Beacons(ctx context.Context) (map[string]term.Beacon, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		found = map[string]term.Beacon{}
		errs  []error
	)
	for _, site := range t.sites {
		wg.Go(func() {
			b, ok, err := t.beacon(ctx, site)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else if ok {
				found[site] = b
			}
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return found, nil
}

// PutBeacon implements [term.Store].
func (t *TermStore) PutBeacon(ctx context.Context, b term.Beacon) error {
	return t.put(ctx, t.beaconID(b.Site), b, func(*dynamodb.PutItemInput) {})
}

func (t *TermStore) beaconID(site string) string { return t.deployment + "/beacon/" + site }

func (t *TermStore) beacon(ctx context.Context, site string) (term.Beacon, bool, error) {
	item, err := t.get(ctx, t.beaconID(site))
	if err != nil || item == nil {
		return term.Beacon{}, false, err
	}
	var b term.Beacon
	if err := attributevalue.UnmarshalMap(item, &b); err != nil {
		return term.Beacon{}, false, fmt.Errorf("read the beacon of site %q from %s: %w", site, t, err)
	}
	return b, true, nil
}

func (t *TermStore) get(ctx context.Context, id string) (map[string]types.AttributeValue, error) {
	out, err := t.api.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      sdk.String(t.table),
		ConsistentRead: sdk.Bool(true),
		Key:            map[string]types.AttributeValue{tableKey: &types.AttributeValueMemberS{Value: id}},
	})
	if err != nil {
		return nil, fmt.Errorf("read item %q from %s: %w", id, t, err)
	}
	if len(out.Item) == 0 {
		return nil, nil
	}
	return out.Item, nil
}

// put writes an item. Only a failed condition is a certain answer; everything else, a conflict with another Region's
// write included, is returned as it is, which means "unknown: read again" to the callers of a [term.Store].
func (t *TermStore) put(ctx context.Context, id string, value any, condition func(*dynamodb.PutItemInput)) error {
	item, err := attributevalue.MarshalMap(value)
	if err != nil {
		return fmt.Errorf("encode item %q: %w", id, err)
	}
	item[tableKey] = &types.AttributeValueMemberS{Value: id}
	in := &dynamodb.PutItemInput{TableName: sdk.String(t.table), Item: item}
	condition(in)
	_, err = t.api.PutItem(ctx, in)
	var refused *types.ConditionalCheckFailedException
	if errors.As(err, &refused) {
		return fmt.Errorf("write item %q to %s: %w", id, t, term.ErrConflict)
	}
	if err != nil {
		return fmt.Errorf("write item %q to %s, outcome unknown: %w", id, t, err)
	}
	return nil
}
