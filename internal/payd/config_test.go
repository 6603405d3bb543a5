package payd

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"holdfast/internal/pgserver"
)

func installation(t testing.TB) pgserver.Installation {
	t.Helper()
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func get(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

func TestReadConfig(t *testing.T) {
	env := map[string]string{
		"PAYD_SITE": "dr", "PAYD_ACQUIRER_URL": "http://acquirer", "DB_WRITER_HOST": "writer.local", "DB_READER_HOST": "127.0.0.1:6000",
		"DB_NAME": "payments", "DB_USER": "app", "DB_PASSWORD": "p@ss/w:rd?", "PAYD_PROBE_INTERVAL": "50ms",
	}
	c, err := ReadConfig(get(env))
	if err != nil {
		t.Fatal(err)
	}
	if want := "postgres://app:p%40ss%2Fw%3Ard%3F@writer.local:5432/payments?sslmode=require"; c.Writer != want {
		t.Errorf("writer %s, want %s", c.Writer, want)
	}
	if !strings.Contains(c.Reader, "@127.0.0.1:6000/") || c.Port != 8080 || c.ProbeEvery != 50*time.Millisecond || c.Site != "dr" {
		t.Errorf("%+v", c)
	}
	if c.DrainDelay+c.DrainTimeout >= 30*time.Second {
		t.Error("the drain takes longer than ECS waits")
	}
	delete(env, "DB_READER_HOST")
	if c, err = ReadConfig(get(env)); err != nil || c.Reader != c.Writer {
		t.Errorf("without a reader: %s, %v", c.Reader, err)
	}
}

func TestReadConfigListsEverythingWrong(t *testing.T) {
	_, err := ReadConfig(get(map[string]string{"PAYD_PORT": "http", "PAYD_CLAIM": "5", "DB_PORT": "0", "PAYD_DB_TIMEOUT": "-1s"}))
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"PAYD_SITE", "PAYD_ACQUIRER_URL", "DB_WRITER_HOST", "DB_NAME", "DB_USER", "PAYD_PORT", "PAYD_CLAIM", "DB_PORT", "PAYD_DB_TIMEOUT"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
}

// TestUsageNamesEveryVariable: what ReadConfig asks for is in the help.
func TestUsageNamesEveryVariable(t *testing.T) {
	_, _ = ReadConfig(func(name string) string {
		if !strings.Contains(Usage, name) {
			t.Errorf("the usage does not name %s", name)
		}
		return ""
	})
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := ReadConfig(get(map[string]string{
		"PAYD_SITE": "x", "PAYD_ACQUIRER_URL": "http://a", "DB_WRITER_HOST": "127.0.0.1", "DB_NAME": "x", "DB_USER": "x", "HOLDFAST_TASK_ADDRESS": "127.0.0.1",
	}))
	if err != nil {
		t.Fatal(err)
	}
	c.Port = l.Addr().(*net.TCPAddr).Port
	if _, err := New(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "PAYD_PORT") {
		t.Fatalf("got %v", err)
	}
}
