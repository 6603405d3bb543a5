package termtable

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// write is one conditional write, whatever its operation.
type write struct {
	key       string
	condition condition
	// wantOld says that a failed condition answers with the item.
	wantOld bool
	// next works out the item after the write from the item before, which is nil if there is none; nil deletes.
	next func(old item) (item, error)
}

// commit carries out a write by way of a majority and returns the item before and after it.
func (t *Table) commit(ctx context.Context, region string, w write) (before, after item, err error) {
	var refused error
	err = t.quorum(ctx, region, func(since int64) {
		before = t.items[w.key]
		if last := t.writes[w.key]; last.region != region && last.at > since {
			refused = writeConflict()
			return
		}
		if w.condition != nil && !w.condition(before) {
			refused = conditionFailed(nil)
			if w.wantOld && before != nil {
				refused = conditionFailed(before)
			}
			return
		}
		if after, refused = w.next(before); refused != nil {
			return
		}
		t.commits++
		t.writes[w.key] = lastWrite{region: region, at: t.commits}
		if after == nil {
			delete(t.items, w.key)
			return
		}
		t.items[w.key] = after
	})
	if err == nil {
		err = refused
	}
	return before, after, err
}

// PutItem replaces an item.
func (t *Table) PutItem(ctx context.Context, region string, in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
	if err := refuseLegacy(in); err != nil {
		return nil, err
	}
	if err := allowed(in.ReturnValues, types.ReturnValueAllOld); err != nil {
		return nil, err
	}
	e, err := parse(in.ExpressionAttributeNames, in.ExpressionAttributeValues, "ConditionExpression",
		in.ConditionExpression, nil, nil)
	if err != nil {
		return nil, err
	}
	if err := t.checkTable(region, in.TableName); err != nil {
		return nil, err
	}
	next, err := normalizeMap(in.Item, 0)
	if err != nil {
		return nil, err
	}
	key, err := keyOfItem(next)
	if err != nil {
		return nil, err
	}
	if err := checkSize(next); err != nil {
		return nil, err
	}
	before, _, err := t.commit(ctx, region, write{
		key: key, condition: e.condition, wantOld: wantsOld(in.ReturnValuesOnConditionCheckFailure),
		next: func(item) (item, error) { return next, nil },
	})
	if err != nil {
		return nil, err
	}
	out := &dynamodb.PutItemOutput{
		ConsumedCapacity: t.consumed(in.ReturnConsumedCapacity, sizeOfItem(next), writeUnitBytes),
	}
	if in.ReturnValues == types.ReturnValueAllOld {
		out.Attributes = before
	}
	return out, nil
}

func wantsOld(v types.ReturnValuesOnConditionCheckFailure) bool {
	return v == types.ReturnValuesOnConditionCheckFailureAllOld
}

// DeleteItem removes an item; removing what is not there is a success.
func (t *Table) DeleteItem(
	ctx context.Context, region string, in *dynamodb.DeleteItemInput,
) (*dynamodb.DeleteItemOutput, error) {
	if err := refuseLegacy(in); err != nil {
		return nil, err
	}
	if err := allowed(in.ReturnValues, types.ReturnValueAllOld); err != nil {
		return nil, err
	}
	e, err := parse(in.ExpressionAttributeNames, in.ExpressionAttributeValues, "ConditionExpression",
		in.ConditionExpression, nil, nil)
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
	before, _, err := t.commit(ctx, region, write{
		key: key, condition: e.condition, wantOld: wantsOld(in.ReturnValuesOnConditionCheckFailure),
		next: func(item) (item, error) { return nil, nil },
	})
	if err != nil {
		return nil, err
	}
	out := &dynamodb.DeleteItemOutput{
		ConsumedCapacity: t.consumed(in.ReturnConsumedCapacity, sizeOfItem(before), writeUnitBytes),
	}
	if in.ReturnValues == types.ReturnValueAllOld {
		out.Attributes = before
	}
	return out, nil
}

// UpdateItem changes some of an item's attributes; an item that is not there is created.
func (t *Table) UpdateItem(
	ctx context.Context, region string, in *dynamodb.UpdateItemInput,
) (*dynamodb.UpdateItemOutput, error) {
	if err := refuseLegacy(in); err != nil {
		return nil, err
	}
	if err := allowed(in.ReturnValues, types.ReturnValueAllOld, types.ReturnValueUpdatedOld, types.ReturnValueAllNew,
		types.ReturnValueUpdatedNew); err != nil {
		return nil, err
	}
	e, err := parse(in.ExpressionAttributeNames, in.ExpressionAttributeValues, "ConditionExpression",
		in.ConditionExpression, in.UpdateExpression, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range e.changes {
		if c.path[0].name == KeyName {
			return nil, parameterError("Cannot update attribute %s. This attribute is part of the key", KeyName)
		}
	}
	if err := t.checkTable(region, in.TableName); err != nil {
		return nil, err
	}
	key, err := keyOf(in.Key)
	if err != nil {
		return nil, err
	}
	before, after, err := t.commit(ctx, region, write{
		key: key, condition: e.condition, wantOld: wantsOld(in.ReturnValuesOnConditionCheckFailure),
		next: func(old item) (item, error) {
			if old == nil {
				old = item{KeyName: &types.AttributeValueMemberS{Value: key}}
			}
			next, err := applyChanges(old, e.changes)
			if err != nil {
				return nil, err
			}
			return next, checkSize(next)
		},
	})
	if err != nil {
		return nil, err
	}
	size := max(sizeOfItem(before), sizeOfItem(after))
	return &dynamodb.UpdateItemOutput{
		Attributes:       returned(in.ReturnValues, before, after, e.changes),
		ConsumedCapacity: t.consumed(in.ReturnConsumedCapacity, size, writeUnitBytes),
	}, nil
}

// returned picks the attributes that ReturnValues asks for.
func returned(wanted types.ReturnValue, before, after item, changes []change) item {
	var paths []path
	for _, c := range changes {
		paths = append(paths, c.path)
	}
	switch wanted {
	case types.ReturnValueAllOld:
		return before
	case types.ReturnValueAllNew:
		return after
	case types.ReturnValueUpdatedOld:
		return orNil(project(before, paths))
	case types.ReturnValueUpdatedNew:
		return orNil(project(after, paths))
	}
	return nil
}

func orNil(i item) item {
	if len(i) == 0 {
		return nil
	}
	return i
}
