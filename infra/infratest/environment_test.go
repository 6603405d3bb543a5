package infratest

import (
	"maps"
	"slices"
	"testing"

	"holdfast/internal/topology"
	"holdfast/internal/warden"
)

// byTheTwin is what only the twin sets: on AWS a task has the machine's address to itself.
const byTheTwin = "HOLDFAST_TASK_ADDRESS"

// The variables that the configuration sets for a warden are those that the program reads, and it takes their values.
func TestWardensEnvironmentIsWhatTheProgramReads(t *testing.T) {
	embedded, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	wardens := 0
	for _, td := range embedded.TaskDefinitions {
		c := td.Containers[0]
		if c.Name != "warden" {
			continue
		}
		wardens++
		set := maps.Clone(c.Environment)
		for name := range c.Secrets {
			set[name] = "a secret's value"
		}
		read := map[string]bool{}
		if _, err := warden.ConfigFromEnvironment(func(name string) string {
			read[name] = true
			return set[name]
		}); err != nil {
			t.Errorf("%s: the program refuses its environment: %v", td.Family, err)
		}
		delete(read, byTheTwin)
		if got, want := slices.Sorted(maps.Keys(set)), slices.Sorted(maps.Keys(read)); !slices.Equal(got, want) {
			t.Errorf("%s: set are %v, read are %v", td.Family, got, want)
		}
	}
	if wardens != 2 {
		t.Errorf("%d task definitions of wardens, want one for each site", wardens)
	}
}
