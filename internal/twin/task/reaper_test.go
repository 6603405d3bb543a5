package task

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// supervisorHelper is a twin in small: a reaper, a frozen task, one that forks and one that ignores signals. It writes the
// pids and then waits for its end, or stops in order at "stop" on its standard input.
func supervisorHelper(args []string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	dir := args[0]
	reaper, err := StartReaper(dir)
	fail(err)
	s, err := New(Options{StateDir: dir})
	fail(err)
	fmt.Println("pid", reaper.Pid())
	for _, helper := range []string{"stubborn", "fork", "sleep"} {
		p, err := s.Start(Spec{Name: helper, Path: os.Args[0], Env: []string{helperEnv + "=" + helper}})
		fail(err)
		for helper != "sleep" && !strings.Contains(p.LogTail(4096), "ready") {
			<-time.After(5 * time.Millisecond)
		}
		fmt.Println("pid", p.Pid())
		for line := range strings.Lines(p.LogTail(4096)) {
			if pid, ok := strings.CutPrefix(line, "child "); ok {
				fmt.Print("pid ", pid)
			}
		}
		if helper == "stubborn" {
			fail(p.Freeze())
		}
	}
	// A process that no supervisor knows and no signal reaches from here, as a daemon's grandchild.
	stray := exec.Command(os.Args[0])
	stray.Env = []string{helperEnv + "=stubborn"}
	stray.Dir = filepath.Join(dir, "tasks", "sleep")
	stray.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	fail(stray.Start())
	fmt.Println("pid", stray.Process.Pid)
	fmt.Println("ready")
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if line != "stop\n" {
		block()
	}
	s.Close()
	_ = stray.Process.Kill()
	_ = stray.Wait()
	_ = os.RemoveAll(dir)
	reaper.Stop()
	fmt.Println("stopped")
}

// smallTwin starts supervisorHelper and returns it with its pids, the reaper's first.
func smallTwin(t *testing.T, dir string, credential *syscall.Credential) (*exec.Cmd, []int, *bufio.Scanner, func(string)) {
	t.Helper()
	program := os.Args[0]
	if credential != nil {
		program = filepath.Join(stateDir(t), "helper")
		if err := copyProgram(os.Args[0], program); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, dir)
	cmd.Env = []string{helperEnv + "=supervisor", "GORACE=atexit_sleep_ms=0"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	// A pipe of our own: the stray process must not keep the test waiting.
	out, outWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = outWrite, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	outWrite.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		out.Close()
	})
	_ = out.SetReadDeadline(time.Now().Add(30 * time.Second))
	var pids []int
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		line := scanner.Text()
		if line == "ready" {
			return cmd, pids, scanner, func(text string) { _, _ = stdin.Write([]byte(text)) }
		}
		pid, ok := strings.CutPrefix(line, "pid ")
		n, err := strconv.Atoi(pid)
		if !ok || err != nil {
			t.Fatalf("the small twin says %q", line)
		}
		pids = append(pids, n)
	}
	t.Fatalf("the small twin ended early: %v", scanner.Err())
	return nil, nil, nil, nil
}

func TestKillMinusNineLeavesNothing(t *testing.T) {
	run := func(t *testing.T, credential *syscall.Credential) {
		dir := filepath.Join(stateDir(t), "state")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if credential != nil {
			for _, path := range []string{dir, filepath.Dir(dir)} {
				if err := os.Chown(path, int(credential.Uid), int(credential.Gid)); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd, pids, _, _ := smallTwin(t, dir, credential)
		if len(pids) != 7 {
			t.Fatalf("pids %v", pids)
		}
		for _, pid := range pids {
			if !alive(pid) {
				t.Fatalf("%d is not running before the kill", pid)
			}
		}
		// A person presses Ctrl-C, and the terminal goes away: that is the twin's business, not the reaper's.
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM} {
			_ = syscall.Kill(pids[0], sig)
		}
		started := time.Now()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		goneSoon(t, pids...)
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder is still there: %v", err)
		}
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	}
	t.Run("as the caller", func(t *testing.T) { run(t, nil) })
	t.Run("without root", func(t *testing.T) { run(t, nobody(t)) })
}

func TestReaperEndsAfterACleanStop(t *testing.T) {
	dir := filepath.Join(stateDir(t), "state")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, pids, out, write := smallTwin(t, dir, nil)
	write("stop\n")
	for out.Scan() && out.Text() != "stopped" {
		t.Logf("the small twin says %q", out.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	goneSoon(t, pids...)
}

func TestReaperKeepsAFolderThatTheTwinKept(t *testing.T) {
	dir := filepath.Join(stateDir(t), "state")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := RunReaper(dir, strings.NewReader(string(rune(cleanStop)))); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("after a clean stop: %v", err)
	}
	if err := RunReaper(dir, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after an end without a word: %v", err)
	}
}

func TestReaperRefusesFoldersThatNobodyWantsToLose(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "/tmp", full, filepath.Join(full, "thesis"), filepath.Join(full, "nowhere"), ""} {
		if r, err := StartReaper(dir); err == nil {
			r.Stop()
			t.Errorf("%q was accepted", dir)
		}
	}
}

func TestSparesAPersonsShell(t *testing.T) {
	spare := sparing{session: 100}
	for _, c := range []struct {
		what string
		pid  int
		stat procStat
		want bool
	}{
		{"a task of a twin on a terminal", 200, procStat{session: 100, terminal: 5}, false},
		{"the shell that started the twin", 100, procStat{session: 100, terminal: 5}, true},
		{"a shell in another terminal", 300, procStat{session: 300, terminal: 6}, true},
		{"a daemon", 400, procStat{session: 400}, false},
		{"the reaper itself", os.Getpid(), procStat{session: 500}, true},
	} {
		if got := spare.spares(c.pid, c.stat); got != c.want {
			t.Errorf("%s: spared %t", c.what, got)
		}
	}
}
