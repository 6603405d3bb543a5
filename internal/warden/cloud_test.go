package warden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"holdfast/internal/aws"
)

// refusal is an error with a code, as the SDK's are.
type refusal string

func (r refusal) Error() string     { return string(r) + ": no identity-based policy allows the action" }
func (r refusal) ErrorCode() string { return string(r) }

// region is one region's database control plane, which answers every change with err.
type region struct {
	err   error
	calls []string
}

func (r *region) GlobalCluster(context.Context, string) (aws.GlobalCluster, error) {
	return aws.GlobalCluster{}, r.err
}

func (r *region) Failover(_ context.Context, _, target string) error {
	r.calls = append(r.calls, "failover to "+target)
	return r.err
}

func (r *region) Switchover(_ context.Context, _, target string) error {
	r.calls = append(r.calls, "switchover to "+target)
	return r.err
}

// TestPromoteAsksTheRightRegion: a failover never leaves the own region, a switchover goes to the present writer's, and
// only a refusal for want of permission is told apart.
func TestPromoteAsksTheRightRegion(t *testing.T) {
	const own, peer = "arn:aws:rds:us-west-2:1:cluster:own", "arn:aws:rds:us-east-1:1:cluster:peer"
	for _, row := range []struct {
		name              string
		lossy             bool
		answer            error
		asksOwn, asksPeer []string
		refused           bool
	}{
		{"failover", true, nil, []string{"failover to " + own}, nil, false},
		{"failover, denied", true, refusal("AccessDenied"), []string{"failover to " + own}, nil, false},
		{"switchover", false, nil, nil, []string{"switchover to " + own}, false},
		{"switchover, denied", false, refusal("AccessDenied"), nil, []string{"switchover to " + own}, true},
		{"switchover, denied by another protocol", false, refusal("AccessDeniedException"), nil, []string{"switchover to " + own}, true},
		{"switchover, unauthorized", false, refusal("UnauthorizedOperation"), nil, []string{"switchover to " + own}, true},
		{"switchover, not now", false, refusal("InvalidGlobalClusterStateFault"), nil, []string{"switchover to " + own}, false},
		{"switchover, no answer", false, context.DeadlineExceeded, nil, []string{"switchover to " + own}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			answer := row.answer
			if answer != nil {
				answer = fmt.Errorf("in the adapter's words: %w", answer)
			}
			here, there := &region{err: answer}, &region{err: answer}
			a := &Aurora{cfg: Config{GlobalCluster: "g", ClusterARN: own, PeerClusterARN: peer}, own: here, peer: there}
			err := a.Promote(t.Context(), row.lossy)
			if !errors.Is(err, row.answer) || errors.Is(err, ErrSwitchoverRefused) != row.refused {
				t.Errorf("error %v, want refused %t", err, row.refused)
			}
			if !slices.Equal(here.calls, row.asksOwn) || !slices.Equal(there.calls, row.asksPeer) {
				t.Errorf("asked the own region %v, the other one %v", here.calls, there.calls)
			}
		})
	}
}

// tasks is a scheduler whose autoscaling may not answer.
type tasks struct{ scaling, service error }

func (s *tasks) Service(context.Context, string, string) (aws.Service, error) {
	if s.service != nil {
		return aws.Service{}, s.service
	}
	return aws.Service{Running: 1, Desired: 3}, nil
}

func (s *tasks) Bounds(context.Context, string, string) (minimum, maximum int, err error) {
	if s.scaling != nil {
		return 0, 0, s.scaling
	}
	return 1, 8, nil
}

func (*tasks) Scale(context.Context, string, string, int) error { return nil }

// TestBoundsOutliveAutoscaling: tasks can be asked for within the bounds that are known, whether or not autoscaling answers.
func TestBoundsOutliveAutoscaling(t *testing.T) {
	s := &tasks{}
	f := &Fargate{services: s}
	f.tasks(t.Context())
	s.scaling = errors.New("throttled")
	if err := f.Scale(t.Context(), 4); err != nil { // what was remembered is over
		t.Fatal(err)
	}
	if count := f.tasks(t.Context()); count.minimum != 1 || count.maximum != 8 || count.err != "throttled" || count.running != 1 || count.desired != 3 {
		t.Errorf("%+v, want the bounds from before", count)
	}
}
