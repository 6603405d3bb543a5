package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs is the folder of the built holdfast and payd.
var programs string

// TestMain builds both programs once, as "make build" does.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "holdfast-programs-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "holdfast/cmd/holdfast", "holdfast/cmd/payd")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			panic("build the programs: " + err.Error())
		}
		programs = dir
		return m.Run()
	}())
}

// commandLimit bounds a command of the built program. The longest is the twin that every runbook is typed at, on a machine
// that has other things to do.
const commandLimit = 12 * time.Minute

// command prepares the built holdfast with a temporary folder of its own, in which nothing may be left.
func command(t *testing.T, args ...string) (cmd *exec.Cmd, temp string) {
	t.Helper()
	// Below /tmp rather than t.TempDir: PostgreSQL's user must be able to enter every parent.
	temp, err := os.MkdirTemp("", "hf-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(temp, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, filepath.Join(programs, "holdfast"), args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	return cmd, temp
}

// leftovers lists what is still there below a twin's temporary folder: files, and processes that work in it.
func leftovers(temp string) []string {
	var left []string
	entries, _ := os.ReadDir(temp)
	for _, e := range entries {
		left = append(left, "file "+e.Name())
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range processes {
		if dir, err := os.Readlink(link); err == nil && strings.HasPrefix(dir, temp+"/") {
			left = append(left, "process "+strings.Split(link, "/")[2]+" in "+dir)
		}
	}
	return left
}

func wantNothingLeft(t *testing.T, temp string, within time.Duration) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		left := leftovers(temp)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v after the end these are left: %v", within, left)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// drillVerdict is the part of the JSON contract that users script against.
type drillVerdict struct {
	Verdict    string
	Failures   []string
	Fault      string
	Seed       int
	Speed      float64
	Objectives struct {
		RTO float64 `json:"rto_seconds"`
		RPO float64 `json:"rpo_seconds"`
	}
	RTO      *float64 `json:"rto_seconds"`
	RPO      *float64 `json:"rpo_seconds"`
	Timeline []struct {
		At    *float64 `json:"at_seconds"`
		Site  string
		Event string
	}
	Payments struct {
		Attempted, Acknowledged, Kept, Lost, Unknown int
		ChargedTwice                                 int `json:"charged_twice"`
	}
	Lost       []map[string]any
	Tail       struct{ Folder string }
	Ledger     struct{ Balanced bool }
	SplitBrain struct{ Attempts, Accepted int } `json:"split_brain"`
	SwitchBack struct {
		Downtime *float64 `json:"downtime_seconds"`
		Lost     int
	} `json:"switch_back"`
	Environment struct {
		CPUs       int `json:"cpus"`
		PostgreSQL string
		StartedAt  time.Time `json:"started_at"`
	}
}

// TestDrillOfALostRegion is the whole path: from the embedded Terraform to the verdict, over real DNS, processes and databases.
func TestDrillOfALostRegion(t *testing.T) {
	cmd, temp := command(t, "drill", "--speed", "10", "--seed", "1", "-o", "json")
	var progress bytes.Buffer
	cmd.Stderr = &progress
	out, err := cmd.Output()
	if code := exitCode(err); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	var v drillVerdict
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("standard output is not one JSON object: %v\n%s\n%s", err, out, tail(progress.String()))
	}
	p := v.Payments
	switch {
	case v.Verdict != "pass" || len(v.Failures) > 0:
		t.Errorf("verdict %s: %v", v.Verdict, v.Failures)
	case v.Fault != "region-loss" || v.Seed != 1 || v.Speed != 10 || v.Objectives.RTO != 90 || v.Objectives.RPO != 30:
		t.Errorf("fault %q, seed %d, speed %v, objectives %+v", v.Fault, v.Seed, v.Speed, v.Objectives)
	case v.RTO == nil || *v.RTO <= 0 || *v.RTO > 12 || v.RPO == nil:
		t.Errorf("RTO %v, RPO %v: want an RTO of at most 12 s", v.RTO, v.RPO)
	case p.Acknowledged == 0 || p.Acknowledged != p.Kept+p.Lost || p.Lost != len(v.Lost) || p.ChargedTwice != 0:
		t.Errorf("payments %+v, %d of them listed as lost", p, len(v.Lost))
	case !v.Ledger.Balanced || v.SplitBrain.Attempts == 0 || v.SplitBrain.Accepted != 0:
		t.Errorf("ledger %+v, split brain %+v", v.Ledger, v.SplitBrain)
	case v.SwitchBack.Downtime == nil || v.SwitchBack.Lost != 0 || len(v.Timeline) == 0:
		t.Errorf("switch back %+v, %d entries in the timeline", v.SwitchBack, len(v.Timeline))
	case v.Environment.CPUs == 0 || v.Environment.PostgreSQL == "" || v.Environment.StartedAt.IsZero():
		t.Errorf("environment %+v", v.Environment)
	}
	if folder := v.Tail.Folder; folder != "" {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(cmd.Dir, folder)
		}
		if _, err := os.Stat(folder); err != nil {
			t.Errorf("the verdict names the tail's folder: %v", err)
		}
	}
	wantNothingLeft(t, temp, 5*time.Second)
	if t.Failed() {
		t.Log(tail(progress.String()))
	}
}

