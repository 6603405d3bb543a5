package api

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"holdfast/internal/twin/api/wire"
)

// realRequests are one request per protocol and service, to be damaged.
func realRequests() []fuzzRequest {
	metric := wire.Style{}.EncodeCBOR(&cloudwatch.PutMetricDataInput{Namespace: aws.String("x"), MetricData: []cwtypes.MetricDatum{{
		MetricName: aws.String("m"), Value: aws.Float64(1.5), Dimensions: []cwtypes.Dimension{{Name: aws.String("a"), Value: aws.String("b")}},
	}}})
	return []fuzzRequest{
		{"dynamodb", "application/x-amz-json-1.0", "DynamoDB_20120810.PutItem", "/", `{"TableName":"holdfast-term-twin","Item":{"id":{"S":"a"}},"ConditionExpression":"#v = :v OR attribute_not_exists(id)","ExpressionAttributeNames":{"#v":"version"},"ExpressionAttributeValues":{":v":{"N":"1"}}}`},
		{"dynamodb", "application/x-amz-json-1.0", "DynamoDB_20120810.UpdateItem", "/", `{"TableName":"holdfast-term-twin","Key":{"id":{"S":"a"}},"UpdateExpression":"SET a.b[1] = if_not_exists(c, :v) + :v REMOVE d ADD e :v","ExpressionAttributeValues":{":v":{"N":"1"}},"ReturnValues":"ALL_NEW"}`},
		{"dynamodb", "application/x-amz-json-1.0", "DynamoDB_20120810.Scan", "/", `{"TableName":"holdfast-term-twin","Limit":3,"FilterExpression":"size(id) > :n","ExpressionAttributeValues":{":n":{"N":"0"}},"ProjectionExpression":"id, a.b[0]"}`},
		{"rds", "application/x-www-form-urlencoded", "", "/", "Action=DescribeDBClusters&Version=2014-10-31&Filters.Filter.1.Name=db-cluster-id&Filters.Filter.1.Values.Value.1=aurora-primary-twin&MaxRecords=20"},
		{"rds", "application/x-www-form-urlencoded", "", "/", "Action=FailoverGlobalCluster&GlobalClusterIdentifier=global-aurora-twin&TargetDbClusterIdentifier=aurora-primary-twin&AllowDataLoss=true"},
		{"rds", "application/x-www-form-urlencoded", "", "/", "Action=DescribeEvents&Duration=60&SourceType=db-cluster&SourceIdentifier=x&EventCategories.EventCategory.1=a"},
		{"ecs", "application/x-amz-json-1.1", "AmazonEC2ContainerServiceV20141113.UpdateService", "/", `{"cluster":"payment-cluster-primary-twin","service":"payment-service-primary-twin","desiredCount":2}`},
		{"ecs", "application/x-amz-json-1.1", "AmazonEC2ContainerServiceV20141113.ListTasks", "/", `{"cluster":"payment-cluster-primary-twin","maxResults":1,"nextToken":"x"}`},
		{"elasticloadbalancing", "application/x-www-form-urlencoded", "", "/", "Action=DescribeTargetHealth&TargetGroupArn=arn&Targets.member.1.Id=127.0.0.1&Targets.member.1.Port=80"},
		{"route53", "", "", "/2013-04-01/hostedzone/Z1/rrset?maxitems=1&name=a&type=A&identifier=b", ""},
		{"route53", "", "", "/2013-04-01/healthcheck/fe4092d4-d5c6-463c-872b-55f59234727e/status", ""},
		{"monitoring", "application/cbor", "", "/service/GraniteServiceVersion20100801/operation/PutMetricData", string(metric)},
		{"monitoring", "application/x-amz-json-1.0", "GraniteServiceVersion20100801.GetMetricData", "/", `{"StartTime":1.76e9,"EndTime":1.77e9,"MetricDataQueries":[{"Id":"a","MetricStat":{"Metric":{"MetricName":"m","Namespace":"x"},"Period":3600,"Stat":"p90"}}]}`},
		{"logs", "application/x-amz-json-1.1", "Logs_20140328.FilterLogEvents", "/", `{"logGroupName":"/ecs/payment-app-primary-twin","filterPattern":"a -b ?c \"d e\"","startTime":1,"limit":5,"nextToken":"x"}`},
		{"secretsmanager", "application/x-amz-json-1.1", "secretsmanager.ListSecrets", "/", `{"Filters":[{"Key":"name","Values":["!pay"]}],"MaxResults":3}`},
		{"application-autoscaling", "application/x-amz-json-1.1", "AnyScaleFrontendService.RegisterScalableTarget", "/", `{"ServiceNamespace":"ecs","ResourceId":"service/payment-cluster-primary-twin/payment-service-primary-twin","ScalableDimension":"ecs:service:DesiredCount","MinCapacity":1,"MaxCapacity":5}`},
		{"sns", "application/x-www-form-urlencoded", "", "/", "Action=ListSubscriptionsByTopic&TopicArn=arn:aws:sns:us-east-1:123456789012:x"},
		{"sts", "application/x-www-form-urlencoded", "", "/", "Action=GetCallerIdentity&Version=2011-06-15"},
	}
}

