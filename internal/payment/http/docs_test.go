package http

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast/internal/payment"
)

// TestDocumentsNameEveryProblem keeps docs/payd.md in step with the code.
func TestDocumentsNameEveryProblem(t *testing.T) {
	text, err := os.ReadFile("../../../docs/payd.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range kinds {
		if row := "| `" + name + "` | " + strconv.Itoa(k.status) + " |"; !strings.Contains(string(text), row) {
			t.Errorf("docs/payd.md has no row %s", row)
		}
	}
}

// TestOpenAPIDescribesTheRoutes keeps openapi.json in step with the handler: every path is served with the methods that it
// names and no other, and the schemas have the fields that are written.
func TestOpenAPIDescribesTheRoutes(t *testing.T) {
	a := newAPI(t, func(o *Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	})
	var doc struct {
		Paths      map[string]map[string]struct{ Responses map[string]any }
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(a.get("/openapi.json").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		target := strings.NewReplacer("{id}", "pay_1", "{name}", "standby").Replace(path)
		for method, operation := range methods {
			r := httptest.NewRequest(strings.ToUpper(method), target, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Idempotency-Key", "key")
			w := httptest.NewRecorder()
			a.handler.ServeHTTP(w, r)
			if _, ok := operation.Responses[strconv.Itoa(w.Code)]; !ok || w.Code >= 400 {
				t.Errorf("%s %s is answered %d", method, path, w.Code)
			}
		}
	}
	for name, value := range map[string]any{
		"Payment": payment.Payment{Reason: "r", AuthorizationCode: "a"},
		"Problem": payment.Problem{Detail: "d", PaymentID: "p", Errors: []payment.FieldError{{}}}, "Balance": payment.Balance{}, "Order": order{},
	} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var written map[string]any
		if err := json.Unmarshal(text, &written); err != nil {
			t.Fatal(err)
		}
		if got, want := keys(doc.Components.Schemas[name].Properties), keys(written); !slices.Equal(got, want) {
			t.Errorf("%s is described with %v and written with %v", name, got, want)
		}
	}
}

func keys(m map[string]any) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}
