package alarms

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	region   = "us-west-2"
	topicARN = "arn:aws:sns:us-west-2:123456789012:alarms"
)

// lagAlarm is two periods of one minute above 30 s, as the runbook's.
func lagAlarm() topology.Topology {
	return topology.Topology{
		AccountID: "123456789012",
		Alarms: []topology.Alarm{{
			Region: region, Name: "lag", ARN: "arn:aws:cloudwatch:us-west-2:123456789012:alarm:lag", Namespace: "AWS/RDS",
			Metric: "AuroraGlobalDBReplicationLag", Dimensions: map[string]string{"DBClusterIdentifier": "dr"}, Statistic: "Average",
			Period: time.Minute, EvaluationPeriods: 2, Threshold: 30000, ComparisonOperator: "GreaterThanThreshold",
			AlarmActions: []string{topicARN}, OKActions: []string{topicARN},
		}},
		Topics: []topology.Topic{{Region: region, Name: "alarms", ARN: topicARN}},
		Subscriptions: []topology.Subscription{
			{Region: region, TopicARN: topicARN, Protocol: "email", Endpoint: "admin@example.com"},
		},
	}
}

// TestAlarmFollowsItsMetric drives an alarm through its states at speed 10, where a minute is 6 seconds.
func TestAlarmFollowsItsMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := NewMetrics(nil)
		var told []string
		var up atomic.Bool
		up.Store(true)
		e, err := NewEvaluator(Options{
			Topology: lagAlarm(), Metrics: metrics, Speed: 10, Up: func(string) bool { return up.Load() },
			Notify: func(_ context.Context, action string, n Notification) error {
				told = append(told, n.From+">"+n.To)
				if action != topicARN {
					t.Errorf("notified %s", action)
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		e.Start(t.Context())
		defer e.Stop()
		run := func(d time.Duration, value float64) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				if value >= 0 {
					metrics.Put(region, "AWS/RDS", One("AuroraGlobalDBReplicationLag", value, "Milliseconds", map[string]string{"DBClusterIdentifier": "dr"}))
				}
				sleep(t, time.Second)
			}
			synctest.Wait()
		}
		want := func(value string) State {
			t.Helper()
			s, ok := e.State(region, "lag")
			if !ok || s.Value != value {
				t.Fatalf("state = %+v, want %s", s, value)
			}
			return s
		}
		want(InsufficientData)
		run(14*time.Second, 800)
		want(OK)
		run(7*time.Second, 45000)
		want(OK) // one period is not enough
		run(7*time.Second, 45000)
		s := want(Alarm)
		for _, text := range []string{
			"Threshold Crossed: 2 out of the last 2 datapoints [", "were greater than the threshold (3000.0)",
			"(minimum 2 datapoints for OK -> ALARM transition)",
		} {
			if !strings.Contains(s.Reason, text) {
				t.Errorf("reason = %q, want %q in it", s.Reason, text)
			}
		}
		run(14*time.Second, 800)
		want(OK)
		run(40*time.Second, -1) // no data any more
		want(InsufficientData)
		up.Store(false)
		run(20*time.Second, 90000)
		want(InsufficientData) // nothing is evaluated in a lost region
		up.Store(true)
		run(14*time.Second, 90000)
		want(Alarm)
		if got := strings.Join(told, " "); got != "INSUFFICIENT_DATA>OK OK>ALARM ALARM>OK INSUFFICIENT_DATA>ALARM" {
			t.Errorf("notifications = %s", got)
		}
		history := e.History(region)
		if len(history) != 10 || history[0].Type != "Action" || history[1].Summary != "Alarm updated from INSUFFICIENT_DATA to ALARM" ||
			history[9].Type != "ConfigurationUpdate" {
			t.Errorf("history = %+v", history)
		}
	})
}

