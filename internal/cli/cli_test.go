package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/drill"
	"holdfast/internal/operator"
	"holdfast/internal/pgserver"
	"holdfast/internal/topology"
	"holdfast/internal/twin"
)

// run runs the command line in this process.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Main(args, &out, &err)
	return code, out.String(), err.String()
}

func TestWrongUseExitsWith2AndNamesFlagValueAndRemedy(t *testing.T) {
	t.Setenv("HOLDFAST_CONFIG", "")
	dir := t.TempDir()
	truncated := filepath.Join(dir, "truncated.json")
	if err := os.WriteFile(truncated, topology.DefaultState()[:5000], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want []string
	}{
		{"drill --fault meteor", []string{"--fault meteor", "region-loss"}},
		{"drill --speed 17", []string{"--speed 17", "from 1 to 16"}},
		{"drill --speed 0.9", []string{"--speed 0.9", "from 1 to 16"}},
		{"drill --speed fast", []string{"fast", "--speed", "drill --help"}},
		{"drill --seed -1", []string{"-1", "--seed"}},
		{"drill --rate 0", []string{"--rate 0", "at most 2000"}},
		{"drill --rate 2001", []string{"--rate 2001"}},
		{"drill --merchants 0", []string{"--merchants 0", "1 to 500"}},
		{"drill -o yaml", []string{"-o yaml", "text or json"}},
		{"drill --address-block 9", []string{"--address-block 9", "10 to 250"}},
		{"drill --address-block 251", []string{"--address-block 251"}},
		{"drill --out " + dir, []string{"--out " + dir, "not empty"}},
		{"drill --state " + filepath.Join(dir, "none"), []string{"no such file", "terraform show -json"}},
		{"drill --state " + dir, []string{"--state " + dir, "is a directory"}},
		{"twin up --terraform " + dir + " --state " + truncated, []string{"--terraform " + dir, "one of them"}},
		{"twin up --var-file a.tfvars", []string{"--var-file a.tfvars", "--terraform"}},
		{"drill --state " + truncated, []string{"--state " + truncated, "terraform"}},
		{"drill --image payd", []string{"--image payd", "NAME=PATH"}},
		{"drill --image payd=" + truncated, []string{"--image payd=" + truncated, "executable"}},
		{"drill --image nobody=/bin/true --image payd=/bin/true", []string{"--image nobody", "no service"}},
		{"drill now", []string{"now", "drill --help"}},
		{"drill --no-such-flag", []string{"--no-such-flag", "drill --help"}},
		{"drll", []string{"drll", "--help"}},
		{"twin sideways", []string{"sideways", "twin --help"}},
		{"twin up --name A/B", []string{"--name", "A/B", "small letters"}},
		{"twin down --timeout 0s", []string{"--timeout", "above 0"}},
		{"twin status -o xml", []string{"-o xml", "text or json"}},
		{"status", []string{"--config"}},
		{"reconcile export --dir x", []string{"--snapshot", "--old-volume"}},
		{"reconcile export --snapshot x", []string{"--dir"}},
		{"reconcile report", []string{"report --help"}},
		{"reconcile report " + dir + " --acquirer-from yesterday", []string{"--acquirer-from yesterday", "RFC 3339"}},
		{"reconcile report " + filepath.Join(dir, "none"), []string{"none", "no such file"}},
		{"tail --saved-of 1 --export " + filepath.Join(dir, "none"), []string{"--export", "no such file"}},
		{"switchover --to", []string{"--to", "switchover --help"}},
	} {
		code, stdout, stderr := run(t, strings.Fields(c.args)...)
		if code != exitUsage || stdout != "" {
			t.Errorf("holdfast %s: exit code %d, want 2; stdout %q, stderr %q", c.args, code, stdout, stderr)
		}
		for _, want := range append(c.want, "holdfast: ") {
			if !strings.Contains(stderr, want) {
				t.Errorf("holdfast %s: %q is missing in %q", c.args, want, stderr)
			}
		}
		if strings.HasPrefix(stderr, "holdfast: usage:") {
			t.Errorf("holdfast %s: the marker shows in %q", c.args, stderr)
		}
	}
}

