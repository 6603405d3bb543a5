package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

const jsonType = "application/x-amz-json-1.1"

func TestParseRegistryImage(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, want := range map[string]RegistryImage{
		"123456789012.dkr.ecr.us-west-2.amazonaws.com/a/b:v1":         {"123456789012", "us-west-2", "a/b", "v1", ""},
		"123456789012.dkr.ecr.us-west-2.amazonaws.com/a":              {"123456789012", "us-west-2", "a", "latest", ""},
		"123456789012.dkr.ecr.us-west-2.amazonaws.com/a@" + digest:    {"123456789012", "us-west-2", "a", "", digest},
		"123456789012.dkr.ecr.us-west-2.amazonaws.com/a:v1@" + digest: {"123456789012", "us-west-2", "a", "v1", digest},
		"payd:twin":                   {},
		"docker.io/library/nginx:1":   {},
		"public.ecr.aws/nginx/nginx:": {},
	} {
		got, ok := ParseRegistryImage(name)
		if got != want || ok != (want.Region != "") {
			t.Errorf("%s: %+v, %t; want %+v", name, got, ok, want)
		}
	}
}

// TestImageDigest: a missing image or repository is told apart from an API that does not answer.
func TestImageDigest(t *testing.T) {
	for code, missing := range map[string]bool{"ImageNotFoundException": true, "RepositoryNotFoundException": true, "AccessDeniedException": false} {
		r := &recorder{answer: func(asked) (int, string, string) {
			return http.StatusBadRequest, jsonType, fmt.Sprintf(`{"__type":%q,"message":"no"}`, code)
		}}
		_, err := session(t, r).ImageDigest(context.Background(), RegistryImage{Account: "1", Region: "us-west-2", Repository: "a", Tag: "v"})
		if err == nil || errors.Is(err, ErrNoImage) != missing {
			t.Errorf("%s: %v", code, err)
		}
		if r.asked[0].scope != "us-west-2/ecr" {
			t.Errorf("asked %+v", r.asked[0])
		}
	}
}

// TestQuotaFallsBackToTheDefault: a quota that nobody ever changed has no applied value.
func TestQuotaFallsBackToTheDefault(t *testing.T) {
	r := &recorder{answer: func(a asked) (int, string, string) {
		if a.action == "GetServiceQuota" {
			return http.StatusBadRequest, jsonType, `{"__type":"NoSuchResourceException","Message":"none"}`
		}
		return http.StatusOK, jsonType, `{"Quota":{"QuotaName":"n","Value":6}}`
	}}
	q, err := session(t, r).Quota(context.Background(), "us-west-2", "fargate", "L-1")
	if err != nil || q != (Quota{"n", 6}) || len(r.asked) != 2 || r.asked[1].action != "GetAWSDefaultServiceQuota" {
		t.Errorf("%+v, %v, asked %+v", q, err, r.asked)
	}
}

func TestSubscriptionsThatWaitAreNotConfirmed(t *testing.T) {
	const member = "<member><Protocol>email</Protocol><Endpoint>e</Endpoint><SubscriptionArn>%s</SubscriptionArn></member>"
	r := &recorder{answer: func(a asked) (int, string, string) {
		return xmlAnswer(a.action, "<Subscriptions>"+fmt.Sprintf(member, "PendingConfirmation")+fmt.Sprintf(member, "arn:aws:sns:r:1:t:id")+"</Subscriptions>")
	}}
	got, err := session(t, r).Topics("us-east-1").Subscriptions(context.Background(), "arn:aws:sns:us-east-1:1:t")
	if err != nil || len(got) != 2 || got[0].Confirmed || !got[1].Confirmed {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestKeepAliveDefault: a balancer whose keep-alive was never set has an hour.
func TestKeepAliveDefault(t *testing.T) {
	const attribute = "<member><Key>client_keep_alive.seconds</Key><Value>120</Value></member>"
	for inner, want := range map[string]time.Duration{"": time.Hour, attribute: 2 * time.Minute} {
		r := &recorder{answer: func(a asked) (int, string, string) { return xmlAnswer(a.action, "<Attributes>"+inner+"</Attributes>") }}
		if got, err := session(t, r).Balancers("us-east-1").KeepAlive(context.Background(), "arn"); err != nil || got != want {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
}

// TestCanaryIsStartedOnce: a request to start a task that was answered by an error must not be sent again by the SDK, or
// there would be two.
func TestCanaryIsStartedOnce(t *testing.T) {
	r := &recorder{answer: func(a asked) (int, string, string) {
		if a.action == "DescribeServices" {
			return http.StatusOK, jsonType, `{"services":[{"taskDefinition":"td","networkConfiguration":{"awsvpcConfiguration":{"subnets":["s"]}}}]}`
		}
		return http.StatusInternalServerError, jsonType, `{"__type":"ServerException"}`
	}}
	if _, err := session(t, r).Services("us-west-2").RunLike(context.Background(), "c", "s", "by"); err == nil {
		t.Error("a failed start succeeded")
	}
	if len(r.asked) != 2 || r.asked[1].json["taskDefinition"] != "td" || r.asked[1].json["startedBy"] != "by" || r.asked[1].json["networkConfiguration"] == nil {
		t.Errorf("asked %+v", r.asked)
	}
}
