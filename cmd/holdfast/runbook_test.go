package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Limits of the runbooks' test.
const (
	twinUpLimit = 2 * time.Minute
	// blockLimit bounds one block: the longest waits for a database to be copied.
	blockLimit = 3 * time.Minute
)

const runbookFolder = "../../docs/runbooks"

// block is what a runbook has a person type, and what then appears.
type block struct {
	document string
	line     int
	commands string
	// output is nil if the document shows none.
	output []string
}

// blocks reads the fenced blocks of a document: every bash block, with the text block after it.
func blocks(document, markdown string) ([]block, error) {
	var found []block
	var fence string
	var content []string
	for n, line := range strings.Split(markdown, "\n") {
		switch {
		case fence == "" && strings.HasPrefix(line, "```"):
			if fence = strings.TrimPrefix(line, "```"); fence == "" {
				return nil, fmt.Errorf("%s:%d: a block without a language", document, n+1)
			}
			content = nil
			if fence == "bash" {
				found = append(found, block{document: document, line: n + 1})
			}
		case fence != "" && line == "```":
			switch last := len(found) - 1; {
			case fence == "bash":
				found[last].commands = strings.Join(content, "\n")
			case fence == "text" && (last < 0 || found[last].output != nil):
				return nil, fmt.Errorf("%s:%d: output that belongs to no command", document, n+1)
			case fence == "text":
				found[last].output = content
			}
			fence = ""
		case fence != "":
			content = append(content, line)
		}
	}
	if fence != "" {
		return nil, fmt.Errorf("%s: a block is not closed", document)
	}
	return found, nil
}

// matches compares what appeared with what the document shows: "…" is anything within a line, a line of it any number
// of lines. How wide a gap between two words is does not matter.
func matches(want, have []string) bool {
	if len(want) == 0 {
		return len(have) == 0
	}
	if want[0] == "…" {
		for n := range len(have) + 1 {
			if matches(want[1:], have[n:]) {
				return true
			}
		}
		return false
	}
	if len(have) == 0 {
		return false
	}
	squeeze := func(line string) string { return strings.Join(strings.Fields(line), " ") }
	parts := strings.Split(squeeze(want[0]), "…")
	for n, part := range parts {
		parts[n] = regexp.QuoteMeta(part)
	}
	pattern := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
	return pattern.MatchString(squeeze(have[0])) && matches(want[1:], have[1:])
}

func TestBlocksAndMatches(t *testing.T) {
	found, err := blocks("x", "a\n```bash\none\n\ntwo\n```\n\n```text\nout\n```\n```console\n$ no\n```\n```bash\nthree\n```\n")
	if err != nil || len(found) != 2 || found[0].commands != "one\n\ntwo" || !slices.Equal(found[0].output, []string{"out"}) ||
		found[1].commands != "three" || found[1].output != nil || found[1].line != 14 {
		t.Errorf("blocks = %+v, %v", found, err)
	}
	for _, broken := range []string{"```text\nout\n```\n", "```bash\na\n```\n```text\nb\n```\n```text\nc\n```\n", "```bash\n", "```\n```\n"} {
		if found, err := blocks("x", broken); err == nil {
			t.Errorf("blocks(%q) = %+v, want an error", broken, found)
		}
	}
	for _, c := range []struct {
		want, have string
		match      bool
	}{
		{"a|b", "a|b", true},
		{"a|b", "a|c", false},
		{"a|b", "a", false},
		{"a", "a|b", false},
		{"a  b\tc", "a b   c", true},
		{"a…c", "abbc", true},
		{"a.c", "abc", false},
		{"…|c", "a|b|c", true},
		{"…|c", "c", true},
		{"…|c", "a|b", false},
		{"a|…", "a", true},
		{"a|…|z|…", "a|b|z", true},
	} {
		if got := matches(strings.Split(c.want, "|"), strings.Split(c.have, "|")); got != c.match {
			t.Errorf("matches(%q, %q) = %v", c.want, c.have, got)
		}
	}
}

// runbooks lists the blocks of all documents, in the order in which the README links them, its own first.
func runbooks(t *testing.T) []block {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(runbookFolder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	documents := []string{"README.md"}
	for _, link := range regexp.MustCompile(`(?m)^\d+\. \[[^]]*\]\(([a-z-]+\.md)\)`).FindAllStringSubmatch(string(readme), -1) {
		documents = append(documents, link[1])
	}
	if files, _ := filepath.Glob(filepath.Join(runbookFolder, "*.md")); len(files) != len(documents) {
		t.Errorf("the README links %v, the folder has %v: a runbook that is not linked is not tested", documents[1:], files)
	}
	var all []block
	for _, document := range documents {
		markdown, err := os.ReadFile(filepath.Join(runbookFolder, document))
		if err != nil {
			t.Fatal(err)
		}
		found, err := blocks(document, string(markdown))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// shell is one bash that somebody types into.
type shell struct {
	stdin  io.WriteCloser
	status *bufio.Reader
	folder string
	typed  int
}

// newShell starts a bash with an environment, which ends with the test.
func newShell(t *testing.T, env []string) *shell {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "--noprofile", "--norc")
	cmd.Env, cmd.Dir = env, t.TempDir()
	cmd.ExtraFiles = []*os.File{writer}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = reader.Close()
	})
	if err := reader.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return &shell{stdin: stdin, status: bufio.NewReader(reader), folder: cmd.Dir}
}

