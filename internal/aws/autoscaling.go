package aws

import (
	"context"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
)

// scalingAPI lists the Application Auto Scaling calls that [Services] makes.
type scalingAPI interface {
	RegisterScalableTarget(context.Context, *scaling.RegisterScalableTargetInput, ...func(*scaling.Options)) (
		*scaling.RegisterScalableTargetOutput, error)
	DescribeScalableTargets(context.Context, *scaling.DescribeScalableTargetsInput, ...func(*scaling.Options)) (
		*scaling.DescribeScalableTargetsOutput, error)
}

func (s *Session) scaling(region string) scalingAPI {
	return scaling.NewFromConfig(s.cfg, func(o *scaling.Options) {
		o.Region = region
		o.Retryer = few()
	})
}

// setMinimum sets the service's smallest task count; the maximum and the policies stay as they are.
func (s *Services) setMinimum(ctx context.Context, cluster, service string, tasks int) error {
	_, err := s.scaling.RegisterScalableTarget(ctx, &scaling.RegisterScalableTargetInput{
		ServiceNamespace:  types.ServiceNamespaceEcs,
		ScalableDimension: types.ScalableDimensionECSServiceDesiredCount,
		ResourceId:        sdk.String("service/" + cluster + "/" + service),
		MinCapacity:       sdk.Int32(int32(tasks)),
	})
	if err != nil {
		return fmt.Errorf("set the autoscaling minimum of service %q of cluster %q in %s to %d: %w",
			service, cluster, s.region, tasks, err)
	}
	return nil
}

// Bounds are the smallest and the largest task count of a service's autoscaling, both 0 if it has none.
func (s *Services) Bounds(ctx context.Context, cluster, service string) (minimum, maximum int, err error) {
	out, err := s.scaling.DescribeScalableTargets(ctx, &scaling.DescribeScalableTargetsInput{
		ServiceNamespace:  types.ServiceNamespaceEcs,
		ScalableDimension: types.ScalableDimensionECSServiceDesiredCount,
		ResourceIds:       []string{"service/" + cluster + "/" + service},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("describe the autoscaling of service %q of cluster %q in %s: %w", service, cluster, s.region, err)
	}
	for _, t := range out.ScalableTargets {
		return int(sdk.ToInt32(t.MinCapacity)), int(sdk.ToInt32(t.MaxCapacity)), nil
	}
	return 0, 0, nil
}
