package preflight_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/aws"
	"holdfast/internal/fence"
	"holdfast/internal/operator"
	"holdfast/internal/preflight"
	"holdfast/internal/term"
)

// forbidden is what the Terraform's policies deny a warden.
func forbidden(role string, c aws.Call) bool {
	if strings.Contains(role, "exec-") {
		return false
	}
	region, keys := c.Context["aws:RequestedRegion"], c.Context["dynamodb:LeadingKeys"]
	own := map[bool]string{true: west, false: east}[strings.HasSuffix(role, "-dr")]
	switch {
	case c.Action == "dynamodb:PutItem" || c.Action == "dynamodb:GetItem":
		return keys[0] != "t" && !strings.HasPrefix(keys[0], "t/beacon/")
	case strings.Contains(c.Action, ":Delete"), strings.Contains(c.Action, "Remove"), strings.Contains(c.Action, "ModifyDB"):
		return true
	}
	return !slices.Equal(region, []string{own})
}

// look runs preflight in virtual time.
func look(t *testing.T, w *world, opt preflight.Options) (report preflight.Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.began = time.Now()
		var err error
		if report, err = preflight.Look(context.Background(), config(), w.sources(), opt); err != nil {
			t.Fatal(err)
		}
	})
	return report
}

func bad(r preflight.Report) []string {
	var out []string
	for _, c := range r.Checks {
		for _, f := range c.Findings {
			if f.Severity != preflight.OK {
				out = append(out, fmt.Sprintf("%s: %s: %s, %s: is %s, wanted %s", c.Name, f.Severity, f.Subject, f.What, f.Current, f.Wanted))
			}
		}
	}
	return out
}

func TestHealthyDeploymentPasses(t *testing.T) {
	w := healthy()
	r := look(t, w, preflight.Options{})
	if !r.Passed || len(bad(r)) > 0 {
		t.Errorf("passed %t, findings:\n%s", r.Passed, strings.Join(bad(r), "\n"))
	}
	if r.Active != "primary" || r.Standby != "dr" || len(r.Checks) != len(preflight.CheckNames())-1 || len(r.Skipped) != 1 {
		t.Errorf("active %q, standby %q, %d checks, skipped %v", r.Active, r.Standby, len(r.Checks), r.Skipped)
	}
	if !slices.Equal(w.stopped, []string{"task"}) {
		t.Errorf("the canary was stopped %v", w.stopped)
	}
}

// moved is a deployment in which all is well after the term has gone to dr.
func moved() *world {
	w := healthy()
	w.status.Record.Holder = "dr"
	lag := int64(900)
	w.status.Sites = []operator.SiteStatus{{Name: "primary", LagMS: &lag}, {Name: "dr"}}
	for region, g := range w.global {
		g.Members = slices.Clone(g.Members)
		g.Members[0].Writer, g.Members[1].Writer = false, true
		w.global[region] = g
	}
	for _, site := range []string{"primary", "dr"} {
		b, v := w.beacons[site], w.databases[site]
		b.ObservedWriter, b.Ready, v.State.InRecovery = "dr", site == "primary", site == "primary"
		w.beacons[site], w.databases[site] = b, v
	}
	w.alarm(east, "route53-health-check-primary").State = "ALARM" // a standby answers 503
	w.alarm(east, "route53-health-check-dr").State = "OK"
	return w
}

// TestRolesFollowTheRecord: after a failover the site dr is the active one, and everything turns round.
func TestRolesFollowTheRecord(t *testing.T) {
	w := moved()
	if r := look(t, w, preflight.Options{}); !r.Passed || r.Active != "dr" {
		t.Errorf("active %q:\n%s", r.Active, strings.Join(bad(r), "\n"))
	}
}

// TestAStandbyMustNotPassItsHealthCheck: DNS would answer with it.
func TestAStandbyMustNotPassItsHealthCheck(t *testing.T) {
	w := moved()
	w.alarm(east, "route53-health-check-primary").State = "OK"
	r := look(t, w, preflight.Options{Only: []string{"alarms"}})
	if got := bad(r); r.Passed || len(got) != 1 || !strings.Contains(got[0], "is OK, wanted ALARM") {
		t.Errorf("findings: %v", got)
	}
}