// run types commands and returns what appears, and the status of the last one.
func (s *shell) run(ctx context.Context, commands string) (output, status string, err error) {
	s.typed++
	file := filepath.Join(s.folder, fmt.Sprintf("block-%d", s.typed))
	if err := os.WriteFile(file, []byte(commands+"\n"), 0o600); err != nil {
		return "", "", err
	}
	if _, err := fmt.Fprintf(s.stdin, ". %s >%s.out 2>&1 </dev/null; echo $? >&3\n", file, file); err != nil {
		return "", "", err
	}
	ended := make(chan error, 1)
	go func() {
		var err error
		status, err = s.status.ReadString('\n') // ends with the shell at the latest
		ended <- err
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = context.Cause(ctx)
		status = ""
	}
	text, readErr := os.ReadFile(file + ".out")
	return string(text), strings.TrimSpace(status), errors.Join(err, readErr)
}

// twinUp starts a twin of the built program for the test, and returns a context that ends with it and the environment that
// finds it.
func twinUp(t *testing.T, name string, args ...string) (context.Context, []string) {
	t.Helper()
	run := t.TempDir()
	cmd, temp := command(t, append([]string{"twin", "up", "--name", name}, args...)...)
	env := append(os.Environ(), "XDG_RUNTIME_DIR="+run, "HOLDFAST_TWIN="+name)
	cmd.Env = append(env, "TMPDIR="+temp)
	up := &until{text: "takes it down", seen: make(chan struct{})}
	cmd.Stderr = up
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, gone := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		gone(fmt.Errorf("the twin has ended: %w", errors.Join(err, context.Canceled)))
		ended <- err
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("the twin ended with %v", err)
		}
		if t.Failed() {
			t.Log(tail(up.kept.String()))
		}
		wantNothingLeft(t, temp, 5*time.Second)
		if left, _ := filepath.Glob(filepath.Join(run, "holdfast", "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	select {
	case <-up.seen:
	case err := <-ended:
		ended <- err
		t.Fatalf("the twin did not come up: %v\n%s", err, tail(up.kept.String()))
	case <-time.After(twinUpLimit):
		t.Fatalf("the twin is not up after %v", twinUpLimit)
	}
	return ctx, env
}

// needsAWS skips a test, loudly, where the aws command is absent; every other tool comes with setup or with any system.
func needsAWS(t *testing.T) {
	t.Helper()
	out, err := exec.Command("aws", "--version").CombinedOutput()
	if err != nil {
		t.Skipf("SKIPPED: the aws command is not installed or does not run (%v), so nothing shows that the runbooks work", err)
	}
	t.Logf("%s", bytes.TrimSpace(out))
	for _, tool := range []string{"bash", "curl", "psql"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		} else if os.Getenv("HOLDFAST_REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		} else {
			t.Skipf("SKIPPED: %v, so nothing shows that the runbooks work", err)
		}
	}
}

// TestTypedAtATwin is what people type at a twin: first in a shell that must not reach a real account, then every runbook.
func TestTypedAtATwin(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	needsAWS(t)
	twin, env := twinUp(t, "typed", "--speed", "15")
	t.Run("no account is reached", func(t *testing.T) { reachesNoAccount(t, env) })
	t.Run("runbooks", func(t *testing.T) { typeRunbooks(twin, t, env) })
}

// typeRunbooks types every runbook into one shell.
func typeRunbooks(twin context.Context, t *testing.T, env []string) {
	all := runbooks(t)
	if len(all) < 20 {
		t.Fatalf("only %d blocks: this test would show nothing", len(all))
	}
	s := newShell(t, env)
	ctx, cancel := context.WithTimeout(twin, blockLimit)
	defer cancel()
	if out, status, err := s.run(ctx, `eval "$(`+filepath.Join(programs, "holdfast")+` twin env)"`); err != nil || status != "0" {
		t.Fatalf("twin env: status %s, %v\n%s", status, err, out)
	}
	// The access log keeps the newest calls, most of them the wardens', so it is looked at soon after.
	calls := map[string]string{
		"aurora-failover.md": "rds FailoverGlobalCluster us-west-2", "lost-tail.md": "rds DescribeDBClusterSnapshots us-east-1",
	}
	for i, b := range all {
		started := time.Now()
		ctx, cancel := context.WithTimeout(twin, blockLimit)
		out, status, err := s.run(ctx, b.commands)
		cancel()
		have := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		switch {
		case err != nil:
			t.Fatalf("%s:%d: %v after %v\n%s\nprinted\n%s", b.document, b.line, err, blockLimit, b.commands, out)
		case b.output == nil && status != "0":
			t.Fatalf("%s:%d: exit status %s\n%s\nprinted\n%s", b.document, b.line, status, b.commands, out)
		case b.output != nil && !matches(b.output, have):
			t.Errorf("%s:%d: exit status %s\n%s\nprinted\n%s\nthe document shows\n%s", b.document, b.line, status, b.commands, out,
				strings.Join(b.output, "\n"))
		}
		t.Logf("%s:%d took %.1f s", b.document, b.line, time.Since(started).Seconds())
		ends := i == len(all)-1 || all[i+1].document != b.document
		if call, wanted := calls[filepath.Base(b.document)]; ends && wanted {
			ctx, cancel := context.WithTimeout(twin, blockLimit)
			wantCalls(ctx, t, s, call)
			cancel()
			delete(calls, filepath.Base(b.document))
		}
	}
	if len(calls) > 0 {
		t.Errorf("no runbook of these names: %v", calls)
	}
}
