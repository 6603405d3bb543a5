package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"holdfast/internal/twin/termtable"
)

// cutting is a table that does something after each write.
type cutting struct {
	*termtable.Table
	after func()
}

func (c cutting) PutItem(ctx context.Context, region string, in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
	out, err := c.Table.PutItem(ctx, region, in)
	c.after()
	return out, err
}

func TestCredentialsThatAreNotTheTwinsAreRefused(t *testing.T) {
	b := newBackends(t)
	url := serve(t, newEndpoint(t, b), "")
	with := func(key, token string) aws.Config {
		cfg := sdkConfig(t, url, east)
		cfg.Credentials = credentials.NewStaticCredentialsProvider(key, "secret", token)
		return cfg
	}
	for name, cfg := range map[string]aws.Config{
		"a real-looking key": with("AKIAIOSFODNN7EXAMPLE", ""), "a session token": with(AccessKeyID, "token"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rds.NewFromConfig(cfg).DescribeDBClusters(t.Context(), &rds.DescribeDBClustersInput{})
			wantError(t, err, "InvalidClientTokenId", 403, "This is the twin")
			_, err = ecs.NewFromConfig(cfg).ListClusters(t.Context(), &ecs.ListClustersInput{})
			wantError(t, err, "UnrecognizedClientException", 403, "This is the twin")
			_, err = route53.NewFromConfig(cfg).ListHostedZones(t.Context(), &route53.ListHostedZonesInput{})
			wantError(t, err, "InvalidClientTokenId", 403, "This is the twin")
		})
	}
	cfg := sdkConfig(t, url, "eu-west-1")
	_, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	wantError(t, err, "SignatureDoesNotMatch", 403, "valid region")
}

func TestScopeForms(t *testing.T) {
	signature := strings.Repeat("0a", 32)
	good := "AWS4-HMAC-SHA256 Credential=" + AccessKeyID + "/20261122/us-east-1/rds/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + signature
	for name, tt := range map[string]struct{ authorization, date, code string }{
		"good":            {good, "20261122T101112Z", ""},
		"none":            {"", "20261122T101112Z", "MissingAuthenticationToken"},
		"basic":           {"Basic dXNlcjpwYXNz", "20261122T101112Z", "IncompleteSignature"},
		"no signature":    {strings.Replace(good, signature, "", 1), "20261122T101112Z", "IncompleteSignature"},
		"short signature": {strings.Replace(good, signature, "abc", 1), "20261122T101112Z", "IncompleteSignature"},
		"four parts":      {strings.Replace(good, "/rds", "", 1), "20261122T101112Z", "IncompleteSignature"},
		"odd region":      {strings.Replace(good, "us-east-1", "US_EAST", 1), "20261122T101112Z", "IncompleteSignature"},
		"no date":         {good, "", "IncompleteSignature"},
		"another day":     {good, "20261123T000000Z", "SignatureDoesNotMatch"},
		"another key":     {strings.Replace(good, AccessKeyID, "AKIAIOSFODNN7EXAMPLE", 1), "20261122T101112Z", "InvalidClientTokenId"},
	} {
		h := http.Header{}
		h.Set("Authorization", tt.authorization)
		h.Set("X-Amz-Date", tt.date)
		s, err := parseScope(h)
		code := ""
		if err != nil {
			code = err.(*Error).Code
		}
		if code != tt.code || code == "" && (s.region != east || s.service != "rds") {
			t.Errorf("%s: %+v, %v; want %q", name, s, err, tt.code)
		}
	}
}