// answerLimit is far above what any request of these takes; only one that hangs reaches it.
const answerLimit = 10 * time.Second

type fuzzRequest struct{ service, contentType, target, path, body string }

// try sends a request straight into the handler. Whatever it is, there must be an answer that is no internal failure.
func (f fuzzRequest) try(t *testing.T, h http.Handler) {
	t.Helper()
	method := http.MethodPost
	if f.contentType == "" {
		method = http.MethodGet
	}
	target, err := url.Parse(f.path)
	if err != nil || !strings.HasPrefix(f.path, "/") {
		return
	}
	r := httptest.NewRequest(method, "http://twin/", strings.NewReader(f.body))
	r.URL = target
	r.Header.Set("Content-Type", f.contentType)
	r.Header.Set("X-Amz-Target", f.target)
	if f.contentType == "application/cbor" {
		r.Header.Set("Smithy-Protocol", "rpc-v2-cbor")
	}
	sign(r, f.service, east)
	w := httptest.NewRecorder()
	began := time.Now()
	h.ServeHTTP(w, r)
	if took := time.Since(began); took > answerLimit {
		t.Errorf("%+v was answered after %v", f, took)
	}
	if w.Code < 200 || w.Code > 499 || w.Header().Get("X-Amzn-Requestid") == "" {
		t.Errorf("%+v was answered with %d %s", f, w.Code, w.Body)
	}
}

func FuzzEndpoint(f *testing.F) {
	for _, r := range realRequests() {
		f.Add(r.service, r.contentType, r.target, r.path, r.body)
	}
	e := newEndpoint(f, newBackends(f))
	h := e.Handler("")
	f.Fuzz(func(t *testing.T, service, contentType, target, path, body string) {
		fuzzRequest{service, contentType, target, path, body}.try(t, h)
	})
}

// running counts the requests that run, in every service and region.
func running(e *Endpoint) (n int) {
	for _, requests := range e.running {
		n += len(requests)
	}
	return n
}

// FuzzConnection sends bytes that need not be HTTP at all over a connection. Whatever they are, the server ends the
// connection by itself, and nothing that it started for it is left.
func FuzzConnection(f *testing.F) {
	for _, r := range realRequests() {
		text := "POST " + r.path + " HTTP/1.1\r\nHost: twin\r\nContent-Type: " + r.contentType + "\r\nX-Amz-Target: " + r.target +
			"\r\nX-Amz-Date: 20261122T101112Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" + AccessKeyID + "/20261122/" + east + "/" +
			r.service + "/aws4_request, SignedHeaders=host, Signature=00\r\nContent-Length: " + strconv.Itoa(len(r.body)) + "\r\n\r\n" + r.body
		f.Add([]byte(text))
	}
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: twin\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\n"))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
	e := newEndpoint(f, newBackends(f), func(o *Options) { o.Limits.Read = 100 * time.Millisecond })
	address := strings.TrimPrefix(serve(f, e, ""), "http://")
	// What is left is counted from the first input on: the fuzzer's own goroutines start after this function.
	var first sync.Once
	var idle int
	f.Fuzz(func(t *testing.T, data []byte) {
		first.Do(func() { idle = runtime.NumGoroutine() })
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(data) // the server may have closed already
		_ = conn.(*net.TCPConn).CloseWrite()
		var timeout net.Error
		if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatalf("the connection hangs after %q", data)
		}
		waitFor(t, "the end of what the connection started", func() bool {
			return runtime.NumGoroutine() <= idle+5 && running(e) == 0 && len(e.travelling) == 0
		})
	})
}

// TestMutatedRequests damages real requests in a bounded loop, the same ones every time.
func TestMutatedRequests(t *testing.T) {
	h := newEndpoint(t, newBackends(t)).Handler("")
	random := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		for _, r := range realRequests() {
			r.body, r.path = mutate(random, r.body), mutateRarely(random, r.path)
			r.target = mutateRarely(random, r.target)
			r.try(t, h)
		}
	}
}

func mutateRarely(random *rand.Rand, s string) string {
	if random.IntN(4) > 0 {
		return s
	}
	return mutate(random, s)
}

// mutate flips, drops, doubles or inserts bytes.
func mutate(random *rand.Rand, s string) string {
	b := []byte(s)
	for range 1 + random.IntN(4) {
		if len(b) == 0 {
			return "{"
		}
		i := random.IntN(len(b))
		j := i + random.IntN(len(b)-i)
		switch random.IntN(5) {
		case 0:
			b[i] ^= byte(1 << random.IntN(8))
		case 1:
			b = append(b[:i:i], b[j:]...)
		case 2:
			b = append(b[:j:j], b[i:]...)
		case 3:
			b = append(b[:i:i], append([]byte(`9999999999999999999999{["\u0000:#.=&%`)[:1+random.IntN(30)], b[i:]...)...)
		case 4:
			b[i] = byte(random.IntN(256))
		}
	}
	return string(b)
}
