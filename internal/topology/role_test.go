package topology_test

import (
	"slices"
	"strings"
	"testing"

	"holdfast/internal/topology"
)

// Every task's roles are in the topology, and the wardens' have the policy that lets them move the writer.
func TestDefaultHasTheTasksRoles(t *testing.T) {
	d := parsedDefault(t)
	role := func(arn string) topology.Role {
		i := slices.IndexFunc(d.Roles, func(r topology.Role) bool { return r.ARN == arn })
		if i < 0 {
			t.Fatalf("there is no role %q", arn)
		}
		return d.Roles[i]
	}
	for _, td := range d.TaskDefinitions {
		if len(role(td.ExecutionRoleARN).Policies) == 0 {
			t.Errorf("the execution role of %s may do nothing", td.Family)
		}
		task := role(td.TaskRoleARN)
		if wants := strings.HasPrefix(td.Family, "holdfast-warden"); wants != (len(task.Policies) == 1) ||
			wants && !strings.Contains(task.Policies[0].Document, "rds:FailoverGlobalCluster") {
			t.Errorf("the role of %s has %d policies", td.Family, len(task.Policies))
		}
	}
}
