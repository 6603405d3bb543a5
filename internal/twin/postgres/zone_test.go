package postgres

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// The writer's zone is lost under load: the writer moves to the other zone, nothing acknowledged is lost, nothing starts
// in the lost zone, and what was there follows again when it is back.
func testZoneLost(t *testing.T, tw *twin) {
	head := ""
	for _, in := range tw.Instances(east) {
		if in.IsWriter {
			head = in.Identifier
		}
	}
	zone := ""
	tw.set(func() {
		for _, c := range tw.clusters {
			for i, in := range c.instances {
				in.spec.AvailabilityZone = fmt.Sprintf("%s-zone-%d", c.spec.Region, i)
				if in.spec.Identifier == head {
					zone = in.spec.AvailabilityZone
				}
			}
		}
	})
	client := tw.startClient(t)
	client.waitMore(t, 50)
	if n, err := tw.LoseZone(east, zone); err != nil || n != 1 {
		t.Fatalf("LoseZone = %d, %v", n, err)
	}
	until(t, 30*time.Second, func() error {
		for _, in := range tw.Instances(east) {
			if lost := in.Identifier == head; in.IsWriter == lost || (in.Pid == 0) != lost {
				return fmt.Errorf("%s: writer %v, process %d", in.Identifier, in.IsWriter, in.Pid)
			}
		}
		return nil
	})
	client.waitMore(t, 50)
	client.stop()
	if err := client.wantAll(primaryID); err != nil {
		t.Error(err)
	}
	tw.ReturnZone(east, zone)
	until(t, 30*time.Second, func() error {
		var errs []error
		for _, in := range tw.Instances(east) {
			if in.Status != StatusAvailable {
				errs = append(errs, fmt.Errorf("%s is %s", in.Identifier, in.Status))
			}
		}
		return errors.Join(append(errs, tw.wantValue(primaryID, readerEndpoint, "select (max(id) >= "+fmt.Sprint(client.count())+")::text from rows", "true"))...)
	})
	if _, err := tw.LoseZone("eu-west-1", zone); err == nil {
		t.Error("a zone of an unknown Region could be lost")
	}
}
