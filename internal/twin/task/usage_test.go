package task

import (
	"os"
	"testing"
	"time"
)

func TestUsageOfThisProcess(t *testing.T) {
	begun, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if begun.Resident < 1<<20 || begun.Stopped || begun.Up <= 0 || begun.Up > time.Hour {
		t.Errorf("usage = %+v", begun)
	}
	if waited, there := begun.Waits[os.Getpid()]; there && (waited < 0 || waited > begun.Up*1000) {
		t.Errorf("it has waited %v for a processor since its start %v ago", waited, begun.Up)
	}
	for deadline := time.Now().Add(30 * time.Second); ; { // burns what it waits for
		now, err := UsageOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now.CPU >= begun.CPU+50*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("processor time went from %v to %v in 30 s of work", begun.CPU, now.CPU)
		}
	}
	if _, err := UsageOf(1 << 30); err == nil {
		t.Error("a process that does not exist has a usage")
	}
}
