package api

import (
	"testing"

	"holdfast/internal/aws"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// TestTermStoreOverTheEndpoint runs the contract of term stores over the real adapter, the wire and the table.
func TestTermStoreOverTheEndpoint(t *testing.T) {
	termtest.Run(t, func(t *testing.T) (one, other term.Store) {
		b := newBackends(t)
		session := aws.NewSession(sdkConfig(t, serve(t, newEndpoint(t, b), ""), east))
		table := b.topology.TermTable.Name
		return session.TermStore(east, table, termtest.Deployment, termtest.Sites...),
			session.TermStore(west, table, termtest.Deployment, termtest.Sites...)
	})
}

// TestWardensCallsOverTheEndpoint runs the other adapters' calls.
func TestWardensCallsOverTheEndpoint(t *testing.T) {
	b := newBackends(t)
	session := aws.NewSession(sdkConfig(t, serve(t, newEndpoint(t, b), west), west))
	ctx := t.Context()
	databases := session.Databases(west)
	g, err := databases.GlobalCluster(ctx, "global-aurora-twin")
	if err != nil || g.Writer() == "" || g.Moving || len(g.Members) != 2 {
		t.Fatalf("global cluster = %+v, %v", g, err)
	}
	target := ""
	for _, m := range g.Members {
		if !m.Writer {
			target = m.ClusterARN
		}
	}
	if err := databases.Failover(ctx, "global-aurora-twin", target); err != nil {
		t.Fatal(err)
	}
	if g, err = databases.GlobalCluster(ctx, "global-aurora-twin"); err != nil || g.Writer() != target {
		t.Errorf("after the failover: %+v, %v", g, err)
	}
	if err := session.Services(west).Scale(ctx, "payment-cluster-dr-twin", "payment-service-dr-twin", 3); err != nil {
		t.Fatal(err)
	}
	if got := b.ecs.desired["arn:aws:ecs:us-west-2:123456789012:service/payment-cluster-dr-twin/payment-service-dr-twin"]; got != 3 {
		t.Errorf("the service has %d tasks, want 3", got)
	}
}
