package lost

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/drill/acquirer"
	"holdfast/internal/reconcile"
)

func TestReadFile(t *testing.T) {
	from, until := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC), time.Date(2026, 1, 2, 16, 0, 0, 0, time.UTC)
	for name, content := range map[string]string{
		"csv": "\xef\xbb\xbfcreated_at,Reference,amount,currency,status,fee\n" +
			"2026-01-02T16:00:00Z,ch_2,100,JPY,declined,0\n2026-01-02T16:04:05+01:00,ch_1,1250,EUR,approved,\"1,2\"\n",
		"json": `{"reference":"ch_2","amount":100,"currency":"JPY","status":"declined","created_at":"2026-01-02T16:00:00Z","fee":0}` + "\n\n" +
			`{"reference":"ch_1","amount":1250,"currency":"EUR","status":"approved","created_at":"2026-01-02T16:04:05+01:00"}`,
	} {
		t.Run(name, func(t *testing.T) {
			l, err := ReadFile(write(t, content), reconcile.Span{})
			if err != nil {
				t.Fatal(err)
			}
			if l.Count != 2 || l.Charges[1].Reference != "ch_1" || l.Charges[1].Amount != 1250 || l.Charges[1].Status != Approved ||
				!l.Window.From.Equal(from) || !l.Window.Until.Equal(until) {
				t.Errorf("%+v", l)
			}
			later := until.Add(time.Hour)
			if l, err := ReadFile(write(t, content), reconcile.Span{Until: later}); err != nil || !l.Window.Until.Equal(later) || !l.Window.From.Equal(from) {
				t.Errorf("with an end that was told: %+v, %v", l.Window, err)
			}
		})
	}
	for name, c := range map[string]struct{ content, want string }{
		"empty":           {"", "empty"},
		"a column less":   {"reference,amount,currency,created_at\n", `lacks ["status"]`},
		"decimals":        {"reference,amount,currency,status,created_at\nch_1,12.50,EUR,approved,2026-01-02T15:04:05Z\n", "line 2: amount \"12.50\""},
		"no zone":         {"reference,amount,currency,status,created_at\n\nch_1,1,EUR,approved,2026-01-02 15:04\n", "line 3: created_at"},
		"no reference":    {`{"amount":1,"currency":"EUR","status":"approved","created_at":"2026-01-02T15:04:05Z"}`, "line 1: a charge without a reference"},
		"no status":       {`{"reference":"ch_1","amount":1,"created_at":"2026-01-02T15:04:05Z"}`, "has no status"},
		"a short line":    {"reference,amount,currency,status,created_at\nch_1,1\n", "line 2"},
		"an array":        {"[]", "lacks"},
		"a broken object": {"{\n", "line 1"},
	} {
		if _, err := ReadFile(write(t, c.content), reconcile.Span{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "charges")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// charge makes a charge at an acquirer.
func charge(t *testing.T, server *httptest.Server, reference string, amount int64) {
	t.Helper()
	body := fmt.Sprintf(`{"amount":%d,"currency":"EUR","payment_method":"tok","merchant":"shop","merchant_reference":"order-%s"}`, amount, reference)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/v1/charges/"+reference, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("charge %s: %s", reference, response.Status)
	}
}

// TestFetchReadsEveryPage asks the drill's acquirer, whose pages have at most a thousand charges.
func TestFetchReadsEveryPage(t *testing.T) {
	bank := acquirer.New(acquirer.Options{Seed: 1})
	server := httptest.NewServer(bank)
	defer server.Close()
	began := time.Now()
	for n := range pageCharges + 3 {
		charge(t, server, fmt.Sprintf("ch_%04d", n), int64(n+1))
	}
	l, err := Fetch(t.Context(), server.Client(), server.URL, began)
	if err != nil {
		t.Fatal(err)
	}
	if got := byReference([]List{l}); len(got) != pageCharges+3 || got["ch_1002"][0].Amount != 1003 {
		t.Errorf("%d references", len(got))
	}
	if now := time.Now(); l.Window.Until.After(now) || l.Window.Until.Before(began.Truncate(time.Second)) || !l.Window.From.Equal(began) {
		t.Errorf("the window is %+v, it began at %v and it is %v", l.Window, began, now)
	}
	if l, err := Fetch(t.Context(), server.Client(), server.URL, time.Now().Add(time.Hour)); err != nil || l.Count != 0 {
		t.Errorf("%d charges of the future, %v", l.Count, err)
	}
}

func TestFetchRefusesWhatIsNoList(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"an error":       {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, "403"},
		"no JSON":        {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, "read a page"},
		"in circles":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"next_after":5}`) }, "leads back"},
		"half a charge":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"charges":[{"status":"approved"}]}`) }, "without a reference"},
		"without a time": {func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil; fmt.Fprint(w, `{}`) }, "does not say its time"},
	} {
		server := httptest.NewServer(c.handler)
		if _, err := Fetch(t.Context(), server.Client(), server.URL, time.Now()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		server.Close()
	}
}