// rawRequest sends a hand-made request with a well-formed signature.
func rawRequest(t *testing.T, url, service, contentType, target string, body []byte, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Amz-Target", target)
	sign(r, service, east)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

// sign adds headers that look signed.
func sign(r *http.Request, service, region string) {
	r.Header.Set("X-Amz-Date", "20261122T101112Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+AccessKeyID+"/20261122/"+region+"/"+service+
		"/aws4_request, SignedHeaders=host, Signature="+strings.Repeat("0a", 32))
}

func wantBody(t *testing.T, response *http.Response, status int, text string) {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status || !strings.Contains(string(body), text) {
		t.Errorf("answer = %d %s (%v), want %d with %s", response.StatusCode, body, err, status, text)
	}
}

func TestBodiesAreLimited(t *testing.T) {
	url := serve(t, newEndpoint(t, newBackends(t), func(o *Options) { o.Limits.BodyBytes = 10000 }), "")
	big := []byte(`{"cluster":"` + strings.Repeat("x", 20000) + `"}`)
	const target = "AmazonEC2ContainerServiceV20141113.ListClusters"
	wantBody(t, rawRequest(t, url, "ecs", "application/x-amz-json-1.1", target, big), 413, "RequestEntityTooLarge")
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(bytes.Repeat([]byte("x"), 5<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	wantBody(t, rawRequest(t, url, "ecs", "application/x-amz-json-1.1", target, packed.Bytes(), "Content-Encoding", "gzip"),
		413, "RequestEntityTooLarge")
	wantBody(t, rawRequest(t, url, "ecs", "application/x-amz-json-1.1", target, []byte("no gzip"), "Content-Encoding", "gzip"),
		400, "SerializationException")
}

func TestMalformedRequests(t *testing.T) {
	url := serve(t, newEndpoint(t, newBackends(t)), "")
	for name, tt := range map[string]struct {
		service, contentType, target, body string
		status                             int
		want                               string
	}{
		"JSON that ends":           {"ecs", "application/x-amz-json-1.1", "AmazonEC2ContainerServiceV20141113.ListClusters", `{"a`, 400, "SerializationException"},
		"JSON of a list":           {"ecs", "application/x-amz-json-1.1", "AmazonEC2ContainerServiceV20141113.ListClusters", `[]`, 400, "SerializationException"},
		"two JSON values":          {"ecs", "application/x-amz-json-1.1", "AmazonEC2ContainerServiceV20141113.ListClusters", `{} {}`, 400, "SerializationException"},
		"a wrong type":             {"dynamodb", "application/x-amz-json-1.0", "DynamoDB_20120810.GetItem", `{"TableName":5}`, 400, "NUMBER_VALUE cannot be converted to String at TableName"},
		"a missing member":         {"dynamodb", "application/x-amz-json-1.0", "DynamoDB_20120810.GetItem", `{"TableName":"x"}`, 400, "Value null at 'key' failed to satisfy constraint: Member must not be null"},
		"two datatypes":            {"dynamodb", "application/x-amz-json-1.0", "DynamoDB_20120810.GetItem", `{"TableName":"x","Key":{"id":{"S":"a","N":"1"}}}`, 400, "com.amazon.coral.validate#ValidationException"},
		"no such target":           {"dynamodb", "application/x-amz-json-1.0", "DynamoDB_20120810.Frobnicate", `{}`, 400, "UnknownOperationException"},
		"another's target":         {"dynamodb", "application/x-amz-json-1.0", "AmazonEC2ContainerServiceV20141113.ListClusters", `{}`, 400, "UnknownOperationException"},
		"another protocol":         {"dynamodb", "application/x-www-form-urlencoded", "", "Action=ListTables", 400, "InvalidAction"},
		"a query's number":         {"rds", "application/x-www-form-urlencoded", "", "Action=DescribeDBClusters&MaxRecords=many", 400, "MalformedInput"},
		"a query's list":           {"rds", "application/x-www-form-urlencoded", "", "Action=DescribeDBClusters&Filters.x=1", 400, "MalformedInput"},
		"a query's conflict":       {"rds", "application/x-www-form-urlencoded", "", "Action=DescribeDBClusters&Filters=1&Filters.Filter.1.Name=x", 400, "MalformedInput"},
		"a missing one":            {"rds", "application/x-www-form-urlencoded", "", "Action=FailoverGlobalCluster", 400, "The request must contain the parameter GlobalClusterIdentifier"},
		"no action":                {"rds", "application/x-www-form-urlencoded", "", "", 400, "MissingAction"},
		"bad escapes":              {"rds", "application/x-www-form-urlencoded", "", "Action=%zz", 400, "MalformedQueryString"},
		"an unknown query service": {"sdb", "application/x-www-form-urlencoded", "", "Action=ListDomains&Version=2009-04-15", 400, "Could not find operation ListDomains for version 2009-04-15"},
		"an unknown JSON service":  {"kms", "application/x-amz-json-1.1", "TrentService.ListKeys", `{}`, 404, "The twin does not serve kms."},
		"an unknown REST service":  {"lambda", "", "", "", 404, `"UnknownOperationException"`},
		"an unknown XML service":   {"s3", "", "", "", 404, "<Code>UnknownOperationException</Code>"},
	} {
		t.Run(name, func(t *testing.T) {
			response := rawRequest(t, url, tt.service, tt.contentType, tt.target, []byte(tt.body))
			wantBody(t, response, tt.status, tt.want)
			if response.Header.Get("X-Amzn-Requestid") == "" {
				t.Error("the answer has no request id")
			}
		})
	}
}

func TestTooManyRequestsAreThrottled(t *testing.T) {
	b := newBackends(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	tables := cutting{Table: b.table, after: func() { entered <- struct{}{}; <-leave }}
	e := newEndpoint(t, b, func(o *Options) { o.Tables, o.Limits.Concurrent = tables, 1 })
	client := dynamodb.NewFromConfig(sdkConfig(t, serve(t, e, ""), east))
	done := make(chan error)
	go func() {
		_, err := client.PutItem(t.Context(), putItem(b, "x"))
		done <- err
	}()
	<-entered
	_, err := client.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	wantError(t, err, "ThrottlingException", 400, "Rate exceeded")
	// The same service elsewhere, and another service here, go on.
	if _, err := dynamodb.NewFromConfig(sdkConfig(t, serve(t, e, ""), west)).ListTables(t.Context(), &dynamodb.ListTablesInput{}); err != nil {
		t.Errorf("in another region: %v", err)
	}
	if _, err := sts.NewFromConfig(sdkConfig(t, serve(t, e, ""), east)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Errorf("another service: %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTooManyHangingRequestsAreCutOff(t *testing.T) {
	b := newBackends(t)
	e := newEndpoint(t, b, func(o *Options) { o.Limits.Hanging = 1 })
	url := serve(t, e, "")
	b.fabric.SetRegion(east, false)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := sts.NewFromConfig(sdkConfig(t, url, east)).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		done <- err
	}()
	waitFor(t, "the first request", func() bool { return len(e.travelling) == 1 })
	started := time.Now()
	_, err := sts.NewFromConfig(sdkConfig(t, url, west)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	noAnswer(t, "one request too many", err)
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it was cut off after %v, want at once", took)
	}
	cancel()
	noAnswer(t, "the hanging request", <-done)
	waitFor(t, "the end of the first request", func() bool { return len(e.travelling) == 0 })
}

// TestCloseEndsWhatHangs pins that a twin goes down without waiting for requests to lost regions.
func TestCloseEndsWhatHangs(t *testing.T) {
	b := newBackends(t)
	e := newEndpoint(t, b)
	url := serve(t, e, "")
	b.fabric.SetRegion(east, false)
	done := make(chan error)
	go func() {
		_, err := sts.NewFromConfig(sdkConfig(t, url, east)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		done <- err
	}()
	waitFor(t, "the request", func() bool { return len(e.travelling) == 1 })
	e.Close()
	noAnswer(t, "the request", <-done)
}
