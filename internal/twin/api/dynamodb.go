package api

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// dynamodbService serves the term table; the table checks what its requests say.
func (e *Endpoint) dynamodbService() *service {
	s := &service{
		id: "dynamodb", protocols: []protocol{json10}, target: "DynamoDB_20120810", checksums: true,
		missing: mustNotBeNull("ValidationException"), invalid: invalidWith("ValidationException"),
		errorNamespace: dynamodbNamespace,
	}
	t := e.options.Tables
	if t == nil {
		return s
	}
	s.operations = operations(
		op("GetItem", inRegion(t.GetItem), "TableName", "Key"),
		op("PutItem", inRegion(t.PutItem), "TableName", "Item"),
		op("UpdateItem", inRegion(t.UpdateItem), "TableName", "Key"),
		op("DeleteItem", inRegion(t.DeleteItem), "TableName", "Key"),
		op("Query", inRegion(t.Query), "TableName"),
		op("Scan", inRegion(t.Scan), "TableName"),
		op("DescribeTable", inRegion(t.DescribeTable), "TableName"),
		op("ListTables", func(ctx context.Context, r request, in *dynamodb.ListTablesInput) (*dynamodb.ListTablesOutput, error) {
			if in.Limit != nil && (aws.ToInt32(in.Limit) < 1 || aws.ToInt32(in.Limit) > 100) {
				return nil, s.invalid("1 validation error detected: Value at 'limit' failed to satisfy constraint: " +
					"Member must have value between 1 and 100")
			}
			return t.ListTables(ctx, r.region, in)
		}),
	)
	return s
}

// inRegion adapts a function of the table.
func inRegion[In, Out any](
	f func(context.Context, string, *In) (*Out, error),
) func(context.Context, request, *In) (*Out, error) {
	return func(ctx context.Context, r request, in *In) (*Out, error) { return f(ctx, r.region, in) }
}

// dynamodbNamespace is what DynamoDB writes before an error's name.
func dynamodbNamespace(code string) string {
	switch {
	case code == "ValidationException":
		return "com.amazon.coral.validate#" + code
	case code == "SerializationException", strings.HasPrefix(code, "Unknown"), strings.Contains(code, "Token"),
		strings.Contains(code, "Client"), strings.Contains(code, "Signature"):
		return "com.amazon.coral.service#" + code
	}
	return "com.amazonaws.dynamodb.v20120810#" + code
}
