package render

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// maxOutputBytes bounds one line of Terraform's output: the state comes in one line with the provider's schemas, of
// about 14 MB.
const maxOutputBytes = 256 << 20

// terraform runs the command in a copy of the configuration.
type terraform struct {
	command, dir, pluginDir string
	varFiles                []string
}

func (t terraform) prepare(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, cmp.Or(t.command, "terraform"), args...)
	cmd.Dir = t.dir
	cmd.Env = append(os.Environ(), "TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1", "AWS_EC2_METADATA_DISABLED=true")
	// Interrupted, Terraform ends its providers; killed, it leaves them behind.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

func (t terraform) init(ctx context.Context) error {
	args := []string{"init", "-backend=false", "-no-color"}
	if t.pluginDir != "" {
		dir, err := filepath.Abs(t.pluginDir)
		if err != nil {
			return err
		}
		args = append(args, "-plugin-dir="+dir)
	}
	out, err := t.prepare(ctx, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("terraform init: %w: %s", err, tail(string(out), 8))
	}
	return nil
}

// override appends overrides to the test file.
func (t terraform) override(all []override) error {
	path := filepath.Join(t.dir, TestFile)
	original := path + ".original"
	text, err := os.ReadFile(original)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = os.ReadFile(path); err == nil {
			err = os.WriteFile(original, text, 0o600)
		}
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, hcl(all)...), 0o600)
}

// test runs the test file and returns the state that its run printed.
func (t terraform) test(ctx context.Context) (*state, error) {
	args := []string{"test", "-filter=" + TestFile, "-json", "-verbose"}
	for _, f := range t.varFiles {
		args = append(args, "-var-file="+f)
	}
	cmd := t.prepare(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("terraform test: %w", err)
	}
	found, faults, readErr := readTestOutput(out)
	_, _ = io.Copy(io.Discard, out) // so that the command can end even when its output could not be read
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("terraform test: %w", ctx.Err())
	case err != nil:
		return nil, fmt.Errorf("terraform test: %w: %s", err, cmp.Or(strings.Join(faults, "; "), tail(stderr.String(), 8)))
	case readErr != nil:
		return nil, fmt.Errorf("terraform test: read its output: %w", readErr)
	case found == nil:
		return nil, fmt.Errorf("terraform test printed no state: %s needs a run with command = apply", TestFile)
	}
	return found, nil
}

// message is one line of "terraform test -json".
type message struct {
	Type       string `json:"type"`
	Diagnostic *struct {
		Severity string `json:"severity"`
		Summary  string `json:"summary"`
		Detail   string `json:"detail"`
		Address  string `json:"address"`
	} `json:"diagnostic"`
	// TestState is not the format of "show -json": outputs and root module sit at the top.
	TestState *struct {
		Outputs map[string]*output `json:"outputs"`
		Root    *module            `json:"root_module"`
	} `json:"test_state"`
}

// readTestOutput returns the last state and every error that was reported.
func readTestOutput(out io.Reader) (last *state, faults []string, err error) {
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 0, 1<<20), maxOutputBytes)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			faults = append(faults, tail(lines.Text(), 1))
			continue
		}
		switch {
		case m.Diagnostic != nil && m.Diagnostic.Severity == "error":
			faults = append(faults, strings.TrimSpace(m.Diagnostic.Address+" "+m.Diagnostic.Summary+": "+oneLine(m.Diagnostic.Detail)))
		case m.TestState != nil && m.TestState.Root != nil:
			last = &state{FormatVersion: "1.0", Values: values{Outputs: m.TestState.Outputs, Root: m.TestState.Root}}
		}
	}
	return last, faults, lines.Err()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return oneLine(strings.Join(lines[max(0, len(lines)-n):], " "))
}
