package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
)

// namesAPI lists the Route 53 calls that [Names] makes.
type namesAPI interface {
	route53.ListHostedZonesAPIClient
	route53.ListResourceRecordSetsAPIClient
	GetHealthCheck(context.Context, *route53.GetHealthCheckInput, ...func(*route53.Options)) (*route53.GetHealthCheckOutput, error)
}

// Names is Route 53's control plane, which lives in us-east-1.
type Names struct{ api namesAPI }

// Names makes the adapter.
func (s *Session) Names() *Names {
	return &Names{api: route53.NewFromConfig(s.cfg, func(o *route53.Options) {
		o.Region = "us-east-1"
		o.Retryer = few()
	})}
}

// Record is one record set of a name.
type Record struct {
	SetIdentifier string
	// Failover is PRIMARY, SECONDARY or empty.
	Failover      string
	HealthCheckID string
	// TTL is 0 for an alias, whose answers live for 60 s when it points at a load balancer.
	TTL time.Duration
	// Alias is the DNS name of an alias's target.
	Alias                string
	EvaluateTargetHealth bool
}

// HealthCheck is a Route 53 health check.
type HealthCheck struct {
	// Type is HTTP, HTTPS, TCP and so on.
	Type, FQDN, Path string
	Port             int
	Interval         time.Duration
	FailureThreshold int
	Disabled         bool
	Inverted         bool
}

// namePages bounds the pages of zones, and of records from a name on.
const namePages = 10

// Records returns the address records of a name, from the hosted zone with the longest suffix of it.
func (n *Names) Records(ctx context.Context, name string) ([]Record, error) {
	name = strings.TrimSuffix(name, ".") + "."
	zone, err := n.zone(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("find the hosted zone of %s: %w", name, err)
	}
	var records []Record
	pages := route53.NewListResourceRecordSetsPaginator(n.api, &route53.ListResourceRecordSetsInput{
		HostedZoneId: sdk.String(zone), StartRecordName: sdk.String(name), StartRecordType: types.RRTypeA,
	})
	for i := 0; pages.HasMorePages() && i < namePages; i++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the records of %s: %w", name, err)
		}
		for _, r := range page.ResourceRecordSets {
			if sdk.ToString(r.Name) != name {
				return records, nil
			}
			if r.Type == types.RRTypeA || r.Type == types.RRTypeCname {
				records = append(records, recordOf(r))
			}
		}
	}
	return records, nil
}

func recordOf(r types.ResourceRecordSet) Record {
	out := Record{
		SetIdentifier: sdk.ToString(r.SetIdentifier), Failover: string(r.Failover), HealthCheckID: sdk.ToString(r.HealthCheckId),
		TTL: time.Duration(sdk.ToInt64(r.TTL)) * time.Second,
	}
	if r.AliasTarget != nil {
		out.Alias = strings.TrimSuffix(sdk.ToString(r.AliasTarget.DNSName), ".")
		out.EvaluateTargetHealth = r.AliasTarget.EvaluateTargetHealth
	}
	return out
}

func (n *Names) zone(ctx context.Context, name string) (string, error) {
	id, longest := "", 0
	pages := route53.NewListHostedZonesPaginator(n.api, &route53.ListHostedZonesInput{})
	for i := 0; pages.HasMorePages() && i < namePages; i++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, z := range page.HostedZones {
			zone := sdk.ToString(z.Name)
			private := z.Config != nil && z.Config.PrivateZone
			if !private && (zone == name || strings.HasSuffix(name, "."+zone)) && len(zone) > longest {
				id, longest = sdk.ToString(z.Id), len(zone)
			}
		}
	}
	if id == "" {
		return "", errors.New("the account has no public zone for it")
	}
	return id, nil
}

// HealthCheck describes a health check.
func (n *Names) HealthCheck(ctx context.Context, id string) (HealthCheck, error) {
	out, err := n.api.GetHealthCheck(ctx, &route53.GetHealthCheckInput{HealthCheckId: sdk.String(id)})
	if err != nil {
		return HealthCheck{}, fmt.Errorf("get health check %s: %w", id, err)
	}
	c := out.HealthCheck.HealthCheckConfig
	return HealthCheck{
		Type: string(c.Type), FQDN: sdk.ToString(c.FullyQualifiedDomainName), Path: sdk.ToString(c.ResourcePath),
		Port: int(sdk.ToInt32(c.Port)), Interval: time.Duration(sdk.ToInt32(c.RequestInterval)) * time.Second,
		FailureThreshold: int(sdk.ToInt32(c.FailureThreshold)), Disabled: sdk.ToBool(c.Disabled), Inverted: sdk.ToBool(c.Inverted),
	}, nil
}
