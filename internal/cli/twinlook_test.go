package cli

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"holdfast/internal/operator"
)

func TestOutputsPrintAsTerraformPrintsThem(t *testing.T) {
	outputs := map[string]any{"name": "payments", "port": 5432.0, "zones": []any{"a"}}
	for _, c := range []struct {
		args, want, fails string
		usage             bool
	}{
		{"-raw name", "payments", "", false},
		{"-raw port", "5432", "", false},
		{"name", "\"payments\"\n", "", false},
		{"-json zones", "[\n  \"a\"\n]\n", "", false},
		{"", "name = \"payments\"\nport = 5432\nzones = [\n  \"a\"\n]\n", "", false},
		{"-raw zones", "", "-json", false},
		{"-raw nobody", "", "name, port, zones", false},
		{"-raw", "", "one output", true},
		{"name port", "", "one name", true},
		{"-state=x", "", "-state=x", true},
	} {
		var out bytes.Buffer
		err := printOutputs(&out, outputs, strings.Fields(c.args))
		if c.fails == "" && (err != nil || out.String() != c.want) {
			t.Errorf("output %s: %v, %q; want %q", c.args, err, out.String(), c.want)
		}
		if c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails) || errors.Is(err, operator.ErrUsage) != c.usage) {
			t.Errorf("output %s: %v; want %q", c.args, err, c.fails)
		}
	}
}

func TestResolvePrintsAsDigDoes(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		switch {
		case q.Question[0].Name != "app.test.":
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			record, _ := dns.NewRR("app.test. 6 IN A 192.0.2.1")
			m.Answer = append(m.Answer, record)
		}
		_ = w.WriteMsg(m)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	defer func() {
		_ = server.Shutdown()
		<-ended
	}()
	for _, c := range []struct{ args, want, fails string }{
		{"app.test", ";; ANSWER SECTION:\napp.test.\t6\tIN\tA\t192.0.2.1\n", ""},
		{"+short app.test", "192.0.2.1\n", ""},
		{"app.test TXT +short", "", ""},
		{"nobody.test", "", "NXDOMAIN"},
		{"@8.8.8.8 app.test", "", "@8.8.8.8"},
		{"app.test other.test", "", "one name"},
		{"+short", "", "want a name"},
	} {
		var out bytes.Buffer
		err := resolve(t.Context(), &out, conn.LocalAddr().String(), strings.Fields(c.args))
		if c.fails == "" && (err != nil || out.String() != c.want) {
			t.Errorf("resolve %s: %v, %q; want %q", c.args, err, out.String(), c.want)
		}
		if c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("resolve %s: %v; want %q", c.args, err, c.fails)
		}
	}
}

// TestShimsFindTheMachinesCommands runs the shell folder's commands with stand-ins for the machine's, from a folder with an
// awkward name.
func TestShimsFindTheMachinesCommands(t *testing.T) {
	shell := filepath.Join(t.TempDir(), "it's here")
	machine := filepath.Join(t.TempDir(), "machine")
	info := runInfo{Name: "a", Endpoint: "http://127.9.0.3:4566", Resolver: "127.9.0.2:8053"}
	show := "#!/bin/sh\nprintf '%s|' \"${0##*/}\" \"$@\"; echo \"proxy=$HTTPS_PROXY,$HTTP_PROXY\"\n"
	scripts := map[string]string{}
	for name, script := range info.shims(shell, "/bin/echo", [][2]string{{"db.cluster.rds.amazonaws.com", "127.9.1.5"}}) {
		scripts[filepath.Join(shell, shellBin, name)] = script
	}
	for _, name := range []string{"aws", "dig", "psql", "terraform"} {
		scripts[filepath.Join(machine, name)] = show
	}
	for path, script := range scripts {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(script), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(shell, shellBin) + ":" + machine + ":" + filepath.Join(shell, shellBin) + ":/usr/bin:/bin"
	for command, want := range map[string]string{
		`aws rds "two words"`: "aws|--endpoint-url|http://127.9.0.3:4566|rds|two words|proxy=http://127.9.0.3:4566,",
		`dig +short x`:        "dig|@127.9.0.2|-p|8053|+short|x|proxy=,http://other",
		`psql -h db.cluster.rds.amazonaws.com "host=db.cluster.rds.amazonaws.com user=a b"`: "psql|-h|127.9.1.5|host=127.9.1.5 user=a b|proxy=,http://other",
		`terraform plan`:        "terraform|plan|proxy=,http://other",
		`terraform output -raw`: "twin output --name a -- -raw",
		`holdfast status`:       "status",
	} {
		cmd := exec.Command("sh", "-c", command)
		cmd.Env = []string{"PATH=" + path, "HTTP_PROXY=http://other"}
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %v\n got %s\nwant %s", command, err, got, want)
		}
	}
	// Without a dig on the machine, holdfast stands in.
	if err := os.Remove(filepath.Join(machine, "dig")); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("/usr/bin/dig"); err != nil {
		cmd := exec.Command("sh", "-c", "dig +short x")
		cmd.Env = []string{"PATH=" + path}
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "twin resolve --name a -- +short x" {
			t.Errorf("dig without dig: %v, %s", err, out)
		}
	}
}