// breakage is one thing that is wrong, and the finding that must say so.
type breakage struct {
	check, what string
	severity    preflight.Severity
	sabotage    func(w *world)
}

func change(w *world, cluster string, f func(*aws.DBCluster)) {
	c := w.clusters[cluster]
	c.Instances = slices.Clone(c.Instances)
	f(&c)
	w.clusters[cluster] = c
}

func service(w *world, name string, running, desired int) {
	s := w.services[name]
	s.Running, s.Desired = running, desired
	w.services[name] = s
}

var breakages = []breakage{
	{"record", "the record", preflight.Fail, func(w *world) { w.status.Record = nil }},
	{"record", "state", preflight.Fail, func(w *world) { w.status.Record.State = term.Releasing }},
	{"record", "lease", preflight.Fail, func(w *world) { w.status.LeaseRunning = false }},
	{"record", "lease and margin", preflight.Warn, func(w *world) { w.status.Record.LeaseMS = 30_000 }},
	{"record", "request", preflight.Fail, func(w *world) { w.status.Record.Wanted = &term.Wanted{Site: "dr"} }},
	{"record", "budget", preflight.Warn, func(w *world) { w.status.Record.TakeoverBudget = 0 }},
	{"record", "lost tail", preflight.Warn, func(w *world) { w.status.Record.TailOf = []term.Number{2} }},
	{"term-table", "consistency", preflight.Fail, func(w *world) { tb := w.tables[west]; tb.Consistency = "EVENTUAL"; w.tables[west] = tb }},
	{"term-table", "witness in us-east-2", preflight.Fail, func(w *world) { tb := w.tables[east]; tb.Witnesses = nil; w.tables[east] = tb }},
	{"wardens", "wardens", preflight.Fail, func(w *world) { service(w, "warden-dr", 1, 1) }},
	{"wardens", "wardens' settings", preflight.Fail, func(w *world) { w.definitions["td-warden-dr"].Containers[0].Environment["HOLDFAST_MODE"] = "manual" }},
	{"wardens", "wardens' settings", preflight.Fail, func(w *world) { delete(w.definitions["td-warden-dr"].Containers[0].Environment, "HOLDFAST_EXPORT_DIR") }},
	{"wardens", "beacon", preflight.Fail, func(w *world) { w.standing["dr"] = true }},
	{"wardens", "ready to take over", preflight.Fail, func(w *world) { b := w.beacons["dr"]; b.Ready = false; w.beacons["dr"] = b }},
	{"replication", "replication lag", preflight.Fail, func(w *world) { *w.status.Sites[1].LagMS = 40_000 }},
	{"replication", "replication lag", preflight.Unknown, func(w *world) { w.status.Sites[1].LagMS = nil }},
	{"replication", "secondary db-dr", preflight.Fail, func(w *world) {
		g := w.global[west]
		g.Members = slices.Clone(g.Members)
		g.Members[1].Synchronized = false
		w.global[west] = g
	}},
	{"replication", "status", preflight.Fail, func(w *world) { g := w.global[east]; g.Status = "failing-over"; w.global[east] = g }},
	{"instances", "instances", preflight.Fail, func(w *world) { change(w, "db-dr", func(c *aws.DBCluster) { c.Instances = nil }) }},
	{"instances", "status", preflight.Fail, func(w *world) { change(w, "db-dr", func(c *aws.DBCluster) { c.Status = "stopped" }) }},
	{"instances", "status", preflight.Fail, func(w *world) {
		change(w, "db-dr", func(c *aws.DBCluster) { c.Instances[1].Status = "rebooting" })
	}},
	{"instances", "engine", preflight.Fail, func(w *world) { change(w, "db-dr", func(c *aws.DBCluster) { c.EngineVersion = "16.4" }) }},
	{"instances", "instance classes", preflight.Warn, func(w *world) {
		change(w, "db-dr", func(c *aws.DBCluster) { c.Instances[0].Class = "db.t4g.medium" })
	}},
	{"parameters", "settings", preflight.Fail, func(w *world) { w.parameters["pg-dr"]["max_connections"] = "100" }},
	{"parameters", "parameters", preflight.Fail, func(w *world) {
		change(w, "db-dr", func(c *aws.DBCluster) { c.Instances[0].ParametersInSync = false })
	}},
	{"backups", "backup retention", preflight.Fail, func(w *world) { change(w, "db-dr", func(c *aws.DBCluster) { c.BackupRetentionDays = 1 }) }},
	{"database", "login", preflight.Fail, func(w *world) { w.databaseErrors["dr"] = preflight.ErrPassword }},
	{"database", "write fence", preflight.Fail, func(w *world) { v := w.databases["dr"]; v.State.Installed = false; w.databases["dr"] = v }},
	{"database", "tables behind the fence", preflight.Fail, func(w *world) { v := w.databases["dr"]; v.ProtectedTables = 0; w.databases["dr"] = v }},
	{"database", "max_prepared", preflight.Fail, func(w *world) { v := w.databases["dr"]; v.State.MaxPreparedTransactions = 5; w.databases["dr"] = v }},
	{"database", "role of the database", preflight.Fail, func(w *world) { v := w.databases["dr"]; v.State.InRecovery = false; w.databases["dr"] = v }},
	{"database", "pin", preflight.Fail, func(w *world) {
		v := w.databases["primary"]
		v.State.DatabaseTime = time.Now()
		v.State.Pin = fence.Pin{ID: 1, Site: "primary", PinnedAt: v.State.DatabaseTime, For: time.Hour, By: "somebody"}
		w.databases["primary"] = v
	}},
	{"database", "server version", preflight.Fail, func(w *world) { v := w.databases["dr"]; v.ServerVersion = "15"; w.databases["dr"] = v }},
	{"images", "in the registry of us-west-2", preflight.Fail, func(w *world) { delete(w.digests, west+"/app") }},
	{"images", "digest in both regions", preflight.Fail, func(w *world) { w.digests[west+"/app"] = strings.Replace(digest, "0", "f", 1) }},
	{"images", "registry", preflight.Fail, func(w *world) {
		w.definitions["td-app-dr"].Containers[0].Image = registry + east + ".amazonaws.com/app:v1"
	}},
	{"images", "registry", preflight.Warn, func(w *world) { w.definitions["td-app-dr"].Containers[0].Image = "docker.io/app:v1" }},
	{"capacity", "application tasks", preflight.Fail, func(w *world) { service(w, "app-dr", 0, 0) }},
	{"capacity", "healthy targets", preflight.Fail, func(w *world) { w.health[group("app", "dr")] = []aws.Target{{State: "unhealthy"}} }},
	{"capacity", "autoscaling maximum", preflight.Fail, func(w *world) { w.maximum = 1 }},
	{"capacity", "tasks without autoscaling", preflight.Fail, func(w *world) { w.maximum = 0; service(w, "app-dr", 1, 1) }},
	{"canary", "a new task", preflight.Fail, func(w *world) { w.errs["run"] = errors.New("RESOURCE:ENI") }},
	{"canary", "a new task", preflight.Fail, func(w *world) {
		w.canary = []aws.Task{{LastStatus: "PENDING"}, {LastStatus: "RUNNING"}, {LastStatus: "STOPPED", StoppedReason: "exit 1"}}
	}},
	{"canary", "a new task", preflight.Fail, func(w *world) { w.canary = []aws.Task{{LastStatus: "PENDING"}} }},
	{"quotas", "vCPUs", preflight.Fail, func(w *world) {
		w.quotas["L-3032A538"] = aws.Quota{Name: "Fargate On-Demand vCPU resource count", Value: 0.75}
	}},
	{"quotas", "vCPUs", preflight.Unknown, func(w *world) { w.quotas["L-3032A538"] = aws.Quota{Name: "something else", Value: 600} }},
	{"quotas", "snapshots", preflight.Fail, func(w *world) { w.manual = 100 }},
	{"alarms", "actions", preflight.Fail, func(w *world) { w.alarms[west][0].ActionsEnabled = false }},
	{"alarms", "state", preflight.Fail, func(w *world) { w.alarms[west][0].State = "ALARM" }},
	{"alarms", "state", preflight.Unknown, func(w *world) { w.alarms[west][0].State = "INSUFFICIENT_DATA" }},
	{"alarms", "alarm on the replication lag", preflight.Fail, func(w *world) { w.alarm(west, "lag").Metric = "CPUUtilization" }},
	{"alarms", "alarm on the replication lag", preflight.Fail, func(w *world) { w.alarm(west, "lag").Dimensions["DBClusterIdentifier"] = "db-old" }},
	{"alarms", "alarm on the engine", preflight.Fail, func(w *world) { w.unwatched(west, "engine") }},
	{"alarms", "alarm on the healthy hosts of targetgroup/app-dr", preflight.Fail, func(w *world) { w.unwatched(west, "app-healthy") }},
	{"alarms", "alarm on the healthy hosts of targetgroup/warden-primary", preflight.Fail, func(w *world) { w.unwatched(east, "warden-healthy") }},
	{"alarms", "alarm on the healthy hosts of targetgroup/forward-dr", preflight.Fail, func(w *world) { w.unwatched(west, "forward-healthy") }},
	{"alarms", "alarm on PutItem", preflight.Fail, func(w *world) { w.unwatched(west, "term-table-PutItem") }},
	{"alarms", "alarm on two layers at once", preflight.Fail, func(w *world) { w.unwatched(west, "region-impaired") }},
	{"alarms", "alarm on the health check", preflight.Fail, func(w *world) { w.unwatched(east, "route53-health-check-primary") }},
	{"alarms", "state", preflight.Fail, func(w *world) { w.alarm(east, "route53-health-check-primary").State = "ALARM" }},
	{"alarms", "alarm on the other site's health check", preflight.Fail, func(w *world) { w.unwatched(east, "route53-health-check-dr") }},
	{"alarms", "alarm on both health checks", preflight.Fail, func(w *world) { w.unwatched(east, "no-site-serves") }},
	{"alarms", "state", preflight.Fail, func(w *world) { w.alarm(east, "route53-health-check-dr").State = "OK" }},
	{"alarms", "state", preflight.Fail, func(w *world) { w.alarm(east, "no-site-serves").State = "ALARM" }},
	{"alarms", "actions", preflight.Fail, func(w *world) { w.alarm(east, "no-site-serves").Actions = nil }},
	{"alarms", "actions", preflight.Fail, func(w *world) { w.alarm(east, "route53-health-check-primary").Actions = nil }},
	{"alarms", "state", preflight.Fail, func(w *world) { w.alarm(west, "region-impaired").State = "ALARM" }},
	{"alarms", "actions", preflight.Fail, func(w *world) { w.alarm(west, "region-impaired").ActionsEnabled = false }},
	{"subscriptions", "confirmed subscriptions", preflight.Fail, func(w *world) { clear(w.subscriptions) }},
	{"subscriptions", "confirmed subscriptions", preflight.Fail, func(w *world) {
		for _, s := range w.subscriptions {
			s[0].Confirmed = false
		}
	}},
	{"subscriptions", "topics of the alarms", preflight.Fail, func(w *world) {
		for i := range w.alarms[west] {
			w.alarms[west][i].Actions = []string{"arn:aws:automate:us-west-2:ec2:stop"}
		}
	}},
	{"dns", "PRIMARY record", preflight.Fail, func(w *world) { w.records = w.records[1:] }},
	{"dns", "target", preflight.Fail, func(w *world) { w.records[1].Alias = "primary.elb.example.com" }},
	{"dns", "TTL", preflight.Fail, func(w *world) { w.records[0].TTL = time.Hour }},
	{"dns", "evaluates", preflight.Fail, func(w *world) { w.records[0].EvaluateTargetHealth = true }},
	{"dns", "health check", preflight.Fail, func(w *world) { w.records[1].HealthCheckID = "another" }},
	{"dns", "health check", preflight.Fail, func(w *world) { w.records[0].HealthCheckID = "" }},
	{"dns", "protocol and port", preflight.Fail, func(w *world) { w.check.Type, w.check.Port = "HTTP", 443 }},
	{"dns", "protocol and port", preflight.Fail, func(w *world) { w.check.Port = 8443 }},
	{"dns", "path", preflight.Fail, func(w *world) { w.check.Path = "/" }},
	{"dns", "name", preflight.Fail, func(w *world) { w.check.FQDN = "app.example.com" }},
	{"dns", "disabled", preflight.Fail, func(w *world) { w.check.Disabled = true }},
	{"dns", "protocol and port", preflight.Fail, func(w *world) { w.other.Type = "HTTP" }},
	{"dns", "path", preflight.Fail, func(w *world) { w.other.Path = "/" }},
	{"dns", "health check for the alarms", preflight.Fail, func(w *world) { w.unwatched(east, "route53-health-check-dr") }},
	{"dns", "time to detect", preflight.Warn, func(w *world) { w.check.Interval = 30 * time.Second }},
	{"dns", "rule for /healthz", preflight.Fail, func(w *world) { w.listeners["lb-dr"][1].Paths["/healthz"] = []string{group("app", "dr")} }},
	{"dns", "rule for /healthz", preflight.Fail, func(w *world) { delete(w.listeners["lb-dr"][1].Paths, "/healthz") }},
	{"keep-alive", "client keep-alive", preflight.Fail, func(w *world) { w.keepAlive["lb-dr"] = time.Hour }},
	{"permissions", "rds:FailoverGlobalCluster on arn:aws:rds:us-west-2", preflight.Fail, func(w *world) {
		w.denied = func(role string, c aws.Call) bool {
			return forbidden(role, c) || c.Action == "rds:FailoverGlobalCluster" && strings.Contains(c.Resource, "db-dr")
		}
	}},
	{"permissions", "rds:FailoverGlobalCluster on arn:aws:rds:us-east-1", preflight.Fail, func(w *world) { w.denied = func(string, aws.Call) bool { return false } }},
	{"permissions", "secretsmanager:GetSecretValue", preflight.Fail, func(w *world) {
		w.denied = func(role string, c aws.Call) bool {
			return forbidden(role, c) || strings.HasPrefix(c.Action, "secretsmanager")
		}
	}},
	{"permissions", "role", preflight.Fail, func(w *world) {
		td := w.definitions["td-warden-dr"]
		td.TaskRoleARN = ""
		w.definitions["td-warden-dr"] = td
	}},
	{"clocks", "rate", preflight.Fail, func(w *world) { w.clockRate = 1.02 }},
	{"clocks", "rate", preflight.Unknown, func(w *world) { w.clockDelay = 2 * time.Second }},
	{"clocks", "clock against", preflight.Warn, func(w *world) { w.serverOffset = time.Minute }},
}

