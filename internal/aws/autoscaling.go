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
