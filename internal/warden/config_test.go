package warden

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/failover"
)

func variables() map[string]string {
	return map[string]string{
		"HOLDFAST_DEPLOYMENT": "prod", "HOLDFAST_SITE": "primary", "HOLDFAST_PEER_SITE": "dr", "HOLDFAST_MODE": "automatic",
		"HOLDFAST_TERM_TABLE": "terms", "HOLDFAST_TERM_REGIONS": "us-east-1, us-west-2", "HOLDFAST_GLOBAL_CLUSTER": "global-aurora-prod",
		"HOLDFAST_DB_CLUSTER_ARN":      "arn:aws:rds:us-east-1:123456789012:cluster:aurora-primary-prod",
		"HOLDFAST_PEER_DB_CLUSTER_ARN": "arn:aws:rds:us-west-2:123456789012:cluster:aurora-dr-prod",
		"HOLDFAST_PEER_DB_HOST":        "peer.example", "HOLDFAST_ECS_CLUSTER": "c", "HOLDFAST_APP_SERVICE": "s",
		"HOLDFAST_APP_TARGET_GROUP_ARN": "arn:tg", "HOLDFAST_EXPORT_DIR": "/export", "AWS_REGION": "us-east-1",
		"DB_WRITER_HOST": "127.1.1.1", "DB_READER_HOST": "127.1.1.2", "DB_NAME": "payments", "DB_USER": "app", "DB_PASSWORD": "p@ss:w/rd",
		"HOLDFAST_TASK_ADDRESS": "127.1.1.9",
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	env := variables()
	env["HOLDFAST_MAX_LAG"] = "30s"
	c, err := ConfigFromEnvironment(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	want := failover.Settings{
		Mode: failover.Automatic, MaxLag: 30 * time.Second, DatabaseThreshold: time.Minute, AppThreshold: time.Minute,
		BalancerThreshold: time.Minute, HandoffTimeout: 5 * time.Minute, BeaconMaxAge: 30 * time.Second, CoolDown: 10 * time.Minute,
		ForwardFor: defaultForwardFor, CapacityFor: defaultCapacityFor,
	}
	if c.Settings != want {
		t.Errorf("settings %+v, want %+v", c.Settings, want)
	}
	env["HOLDFAST_APP_MIN_TASKS"] = "0"
	if c, err := ConfigFromEnvironment(func(name string) string { return env[name] }); err != nil || c.Settings.PilotTasks != 0 || !c.Settings.PilotSet {
		t.Errorf("a pilot light of no task: %+v, %v", c.Settings, err)
	}
	if c.Port != 9100 || c.PeerRegion != "us-west-2" || c.Warden != "primary/127.1.1.9" || strings.Join(c.TermRegions, "|") != "us-east-1|us-west-2" {
		t.Errorf("config %+v", c)
	}
	dsn := c.DSN(c.WriterHost)
	if dsn != "postgres://app:p%40ss%3Aw%2Frd@127.1.1.1:5432/payments?application_name=holdfast-warden&sslmode=require" {
		t.Errorf("dsn %s", dsn)
	}
}

// TestConfigProblemsNameTheVariable: each broken variable is named with its value and a remedy, all at once, and a
// password is never shown.
func TestConfigProblemsNameTheVariable(t *testing.T) {
	for _, c := range []struct{ variable, value, want string }{
		{"HOLDFAST_DEPLOYMENT", "", "HOLDFAST_DEPLOYMENT is not set"},
		{"HOLDFAST_MODE", "auto", `HOLDFAST_MODE is "auto": set it to automatic, approval or manual`},
		{"HOLDFAST_PORT", "70000", `HOLDFAST_PORT is "70000": set it to a port`},
		{"HOLDFAST_MAX_LAG", "5", `HOLDFAST_MAX_LAG is "5": set it to a duration`},
		{"HOLDFAST_BEACON_MAX_AGE", "-1s", `HOLDFAST_BEACON_MAX_AGE is "-1s"`},
		{"HOLDFAST_PEER_SITE", "primary", "the same as HOLDFAST_SITE"},
		{"HOLDFAST_TERM_REGIONS", "us-west-2,us-east-1", "begins with the own region us-east-1"},
		{"HOLDFAST_TERM_REGIONS", " , ", "HOLDFAST_TERM_REGIONS"},
		{"HOLDFAST_DB_CLUSTER_ARN", "aurora-primary-prod", "a full ARN"},
		{"HOLDFAST_PEER_DB_CLUSTER_ARN", "arn:aws:rds::1:x", "a full ARN"},
		{"DB_PASSWORD", "", "DB_PASSWORD is not set"},
		{"DB_SSLMODE", "sometimes", `DB_SSLMODE is "sometimes"`},
	} {
		env := variables()
		env[c.variable] = c.value
		_, err := ConfigFromEnvironment(func(name string) string { return env[name] })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%q: %v, want %q", c.variable, c.value, err, c.want)
		}
	}
	_, err := ConfigFromEnvironment(func(string) string { return "" })
	if n := len(strings.Split(err.Error(), "\n")); n < 18 {
		t.Errorf("an empty environment has %d problems reported:\n%v", n, err)
	}
	env := variables()
	env["AWS_REGION"] = ""
	if _, err := ConfigFromEnvironment(func(name string) string { return env[name] }); strings.Contains(err.Error(), "p@ss") {
		t.Errorf("the password is shown: %v", err)
	}
}