// TestEachCheckFails breaks one thing at a time: the check that is about it must say so.
func TestEachCheckFails(t *testing.T) {
	for _, c := range breakages {
		t.Run(c.check+"/"+c.what, func(t *testing.T) {
			w := healthy()
			c.sabotage(w)
			r := look(t, w, preflight.Options{Only: []string{c.check}})
			if len(r.Checks) != 1 || r.Checks[0].Severity != c.severity || r.Passed != (c.severity == preflight.Warn) {
				t.Fatalf("severity %v, passed %t, want %s:\n%s", r.Checks, r.Passed, c.severity, strings.Join(bad(r), "\n"))
			}
			if !slices.ContainsFunc(r.Checks[0].Findings, func(f preflight.Finding) bool {
				return f.Severity == c.severity && strings.HasPrefix(f.What, c.what) && f.Remedy != "" && f.Wanted != "" && f.Current != ""
			}) {
				t.Errorf("no finding about %q with current, wanted and remedy:\n%s", c.what, strings.Join(bad(r), "\n"))
			}
		})
	}
}

// TestSilenceIsNotAPass: an API that does not answer makes its own checks unknown and leaves the others alone.
func TestSilenceIsNotAPass(t *testing.T) {
	for api, checks := range map[string][]string{
		"beacons": {"wardens"}, "records": {"alarms", "dns"}, "check": {"alarms", "dns"}, "iam": {"permissions"}, "ecr": {"images"}, "quotas": {"quotas"},
		"table": {"term-table"}, "sts": {"clocks"}, "rds " + west: {"backups", "instances", "parameters", "quotas", "replication"}, "parameters": {"parameters"},
		"ecs": {"capacity", "images", "permissions", "quotas", "wardens"}, "scaling": {"capacity"}, "task": {"canary"}, "elb": {"alarms", "capacity", "dns", "keep-alive"},
		"alarms": {"alarms", "dns", "subscriptions"}, "sns": {"subscriptions"},
	} {
		t.Run(api, func(t *testing.T) {
			w := healthy()
			w.errs[api] = errSilence
			r := look(t, w, preflight.Options{})
			var unknown []string
			for _, c := range r.Checks {
				switch c.Severity {
				case preflight.Unknown:
					unknown = append(unknown, c.Name)
				case preflight.OK:
				default:
					t.Errorf("%s is %s: what is not known is no failure", c.Name, c.Severity)
				}
			}
			if slices.Sort(unknown); !slices.Equal(unknown, checks) || r.Passed {
				t.Errorf("unknown %v, passed %t; want %v\n%s", unknown, r.Passed, checks, strings.Join(bad(r), "\n"))
			}
		})
	}
}

