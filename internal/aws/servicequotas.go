package aws

import (
	"context"
	"errors"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	quotas "github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas/types"
)

// quotaAPI lists the Service Quotas calls that [Session.Quota] makes.
type quotaAPI interface {
	GetServiceQuota(context.Context, *quotas.GetServiceQuotaInput, ...func(*quotas.Options)) (*quotas.GetServiceQuotaOutput, error)
	GetAWSDefaultServiceQuota(context.Context, *quotas.GetAWSDefaultServiceQuotaInput, ...func(*quotas.Options)) (
		*quotas.GetAWSDefaultServiceQuotaOutput, error)
}

// Quota is an account's quota in one region.
type Quota struct {
	Name  string
	Value float64
}

// Quota returns what is applied to the account in a region, or AWS's default where nothing was ever changed.
func (s *Session) Quota(ctx context.Context, region, service, code string) (Quota, error) {
	api := quotaAPI(quotas.NewFromConfig(s.cfg, func(o *quotas.Options) {
		o.Region = region
		o.Retryer = few()
	}))
	var found *types.ServiceQuota
	out, err := api.GetServiceQuota(ctx, &quotas.GetServiceQuotaInput{ServiceCode: sdk.String(service), QuotaCode: sdk.String(code)})
	if none := new(types.NoSuchResourceException); errors.As(err, &none) {
		var fallback *quotas.GetAWSDefaultServiceQuotaOutput
		fallback, err = api.GetAWSDefaultServiceQuota(ctx, &quotas.GetAWSDefaultServiceQuotaInput{
			ServiceCode: sdk.String(service), QuotaCode: sdk.String(code),
		})
		if err == nil {
			found = fallback.Quota
		}
	} else if err == nil {
		found = out.Quota
	}
	if err != nil {
		return Quota{}, fmt.Errorf("get quota %s of %s in %s: %w", code, service, region, err)
	}
	if found == nil || found.Value == nil {
		return Quota{}, fmt.Errorf("get quota %s of %s in %s: the answer has no value", code, service, region)
	}
	return Quota{Name: sdk.ToString(found.QuotaName), Value: *found.Value}, nil
}
