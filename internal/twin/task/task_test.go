package task

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// helperEnv makes the test binary act as one of the programs in helpers.
const helperEnv = "HOLDFAST_TEST_HELPER"

func TestMain(m *testing.M) {
	ReaperMain()
	if name := os.Getenv(helperEnv); name != "" {
		helpers[name](os.Args[1:])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var helpers = map[string]func(args []string){
	"sleep":    func([]string) { select {} },
	"exit":     func(args []string) { code, _ := strconv.Atoi(args[0]); fmt.Println("bye"); os.Exit(code) },
	"stubborn": func([]string) { signal.Ignore(syscall.SIGTERM); fmt.Println("ready"); block() },
	"polite":   polite,
	"spin": func([]string) {
		for deadline := time.Now().Add(300 * time.Millisecond); time.Now().Before(deadline); {
		}
	},
	"shout": func([]string) {
		for range 4000 {
			fmt.Println(strings.Repeat("x", 99))
		}
	},
	"fork":       fork,
	"who":        who,
	"supervisor": supervisorHelper,
}

// block waits for ever without the runtime calling it a deadlock.
func block() { _, _ = io.Copy(io.Discard, blockedPipe()) }

func blockedPipe() io.Reader {
	r, w, _ := os.Pipe()
	blocked = w
	return r
}

// blocked keeps the write end open.
var blocked *os.File

func polite([]string) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	fmt.Println("ready")
	<-terminated
	fmt.Println("goodbye")
}

// fork leaves one child in its own group and one in a session of its own, both ignoring everything polite.
func fork(args []string) {
	for _, detached := range []bool{false, true} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{helperEnv + "=stubborn"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: detached}
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Printf("child %d\n", cmd.Process.Pid)
	}
	fmt.Println("ready")
	if len(args) == 0 {
		block()
	}
}

func who([]string) {
	cwd, _ := os.Getwd()
	fmt.Printf("%d %d %s %s\n", os.Getuid(), syscall.Getpgrp(), cwd, os.Getenv("COLOUR"))
	fmt.Println("ready")
	block()
}

func newSupervisor(t *testing.T, credential *syscall.Credential) (*Supervisor, string) {
	t.Helper()
	dir := stateDir(t)
	s, err := New(Options{StateDir: dir, Credential: credential, LogLimit: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, dir
}

// stateDir is a folder that other users can enter.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "holdfast-task-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func helperSpec(name, helper string, args ...string) Spec {
	return Spec{Name: name, Region: "us-east-1", Path: os.Args[0], Args: args, Env: []string{helperEnv + "=" + helper, "COLOUR=red", "GORACE=atexit_sleep_ms=0"}}
}

func start(t *testing.T, s *Supervisor, spec Spec) *Process {
	t.Helper()
	p, err := s.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// startReady starts a helper and waits until it has written "ready".
func startReady(t *testing.T, s *Supervisor, spec Spec) *Process {
	t.Helper()
	p := start(t, s, spec)
	eventually(t, spec.Name+" is ready", func() error {
		if out := p.LogTail(4096); !strings.Contains(out, "ready") {
			return fmt.Errorf("it wrote %q", out)
		}
		return nil
	})
	return p
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s: %v", what, err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func exited(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Exited():
	case <-time.After(15 * time.Second):
		t.Fatalf("%s (%d) did not end", p.Spec().Name, p.Pid())
	}
}

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	rest := string(data[strings.LastIndexByte(string(data), ')')+1:])
	return !strings.HasPrefix(strings.TrimSpace(rest), "Z")
}

func goneSoon(t *testing.T, pids ...int) {
	t.Helper()
	eventually(t, fmt.Sprintf("processes %v are gone", pids), func() error {
		for _, pid := range pids {
			if alive(pid) {
				return fmt.Errorf("%d still runs", pid)
			}
		}
		return nil
	})
}

func TestRunsBelowTheStateDirInAGroupOfItsOwn(t *testing.T) {
	s, dir := newSupervisor(t, nil)
	p := startReady(t, s, helperSpec("who", "who"))
	fields := strings.Fields(p.LogTail(4096))
	want := []string{strconv.Itoa(os.Getuid()), strconv.Itoa(p.Pid()), filepath.Join(dir, "tasks", "who"), "red"}
	if strings.Join(fields[:4], " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", fields[:4], want)
	}
	if len(s.Processes()) != 1 {
		t.Errorf("%d processes known", len(s.Processes()))
	}
	p.Kill()
	if code, ok := p.ExitCode(); !ok || code != 137 {
		t.Errorf("exit code %d, %t; want 137", code, ok)
	}
	if len(s.Processes()) != 0 {
		t.Errorf("%d processes known after the end", len(s.Processes()))
	}
}

func TestExitIsNoticedAndReaped(t *testing.T) {
	s, _ := newSupervisor(t, nil)
	p := start(t, s, helperSpec("exit", "exit", "3"))
	exited(t, p)
	if code, ok := p.ExitCode(); !ok || code != 3 {
		t.Errorf("exit code %d, %t", code, ok)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", p.Pid())); err == nil {
		t.Error("a zombie was left")
	}
	if !strings.Contains(p.LogTail(100), "bye") {
		t.Errorf("log: %q", p.LogTail(100))
	}
	if err := p.Freeze(); err != nil {
		t.Errorf("freezing what has ended: %v", err)
	}
}

