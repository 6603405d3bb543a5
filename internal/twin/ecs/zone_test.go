package ecs

import (
	"errors"
	"fmt"
	"testing"

	"holdfast/internal/topology"
)

// inZones gives the application's service a subnet in each of two availability zones.
func inZones(top *topology.Topology) {
	top.Networks = []topology.Network{{Region: testRegion, Subnets: []topology.Subnet{
		{ID: "subnet-a", AvailabilityZone: "us-east-1a"}, {ID: "subnet-b", AvailabilityZone: "us-east-1b"},
	}}}
	top.Services[0].SubnetIDs = []string{"subnet-a", "subnet-b"}
}

// Tasks are spread over the zones; a lost zone's tasks die at once, and others take their place where there is room.
func TestZoneLost(t *testing.T) {
	r := running(t, inZones)
	zones := func() map[string]int {
		n := map[string]int{}
		for _, task := range r.active(t, appService) {
			n[task.AvailabilityZone]++
		}
		return n
	}
	if n := zones(); n["us-east-1a"] != 1 || n["us-east-1b"] != 1 {
		t.Fatalf("tasks by zone %v", n)
	}
	var pid int
	for _, task := range r.active(t, appService) {
		if task.AvailabilityZone == "us-east-1a" {
			pid = task.Containers[0].Pid
		}
		if want := "subnet-" + task.AvailabilityZone[len("us-east-1"):]; task.SubnetID != want {
			t.Errorf("a task of %s is in %s", task.AvailabilityZone, task.SubnetID)
		}
	}
	if err := r.LoseZone(testRegion, "us-east-1a"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the service has its tasks in the other zone", func() error {
		if n := zones(); alive(pid) || n["us-east-1b"] != 2 || len(r.healthyTargets()) != 2 {
			return fmt.Errorf("tasks by zone %v, %d healthy targets, the lost one lives: %v", n, len(r.healthyTargets()), alive(pid))
		}
		return nil
	})
	if err := r.LoseZone(testRegion, "us-east-1b"); err != nil {
		t.Fatal(err)
	}
	r.awaitEvent(t, errNoZone.Error())
	r.ReturnZone(testRegion, "us-east-1a")
	eventually(t, "the service has its tasks in the zone that came back", func() error {
		if n := zones(); n["us-east-1a"] != 2 || len(r.healthyTargets()) != 2 {
			return fmt.Errorf("tasks by zone %v", n)
		}
		return nil
	})
	if err := r.LoseZone("eu-west-1", "eu-west-1a"); !errors.Is(err, ErrRegionDown) {
		t.Errorf("LoseZone in a region that is not there = %v", err)
	}
}

// A crash of every task at once is noticed, and every one is replaced.
func TestKillService(t *testing.T) {
	r := running(t, nil)
	before := map[string]bool{}
	for _, task := range r.active(t, appService) {
		before[task.ID] = true
	}
	if n, err := r.KillService(testRegion, appService); err != nil || n != 2 {
		t.Fatalf("KillService = %d, %v", n, err)
	}
	eventually(t, "both tasks are replaced", func() error {
		list := r.active(t, appService)
		for _, task := range list {
			if before[task.ID] {
				return fmt.Errorf("task %s is still there", task.ID)
			}
		}
		if len(list) != 2 || len(r.healthyTargets()) != 2 {
			return fmt.Errorf("%d tasks, %d healthy", len(list), len(r.healthyTargets()))
		}
		return nil
	})
	if _, err := r.KillService(testRegion, "nobody"); !errors.Is(err, ErrServiceNotFound) {
		t.Errorf("KillService of an unknown service = %v", err)
	}
}
