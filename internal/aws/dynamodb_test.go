package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// session makes adapters that talk to a test server, as AWS_ENDPOINT_URL does.
func session(t *testing.T, handler http.Handler) *Session {
	t.Helper()
	server := httptest.NewServer(handler)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return NewSession(sdk.Config{
		Region: "nowhere", BaseEndpoint: sdk.String(server.URL), HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDTEST", "test", ""),
	})
}

// table answers GetItem and PutItem as DynamoDB does, as far as the adapter uses them; anything else is an error.
type table struct {
	mu    sync.Mutex
	items map[string]map[string]any
	calls map[string]int
	// scopes are the regions in the signatures.
	scopes map[string]bool
	// fault, if set, may answer a call itself, before or after its effect.
	fault func(operation string, effect func(), w http.ResponseWriter) bool
}

func newTable() *table {
	return &table{items: map[string]map[string]any{}, calls: map[string]int{}, scopes: map[string]bool{}}
}

func (f *table) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_20120810.")
	f.calls[operation]++
	if parts := strings.Split(r.Header.Get("Authorization"), "/"); len(parts) > 2 {
		f.scopes[parts[2]] = true
	}
	body, _ := io.ReadAll(r.Body)
	var in struct {
		TableName, ConditionExpression string
		ConsistentRead                 bool
		Key, Item                      map[string]any
		ExpressionAttributeNames       map[string]string
		ExpressionAttributeValues      map[string]map[string]string
	}
	if err := json.Unmarshal(body, &in); err != nil || in.TableName != "terms" {
		refuse(w, "ValidationException")
		return
	}
	switch operation {
	case "GetItem":
		if !in.ConsistentRead {
			refuse(w, "TestWantsConsistentRead")
			return
		}
		out := map[string]any{}
		if item, ok := f.items[text(in.Key["id"], "S")]; ok {
			out["Item"] = item
		}
		respond(w, out)
	case "PutItem":
		id := text(in.Item["id"], "S")
		if !f.condition(id, in.ConditionExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues) {
			refuse(w, "ConditionalCheckFailedException")
			return
		}
		effect := func() { f.items[id] = in.Item }
		if f.fault != nil && f.fault(operation, effect, w) {
			return
		}
		effect()
		respond(w, map[string]any{})
	default:
		refuse(w, "UnknownOperationException")
	}
}

func (f *table) condition(id, expression string, names map[string]string, values map[string]map[string]string) bool {
	item, exists := f.items[id]
	switch expression {
	case "":
		return true
	case "attribute_not_exists(#id)":
		return names["#id"] == "id" && !exists
	case "#version = :read":
		return exists && text(item[names["#version"]], "N") == values[":read"]["N"]
	}
	panic("unexpected condition " + expression)
}

func text(value any, kind string) string {
	m, _ := value.(map[string]any)
	s, _ := m[kind].(string)
	return s
}

func respond(w http.ResponseWriter, out any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	_ = json.NewEncoder(w).Encode(out)
}

func refuse(w http.ResponseWriter, kind string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"test"}`, kind)
}

func TestTermStoreKeepsTheContract(t *testing.T) {
	termtest.Run(t, func(t *testing.T) (term.Store, term.Store) {
		s := session(t, newTable())
		return s.TermStore("us-east-1", "terms", termtest.Deployment, termtest.Sites...),
			s.TermStore("us-west-2", "terms", termtest.Deployment, termtest.Sites...)
	})
}

func TestTermStoreSignsForItsRegion(t *testing.T) {
	f := newTable()
	s := session(t, f)
	for _, region := range []string{"us-east-1", "us-west-2"} {
		_, _ = s.TermStore(region, "terms", "d").Read(context.Background())
	}
	if want := map[string]bool{"us-east-1": true, "us-west-2": true}; !reflect.DeepEqual(f.scopes, want) {
		t.Errorf("regions in the signatures: %v, want %v", f.scopes, want)
	}
}

// TestUnknownOutcomesAreNotRetried: whatever goes wrong after sending, the adapter sends once and never calls it a
// conflict, so that the caller reads again.
func TestUnknownOutcomesAreNotRetried(t *testing.T) {
	for name, fault := range map[string]func(effect func(), w http.ResponseWriter){
		"conflict with another Region's write": func(_ func(), w http.ResponseWriter) { refuse(w, "ReplicatedWriteConflictException") },
		"throttled":                            func(_ func(), w http.ResponseWriter) { refuse(w, "ProvisionedThroughputExceededException") },
		"internal error after the effect": func(effect func(), w http.ResponseWriter) {
			effect()
			w.WriteHeader(http.StatusInternalServerError)
		},
		"connection lost after the effect": func(effect func(), w http.ResponseWriter) {
			effect()
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newTable()
			store := session(t, f).TermStore("us-east-1", "terms", termtest.Deployment)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := store.Create(ctx, termtest.First()); err != nil {
				t.Fatal(err)
			}
			f.fault = func(_ string, effect func(), w http.ResponseWriter) bool {
				fault(effect, w)
				return true
			}
			next := termtest.First()
			next.Version = 2
			before := f.calls["PutItem"]
			err := store.Write(ctx, next)
			if err == nil || errors.Is(err, term.ErrConflict) {
				t.Errorf("Write: %v, want an error that means unknown", err)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if sent := f.calls["PutItem"] - before; sent != 1 {
				t.Errorf("the write was sent %d times, want once", sent)
			}
		})
	}
}

func TestUnknownFieldsInTheItemAreNotAnError(t *testing.T) {
	f := newTable()
	store := session(t, f).TermStore("us-east-1", "terms", termtest.Deployment)
	ctx := context.Background()
	if err := store.Create(ctx, termtest.First()); err != nil {
		t.Fatal(err)
	}
	f.items[termtest.Deployment]["aws:rep:deleting"] = map[string]any{"BOOL": false}
	if _, err := store.Read(ctx); err != nil {
		t.Error(err)
	}
	f.items[termtest.Deployment]["lease_ms"] = map[string]any{"N": "0"}
	if r, err := store.Read(ctx); err == nil {
		t.Errorf("a record without a lease was read: %+v", r)
	}
}
