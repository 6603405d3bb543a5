package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inMemory gives net/http the request's body in one piece, so that it has let go of the request before an answer can
// come (see longAnswer).
type inMemory struct{ http.RoundTripper }

func (t inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return t.RoundTripper.RoundTrip(r)
}

// sdkConfig is a client configuration that talks to a twin's endpoint and never retries.
func sdkConfig(t testing.TB, url, region string) aws.Config {
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return aws.Config{
		Region: region, BaseEndpoint: aws.String(url), HTTPClient: &http.Client{Transport: inMemory{transport}},
		Credentials: credentials.NewStaticCredentialsProvider(AccessKeyID, SecretAccessKey, ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// sdkClients are the SDK's clients by the ids that services have here.
func sdkClients(cfg aws.Config) map[string]any {
	return map[string]any{
		"sts": sts.NewFromConfig(cfg), "sns": sns.NewFromConfig(cfg), "rds": rds.NewFromConfig(cfg),
		"elasticloadbalancingv2": elasticloadbalancingv2.NewFromConfig(cfg), "route53": route53.NewFromConfig(cfg),
		"dynamodb": dynamodb.NewFromConfig(cfg), "ecs": ecs.NewFromConfig(cfg), "cloudwatch": cloudwatch.NewFromConfig(cfg),
		"applicationautoscaling": applicationautoscaling.NewFromConfig(cfg),
		"secretsmanager":         secretsmanager.NewFromConfig(cfg), "cloudwatchlogs": cloudwatchlogs.NewFromConfig(cfg),
		"iam": iam.NewFromConfig(cfg), "ecr": ecr.NewFromConfig(cfg), "servicequotas": servicequotas.NewFromConfig(cfg),
	}
}

// TestEveryMemberSurvivesTheWire sends a filled input of every operation with the SDK's client and answers with a
// filled output: what the function gets, and what the client gets, must equal what was sent, member by member.
func TestEveryMemberSurvivesTheWire(t *testing.T) {
	e := newEndpoint(t, newBackends(t))
	server := httptest.NewServer(e.Handler(""))
	t.Cleanup(server.Close)
	clients := sdkClients(sdkConfig(t, server.URL, "us-east-1"))
	total := 0
	for _, s := range e.services {
		for name := range s.operations {
			total++
			t.Run(s.id+"/"+name, func(t *testing.T) { roundTrip(t, s, name, clients[s.id]) })
		}
	}
	if total < 57 {
		t.Errorf("only %d operations were tried", total)
	}
}

func roundTrip(t *testing.T, s *service, name string, client any) {
	method := reflect.ValueOf(client).MethodByName(name)
	if !method.IsValid() {
		t.Fatalf("the SDK has no operation %s", name)
	}
	f := &filler{}
	in := reflect.New(method.Type().In(1).Elem())
	f.fill(in.Elem(), 0)
	onlyOnTheWire(in)
	want := reflect.New(method.Type().Out(0).Elem())
	f.fill(want.Elem(), 0)
	var mu sync.Mutex
	var got any
	o := s.operations[name]
	o.required = nil
	o.call = func(_ context.Context, _ request, in any) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		got = in
		return want.Interface(), nil
	}
	s.operations[name] = o
	results := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
	if err, _ := results[1].Interface().(error); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	compare(t, "input", reflect.ValueOf(got).Elem(), in.Elem())
	compare(t, "output", results[0].Elem(), want.Elem())
}

// onlyOnTheWire takes back what the SDK's client does not send as it is.
func onlyOnTheWire(in reflect.Value) {
	if f := in.Elem().FieldByName("MaxItems"); f.IsValid() { // Route 53 has at most 100
		f.Set(reflect.ValueOf(aws.Int32(7)))
	}
}

// compare reports every member that differs.
func compare(t *testing.T, path string, got, want reflect.Value) {
	t.Helper()
	if got.Kind() != want.Kind() {
		t.Errorf("%s is a %s, want a %s", path, got.Kind(), want.Kind())
		return
	}
	switch want.Kind() {
	case reflect.Pointer, reflect.Interface:
		if got.IsNil() || want.IsNil() {
			if got.IsNil() != want.IsNil() {
				t.Errorf("%s is nil: %v, want %v", path, got.IsNil(), want.IsNil())
			}
			return
		}
		compare(t, path, got.Elem(), want.Elem())
	case reflect.Struct:
		if at, ok := want.Interface().(time.Time); ok {
			if !got.Interface().(time.Time).Equal(at) {
				t.Errorf("%s = %v, want %v", path, got.Interface(), at)
			}
			return
		}
		for _, f := range reflect.VisibleFields(want.Type()) {
			if f.IsExported() && f.Name != "ResultMetadata" {
				compare(t, path+"."+f.Name, got.FieldByIndex(f.Index), want.FieldByIndex(f.Index))
			}
		}
	case reflect.Slice:
		if got.Len() != want.Len() {
			t.Errorf("%s has %d elements, want %d", path, got.Len(), want.Len())
			return
		}
		for i := range want.Len() {
			compare(t, fmt.Sprintf("%s[%d]", path, i), got.Index(i), want.Index(i))
		}
	case reflect.Map:
		for _, k := range want.MapKeys() {
			e := got.MapIndex(k)
			if !e.IsValid() {
				t.Errorf("%s lacks %s", path, k)
				continue
			}
			compare(t, path+"."+k.String(), e, want.MapIndex(k))
		}
	default:
		if !reflect.DeepEqual(got.Interface(), want.Interface()) {
			t.Errorf("%s = %v, want %v", path, got.Interface(), want.Interface())
		}
	}
}