// sleep lets time pass in a synctest bubble.
func sleep(t *testing.T, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

func TestAlarmsThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*topology.Alarm){
		"comparison operator":  func(a *topology.Alarm) { a.ComparisonOperator = "LooksLike" },
		"statistic":            func(a *topology.Alarm) { a.Statistic = "Median" },
		"period":               func(a *topology.Alarm) { a.Period = 0 },
		"datapoints to alarm":  func(a *topology.Alarm) { a.DatapointsToAlarm = 3 },
		"treatment of missing": func(a *topology.Alarm) { a.TreatMissingData = "shrug" },
	} {
		topo := lagAlarm()
		change(&topo.Alarms[0])
		if _, err := NewEvaluator(Options{Topology: topo, Metrics: NewMetrics(nil)}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func notification() Notification {
	return Notification{
		Alarm: lagAlarm().Alarms[0], Account: "123456789012", From: OK, To: Alarm,
		Reason: "Threshold Crossed: 2 out of the last 2 datapoints", At: noon,
	}
}

func TestMailIsReadable(t *testing.T) {
	dir := t.TempDir()
	topics := NewTopics(lagAlarm(), dir, "", func() time.Time { return noon })
	if err := topics.Publish(t.Context(), topicARN, notification()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "admin@example.com", "*.eml"))
	if err != nil || len(files) != 1 {
		t.Fatalf("mails = %v, %v", files, err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	message, err := mail.ReadMessage(f)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(message.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := message.Header.Get("Subject"); got != `ALARM: "lag" in us-west-2` {
		t.Errorf("subject = %q", got)
	}
	for _, text := range []string{"from OK to ALARM", "Threshold Crossed", "AuroraGlobalDBReplicationLag", "greater than 30000.0", "DBClusterIdentifier = dr"} {
		if !strings.Contains(string(body), text) {
			t.Errorf("the mail lacks %q:\n%s", text, body)
		}
	}
}

func TestWebhooks(t *testing.T) {
	got := make(chan string, 2)
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Header.Get("X-Amz-Sns-Topic-Arn") + " " + string(body)
		w.WriteHeader(status)
	}))
	defer server.Close()
	topo := lagAlarm()
	topo.Subscriptions = []topology.Subscription{{Region: region, TopicARN: topicARN, Protocol: "http", Endpoint: server.URL}}
	topics := NewTopics(topo, t.TempDir(), "", nil)
	if err := topics.Publish(t.Context(), topicARN, notification()); err != nil {
		t.Fatal(err)
	}
	if text := <-got; !strings.HasPrefix(text, topicARN+" ") || !strings.Contains(text, `\"NewStateValue\":\"ALARM\"`) {
		t.Errorf("the webhook got %s", text)
	}
	status = http.StatusInternalServerError
	if err := topics.Publish(t.Context(), topicARN, notification()); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("a webhook that fails: %v", err)
	}
	<-got
	if err := topics.Publish(t.Context(), topicARN+"x", notification()); err == nil {
		t.Error("a topic that does not exist took a message")
	}
}

// TestFailedActionIsInTheHistory pins that an operator can see why no mail came.
func TestFailedActionIsInTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topo := lagAlarm()
		topo.Alarms[0].TreatMissingData = "breaching"
		e, err := NewEvaluator(Options{
			Topology: topo, Metrics: NewMetrics(nil),
			Notify: func(context.Context, string, Notification) error { return errors.New("disk full") },
		})
		if err != nil {
			t.Fatal(err)
		}
		e.Start(t.Context())
		defer e.Stop()
		sleep(t, 4*time.Minute)
		synctest.Wait()
		if h := e.History(region); h[0].Type != "Action" || !strings.Contains(h[0].Summary, "Received error: disk full") {
			t.Errorf("history = %+v", h)
		}
		if s, _ := e.State(region, "lag"); !strings.Contains(s.Reason, "no datapoints were received for 2 periods and missing datapoints are treated as [Breaching]") {
			t.Errorf("reason = %q", s.Reason)
		}
	})
}
