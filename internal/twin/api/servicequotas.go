package api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas/types"
)

// defaultQuota is a quota of a new account.
type defaultQuota struct {
	service, code, name string
	value               float64
}

// defaultQuotas are the quotas that a failover leans on, with the defaults that AWS documents:
// https://docs.aws.amazon.com/general/latest/gr/ecs-service.html (AWS Fargate) and
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html.
var defaultQuotas = []defaultQuota{
	{"fargate", "L-3032A538", "Fargate On-Demand vCPU resource count", 6},
	{"rds", "L-9B510759", "Manual DB cluster snapshots", 100},
}

func (e *Endpoint) quotasService() *service {
	return &service{
		id: "servicequotas", protocols: []protocol{json11}, target: "ServiceQuotasV20190624",
		missing: mustNotBeNull("ValidationException"), invalid: invalidWith("IllegalArgumentException"),
		operations: operations(
			op("GetServiceQuota", e.getServiceQuota, "ServiceCode", "QuotaCode"),
			op("GetAWSDefaultServiceQuota", e.getDefaultServiceQuota, "ServiceCode", "QuotaCode"),
		),
	}
}

func (e *Endpoint) quota(region, service, code string) (*types.ServiceQuota, error) {
	for _, q := range defaultQuotas {
		if q.service == service && q.code == code {
			return &types.ServiceQuota{
				ServiceCode: aws.String(q.service), QuotaCode: aws.String(q.code), QuotaName: aws.String(q.name),
				Value: aws.Float64(q.value), Unit: aws.String("None"), Adjustable: true,
				QuotaArn: aws.String("arn:aws:servicequotas:" + region + ":" + e.options.Topology.AccountID + ":" + q.service + "/" + q.code),
			}, nil
		}
	}
	return nil, fail("NoSuchResourceException", "The request failed because the specified quota %s of %s does not exist.", code, service)
}

// getServiceQuota: the twin's account has asked for no increase, so what is applied is the default.
func (e *Endpoint) getServiceQuota(
	_ context.Context, r request, in *servicequotas.GetServiceQuotaInput,
) (*servicequotas.GetServiceQuotaOutput, error) {
	if in.ContextId != nil {
		return nil, fail("IllegalArgumentException", "The twin has no quotas of single resources")
	}
	q, err := e.quota(r.region, *in.ServiceCode, *in.QuotaCode)
	return &servicequotas.GetServiceQuotaOutput{Quota: q}, err
}

func (e *Endpoint) getDefaultServiceQuota(
	_ context.Context, r request, in *servicequotas.GetAWSDefaultServiceQuotaInput,
) (*servicequotas.GetAWSDefaultServiceQuotaOutput, error) {
	q, err := e.quota(r.region, *in.ServiceCode, *in.QuotaCode)
	return &servicequotas.GetAWSDefaultServiceQuotaOutput{Quota: q}, err
}
