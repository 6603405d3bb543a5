package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/drill"
	"holdfast/internal/drill/merchant"
	"holdfast/internal/drill/verdict"
	"holdfast/internal/topology"
)

// keep leaves a verdict in a series' folder as a drill would.
func keep(t *testing.T, root string, v *verdict.Verdict) {
	t.Helper()
	folder := drill.Folder(root, v.Fault, v.Speed, v.Seed)
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "verdict.json"), encoded, 0o600); err != nil {
		t.Fatal(err)
	}
}

// usual is the setup of a drill with no flags but its fault.
func usual(t *testing.T, fault string) verdict.Setup {
	t.Helper()
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	f := drillFlags{rate: merchant.DefaultRate, merchants: merchant.DefaultMerchants}
	return f.setup(fault, &topo)
}

// A verdict of another build, load or deployment is another drill's. What is run again fails here before it starts: there is
// no payd beside the test.
func TestSeriesRunsAgainWhatHasAnotherSetup(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*verdict.Setup)
		args   []string
	}{
		"from before setups were noted": {change: func(s *verdict.Setup) { *s = verdict.Setup{} }},
		"revision":                      {change: func(s *verdict.Setup) { s.Revision = "0123456789abcdef" }},
		"topology":                      {change: func(s *verdict.Setup) { s.Topology = "00" }},
		"cycles":                        {change: func(s *verdict.Setup) { s.Cycles = 3 }},
		"rate":                          {args: []string{"--rate", "61"}},
		"merchants":                     {args: []string{"--merchants", "9"}},
	} {
		root := t.TempDir()
		v := verdict.New("freeze-thaw", 1, 10)
		v.Verdict, v.Setup = verdict.Pass, usual(t, "freeze-thaw")
		if c.change != nil {
			c.change(&v.Setup)
		}
		keep(t, root, v)
		args := append([]string{"drill", "--fault", "freeze-thaw", "--results", root, "--report", filepath.Join(root, "report.md")}, c.args...)
		code, out, problems := run(t, args...)
		if code == 0 || strings.Contains(out, "kept from before") || !strings.Contains(problems, "is of another setup") {
			t.Errorf("%s: exit code %d\n%s%s", name, code, out, problems)
		}
		if _, err := drill.ReadVerdict(drill.Folder(root, "freeze-thaw", 10, 1)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the other setup's verdict is still there: %v", name, err)
		}
	}
}

func TestSeriesGoesOnWhereItEnded(t *testing.T) {
	root, report := t.TempDir(), filepath.Join(t.TempDir(), "drills.md")
	for seed := uint64(1); seed <= 2; seed++ {
		v := verdict.New("link-loss", seed, 10)
		v.Verdict, v.Happened, v.Setup = verdict.Pass, "nothing", usual(t, "link-loss")
		if seed == 2 {
			v.Verdict, v.Failures = verdict.Fail, []string{"the term: 2 of dr, want 1 of primary"}
		}
		keep(t, root, v)
	}
	args := []string{"drill", "--fault", "link-loss", "--results", root, "--report", report, "--repeat"}
	code, out, _ := run(t, append(args, "1")...)
	if code != 0 || strings.Count(out, "(kept from before)") != 1 {
		t.Errorf("exit code %d for a series that has passed:\n%s", code, out)
	}
	code, out, _ = run(t, append(args, "2")...)
	if code != 1 || !strings.Contains(out, "FAIL  link-loss") || !strings.Contains(out, "want 1 of primary") {
		t.Errorf("exit code %d for a series with a failure:\n%s", code, out)
	}
	if err := os.Remove(report); err != nil {
		t.Fatal(err)
	}
	if code, _, problems := run(t, append(args, "0")...); code != 0 {
		t.Errorf("exit code %d for the report alone: %s", code, problems)
	}
	written, err := os.ReadFile(report)
	if err != nil || !strings.Contains(string(written), "| `link-loss` | 10 | 1 of 2 |") || !strings.Contains(string(written), "Built from an unknown revision.") {
		t.Errorf("report: %v\n%s", err, written)
	}
}

func TestSeriesFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--fault", "link-loss,meteor"}, "--fault meteor"},
		{[]string{"--repeat", "0"}, "--repeat 0"},
		{[]string{"--repeat", "-1", "--report", "x"}, "--repeat -1"},
		{[]string{"--all", "--keep"}, "--keep"},
		{[]string{"--repeat", "2", "--out", "x"}, "--out"},
		{[]string{"--cycles", "-1"}, "--cycles -1"},
	} {
		if code, _, problems := run(t, append([]string{"drill"}, c.args...)...); code != 2 || !strings.Contains(problems, c.want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", c.args, code, problems, c.want)
		}
	}
}

func TestFaultCommandsRefuse(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	code, out, _ := run(t, "twin", "fault", "list")
	if code != 0 || !strings.Contains(out, "isolated-active") || !strings.Contains(out, "--clients") {
		t.Errorf("list without a twin: exit code %d\n%s", code, out)
	}
	if code, _, problems := run(t, "twin", "fault", "inject", "meteor"); code != 2 || !strings.Contains(problems, "meteor") {
		t.Errorf("inject meteor: exit code %d, %s", code, problems)
	}
	for _, args := range [][]string{{"inject", "link-loss"}, {"clear"}} {
		if code, _, problems := run(t, append([]string{"twin", "fault"}, args...)...); code != 1 || !strings.Contains(problems, "no twin of that name is up") {
			t.Errorf("%v without a twin: exit code %d, %s", args, code, problems)
		}
	}
}
