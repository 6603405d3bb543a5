package aws

import (
	"context"
	"errors"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// serviceAPI lists the ECS calls that [Services] makes.
type serviceAPI interface {
	serviceInspectionAPI
	DescribeServices(context.Context, *ecs.DescribeServicesInput, ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error)
	UpdateService(context.Context, *ecs.UpdateServiceInput, ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error)
}

// Services is the container scheduler of one region.
type Services struct {
	api     serviceAPI
	scaling scalingAPI
	region  string
}

// Service is the state of one ECS service, in tasks.
type Service struct {
	Name                      string
	Status                    string
	Desired, Running, Pending int
	TaskDefinitionARN         string
}

// Services makes the adapter for a region.
func (s *Session) Services(region string) *Services {
	api := ecs.NewFromConfig(s.cfg, func(o *ecs.Options) {
		o.Region = region
		o.Retryer = few()
	})
	return &Services{api: api, scaling: s.scaling(region), region: region}
}

// Service describes one service of a cluster.
func (s *Services) Service(ctx context.Context, cluster, service string) (Service, error) {
	out, err := s.api.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: sdk.String(cluster), Services: []string{service}})
	if err != nil {
		return Service{}, fmt.Errorf("describe service %q of cluster %q in %s: %w", service, cluster, s.region, err)
	}
	if len(out.Services) != 1 {
		reason := "no such service"
		if len(out.Failures) > 0 {
			reason = sdk.ToString(out.Failures[0].Reason)
		}
		return Service{}, fmt.Errorf("describe service %q of cluster %q in %s: %s", service, cluster, s.region, reason)
	}
	found := out.Services[0]
	return Service{
		Name:              sdk.ToString(found.ServiceName),
		Status:            sdk.ToString(found.Status),
		Desired:           int(found.DesiredCount),
		Running:           int(found.RunningCount),
		Pending:           int(found.PendingCount),
		TaskDefinitionARN: sdk.ToString(found.TaskDefinition),
	}, nil
}

// Scale gives a service at least tasks tasks. The autoscaling minimum is raised first: a desired count above the
// minimum alone would be scaled in again by the next evaluation. Tasks for a while are better than none, so the count is
// raised even if the minimum can't be; the error says both.
func (s *Services) Scale(ctx context.Context, cluster, service string, tasks int) error {
	return errors.Join(s.setMinimum(ctx, cluster, service, tasks), s.raise(ctx, cluster, service, tasks))
}

// raise sets the desired count if it is below tasks.
func (s *Services) raise(ctx context.Context, cluster, service string, tasks int) error {
	now, err := s.Service(ctx, cluster, service)
	if err != nil {
		return err
	}
	if now.Desired >= tasks {
		return nil
	}
	_, err = s.api.UpdateService(ctx, &ecs.UpdateServiceInput{
		Cluster: sdk.String(cluster), Service: sdk.String(service), DesiredCount: sdk.Int32(int32(tasks)),
	})
	if err != nil {
		return fmt.Errorf("scale service %q of cluster %q in %s to %d tasks: %w", service, cluster, s.region, tasks, err)
	}
	return nil
}
