package aws

import (
	"context"
	"fmt"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

// Topics is SNS in one region.
type Topics struct {
	api    sns.ListSubscriptionsByTopicAPIClient
	region string
}

// Topics makes the adapter for a region.
func (s *Session) Topics(region string) *Topics {
	api := sns.NewFromConfig(s.cfg, func(o *sns.Options) {
		o.Region = region
		o.Retryer = few()
	})
	return &Topics{api: api, region: region}
}

// Subscription is one subscription of a topic.
type Subscription struct {
	Protocol, Endpoint string
	// Confirmed is false until its receiver has agreed; until then nothing is delivered.
	Confirmed bool
}

// subscriptionPages bounds the pages of a topic's subscriptions: at most 100 each.
const subscriptionPages = 10

// Subscriptions lists a topic's subscriptions.
func (t *Topics) Subscriptions(ctx context.Context, topicARN string) ([]Subscription, error) {
	var found []Subscription
	pages := sns.NewListSubscriptionsByTopicPaginator(t.api, &sns.ListSubscriptionsByTopicInput{TopicArn: sdk.String(topicARN)})
	for n := 0; pages.HasMorePages() && n < subscriptionPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the subscriptions of %s: %w", topicARN, err)
		}
		for _, s := range page.Subscriptions {
			found = append(found, Subscription{
				Protocol: sdk.ToString(s.Protocol), Endpoint: sdk.ToString(s.Endpoint),
				// AWS writes "PendingConfirmation" or "Deleted" where the ARN will be or was.
				Confirmed: strings.HasPrefix(sdk.ToString(s.SubscriptionArn), "arn:"),
			})
		}
	}
	return found, nil
}