// TestAHangingCheckHidesNoOther: a check that never answers is cut off at its limit; the others are reported.
func TestAHangingCheckHidesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		results := preflight.Run(context.Background(), []preflight.Check{
			{Name: "hangs", Timeout: 3 * time.Second, Run: func(ctx context.Context) []preflight.Finding { <-ctx.Done(); return nil }},
			{Name: "answers", Run: func(context.Context) []preflight.Finding { return []preflight.Finding{{Severity: preflight.OK}} }},
		})
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		if results[0].Severity != preflight.Unknown || results[1].Severity != preflight.OK || results[0].TookMS != 3000 {
			t.Errorf("results %+v", results)
		}
	})
}

func TestOptions(t *testing.T) {
	for _, opt := range []preflight.Options{{Only: []string{"nothing"}}, {Skip: []string{"nothing"}}, {Only: []string{"dns"}, Skip: []string{"dns"}}} {
		if _, err := preflight.Look(t.Context(), config(), healthy().sources(), opt); !errors.Is(err, operator.ErrUsage) {
			t.Errorf("%+v: %v", opt, err)
		}
	}
}

// TestOutput: the JSON has the documented fields, and the text shows every finding that is not as wanted.
func TestOutput(t *testing.T) {
	w := healthy()
	w.keepAlive["lb-dr"] = time.Hour
	r := look(t, w, preflight.Options{Only: []string{"keep-alive", "backups"}})
	encoded, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var decoded struct {
		Deployment, Active, Standby string
		Passed                      *bool
		Checks                      []struct {
			Name, Protects, Severity string
			TookMS                   *int64 `json:"took_ms"`
			Findings                 []struct{ Severity, Subject, What, Current, Wanted, Remedy string }
		}
		Skipped []struct{ Name, Why string }
	}
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	if decoded.Passed == nil || *decoded.Passed || decoded.Active != "primary" || len(decoded.Checks) != 2 || decoded.Checks[1].Severity != "fail" ||
		decoded.Checks[1].TookMS == nil || len(decoded.Skipped) != len(preflight.CheckNames())-2 {
		t.Errorf("decoded %+v", decoded)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FAIL", "site dr", "1h0m0s", "at most 5m0s", "client_keep_alive.seconds", "skipped  dns"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
}