func TestStop(t *testing.T) {
	s, _ := newSupervisor(t, nil)
	kind := startReady(t, s, helperSpec("polite", "polite"))
	if err := kind.Stop(context.Background()); err != nil {
		t.Errorf("a process that ends on SIGTERM: %v", err)
	}
	if code, _ := kind.ExitCode(); code != 0 || !strings.Contains(kind.LogTail(100), "goodbye") {
		t.Errorf("exit code %d, log %q", code, kind.LogTail(100))
	}
	spec := helperSpec("stubborn", "stubborn")
	spec.StopTimeout = 50 * time.Millisecond
	if err := startReady(t, s, spec).Stop(context.Background()); err == nil {
		t.Error("a process that ignores SIGTERM stopped in order")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := startReady(t, s, helperSpec("stubborn 2", "stubborn")).Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestKillRegionLeavesOthersAlone(t *testing.T) {
	s, _ := newSupervisor(t, nil)
	lost := []*Process{startReady(t, s, helperSpec("a", "stubborn")), startReady(t, s, helperSpec("b", "stubborn"))}
	if err := lost[1].Freeze(); err != nil {
		t.Fatal(err)
	}
	spec := helperSpec("c", "stubborn")
	spec.Region = "us-west-2"
	other := startReady(t, s, spec)
	s.KillRegion("us-east-1")
	for _, p := range lost {
		if alive(p.Pid()) {
			t.Errorf("%s lives", p.Spec().Name)
		}
	}
	if !alive(other.Pid()) {
		t.Error("a process of another region died")
	}
}

func TestFreezeAndThaw(t *testing.T) {
	s, _ := newSupervisor(t, nil)
	p := startReady(t, s, helperSpec("polite", "polite"))
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is stopped", func() error {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
		if err == nil && !strings.Contains(string(data), ") T ") {
			err = fmt.Errorf("state: %s", data)
		}
		return err
	})
	if !p.Frozen() {
		t.Error("does not know that it is frozen")
	}
	if err := syscall.Kill(p.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Exited():
		t.Fatal("a frozen process acted on a signal")
	case <-time.After(30 * time.Millisecond):
	}
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	exited(t, p)
}

func TestWhatAProcessForkedEndsWithIt(t *testing.T) {
	for _, how := range []string{"killed", "ended by itself"} {
		t.Run(how, func(t *testing.T) {
			s, _ := newSupervisor(t, nil)
			var args []string
			if how == "ended by itself" {
				args = []string{"end"}
			}
			p := startReady(t, s, helperSpec("fork", "fork", args...))
			children := childrenOf(t, p)
			if how == "killed" {
				p.Kill()
			}
			exited(t, p)
			goneSoon(t, children...)
		})
	}
}

func childrenOf(t *testing.T, p *Process) []int {
	t.Helper()
	var pids []int
	scanner := bufio.NewScanner(strings.NewReader(p.LogTail(4096)))
	for scanner.Scan() {
		var pid int
		if _, err := fmt.Sscanf(scanner.Text(), "child %d", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	if len(pids) != 2 {
		t.Fatalf("children %v in %q", pids, p.LogTail(4096))
	}
	return pids
}

func TestCPUTime(t *testing.T) {
	s, _ := newSupervisor(t, nil)
	p := start(t, s, helperSpec("spin", "spin"))
	eventually(t, "CPU time shows while it runs or after", func() error {
		if got := p.CPUTime(); got < 50*time.Millisecond {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	exited(t, p)
	if got := p.CPUTime(); got < 50*time.Millisecond || got > 2*time.Second {
		t.Errorf("CPU time %s", got)
	}
}

func TestLogIsBounded(t *testing.T) {
	s, dir := newSupervisor(t, nil)
	p := start(t, s, helperSpec("shout", "shout"))
	exited(t, p)
	for _, name := range []string{"log", "log.1"} {
		info, err := os.Stat(filepath.Join(dir, "tasks", "shout", name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 64<<10 || info.Size() == 0 {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
	}
}

func TestBadSpecs(t *testing.T) {
	s, dir := newSupervisor(t, nil)
	outside := helperSpec("outside", "sleep")
	outside.Dir = t.TempDir()
	missing := helperSpec("missing", "sleep")
	missing.Path = filepath.Join(dir, "no-such-program")
	for _, spec := range []Spec{outside, missing} {
		if _, err := s.Start(spec); err == nil || !strings.Contains(err.Error(), "start "+spec.Name) {
			t.Errorf("%s: %v", spec.Name, err)
		}
	}
	if n := len(s.processes); n != 0 {
		t.Errorf("%d processes known", n)
	}
	s.Close()
	if _, err := s.Start(helperSpec("late", "sleep")); !errors.Is(err, ErrClosed) {
		t.Errorf("start after Close: %v", err)
	}
	if _, err := New(Options{StateDir: filepath.Join(dir, "nowhere")}); err == nil {
		t.Error("a state directory that does not exist")
	}
}

func TestRootRunsTasksAsAnotherUser(t *testing.T) {
	credential := nobody(t)
	s, dir := newSupervisor(t, credential)
	p := startReady(t, s, helperSpec("who", "who"))
	if got := strings.Fields(p.LogTail(4096))[0]; got != strconv.Itoa(int(credential.Uid)) {
		t.Errorf("runs as user id %s", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "tasks", "who")); err != nil || info.Sys().(*syscall.Stat_t).Uid != credential.Uid {
		t.Errorf("the task's folder: %v, %v", info, err)
	}
	p.Kill()
	goneSoon(t, p.Pid())
}

// nobody is an unprivileged user, for tests that only root can make.
func nobody(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can change users")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
