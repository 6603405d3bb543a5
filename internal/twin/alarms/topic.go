package alarms

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"holdfast/internal/topology"
)

// deliveryTimeout bounds one delivery to a webhook.
const deliveryTimeout = 5 * time.Second

// Topics delivers what is published to the topology's SNS topics: mail into a folder per address, JSON to webhooks.
// Its methods may be called from many goroutines.
type Topics struct {
	topology topology.Topology
	mailDir  string
	webhook  string
	client   *http.Client
	now      func() time.Time
}

// NewTopics delivers mail below mailDir, one folder per address and one file per message. webhook, if not empty, gets
// every message too, as if it were subscribed to every topic over HTTP.
func NewTopics(t topology.Topology, mailDir, webhook string, now func() time.Time) *Topics {
	if now == nil {
		now = time.Now
	}
	return &Topics{
		topology: t, mailDir: mailDir, webhook: webhook, now: now,
		client: &http.Client{Timeout: deliveryTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// Message is what a topic's subscribers get.
type Message struct {
	Subject string
	// Text is a mail's body; JSON is what programs get, and it is the text if it is empty.
	Text, JSON string
	// Label becomes part of a mail's file name.
	Label string
}

// Publish delivers a notification to a topic's subscribers. The error joins those of all deliveries that failed.
func (t *Topics) Publish(ctx context.Context, topicARN string, n Notification) error {
	return t.PublishMessage(ctx, topicARN, Message{
		Subject: n.Subject(), Text: n.Text(), JSON: n.JSON(), Label: n.Alarm.Name + "-" + n.To,
	})
}

// PublishMessage delivers any message, as Publish does.
func (t *Topics) PublishMessage(ctx context.Context, topicARN string, m Message) error {
	if !slices.ContainsFunc(t.topology.Topics, func(topic topology.Topic) bool { return topic.ARN == topicARN }) {
		return fmt.Errorf("publish to %s: topic does not exist", topicARN)
	}
	m.JSON = cmp.Or(m.JSON, m.Text)
	var errs []error
	for _, s := range t.topology.Subscriptions {
		if s.TopicARN != topicARN {
			continue
		}
		switch s.Protocol {
		case "email", "email-json":
			errs = append(errs, t.mail(s, m))
		case "http", "https":
			errs = append(errs, t.post(ctx, topicARN, s.Endpoint, m))
		default:
			errs = append(errs, fmt.Errorf("publish to %s: the twin does not deliver over %s", topicARN, s.Protocol))
		}
	}
	if t.webhook != "" {
		errs = append(errs, t.post(ctx, topicARN, t.webhook, m))
	}
	return errors.Join(errs...)
}

// Subject is a mail's subject.
func (n Notification) Subject() string {
	return n.To + `: "` + n.Alarm.Name + `" in ` + n.Alarm.Region
}

// Text is a mail's body.
func (n Notification) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "The alarm %q in %s has gone from %s to %s at %s.\n\n%s\n\n", n.Alarm.Name, n.Alarm.Region, n.From, n.To,
		n.At.UTC().Format("2006-01-02 15:04:05 UTC"), n.Reason)
	if n.Rule != "" {
		fmt.Fprintf(&b, "Rule:        %s\n", n.Rule)
	} else {
		n.metric(&b)
	}
	fmt.Fprintf(&b, "Alarm:       %s\nAccount:     %s\n", n.Alarm.ARN, n.Account)
	return b.String()
}

// metric words what an alarm on a metric watches.
func (n Notification) metric(b *strings.Builder) {
	fmt.Fprintf(b, "Metric:      %s %s\n", n.Alarm.Namespace, n.Alarm.Metric)
	for _, name := range slices.Sorted(maps.Keys(n.Alarm.Dimensions)) {
		fmt.Fprintf(b, "             %s = %s\n", name, n.Alarm.Dimensions[name])
	}
	fmt.Fprintf(b, "Condition:   %s %s %s, %d periods of %v\n", n.Alarm.Statistic,
		comparisons[n.Alarm.ComparisonOperator].words, number(n.Alarm.Threshold), n.Alarm.EvaluationPeriods, n.Alarm.Period)
}

// JSON is the message as CloudWatch publishes it.
func (n Notification) JSON() string {
	message := map[string]any{
		"AlarmName": n.Alarm.Name, "AlarmArn": n.Alarm.ARN, "AWSAccountId": n.Account, "Region": n.Alarm.Region,
		"NewStateValue": n.To, "OldStateValue": n.From, "NewStateReason": n.Reason,
		"StateChangeTime": n.At.UTC().Format("2006-01-02T15:04:05.000+0000"),
	}
	if n.Rule != "" {
		message["AlarmRule"] = n.Rule
		return marshal(message)
	}
	dimensions := []map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(n.Alarm.Dimensions)) {
		dimensions = append(dimensions, map[string]string{"name": name, "value": n.Alarm.Dimensions[name]})
	}
	message["Trigger"] = map[string]any{
		"Namespace": n.Alarm.Namespace, "MetricName": n.Alarm.Metric, "Dimensions": dimensions,
		"Statistic": strings.ToUpper(n.Alarm.Statistic), "Period": n.Alarm.Period.Seconds(), "Threshold": n.Alarm.Threshold,
		"EvaluationPeriods": n.Alarm.EvaluationPeriods, "ComparisonOperator": n.Alarm.ComparisonOperator,
		"TreatMissingData": n.Alarm.TreatMissingData,
	}
	return marshal(message)
}

