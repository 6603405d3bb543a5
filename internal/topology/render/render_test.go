package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mocked is a state as two runs of a mock provider would print it: what was made up is random, and so is the order
// of a set that has something made up in it.
func mocked(t *testing.T, seed uint64) *state {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	invent := func() string {
		const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
		b := make([]byte, 8)
		for i := range b {
			b[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(b)
	}
	owner, etag, left, right := invent(), invent(), invent(), invent()
	set := []string{left, right, "payments"}
	random.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
	list, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	s, err := unmarshalState(fmt.Appendf(nil, `{"format_version":"1.0","values":{"outputs":{
		"owner":{"sensitive":false,"value":"owner %[1]s"},"password":{"sensitive":true,"value":"hunter2"}},
		"root_module":{"resources":[
		{"address":"aws_vpc.this","mode":"managed","type":"aws_vpc","name":"this","provider_name":"p","schema_version":1,
		 "values":{"id":%[2]q,"arn":"arn:aws:ec2:us-east-1:123456789012:mock","owner_id":%[1]q,"ipam":null},"sensitive_values":{}},
		{"address":"aws_thing.this","mode":"managed","type":"aws_thing","name":"this","provider_name":"p","schema_version":0,
		 "values":{"name":"payments","owner":%[1]q,"policy":"{\"owner\":\"%[1]s\"}","members":%[5]s,"a":%[3]q,"b":%[4]q,
		 "key":"s3cret","master_password":"hunter2"},"sensitive_values":{"key":true}}]}}}`, owner, etag, left, right, list))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func finish(t *testing.T, seed, otherSeed uint64) []byte {
	t.Helper()
	s, other := mocked(t, seed), mocked(t, otherSeed)
	wanted, err := overrides(other)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.resources() { // what Terraform does with overrides
		for _, o := range wanted {
			if o.address == r.Address {
				for k, v := range o.values {
					r.Values[k] = v
				}
			}
		}
	}
	if err := verify(s, wanted); err != nil {
		t.Fatal(err)
	}
	redact(s)
	settle(s, other, wanted)
	out, err := s.marshal()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestResultDoesNotDependOnWhatWasMadeUp(t *testing.T) {
	want := finish(t, 1, 2)
	for seed := uint64(3); seed < 30; seed += 2 {
		if got := finish(t, seed, seed+1); !bytes.Equal(got, want) {
			t.Fatalf("seed %d gives another result:\n%s\nwant\n%s", seed, got, want)
		}
	}
	var s struct {
		Values struct{ Outputs map[string]output }
	}
	if err := json.Unmarshal(want, &s); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`"name": "payments"`, `"id": "vpc-`, `arn:aws:ec2:us-east-1:123456789012:vpc/vpc-`} {
		if !strings.Contains(string(want), text) {
			t.Errorf("the result lacks %s:\n%s", text, want)
		}
	}
}

func TestReferencesSurviveSettling(t *testing.T) {
	s, err := unmarshalState(finish(t, 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	byAddress := map[string]*resource{}
	for _, r := range s.resources() {
		byAddress[r.Address] = r
	}
	owner := byAddress["aws_vpc.this"].text("owner_id")
	thing := byAddress["aws_thing.this"]
	if thing.text("owner") != owner || !strings.Contains(thing.text("policy"), owner) || s.Values.Outputs["owner"].Value != "owner "+owner {
		t.Errorf("references to %q do not lead to it any more: %v, output %v", owner, thing.Values, s.Values.Outputs["owner"].Value)
	}
}

func TestNoSecretIsLeft(t *testing.T) {
	out := string(finish(t, 1, 2))
	for _, secret := range []string{"hunter2", "s3cret"} {
		if strings.Contains(out, secret) {
			t.Errorf("%q is still there:\n%s", secret, out)
		}
	}
}

func TestOverrideWithoutEffectIsAnError(t *testing.T) {
	s := mocked(t, 1)
	wanted, err := overrides(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(s, wanted); err == nil || !strings.Contains(err.Error(), "aws_vpc.this") {
		t.Errorf("verify of a state without the overrides: %v", err)
	}
}

func TestMocksNameOneRegion(t *testing.T) {
	for name, test := range map[string]struct{ text, fault string }{
		"none": {"mock_resource \"aws_vpc\" {}", "name one region"},
		"two":  {"arn:aws:ec2:us-east-1:1:x arn:aws:ec2:us-west-2:1:x", "us-west-2"},
		"one":  {"mock_resource \"aws_sns_topic\" {\n arn = \"arn:aws:sns:us-gov-west-1:123456789012:mock\"\n}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			mocks := t.TempDir()
			dir := filepath.Join(mocks, "primary")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "main.tfmock.hcl"), []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := extendMocks(mocks)
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("error %v, want one with %q", err, test.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			more, err := os.ReadFile(filepath.Join(dir, "rendered.tfmock.hcl"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(more), `arn = "arn:aws:ec2:us-gov-west-1:123456789012:mock"`) || strings.Contains(string(more), "aws_sns_topic\"") {
				t.Errorf("mocks:\n%s", more)
			}
		})
	}
}

func TestHCLCannotBeBrokenOutOf(t *testing.T) {
	got := hcl([]override{{address: `aws_x.this["a"]`, values: map[string]any{"id": `a"b${c}%{d}`, "n": 1}}})
	want := "\noverride_resource {\n  target = aws_x.this[\"a\"]\n  values = {\n    id = \"a\\\"b$${c}%%{d}\"\n    n = 1\n  }\n}\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTestOutputWithErrors(t *testing.T) {
	out := `{"type":"version","@message":"x"}
{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Invalid value","detail":"must be\n a number","address":"aws_vpc.this"}}
not json
{"type":"test_state","test_state":{"root_module":{"resources":[]},"outputs":{}}}
`
	s, faults, err := readTestOutput(strings.NewReader(out))
	if err != nil || s == nil || len(faults) != 2 || faults[0] != "aws_vpc.this Invalid value: must be a number" {
		t.Errorf("state %v, faults %q, error %v", s, faults, err)
	}
}
