package termtable

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestReturnValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, _ := newTable(t)
		update := func(returned types.ReturnValue) item {
			t.Helper()
			out, err := table.UpdateItem(t.Context(), east, &dynamodb.UpdateItemInput{
				TableName: aws.String(tableName), Key: item{"id": str("prod")},
				UpdateExpression:          aws.String("SET version = if_not_exists(version, :zero) + :one, holder = :holder"),
				ExpressionAttributeValues: item{":zero": num("0"), ":one": num("1"), ":holder": str("primary")},
				ReturnValues:              returned,
			})
			if err != nil {
				t.Fatal(err)
			}
			return out.Attributes
		}
		for _, tt := range []struct {
			returned types.ReturnValue
			want     item
		}{
			{types.ReturnValueAllOld, nil},
			{types.ReturnValueUpdatedOld, item{"version": num("1"), "holder": str("primary")}},
			{types.ReturnValueAllNew, item{"id": str("prod"), "version": num("3"), "holder": str("primary")}},
			{types.ReturnValueUpdatedNew, item{"version": num("4"), "holder": str("primary")}},
			{types.ReturnValueNone, nil},
			{types.ReturnValueAllOld, item{"id": str("prod"), "version": num("5"), "holder": str("primary")}},
		} {
			if got := update(tt.returned); !equal(mapOf(got), mapOf(tt.want)) {
				t.Errorf("%s = %v, want %v", tt.returned, got, tt.want)
			}
		}
		out, err := table.DeleteItem(t.Context(), west, &dynamodb.DeleteItemInput{
			TableName: aws.String(tableName), Key: item{"id": str("prod")}, ReturnValues: types.ReturnValueAllOld,
			ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
		})
		if err != nil || len(out.Attributes) != 3 || aws.ToFloat64(out.ConsumedCapacity.CapacityUnits) != 1 {
			t.Errorf("delete = %+v, %v; want the old item and one unit", out, err)
		}
		if table.Len() != 0 {
			t.Error("the item is still there")
		}
	})
}

func TestFailedConditionAnswersWithTheItemIfAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, _ := newTable(t)
		if _, err := table.PutItem(t.Context(), east, put(7, "")); err != nil {
			t.Fatal(err)
		}
		in := put(4, "version = :read")
		_, err := table.PutItem(t.Context(), east, in)
		if e := err.(*Error); e.Code != "ConditionalCheckFailedException" || e.ErrorFields() != nil ||
			e.Message != "The conditional request failed" {
			t.Errorf("got %v with %v, want the bare error", err, e.ErrorFields())
		}
		in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
		_, err = table.PutItem(t.Context(), east, in)
		if e := err.(*Error); !equal(mapOf(e.Item), mapOf(item{"id": str("prod"), "version": num("7")})) {
			t.Errorf("got %v with %v, want the item", err, e.ErrorFields())
		}
	})
}

func TestItemValidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, _ := newTable(t)
		for name, tt := range map[string]struct {
			change func(in *dynamodb.PutItemInput)
			want   string
		}{
			"no key":       {func(in *dynamodb.PutItemInput) { delete(in.Item, "id") }, "Missing the key id in the item"},
			"wrong key":    {func(in *dynamodb.PutItemInput) { in.Item["id"] = num("1") }, "Type mismatch for key id expected: S actual: N"},
			"empty key":    {func(in *dynamodb.PutItemInput) { in.Item["id"] = str("") }, "cannot contain an empty string value. Key: id"},
			"huge item":    {func(in *dynamodb.PutItemInput) { in.Item["x"] = str(strings.Repeat("x", 400<<10)) }, "Item size has exceeded the maximum allowed size"},
			"not a number": {func(in *dynamodb.PutItemInput) { in.Item["x"] = num("1,5") }, "The parameter cannot be converted to a numeric value: 1,5"},
			"empty set":    {func(in *dynamodb.PutItemInput) { in.Item["x"] = &types.AttributeValueMemberSS{} }, "may not be empty"},
			"twice in set": {func(in *dynamodb.PutItemInput) {
				in.Item["x"] = &types.AttributeValueMemberNS{Value: []string{"1", "1.0"}}
			}, "contains duplicates"},
			"no datatype":   {func(in *dynamodb.PutItemInput) { in.Item["x"] = nil }, "must contain exactly one of the supported datatypes"},
			"return values": {func(in *dynamodb.PutItemInput) { in.ReturnValues = types.ReturnValueAllNew }, "ReturnValues can only be ALL_OLD or NONE"},
			"legacy":        {func(in *dynamodb.PutItemInput) { in.ConditionalOperator = "AND" }, "legacy parameter ConditionalOperator"},
			"deep": {func(in *dynamodb.PutItemInput) {
				v := str("x")
				for range 40 {
					v = list(v)
				}
				in.Item["x"] = v
			}, "Nesting Levels have exceeded supported limits"},
		} {
			in := put(1, "")
			tt.change(in)
			_, err := table.PutItem(t.Context(), east, in)
			if code(err) != "ValidationException" || !strings.Contains(message(err), tt.want) {
				t.Errorf("%s: got %v, want ValidationException: %s", name, err, tt.want)
			}
		}
		_, err := table.UpdateItem(t.Context(), east, &dynamodb.UpdateItemInput{
			TableName: aws.String(tableName), Key: item{"id": str("prod")}, UpdateExpression: aws.String("SET id = :x"),
			ExpressionAttributeValues: item{":x": str("other")},
		})
		if want := "Cannot update attribute id. This attribute is part of the key"; !strings.Contains(message(err), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		_, err = table.GetItem(t.Context(), east, &dynamodb.GetItemInput{
			TableName: aws.String(tableName), Key: item{"id": str("prod"), "x": str("y")},
		})
		if want := "The provided key element does not match the schema"; message(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if table.Len() != 0 {
			t.Error("a refused write took effect")
		}
	})
}

func TestQueryAndScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, _ := newTable(t)
		for n := range 10 {
			_, err := table.PutItem(t.Context(), east, &dynamodb.PutItemInput{
				TableName: aws.String(tableName), Item: item{"id": str(fmt.Sprintf("item-%02d", n)), "n": num(fmt.Sprint(n))},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		query, err := table.Query(t.Context(), west, &dynamodb.QueryInput{
			TableName: aws.String(tableName), KeyConditionExpression: aws.String("(#id = :id)"),
			ProjectionExpression: aws.String("n"), ExpressionAttributeNames: map[string]string{"#id": "id"},
			ExpressionAttributeValues: item{":id": str("item-03")},
		})
		if err != nil || query.Count != 1 || !equal(mapOf(query.Items[0]), mapOf(item{"n": num("3")})) {
			t.Errorf("query = %+v, %v", query, err)
		}
		for expression, want := range map[string]string{
			"n = :id":             "Query condition missed key schema element: id",
			"id > :id":            "Query key condition not supported",
			"id = :id AND n = :n": "Query key condition not supported",
			"id :id":              "Syntax error",
		} {
			_, err := table.Query(t.Context(), west, &dynamodb.QueryInput{
				TableName: aws.String(tableName), KeyConditionExpression: &expression,
				ExpressionAttributeValues: item{":id": str("item-03")},
			})
			if err == nil || !strings.Contains(message(err), want) {
				t.Errorf("%s: got %v, want %s", expression, err, want)
			}
		}
		scanInPages(t, table)
	})
}

func scanInPages(t *testing.T, table *Table) {
	t.Helper()
	in := &dynamodb.ScanInput{
		TableName: aws.String(tableName), Limit: aws.Int32(4), FilterExpression: aws.String("n >= :five"),
		ExpressionAttributeValues: item{":five": num("5")},
	}
	var found []string
	pages := 0
	for {
		out, err := table.Scan(t.Context(), east, in)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, i := range out.Items {
			found = append(found, i["id"].(*types.AttributeValueMemberS).Value)
		}
		if out.LastEvaluatedKey == nil {
			break
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
	if got := strings.Join(found, " "); got != "item-05 item-06 item-07 item-08 item-09" || pages != 3 {
		t.Errorf("scan found %s in %d pages", got, pages)
	}
	total := int32(0)
	for segment := range int32(3) {
		out, err := table.Scan(t.Context(), east, &dynamodb.ScanInput{
			TableName: aws.String(tableName), Segment: &segment, TotalSegments: aws.Int32(3), Select: types.SelectCount,
		})
		if err != nil || out.Items != nil {
			t.Fatalf("scan of segment %d = %+v, %v", segment, out, err)
		}
		total += out.Count
	}
	if total != 10 {
		t.Errorf("the segments hold %d items together, want 10", total)
	}
}

func TestDescribeTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, _ := newTable(t)
		out, err := table.DescribeTable(t.Context(), west, &dynamodb.DescribeTableInput{TableName: aws.String(tableName)})
		if err != nil {
			t.Fatal(err)
		}
		d := out.Table
		if d.MultiRegionConsistency != types.MultiRegionConsistencyStrong || len(d.Replicas) != 2 ||
			aws.ToString(d.GlobalTableWitnesses[0].RegionName) != witness ||
			aws.ToString(d.TableArn) != "arn:aws:dynamodb:us-west-2:123456789012:table/"+tableName {
			t.Errorf("table = %+v", d)
		}
		byARN := &dynamodb.DescribeTableInput{TableName: d.TableArn}
		if _, err := table.DescribeTable(t.Context(), west, byARN); err != nil {
			t.Errorf("describe by ARN: %v", err)
		}
		if _, err := table.DescribeTable(t.Context(), east, byARN); code(err) != "ResourceNotFoundException" {
			t.Errorf("describe by another region's ARN = %v, want ResourceNotFoundException", err)
		}
		for region, want := range map[string]int{east: 1, west: 1, witness: 0} {
			tables, err := table.ListTables(t.Context(), region, &dynamodb.ListTablesInput{})
			if err != nil || len(tables.TableNames) != want {
				t.Errorf("tables in %s = %v, %v; want %d", region, tables, err, want)
			}
		}
	})
}
