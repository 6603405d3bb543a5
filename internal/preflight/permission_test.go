package preflight_test

import (
	"strings"
	"testing"

	"holdfast/internal/aws"
	"holdfast/internal/preflight"
)

// logsTo lets the application of dr log to CloudWatch.
func logsTo(w *world, group string) {
	td := w.definitions["td-app-dr"]
	td.Containers[0].LogGroup, td.Containers[0].LogRegion = group, west
	w.definitions["td-app-dr"] = td
}

// TestStartingATaskIsAskedInFull: each call without which ECS does not start a task is asked for, on what it is made on.
func TestStartingATaskIsAskedInFull(t *testing.T) {
	for action, on := range map[string]string{
		"secretsmanager:GetSecretValue":   ":secret:db-x",
		"ecr:GetAuthorizationToken":       "*",
		"ecr:BatchCheckLayerAvailability": ":repository/app",
		"ecr:BatchGetImage":               ":repository/app",
		"ecr:GetDownloadUrlForLayer":      ":repository/app",
		"logs:CreateLogStream":            "arn:aws:logs:" + west + ":" + account + ":log-group:/ecs/app:log-stream:",
		"logs:PutLogEvents":               "arn:aws:logs:" + west + ":" + account + ":log-group:/ecs/app:log-stream:",
	} {
		t.Run(action, func(t *testing.T) {
			w := healthy()
			logsTo(w, "/ecs/app")
			w.denied = func(role string, c aws.Call) bool {
				return forbidden(role, c) || strings.HasSuffix(role, "exec-app-dr") && c.Action == action && strings.Contains(c.Resource, on)
			}
			r := look(t, w, preflight.Options{Only: []string{"permissions"}})
			if got := bad(r); r.Passed || len(got) != 1 || !strings.Contains(got[0], action) {
				t.Errorf("findings: %v", got)
			}
		})
	}
}

// TestNothingAskedIsNotKnown: a role of which nothing is asked is not shown to be right.
func TestNothingAskedIsNotKnown(t *testing.T) {
	w := healthy()
	td := w.definitions["td-app-dr"]
	td.Containers = []aws.Container{{Name: "app", Image: "app:local"}}
	w.definitions["td-app-dr"] = td
	r := look(t, w, preflight.Options{Only: []string{"permissions"}})
	if got := bad(r); len(got) != 1 || r.Checks[0].Severity != preflight.Unknown {
		t.Errorf("findings: %v", got)
	}
}