// unsafeInPath is what an address or name may not bring into a file name.
var unsafeInPath = regexp.MustCompile(`[^A-Za-z0-9@._+-]`)

func fileName(s string) string {
	return strings.TrimLeft(unsafeInPath.ReplaceAllString(s, "_"), ".")
}

// mail writes one message into the folder of its address, complete or not at all.
func (t *Topics) mail(s topology.Subscription, m Message) error {
	dir := filepath.Join(t.mailDir, fileName(s.Endpoint))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("mail to %s: %w", s.Endpoint, err)
	}
	now := t.now().UTC()
	text := strings.ReplaceAll(m.Text, "\n", "\r\n")
	kind := "text/plain"
	if s.Protocol == "email-json" {
		text, kind = m.JSON+"\r\n", "application/json"
	}
	message := strings.Join([]string{
		"From: AWS Notifications <no-reply@sns.amazonaws.com>", "To: " + s.Endpoint,
		"Subject: " + mime.QEncoding.Encode("utf-8", m.Subject), "Date: " + now.Format(time.RFC1123Z),
		"Message-ID: <" + uuid.NewString() + "@sns.twin>", "MIME-Version: 1.0", "Content-Type: " + kind + "; charset=utf-8", "", text,
	}, "\r\n")
	name := filepath.Join(dir, now.Format("20060102T150405.000000000Z")+"-"+fileName(m.Label)+".eml")
	if err := os.WriteFile(name+".part", []byte(message), 0o644); err != nil {
		return fmt.Errorf("mail to %s: %w", s.Endpoint, err)
	}
	if err := os.Rename(name+".part", name); err != nil {
		return fmt.Errorf("mail to %s: %w", s.Endpoint, err)
	}
	return nil
}

// post sends an SNS envelope to a webhook.
func (t *Topics) post(ctx context.Context, topicARN, url string, m Message) error {
	envelope := map[string]string{
		"Type": "Notification", "MessageId": uuid.NewString(), "TopicArn": topicARN, "Subject": m.Subject,
		"Message": m.JSON, "Timestamp": t.now().UTC().Format("2006-01-02T15:04:05.000Z"), "SignatureVersion": "1",
	}
	body, err := json.Marshal(envelope)
	if err != nil {
		return fmt.Errorf("deliver to %s: %w", url, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("deliver to %s: %w", url, err)
	}
	request.Header.Set("Content-Type", "text/plain; charset=UTF-8")
	request.Header.Set("X-Amz-Sns-Message-Type", "Notification")
	request.Header.Set("X-Amz-Sns-Message-Id", envelope["MessageId"])
	request.Header.Set("X-Amz-Sns-Topic-Arn", topicARN)
	response, err := t.client.Do(request)
	if err != nil {
		return fmt.Errorf("deliver to %s: %w", url, err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // only the status counts
	if response.StatusCode >= 300 {
		return fmt.Errorf("deliver to %s: the webhook answered %s", url, response.Status)
	}
	return nil
}
