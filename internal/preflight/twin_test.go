package preflight_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	sdkconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/jackc/pgx/v5"

	"holdfast/internal/aws"
	"holdfast/internal/operator"
	"holdfast/internal/preflight"
	"holdfast/internal/topology"
	"holdfast/internal/twin"
	"holdfast/internal/twin/api"
	twinecs "holdfast/internal/twin/ecs"
	"holdfast/internal/twin/task"
)

func TestMain(m *testing.M) {
	task.ReaperMain() // does not return if this process was started as a twin's reaper
	os.Exit(m.Run())
}

// withRegistry is the default deployment with its images in the regions' own registries, and execution roles that may pull
// them, as the Terraform makes them for such images.
func withRegistry(t *testing.T, dir string) (topology.Topology, map[string]twinecs.Image) {
	t.Helper()
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]twinecs.Image{}
	for i, td := range topo.TaskDefinitions {
		for j, c := range td.Containers {
			program, _, _ := strings.Cut(c.Image, ":")
			name := topo.AccountID + ".dkr.ecr." + td.Region + ".amazonaws.com/" + program
			topo.TaskDefinitions[i].Containers[j].Image = name + ":v1"
			images[name] = twinecs.Image{Path: filepath.Join(dir, program)}
			for r, role := range topo.Roles {
				if role.ARN != td.ExecutionRoleARN {
					continue
				}
				pull, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
					map[string]any{"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
					map[string]any{
						"Effect": "Allow", "Action": []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
						"Resource": "arn:aws:ecr:" + td.Region + ":" + topo.AccountID + ":repository/" + program,
					},
				}})
				if err != nil {
					t.Fatal(err)
				}
				topo.Roles[r].Policies = append(slices.Clone(role.Policies), topology.Policy{Name: "pull", Document: string(pull)})
			}
		}
	}
	return topo, images
}

// rig is a twin and the code under test, which reaches it as it would reach AWS: by the process's AWS configuration.
type rig struct {
	tw   *twin.Twin
	cfg  operator.Config
	src  preflight.Sources
	sdk  sdk.Config
	dir  string // of the programs
	west operator.Site
}

func up(ctx context.Context, t *testing.T) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir()}
	build := exec.Command("go", "build", "-o", r.dir+string(filepath.Separator), "holdfast/cmd/holdfast", "holdfast/cmd/payd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	topo, images := withRegistry(t, r.dir)
	var err error
	r.tw, err = twin.Up(ctx, twin.Options{Topology: topo, Speed: 10, AcquirerURL: "http://127.0.0.1:1" /* nobody pays here */, Images: images, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.tw.Down(context.Background()); err != nil {
			t.Errorf("take the twin down: %v", err)
		}
	})
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": r.tw.Endpoint(), "AWS_ACCESS_KEY_ID": api.AccessKeyID, "AWS_SECRET_ACCESS_KEY": api.SecretAccessKey,
		"AWS_REGION": topo.Sites[0].Region, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	if r.cfg, err = operator.ReadConfig(r.tw.ConfigFile()); err != nil {
		t.Fatal(err)
	}
	r.west = r.cfg.Sites[1]
	op, err := operator.Open(ctx, r.cfg, r.tw.Resolver())
	if err != nil {
		t.Fatal(err)
	}
	session, err := aws.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r.src = preflight.FromAWS(session, op)
	if r.sdk, err = sdkconfig.LoadDefaultConfig(ctx); err != nil {
		t.Fatal(err)
	}
	r.sdk.Region = r.west.Region
	return r
}

func (r *rig) look(ctx context.Context, t *testing.T, opt preflight.Options) preflight.Report {
	t.Helper()
	report, err := preflight.Look(ctx, r.cfg, r.src, opt)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// wait looks until the report is as wanted.
func (r *rig) wait(ctx context.Context, t *testing.T, what string, opt preflight.Options, wanted func(preflight.Report) bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		report := r.look(ctx, t, opt)
		if wanted(report) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v; the last findings:\n%s", what, ctx.Err(), strings.Join(bad(report), "\n"))
		case <-tick.C:
		}
	}
}

func passes(r preflight.Report) bool { return r.Passed }

