package api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func (e *Endpoint) stsService() *service {
	return &service{
		id: "sts", protocols: []protocol{query}, namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		version: "2011-06-15", missing: mustNotBeNull("ValidationError"), invalid: invalidWith("ValidationError"),
		operations: operations(op("GetCallerIdentity", e.getCallerIdentity)),
	}
}

func (e *Endpoint) getCallerIdentity(
	_ context.Context, _ request, _ *sts.GetCallerIdentityInput,
) (*sts.GetCallerIdentityOutput, error) {
	account := e.options.Topology.AccountID
	return &sts.GetCallerIdentityOutput{
		Account: aws.String(account), UserId: aws.String(AccessKeyID),
		Arn: aws.String("arn:aws:iam::" + account + ":user/holdfast-twin"),
	}, nil
}