// tail is the end of a long text.
func tail(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

// until closes its channel when the text passes through it.
type until struct {
	text string
	seen chan struct{}
	once sync.Once
	kept bytes.Buffer
}

func (u *until) Write(p []byte) (int, error) {
	u.kept.Write(p)
	if bytes.Contains(u.kept.Bytes(), []byte(u.text)) {
		u.once.Do(func() { close(u.seen) })
	}
	return len(p), nil
}

// TestKilledDrillLeavesNothing: kill -9 in the middle of a drill leaves no process and no folder.
func TestKilledDrillLeavesNothing(t *testing.T) {
	cmd, temp := command(t, "drill", "--speed", "10", "--seed", "2")
	progress := &until{text: "warm-up", seen: make(chan struct{})}
	cmd.Stderr = progress
	cmd.Stdout = io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-progress.seen:
	case err := <-ended:
		t.Fatalf("the drill ended before it could be killed: %v\n%s", err, tail(progress.kept.String()))
	}
	if len(leftovers(temp)) < 10 {
		t.Fatalf("only %v runs: this test would see nothing", leftovers(temp))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	wantNothingLeft(t, temp, 15*time.Second)
}

// TestEnvironmentThatCannotRunATwin: each case ends with one clear sentence and exit code 3, and leaves nothing.
func TestEnvironmentThatCannotRunATwin(t *testing.T) {
	for _, c := range []struct {
		name, env, want string
		rootOnly        bool
	}{
		{"no PostgreSQL", "HOLDFAST_PG_BINDIR=/nonexistent", "no PostgreSQL server", false},
		{"root without an unprivileged user", "HOLDFAST_PG_USER=no-such-user", "refuses to run as root", true},
		{"no temporary folder", "TMPDIR=/nonexistent", "/nonexistent", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.rootOnly && os.Geteuid() != 0 {
				t.Skip("only root needs another user")
			}
			cmd, temp := command(t, "drill", "--speed", "10")
			cmd.Env = append(cmd.Env, c.env)
			var message bytes.Buffer
			cmd.Stderr = &message
			err := cmd.Run()
			lines := strings.Split(strings.TrimSpace(message.String()), "\n")
			if code := exitCode(err); code != 3 || !strings.Contains(lines[len(lines)-1], c.want) {
				t.Errorf("exit code %d, want 3 and %q in the last line of:\n%s", code, c.want, message.String())
			}
			wantNothingLeft(t, temp, 5*time.Second)
		})
	}
}
