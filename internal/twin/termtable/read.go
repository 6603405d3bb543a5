package termtable

import (
	"context"
	"hash/fnv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// maxPageBytes is how much a Query or Scan reads before it ends the page.
const maxPageBytes = 1 << 20

// GetItem reads one item; an answer without an item means that there is none.
func (t *Table) GetItem(ctx context.Context, region string, in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
	if err := refuseLegacy(in); err != nil {
		return nil, err
	}
	e, err := parse(in.ExpressionAttributeNames, nil, "", nil, nil, in.ProjectionExpression)
	if err != nil {
		return nil, err
	}
	if err := t.checkTable(region, in.TableName); err != nil {
		return nil, err
	}
	key, err := keyOf(in.Key)
	if err != nil {
		return nil, err
	}
	var found item
	if err := t.quorum(ctx, region, func(int64) { found = t.items[key] }); err != nil {
		return nil, err
	}
	return &dynamodb.GetItemOutput{
		Item:             project(found, e.paths),
		ConsumedCapacity: t.consumed(in.ReturnConsumedCapacity, sizeOfItem(found), readUnitBytes),
	}, nil
}

// page is what a Query or a Scan reads.
type page struct {
	items          []item
	scanned        int
	sizeBytes      int
	lastKey        map[string]types.AttributeValue
	filter         condition
	projection     []path
	limit          int
	onlyCount      bool
	count          int
	startKeyBefore string
}

// add reads one item and reports whether the page is full.
func (p *page) add(key string, i item) (full bool) {
	p.scanned++
	p.sizeBytes += sizeOfItem(i)
	if p.filter == nil || p.filter(i) {
		p.count++
		if !p.onlyCount {
			p.items = append(p.items, project(i, p.projection))
		}
	}
	if (p.limit > 0 && p.scanned >= p.limit) || p.sizeBytes > maxPageBytes {
		p.lastKey = map[string]types.AttributeValue{KeyName: &types.AttributeValueMemberS{Value: key}}
		return true
	}
	return false
}

func (p *page) rows() []map[string]types.AttributeValue {
	if p.onlyCount {
		return nil
	}
	out := make([]map[string]types.AttributeValue, len(p.items))
	for n, i := range p.items {
		out[n] = i
	}
	return out
}

// newPage checks what Query and Scan have in common.
func newPage(limit *int32, start map[string]types.AttributeValue, selected types.Select, e expressions) (*page, error) {
	if limit != nil && *limit < 1 {
		return nil, validation("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: "+
			"Member must have value greater than or equal to 1", *limit)
	}
	if selected == types.SelectSpecificAttributes && e.paths == nil {
		return nil, validation("Must specify the ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
	}
	if selected != "" && selected != types.SelectSpecificAttributes && e.paths != nil {
		return nil, validation("Cannot specify the ProjectionExpression when choosing to get %s", selected)
	}
	p := &page{
		limit: int(aws.ToInt32(limit)), filter: e.condition, projection: e.paths,
		onlyCount: selected == types.SelectCount,
	}
	if start != nil {
		key, err := keyOf(start)
		if err != nil {
			return nil, validation("The provided starting key is invalid: %s", message(err))
		}
		p.startKeyBefore = key
	}
	return p, nil
}

// Query reads the item with a given key; the table has no sort key, so there is at most one.
func (t *Table) Query(ctx context.Context, region string, in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
	if err := refuseLegacy(in); err != nil {
		return nil, err
	}
	if in.IndexName != nil {
		return nil, validation("The table does not have the specified index: %s", *in.IndexName)
	}
	if in.KeyConditionExpression == nil {
		return nil, validation("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	s, err := newSubstitutions(in.ExpressionAttributeNames, in.ExpressionAttributeValues, in.KeyConditionExpression)
	if err != nil {
		return nil, err
	}
	key, err := parseKeyCondition(*in.KeyConditionExpression, s)
	if err != nil {
		return nil, err
	}
	var e expressions
	if in.FilterExpression != nil {
		if e.condition, err = parseFilter(*in.FilterExpression, s); err != nil {
			return nil, err
		}
	}
	if in.ProjectionExpression != nil {
		if e.paths, err = parseProjection(*in.ProjectionExpression, s); err != nil {
			return nil, err
		}
	}
	if err := s.checkUsed(); err != nil {
		return nil, err
	}
	p, err := newPage(in.Limit, in.ExclusiveStartKey, in.Select, e)
	if err != nil {
		return nil, err
	}
	if err := t.checkTable(region, in.TableName); err != nil {
		return nil, err
	}
	err = t.quorum(ctx, region, func(int64) {
		if found, ok := t.items[key]; ok && in.ExclusiveStartKey == nil {
			p.add(key, found)
		}
	})
	if err != nil {
		return nil, err
	}
	return &dynamodb.QueryOutput{
		Items: p.rows(), Count: int32(p.count), ScannedCount: int32(p.scanned), LastEvaluatedKey: p.lastKey,
		ConsumedCapacity: t.consumed(in.ReturnConsumedCapacity, p.sizeBytes, readUnitBytes),
	}, nil
}

// parseKeyCondition reads "id = :value" and returns the key.
func parseKeyCondition(source string, s *substitutions) (string, error) {
	p, err := newParser("KeyConditionExpression", source, s)
	if err != nil {
		return "", err
	}
	depth := 0
	for p.peek().isSymbol("(") {
		p.next()
		depth++
	}
	at, err := p.path()
	if err != nil {
		return "", err
	}
	if len(at) != 1 || at[0].name != KeyName {
		return "", validation("Query condition missed key schema element: %s", KeyName)
	}
	if !p.peek().isSymbol("=") {
		if t := p.peek(); t.kind == tokenSymbol || t.isKeyword("BETWEEN") {
			return "", validation("Query key condition not supported")
		}
		return "", p.unexpected()
	}
	p.next()
	v, err := p.value()
	if err != nil {
		return "", err
	}
	for range depth {
		if err := p.symbol(")"); err != nil {
			return "", err
		}
	}
	if p.peek().isKeyword("AND") { // there is no other key attribute to name
		return "", validation("Query key condition not supported")
	}
	if err := p.end(); err != nil {
		return "", err
	}
	return keyText(v, func() error {
		return parameterError("Condition parameter type does not match schema type")
	})
}

// parseFilter reads a Query's filter, which may not mention the key.
func parseFilter(source string, s *substitutions) (condition, error) {
	c, paths, err := parseConditionPaths("FilterExpression", source, s)
	if err != nil {
		return nil, err
	}
	for _, at := range paths {
		if at[0].name == KeyName {
			return nil, validation("Filter Expression can only contain non-primary key attributes: Primary key attribute: %s", KeyName)
		}
	}
	return c, nil
}

// Scan reads all items, in the order of their keys.
func (t *Table) Scan(ctx context.Context, region string, in *dynamodb.ScanInput) (*dynamodb.ScanOutput, error) {
	if err := refuseLegacy(in); err != nil {
		return nil, err
	}
	if in.IndexName != nil {
		return nil, validation("The table does not have the specified index: %s", *in.IndexName)
	}
	if err := checkSegments(in.Segment, in.TotalSegments); err != nil {
		return nil, err
	}
	e, err := parse(in.ExpressionAttributeNames, in.ExpressionAttributeValues, "FilterExpression",
		in.FilterExpression, nil, in.ProjectionExpression)
	if err != nil {
		return nil, err
	}
	p, err := newPage(in.Limit, in.ExclusiveStartKey, in.Select, e)
	if err != nil {
		return nil, err
	}
	if err := t.checkTable(region, in.TableName); err != nil {
		return nil, err
	}
	err = t.quorum(ctx, region, func(int64) {
		for _, key := range sortedKeys(t.items) {
			if key <= p.startKeyBefore || !inSegment(key, in.Segment, in.TotalSegments) {
				continue
			}
			if p.add(key, t.items[key]) {
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return &dynamodb.ScanOutput{
		Items: p.rows(), Count: int32(p.count), ScannedCount: int32(p.scanned), LastEvaluatedKey: p.lastKey,
		ConsumedCapacity: t.consumed(in.ReturnConsumedCapacity, p.sizeBytes, readUnitBytes),
	}, nil
}

func checkSegments(segment, total *int32) error {
	switch {
	case (segment == nil) != (total == nil):
		return validation("The TotalSegments and Segment parameters must be given together")
	case total != nil && (*total < 1 || *total > 1000000):
		return validation("1 validation error detected: Value '%d' at 'totalSegments' failed to satisfy constraint: "+
			"Member must have value between 1 and 1000000", *total)
	case segment != nil && (*segment < 0 || *segment >= *total):
		return validation("The Segment parameter is zero-based and must be less than parameter TotalSegments: "+
			"Segment: %d is not less than TotalSegments: %d", *segment, *total)
	}
	return nil
}

func inSegment(key string, segment, total *int32) bool {
	if total == nil {
		return true
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	return h.Sum32()%uint32(*total) == uint32(*segment)
}