func TestHelpListAndVersion(t *testing.T) {
	for args, want := range map[string]string{
		"": "holdfast drill", "drill --help": "--speed", "drill --fault list": "region-loss", "twin": "status", "--version": "holdfast version",
	} {
		code, stdout, stderr := run(t, strings.Fields(args)...)
		if code != exitOK || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("holdfast %s: exit code %d, stdout %q, stderr %q; want %q", args, code, stdout, stderr, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errSilent, 1},
		{errors.New("other"), 1},
		{usagef("--x"), 2},
		{fmt.Errorf("a: %w", pgserver.ErrNotInstalled), 3},
		{fmt.Errorf("a: %w", pgserver.ErrNoUnprivilegedUser), 3},
		{fmt.Errorf("a: %w", twin.ErrEnvironment), 3},
		{fmt.Errorf("a: %w", drill.ErrEnvironment), 3},
		{fmt.Errorf("a: %w", operator.ErrEnvironment), 3},
		{fmt.Errorf("a: %w", syscall.ENOSPC), 3},
		{fmt.Errorf("a: %w", syscall.EADDRINUSE), 3},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("ExitCode(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestDrillWithoutPostgreSQLExitsWith3(t *testing.T) {
	t.Setenv("HOLDFAST_PG_BINDIR", t.TempDir())
	code, stdout, stderr := run(t, "drill", "--image", "payd=/bin/true")
	if code != exitEnvironment || stdout != "" || !strings.Contains(stderr, "PostgreSQL") {
		t.Errorf("exit code %d, stdout %q, stderr %q; want 3", code, stdout, stderr)
	}
}

func TestMissingPaydExitsWith3(t *testing.T) {
	code, _, stderr := run(t, "drill") // beside the test's own program there is no payd
	if code != exitEnvironment || !strings.Contains(stderr, "make build") || !strings.Contains(stderr, "--image") {
		t.Errorf("exit code %d, stderr %q; want 3 and a remedy", code, stderr)
	}
}

func TestProgramsOfImages(t *testing.T) {
	topo := topology.Topology{TaskDefinitions: []topology.TaskDefinition{
		{Containers: []topology.Container{{Image: "registry.example:5000/team/shop:1.2@sha256:abc"}, {Image: "holdfast:3"}}},
		{Containers: []topology.Container{{Image: "holdfast:3"}}},
	}}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := rehearsalFlags{state: "state.json", images: []string{"shop=/bin/true"}}
	got, err := f.programs(topo)
	if err != nil || len(got) != 2 || got["registry.example:5000/team/shop:1.2@sha256:abc"] != "/bin/true" || got["holdfast:3"] != self {
		t.Errorf("programs = %v, %v", got, err)
	}
	f.images = []string{"registry.example:5000/team/shop:1.2@sha256:abc=/bin/true", "holdfast=/bin/false"}
	if got, err = f.programs(topo); err != nil || got["holdfast:3"] != "/bin/false" {
		t.Errorf("programs by whole name = %v, %v", got, err)
	}
	// Another team's image is never silently replaced by payd.
	f.images = nil
	if _, err = f.programs(topo); !errors.Is(err, operator.ErrUsage) || !strings.Contains(err.Error(), "--image shop=PATH") {
		t.Errorf("programs of a foreign state = %v, want a usage error with a remedy", err)
	}
}

func TestTwinNameIsHeldByItsProcess(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if _, err := readRun("a"); !errors.Is(err, errTwinDown) {
		t.Errorf("before: %v", err)
	}
	lock, err := takeName("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeName("a"); ExitCode(err) != exitEnvironment || !strings.Contains(err.Error(), "twin down --name a") {
		t.Errorf("second twin of the same name: %v", err)
	}
	if _, err := readRun("a"); err == nil || errors.Is(err, errTwinDown) || !strings.Contains(err.Error(), "coming up") {
		t.Errorf("while it comes up: %v", err)
	}
	info := runInfo{Name: "a", PID: os.Getpid(), StartedAt: time.Now().UTC().Truncate(time.Second), Resolver: "127.9.0.53:8053", DNSName: "app.test", AppPort: 8080}
	if err := lock.publish(info); err != nil {
		t.Fatal(err)
	}
	if got, err := readRun("a"); err != nil || got != info {
		t.Errorf("readRun = %+v, %v; want %+v", got, err, info)
	}
	other, err := takeName("b")
	if err != nil {
		t.Errorf("another name: %v", err)
	} else {
		other.release()
	}
	path := lock.path
	lock.release()
	if _, err := readRun("a"); !errors.Is(err, errTwinDown) {
		t.Errorf("after: %v", err)
	}
	// A twin that was killed leaves its file, but not its lock.
	if err := os.WriteFile(path, []byte(`{"name":"a","pid":4242}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readRun("a"); !errors.Is(err, errTwinDown) {
		t.Errorf("after a kill: %v", err)
	}
	if code, stdout, stderr := run(t, "twin", "down", "--name", "a"); code != exitOK || !strings.Contains(stdout, "no twin") {
		t.Errorf("twin down of none: exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, _, stderr := run(t, "twin", "status", "--name", "a"); code != exitFailed || !strings.Contains(stderr, "no twin") {
		t.Errorf("twin status of none: exit code %d, %q", code, stderr)
	}
	if again, err := takeName("a"); err != nil {
		t.Errorf("the name of a killed twin: %v", err)
	} else {
		again.release()
	}
}

func TestRunInfoSaysHowToReachTheTwin(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	var out bytes.Buffer
	info := runInfo{Name: "a", PID: 7, Speed: 10, Endpoint: "http://127.9.0.1:4566", Region: "us-east-1", Resolver: "127.9.0.53:8053", DNSName: "app.test", AppPort: 8080, Config: "/x/holdfast.json"}
	if err := info.writeText(&out); err != nil {
		t.Fatal(err)
	}
	if err := info.writeEnv(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"export AWS_ENDPOINT_URL=http://127.9.0.1:4566\n", "export HOLDFAST_CONFIG=/x/holdfast.json\n", "export HOLDFAST_DNS_SERVER=127.9.0.53:8053\n", "dig @127.9.0.53 -p 8053 +short app.test", "http://app.test:8080/v1/payments"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