func (r *rig) scale(ctx context.Context, t *testing.T, service string, count int32) {
	t.Helper()
	_, err := ecs.NewFromConfig(r.sdk).UpdateService(ctx, &ecs.UpdateServiceInput{
		Cluster: sdk.String(r.west.ECSClusterName), Service: sdk.String(service), DesiredCount: sdk.Int32(count),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) sql(ctx context.Context, t *testing.T, statement string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, r.tw.DatabaseDSN(r.cfg.Sites[0].Name))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}

// sabotage breaks one thing; undo mends it.
type sabotage struct {
	name string
	do   func(ctx context.Context, t *testing.T, r *rig)
	undo func(ctx context.Context, t *testing.T, r *rig)
	// checks must fail with a finding about what.
	checks []string
	what   string
	opt    preflight.Options
}

func inject(f twin.Fault) func(context.Context, *testing.T, *rig) {
	return func(ctx context.Context, t *testing.T, r *rig) {
		t.Helper()
		if _, err := r.tw.Inject(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
}

func clearFault(name string) func(context.Context, *testing.T, *rig) {
	return func(ctx context.Context, t *testing.T, r *rig) {
		t.Helper()
		if _, err := r.tw.ClearFault(ctx, name, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func sabotages() []sabotage {
	rename := func(from, to string) func(context.Context, *testing.T, *rig) {
		return func(_ context.Context, t *testing.T, r *rig) {
			t.Helper()
			if err := os.Rename(filepath.Join(r.dir, from), filepath.Join(r.dir, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	password := func(_ context.Context, t *testing.T, r *rig) string {
		t.Helper()
		session, err := aws.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, err := session.Secrets(r.west.Region).Password(t.Context(), r.west.DBSecretARN)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	return []sabotage{
		{
			name: "the standby runs no application", checks: []string{"capacity"}, what: "application tasks",
			do: inject(twin.Fault{Name: twin.ApplicationDown, Site: "dr"}), undo: clearFault(twin.ApplicationDown),
		},
		{
			name: "the standby's wardens are gone", checks: []string{"wardens"}, what: "beacon",
			do:   func(ctx context.Context, t *testing.T, r *rig) { r.scale(ctx, t, r.west.WardenService, 0) },
			undo: func(ctx context.Context, t *testing.T, r *rig) { r.scale(ctx, t, r.west.WardenService, 2) },
		},
		{
			name: "the link is down, so the lag grows", checks: []string{"replication"}, what: "replication lag", opt: preflight.Options{MaxLag: 3 * time.Second},
			do: inject(twin.Fault{Name: twin.LinkPartition}), undo: clearFault(twin.LinkPartition),
		},
		{
			name: "the password is not the secret's", checks: []string{"database"}, what: "login",
			do: func(ctx context.Context, t *testing.T, r *rig) {
				r.sql(ctx, t, "ALTER ROLE "+pgx.Identifier{r.west.DBUser}.Sanitize()+" PASSWORD 'another'")
			},
			undo: func(ctx context.Context, t *testing.T, r *rig) {
				r.restorePassword(ctx, t, password(ctx, t, r))
			},
		},
		{
			name: "the image was never pushed", checks: []string{"images", "canary"}, what: "",
			do: rename("payd", "payd.gone"), undo: rename("payd.gone", "payd"),
		},
		{
			name: "an alarm fires", checks: []string{"alarms"}, what: "state",
			do: func(ctx context.Context, t *testing.T, r *rig) {
				alarms, err := r.src.Alarms(r.west.Region).List(ctx, "-"+r.cfg.Suffix)
				if err != nil || len(alarms) == 0 {
					t.Fatal(alarms, err)
				}
				_, err = cloudwatch.NewFromConfig(r.sdk).SetAlarmState(ctx, &cloudwatch.SetAlarmStateInput{
					AlarmName: sdk.String(alarms[0].Name), StateValue: cwtypes.StateValueAlarm, StateReason: sdk.String("a test"),
				})
				if err != nil {
					t.Fatal(err)
				}
			},
			undo: func(context.Context, *testing.T, *rig) {}, // the next evaluation mends it
		},
	}
}

// restorePassword sets the password back over the connection that the twin itself has: the instance's own superuser.
func (r *rig) restorePassword(ctx context.Context, t *testing.T, password string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, strings.Replace(r.tw.DatabaseDSN(r.cfg.Sites[0].Name), password, "another", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	statement := fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", pgx.Identifier{r.west.DBUser}.Sanitize(), password)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}

// TestOnATwin: the same code that asks AWS passes a healthy twin, and names every sabotage.
func TestOnATwin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	r := up(ctx, t)
	r.wait(ctx, t, "alarms that have data", preflight.Options{Only: []string{"alarms"}}, passes)
	if report := r.look(ctx, t, preflight.Options{}); !report.Passed || report.Active != "primary" {
		t.Fatalf("a healthy twin does not pass:\n%s", strings.Join(bad(report), "\n"))
	}
	for _, s := range sabotages() {
		t.Run(s.name, func(t *testing.T) {
			opt := s.opt
			opt.Only = s.checks
			s.do(ctx, t, r)
			r.wait(ctx, t, "the finding", opt, func(report preflight.Report) bool {
				return !slices.ContainsFunc(report.Checks, func(c preflight.Result) bool {
					return !slices.ContainsFunc(c.Findings, func(f preflight.Finding) bool {
						return f.Severity == preflight.Fail && strings.HasPrefix(f.What, s.what) && f.Remedy != ""
					})
				})
			})
			s.undo(ctx, t, r)
			r.wait(ctx, t, "the end of it", opt, passes)
		})
	}
	r.wardensCallNothingElse(t)
}

// wardensCallNothingElse: what the wardens were seen to call is what their permissions are checked for.
func (r *rig) wardensCallNothingElse(t *testing.T) {
	t.Helper()
	prefixes := map[string]string{"elasticloadbalancingv2": "elasticloadbalancing", "applicationautoscaling": "application-autoscaling"}
	checked := preflight.WardenActions(r.cfg, map[string]string{"HOLDFAST_APP_LISTENER_ARN": "some"})
	seen := map[string]bool{}
	for _, call := range r.tw.Calls() {
		if call.CallerRegion == "" || call.Operation == "" { // people, and this test, call from outside
			continue
		}
		service := call.Service
		if p := prefixes[service]; p != "" {
			service = p
		}
		seen[service+":"+call.Operation] = true
	}
	if len(seen) == 0 {
		t.Error("no warden called anything, so this shows nothing")
	}
	for action := range seen {
		if !checked[action] {
			t.Errorf("wardens call %s, which preflight does not ask IAM about", action)
		}
	}
}
