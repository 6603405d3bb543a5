package aws

import (
	"context"
	"errors"
	"fmt"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// ServerTime is a region's own clock as the Date header of an answer shows it, in whole seconds.
func (s *Session) ServerTime(ctx context.Context, region string) (time.Time, error) {
	client := sts.NewFromConfig(s.cfg, func(o *sts.Options) {
		o.Region = region
		o.Retryer = few()
	})
	out, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return time.Time{}, fmt.Errorf("ask who we are in %s: %w", region, err)
	}
	at, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok {
		return time.Time{}, fmt.Errorf("ask who we are in %s: %w", region, errors.New("the answer has no Date"))
	}
	return at, nil
}
