package api

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"holdfast/internal/twin/network"
)

// noAnswer checks that a call ended without an answer of the service.
func noAnswer(t *testing.T, what string, err error) {
	t.Helper()
	var api smithy.APIError
	if err == nil || errors.As(err, &api) {
		t.Errorf("%s = %v, want no answer", what, err)
	}
}

func putItem(b *backends, id string) *dynamodb.PutItemInput {
	return &dynamodb.PutItemInput{
		TableName: aws.String(b.topology.TermTable.Name),
		Item:      map[string]ddbtypes.AttributeValue{"id": &ddbtypes.AttributeValueMemberS{Value: id}},
	}
}

func TestLostRegionDoesNotAnswer(t *testing.T) {
	b := newBackends(t)
	e := newEndpoint(t, b, func(o *Options) { o.Limits.Hang = 300 * time.Millisecond })
	outside, fromWest := serve(t, e, ""), serve(t, e, west)
	b.fabric.SetRegion(east, false)

	started := time.Now()
	_, err := rds.NewFromConfig(sdkConfig(t, outside, east)).DescribeDBClusters(t.Context(), &rds.DescribeDBClustersInput{})
	noAnswer(t, "a call into the lost region", err)
	if !errors.Is(err, io.EOF) {
		t.Errorf("the connection ended with %v, want EOF", err)
	}
	if took := time.Since(started); took < 300*time.Millisecond {
		t.Errorf("the connection was closed after %v, want the limit", took)
	}
	_, err = route53.NewFromConfig(sdkConfig(t, fromWest, west)).ListHostedZones(t.Context(), &route53.ListHostedZonesInput{})
	noAnswer(t, "Route 53's control plane with us-east-1 lost", err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = sts.NewFromConfig(sdkConfig(t, fromWest, east)).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a client that gives up gets %v, want its deadline", err)
	}

	survivor := sdkConfig(t, fromWest, west)
	if _, err := dynamodb.NewFromConfig(survivor).PutItem(t.Context(), putItem(b, "x")); err != nil {
		t.Errorf("the term table in the surviving region: %v", err)
	}
	if _, err := rds.NewFromConfig(survivor).DescribeDBClusters(t.Context(), &rds.DescribeDBClustersInput{}); err != nil {
		t.Errorf("the surviving region's control plane: %v", err)
	}
	b.fabric.SetRegion(east, true)
	if _, err := route53.NewFromConfig(survivor).ListHostedZones(t.Context(), &route53.ListHostedZonesInput{}); err != nil {
		t.Errorf("Route 53 after the return: %v", err)
	}
}

// TestAccessLogShowsATakeoversCalls is how a drill proves that a takeover needed nothing of the lost region.
func TestAccessLogShowsATakeoversCalls(t *testing.T) {
	b := newBackends(t)
	heard := make(chan Call, 10)
	e := newEndpoint(t, b, func(o *Options) {
		o.Limits.Hang = 100 * time.Millisecond
		o.Limits.Calls = 4
		o.OnCall = func(c Call) { heard <- c }
	})
	fromWest := serve(t, e, west)
	b.fabric.SetRegion(east, false)
	_, err := rds.NewFromConfig(sdkConfig(t, fromWest, west)).DescribeGlobalClusters(t.Context(),
		&rds.DescribeGlobalClustersInput{GlobalClusterIdentifier: aws.String("nobody")})
	wantError(t, err, "GlobalClusterNotFoundFault", 404, "")
	_, err = route53.NewFromConfig(sdkConfig(t, fromWest, west)).ListHostedZones(t.Context(), &route53.ListHostedZonesInput{})
	noAnswer(t, "Route 53", err)
	if _, err := dynamodb.NewFromConfig(sdkConfig(t, fromWest, west)).PutItem(t.Context(), putItem(b, "x")); err != nil {
		t.Fatal(err)
	}
	type short struct {
		caller, service, region, operation string
		status                             int
		code                               string
	}
	want := []short{
		{west, "rds", west, "DescribeGlobalClusters", 404, "GlobalClusterNotFoundFault"},
		{west, "route53", east, "", 0, ""},
		{west, "dynamodb", west, "PutItem", 200, ""},
	}
	for _, w := range want {
		c := <-heard
		if got := (short{c.CallerRegion, c.Service, c.Region, c.Operation, c.Status, c.Code}); got != w || c.RequestID == "" || c.At.IsZero() {
			t.Errorf("call = %+v, want %+v", c, w)
		}
	}
	toLost := slices.DeleteFunc(e.Calls(), func(c Call) bool { return c.Region != east })
	if len(toLost) != 1 || toLost[0].Service != "route53" {
		t.Errorf("calls to the lost region = %+v, want Route 53's", toLost)
	}
	for range 3 {
		if _, err := dynamodb.NewFromConfig(sdkConfig(t, fromWest, west)).PutItem(t.Context(), putItem(b, "x")); err != nil {
			t.Fatal(err)
		}
		<-heard
	}
	if calls := e.Calls(); len(calls) != 4 || calls[0].Operation != "PutItem" || calls[3].At.Before(calls[0].At) {
		t.Errorf("the ring holds %+v, want the last four calls in order", calls)
	}
}

