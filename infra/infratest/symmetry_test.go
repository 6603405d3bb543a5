package infratest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
)

// mayDiffer lists everything in which the two sites are not the same but for names, regions and addresses, and why.
var mayDiffer = []string{
	// Only the cluster that is born as the writer makes the database, its master user and takes the password.
	"module.aurora aws_rds_cluster.this database_name",
	"module.aurora aws_rds_cluster.this master_password_wo_version",
	"module.aurora aws_rds_cluster.this master_username",
	// AWS Config would record the account's global resources twice.
	"module.account_security aws_config_configuration_recorder.this[0] recording_group[0].include_global_resource_types",
}

func TestSitesAreEqualButForWhatMustDiffer(t *testing.T) {
	s := protectedState(t)
	tokens := identities(s)
	sites := map[string]map[string]string{"primary": {}, "dr": {}}
	for _, r := range s.resources {
		site := r.site()
		if site == "" {
			continue
		}
		place := neutral(site, strings.TrimSuffix(r.Module, "_"+site)+" "+strings.TrimPrefix(r.Address, r.Module+"."))
		flatten(sites[site], place+" ", canonical(r.Values, func(v string) string { return neutral(site, replaceIdentities(tokens, v)) }))
	}
	if len(sites["primary"]) < 1000 {
		t.Fatalf("only %d values in site primary", len(sites["primary"]))
	}
	var differences []string
	all := maps.Clone(sites["primary"])
	maps.Copy(all, sites["dr"])
	for place := range all {
		a, inPrimary := sites["primary"][place]
		b, inDR := sites["dr"][place]
		if a != b || inPrimary != inDR {
			differences = append(differences, place)
			if !slices.Contains(mayDiffer, place) {
				t.Errorf("%s\n\tprimary: %s\n\tdr:      %s", place, a, b)
			}
		}
	}
	for _, place := range mayDiffer {
		if !slices.Contains(differences, place) {
			t.Errorf("%s no longer differs: take it off the list", place)
		}
	}
}

// identity attributes are made by AWS and differ between any two resources; the renderer derives them from the address.
var identity = map[string]bool{
	"id": true, "arn": true, "endpoint": true, "reader_endpoint": true, "dns_name": true, "zone_id": true, "key_id": true,
	"public_ip": true, "arn_suffix": true, "unique_id": true, "cluster_resource_id": true, "dbi_resource_id": true,
}

// made is what else the renderer puts where a mock left something random.
var made = regexp.MustCompile(`^[0-9a-f]{8}$`)

// identities maps what such attributes hold to the place where it stands, the same for both sites.
func identities(s state) map[string]string {
	tokens := map[string]string{}
	for _, r := range s.resources {
		site := r.site()
		place := strings.TrimSuffix(r.Module, "_"+site) + "." + strings.TrimPrefix(r.Address, r.Module+".")
		if r.Type == "aws_secretsmanager_secret" {
			// The replica has the ARN of the secret but for the region, and each site must use the one in its own.
			for _, region := range []string{"us-east-1", "us-west-2"} {
				tokens[strings.Replace(r.text("arn"), ":us-east-1:", ":"+region+":", 1)] = "<secret in " + region + ">"
			}
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(r.Values)) {
			text := r.text(name)
			if !made.MatchString(text) && (!identity[name] || len(text) < 8) {
				continue
			}
			// An id is often the ARN again, or an attribute of another resource: the first name stands for all.
			if _, named := tokens[text]; !named {
				tokens[text] = fmt.Sprintf("<%s of %s>", name, neutral(site, place))
			}
		}
	}
	return tokens
}

func replaceIdentities(tokens map[string]string, v string) string {
	if token, is := tokens[v]; is {
		return token
	}
	if made.MatchString(v) {
		return "<made>"
	}
	// Inside a policy, an environment or an ARN that is built from one. The longest first, since ids are parts of ARNs.
	var inside []string
	for text := range tokens {
		if len(text) > 12 && strings.Contains(v, text) {
			inside = append(inside, text)
		}
	}
	sort.Slice(inside, func(i, j int) bool {
		return len(inside[i]) > len(inside[j]) || len(inside[i]) == len(inside[j]) && inside[i] < inside[j]
	})
	for _, text := range inside {
		v = strings.ReplaceAll(v, text, tokens[text])
	}
	return v
}

var siteWord = regexp.MustCompile(`\b(primary|dr)\b`)

// neutral replaces what names a site: its name, region and range, and those of the other one.
func neutral(site, v string) string {
	own, peer := [2]string{"us-east-1", "10.0."}, [2]string{"us-west-2", "10.1."}
	if site == "dr" {
		own, peer = peer, own
	}
	for i, name := range []string{"region", "range."} {
		v = strings.ReplaceAll(v, own[i], "<own "+name+">")
		v = strings.ReplaceAll(v, peer[i], "<peer "+name+">")
	}
	if site == "" {
		return v
	}
	// The deployment's name contains neither word, so whole words are enough.
	return siteWord.ReplaceAllStringFunc(v, func(word string) string {
		if word == site {
			return "<own>"
		}
		return "<peer>"
	})
}

// canonical rewrites every string, decodes JSON in strings, and sorts lists of what Terraform keeps as sets.
func canonical(v any, rewrite func(string) string) any {
	switch v := v.(type) {
	case string:
		var inner any
		if (strings.HasPrefix(v, "{") || strings.HasPrefix(v, "[")) && json.Unmarshal([]byte(v), &inner) == nil {
			return canonical(inner, rewrite)
		}
		return rewrite(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = canonical(v[i], rewrite)
		}
		sort.SliceStable(list, func(i, j int) bool { return encode(list[i]) < encode(list[j]) })
		return list
	case map[string]any:
		m := map[string]any{}
		for k := range v {
			m[rewrite(k)] = canonical(v[k], rewrite)
		}
		return m
	default:
		return v
	}
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // it came out of JSON
	}
	return string(data)
}

// flatten writes a value's leaves by their path.
func flatten(into map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			separator := "."
			if strings.HasSuffix(path, " ") {
				separator = ""
			}
			flatten(into, path+separator+k, inner)
		}
	case []any:
		for i, inner := range v {
			flatten(into, fmt.Sprintf("%s[%d]", path, i), inner)
		}
	default:
		into[path] = encode(v)
	}
}
