package autoscaling

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"holdfast/internal/topology"
	"holdfast/internal/twin/ecs"
)

// maxActivities is how many scaling activities are remembered; the oldest go first.
const maxActivities = 500

// The states of an activity, as AWS words them.
const (
	InProgress = "InProgress"
	Successful = "Successful"
	Overridden = "Overridden"
	Failed     = "Failed"
)

// Activity is one change of a desired count.
type Activity struct {
	ID, Region, ResourceID string
	// Description and Cause are worded as DescribeScalingActivities words them.
	Description, Cause    string
	Status, StatusMessage string
	Start                 time.Time
	// End is zero while it is in progress.
	End time.Time
	// From and To are the counts.
	From, To int
}

// set changes a service's desired count and notes the activity. The caller holds the lock.
func (s *Scaler) set(ctx context.Context, t topology.ScalableTarget, service ecs.Service, count int, cause string) error {
	cluster, name, err := split(t.ResourceID)
	if err != nil {
		return err
	}
	now := s.options.Now()
	a := Activity{
		ID: uuid.NewString(), Region: t.Region, ResourceID: t.ResourceID, Description: fmt.Sprintf("Setting desired count to %d.", count),
		Cause: cause, Status: InProgress, StatusMessage: fmt.Sprintf("Successfully set desired count to %d. Waiting for change to be fulfilled by ecs.", count),
		Start: now, From: service.DesiredCount, To: count,
	}
	_, err = s.options.Services.UpdateService(ctx, t.Region, cluster, name, ecs.Update{DesiredCount: &count})
	if err != nil {
		a.Status, a.End, a.StatusMessage = Failed, now, fmt.Sprintf("Failed to set desired count to %d. Reason: %v.", count, err)
	}
	for i := range s.activities {
		if old := &s.activities[i]; old.Region == a.Region && old.ResourceID == a.ResourceID && old.Status == InProgress && err == nil {
			old.Status, old.End = Overridden, now
			old.StatusMessage = fmt.Sprintf("Successfully set desired count to %d, which another activity then changed.", old.To)
		}
	}
	s.activities = append(s.activities, a)
	s.activities = slices.Delete(s.activities, 0, max(0, len(s.activities)-maxActivities))
	s.options.Logger.Info("scaling", "region", t.Region, "resource", t.ResourceID, "from", service.DesiredCount, "to", count, "cause", cause, "error", err)
	if err != nil {
		return fmt.Errorf("set the desired count of %s to %d: %w", t.ResourceID, count, err)
	}
	return nil
}

// Activities returns a region's activities, the newest first.
func (s *Scaler) Activities(region string) []Activity {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Activity
	for i := range s.activities {
		a := &s.activities[i]
		if a.Region != region {
			continue
		}
		if a.Status == InProgress {
			service, err := s.service(a.Region, a.ResourceID)
			if err == nil && service.RunningCount == a.To {
				a.Status, a.End = Successful, s.options.Now()
				a.StatusMessage = fmt.Sprintf("Successfully set desired count to %d. Change successfully fulfilled by ecs.", a.To)
			}
		}
		out = append(out, *a)
	}
	slices.Reverse(out)
	return out
}
