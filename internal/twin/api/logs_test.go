package api

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	logs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

const paymentGroup, paymentTask = "/ecs/payment-app-primary-twin", "payment-service-primary-twin-a"

func TestLogs(t *testing.T) {
	b := newBackends(t)
	client := logs.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	ctx := t.Context()
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for n := range 5 {
		b.ecs.log(t, paymentTask, fmt.Sprintf(`{"time":%q,"level":"INFO","msg":"payment %d"}`+"\n", start.Add(time.Duration(n)*time.Second).Format(time.RFC3339Nano), n))
	}
	b.ecs.log(t, paymentTask, "\tat a line without a time\n"+`{"time":"unfinished`)
	b.ecs.log(t, "payment-service-primary-twin-b", start.Add(1500*time.Millisecond).Format("2006-01-02T15:04:05.000Z")+" from the other task\n")

	groups := must[*logs.DescribeLogGroupsOutput](t)(client.DescribeLogGroups(ctx, &logs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/ecs/payment")}))
	if g := groups.LogGroups; len(g) != 1 || *g[0].LogGroupName != paymentGroup || *g[0].StoredBytes == 0 {
		t.Fatalf("groups = %+v", g)
	}
	streams := must[*logs.DescribeLogStreamsOutput](t)(client.DescribeLogStreams(ctx, &logs.DescribeLogStreamsInput{
		LogGroupIdentifier: groups.LogGroups[0].LogGroupArn, OrderBy: types.OrderByLastEventTime, Descending: aws.Bool(true),
	}))
	if s := streams.LogStreams; len(s) != 2 || *s[0].LogStreamName != "ecs/payd/"+paymentTask ||
		*s[0].LastEventTimestamp != start.Add(4*time.Second).UnixMilli() {
		t.Fatalf("streams = %+v", s)
	}
	filtered := must[*logs.FilterLogEventsOutput](t)(client.FilterLogEvents(ctx, &logs.FilterLogEventsInput{
		LogGroupName: aws.String(paymentGroup), StartTime: aws.Int64(start.Add(time.Second).UnixMilli()), Limit: aws.Int32(3),
	}))
	if got := messages(filtered.Events); got != "payment 1|from the other task|payment 2" {
		t.Errorf("events = %s", got)
	}
	rest := must[*logs.FilterLogEventsOutput](t)(client.FilterLogEvents(ctx, &logs.FilterLogEventsInput{
		LogGroupName: aws.String(paymentGroup), StartTime: aws.Int64(start.Add(time.Second).UnixMilli()), NextToken: filtered.NextToken,
	}))
	if got := messages(rest.Events); got != "payment 3|payment 4|at a line without a time" {
		t.Errorf("the rest = %s", got)
	}
	seen := map[string]bool{}
	for _, ev := range append(filtered.Events, rest.Events...) {
		if seen[*ev.EventId] {
			t.Errorf("event id %s twice", *ev.EventId)
		}
		seen[*ev.EventId] = true
	}
	// What a follower asks again and again: only what is new comes, once the line is complete.
	b.ecs.log(t, paymentTask, `"}`+"\n")
	b.ecs.log(t, paymentTask, start.Add(9*time.Second).Format(time.RFC3339)+" news\n")
	news := must[*logs.FilterLogEventsOutput](t)(client.FilterLogEvents(ctx, &logs.FilterLogEventsInput{
		LogGroupName: aws.String(paymentGroup), StartTime: aws.Int64(start.Add(9 * time.Second).UnixMilli()),
	}))
	if got := messages(news.Events); got != "news" {
		t.Errorf("news = %s", got)
	}
	for pattern, want := range map[string]string{
		`"payment 2"`: "payment 2", "payment -INFO": "", "?news ?other": "from the other task|news", "time without": "at a line without a time",
	} {
		out := must[*logs.FilterLogEventsOutput](t)(client.FilterLogEvents(ctx, &logs.FilterLogEventsInput{LogGroupName: aws.String(paymentGroup), FilterPattern: &pattern}))
		if got := messages(out.Events); got != want {
			t.Errorf("%s = %s, want %s", pattern, got, want)
		}
	}
}

// messages joins what the events say, without the fields around it.
func messages(events []types.FilteredLogEvent) string {
	var out []string
	for _, ev := range events {
		text := strings.TrimSpace(*ev.Message)
		if _, msg, ok := strings.Cut(text, `"msg":"`); ok {
			text = strings.TrimSuffix(msg, `"}`)
		} else if stamp, rest, ok := strings.Cut(text, " "); ok && strings.Contains(stamp, "T") {
			text = rest
		}
		out = append(out, text)
	}
	return strings.Join(out, "|")
}

func TestGetLogEventsPages(t *testing.T) {
	b := newBackends(t)
	client := logs.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for n := range 6 {
		b.ecs.log(t, paymentTask, start.Add(time.Duration(n)*time.Second).Format(time.RFC3339)+fmt.Sprintf(" %d\n", n))
	}
	get := func(head bool, token *string) (string, *logs.GetLogEventsOutput) {
		t.Helper()
		out := must[*logs.GetLogEventsOutput](t)(client.GetLogEvents(t.Context(), &logs.GetLogEventsInput{
			LogGroupName: aws.String(paymentGroup), LogStreamName: aws.String("ecs/payd/" + paymentTask), Limit: aws.Int32(2),
			StartFromHead: aws.Bool(head), NextToken: token,
		}))
		text := ""
		for _, ev := range out.Events {
			text += (*ev.Message)[len(*ev.Message)-1:]
		}
		return text, out
	}
	text, out := get(true, nil)
	if text != "01" {
		t.Errorf("from the head: %s, want 01", text)
	}
	if text, out = get(true, out.NextForwardToken); text != "23" {
		t.Errorf("forward: %s, want 23", text)
	}
	if text, _ := get(false, out.NextBackwardToken); text != "01" {
		t.Errorf("backward: %s, want 01", text)
	}
	if text, out = get(false, nil); text != "45" {
		t.Errorf("the newest: %s, want 45", text)
	}
	again, end := get(true, out.NextForwardToken)
	if again != "" || *end.NextForwardToken != *out.NextForwardToken {
		t.Errorf("at the end: %s and token %s, want nothing and the same token", again, *end.NextForwardToken)
	}
	b.ecs.log(t, paymentTask, start.Add(time.Minute).Format(time.RFC3339)+" 6\n")
	if text, _ := get(true, end.NextForwardToken); text != "6" {
		t.Errorf("following: %s, want 6", text)
	}
}

func TestLogErrors(t *testing.T) {
	client := logs.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, newBackends(t)), ""), east))
	ctx := t.Context()
	_, err := client.FilterLogEvents(ctx, &logs.FilterLogEventsInput{LogGroupName: aws.String("nobody")})
	wantError(t, err, "ResourceNotFoundException", 400, "The specified log group does not exist.")
	_, err = client.GetLogEvents(ctx, &logs.GetLogEventsInput{LogGroupName: aws.String(paymentGroup), LogStreamName: aws.String("nobody")})
	wantError(t, err, "ResourceNotFoundException", 400, "The specified log stream does not exist.")
	_, err = client.FilterLogEvents(ctx, &logs.FilterLogEventsInput{LogGroupName: aws.String(paymentGroup), FilterPattern: aws.String("{ $.x = 1 }")})
	wantError(t, err, "InvalidParameterException", 400, "filter pattern")
	_, err = client.FilterLogEvents(ctx, &logs.FilterLogEventsInput{LogGroupName: aws.String(paymentGroup), FilterPattern: aws.String(`"open`)})
	wantError(t, err, "InvalidParameterException", 400, "quote is not closed")
	_, err = client.DescribeLogStreams(ctx, &logs.DescribeLogStreamsInput{})
	wantError(t, err, "InvalidParameterException", 400, "Exactly one of")
}

// TestStreamsOutliveTheirTasks pins that a log can still be read after the scheduler has forgotten the task, and after
// the file was rotated.
func TestStreamsOutliveTheirTasks(t *testing.T) {
	b := newBackends(t)
	client := logs.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
	in := &logs.FilterLogEventsInput{LogGroupName: aws.String(paymentGroup)}
	b.ecs.log(t, paymentTask, "2026-11-22T10:00:00Z old\n")
	must[*logs.FilterLogEventsOutput](t)(client.FilterLogEvents(t.Context(), in))
	path := filepath.Join(b.ecs.logDir, paymentTask+".log")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	b.ecs.log(t, paymentTask, "2026-11-22T10:00:01Z new\n")
	b.ecs.mu.Lock()
	clear(b.ecs.desired)
	b.ecs.mu.Unlock()
	out := must[*logs.FilterLogEventsOutput](t)(client.FilterLogEvents(t.Context(), in))
	if got := messages(out.Events); got != "old|new" {
		t.Errorf("events = %s, want old|new", got)
	}
}
