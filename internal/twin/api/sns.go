package api

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/google/uuid"

	"holdfast/internal/topology"
	"holdfast/internal/twin/api/wire"
)

func (e *Endpoint) snsService() *service {
	return &service{
		id: "sns", protocols: []protocol{query}, namespace: "http://sns.amazonaws.com/doc/2010-03-31/", version: "2010-03-31",
		style: wire.Style{ListElement: "member"}, invalid: invalidWith("InvalidParameter"),
		missing: func(member string) error {
			return fail("InvalidParameter", "Invalid parameter: %s Reason: no value for required parameter", member)
		},
		operations: operations(
			op("ListTopics", e.listTopics),
			op("GetTopicAttributes", e.getTopicAttributes, "TopicArn"),
			op("ListSubscriptions", e.listSubscriptions),
			op("ListSubscriptionsByTopic", e.listSubscriptionsByTopic, "TopicArn"),
		),
	}
}

// snsPageSize is what SNS returns at a time.
const snsPageSize = 100

func snsPage[T any](items []T, key func(T) string, token *string) ([]T, *string, error) {
	page, next, ok := pageAfter(items, key, aws.ToString(token), snsPageSize)
	if !ok {
		return nil, nil, fail("InvalidParameter", "Invalid parameter: nextToken")
	}
	return page, optional(next), nil
}

func (e *Endpoint) listTopics(_ context.Context, r request, in *sns.ListTopicsInput) (*sns.ListTopicsOutput, error) {
	topics := []types.Topic{}
	for _, t := range e.options.Topology.Topics {
		if t.Region == r.region {
			topics = append(topics, types.Topic{TopicArn: aws.String(t.ARN)})
		}
	}
	page, next, err := snsPage(topics, func(t types.Topic) string { return *t.TopicArn }, in.NextToken)
	return &sns.ListTopicsOutput{Topics: page, NextToken: next}, err
}

// checkTopic refuses ARNs that are none, and topics that are not there.
func (e *Endpoint) checkTopic(region, arn string) error {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "sns" {
		return fail("InvalidParameter", "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not %d", len(parts))
	}
	if parts[3] != region {
		return fail("InvalidParameter", "Invalid parameter: TopicArn")
	}
	if !slices.ContainsFunc(e.options.Topology.Topics, func(t topology.Topic) bool { return t.ARN == arn }) {
		return gone("NotFound", "Topic does not exist")
	}
	return nil
}

func (e *Endpoint) getTopicAttributes(
	_ context.Context, r request, in *sns.GetTopicAttributesInput,
) (*sns.GetTopicAttributesOutput, error) {
	if err := e.checkTopic(r.region, *in.TopicArn); err != nil {
		return nil, err
	}
	confirmed := len(e.subscriptions(r.region, *in.TopicArn))
	return &sns.GetTopicAttributesOutput{Attributes: map[string]string{
		"TopicArn": *in.TopicArn, "Owner": e.options.Topology.AccountID, "DisplayName": "",
		"SubscriptionsConfirmed": strconv.Itoa(confirmed), "SubscriptionsPending": "0", "SubscriptionsDeleted": "0",
	}}, nil
}

// subscriptions lists the subscriptions of a topic, or of a region's topics if topicARN is empty. In the twin everybody
// has confirmed.
func (e *Endpoint) subscriptions(region, topicARN string) []types.Subscription {
	out := []types.Subscription{}
	for _, s := range e.options.Topology.Subscriptions {
		if s.Region != region || topicARN != "" && s.TopicARN != topicARN {
			continue
		}
		id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(s.TopicARN+" "+s.Protocol+" "+s.Endpoint)).String()
		out = append(out, types.Subscription{
			TopicArn: aws.String(s.TopicARN), Protocol: aws.String(s.Protocol), Endpoint: aws.String(s.Endpoint),
			Owner: aws.String(e.options.Topology.AccountID), SubscriptionArn: aws.String(s.TopicARN + ":" + id),
		})
	}
	return out
}

func subscriptionKey(s types.Subscription) string { return *s.SubscriptionArn }

func (e *Endpoint) listSubscriptions(
	_ context.Context, r request, in *sns.ListSubscriptionsInput,
) (*sns.ListSubscriptionsOutput, error) {
	page, next, err := snsPage(e.subscriptions(r.region, ""), subscriptionKey, in.NextToken)
	return &sns.ListSubscriptionsOutput{Subscriptions: page, NextToken: next}, err
}

func (e *Endpoint) listSubscriptionsByTopic(
	_ context.Context, r request, in *sns.ListSubscriptionsByTopicInput,
) (*sns.ListSubscriptionsByTopicOutput, error) {
	if err := e.checkTopic(r.region, *in.TopicArn); err != nil {
		return nil, err
	}
	page, next, err := snsPage(e.subscriptions(r.region, *in.TopicArn), subscriptionKey, in.NextToken)
	return &sns.ListSubscriptionsByTopicOutput{Subscriptions: page, NextToken: next}, err
}