func TestAnotherRegionIsARoundTripAway(t *testing.T) {
	b := newBackends(t)
	b.fabric.SetLink(east, west, network.LinkState{OneWayDelay: 40 * time.Millisecond})
	e := newEndpoint(t, b)
	fromEast := serve(t, e, east)
	timeOf := func(region string) time.Duration {
		started := time.Now()
		if _, err := sts.NewFromConfig(sdkConfig(t, fromEast, region)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
			t.Fatal(err)
		}
		return time.Since(started)
	}
	if took := timeOf(west); took < 80*time.Millisecond {
		t.Errorf("a call into the other region took %v, want at least the round trip of 80ms", took)
	}
	inside := timeOf(east)
	for range 20 { // on a busy machine one call may be late
		inside = min(inside, timeOf(east))
	}
	if inside > 40*time.Millisecond {
		t.Errorf("a call inside the region took %v", inside)
	}
}

// TestAnswerLostOnTheWayBack cuts the link between the caller and the region while the service works: the write is
// there, and the caller does not know.
func TestAnswerLostOnTheWayBack(t *testing.T) {
	b := newBackends(t)
	link := network.LinkState{OneWayDelay: 30 * time.Millisecond}
	b.fabric.SetLink(east, west, link)
	written := make(chan struct{})
	tables := cutting{Table: b.table, after: func() {
		b.fabric.SetLink(east, west, network.LinkState{OneWayDelay: link.OneWayDelay, Partitioned: true})
		close(written)
	}}
	e := newEndpoint(t, b, func(o *Options) { o.Tables = tables })
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	_, err := dynamodb.NewFromConfig(sdkConfig(t, serve(t, e, east), west)).PutItem(ctx, putItem(b, "lost"))
	noAnswer(t, "the write", err)
	<-written
	if b.table.Len() != 1 {
		t.Error("the write is gone")
	}
}

// TestRequestGoesOnWithoutItsClient pins that a request which has arrived takes effect, whoever still listens: a
// client's timeout must not undo it.
func TestRequestGoesOnWithoutItsClient(t *testing.T) {
	b := newBackends(t)
	cut := network.LinkState{Partitioned: true}
	b.fabric.SetLink(east, west, cut)
	b.fabric.SetLink(east, witness, cut)
	e := newEndpoint(t, b)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := dynamodb.NewFromConfig(sdkConfig(t, serve(t, e, east), east)).PutItem(ctx, putItem(b, "late"))
	noAnswer(t, "the write without a majority", err)
	if b.table.Len() != 0 {
		t.Fatal("a write took effect without a majority")
	}
	b.fabric.SetLink(east, witness, network.LinkState{})
	waitFor(t, "the late write", func() bool { return b.table.Len() == 1 })
}

// waitFor polls until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s did not come within 10s", what)
		}
	}
}
