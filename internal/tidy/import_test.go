package tidy

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// boundary says who must not import what, and why.
type boundary struct {
	why string
	// applies says which files are bound.
	applies func(source) bool
	// forbidden says which imports they must not have.
	forbidden func(importPath string) bool
	// throughOthers also follows imports within the module.
	throughOthers bool
}

func code(tops ...string) func(source) bool {
	return func(s source) bool { return !s.isTest() && within(s.folder(), tops...) }
}

func prefixes(all ...string) func(string) bool {
	return func(importPath string) bool { return within(importPath, all...) }
}

const (
	awsSDK = "github.com/aws/aws-sdk-go-v2"
	pgx    = "github.com/jackc/pgx/v5"
	twin   = modulePath + "/internal/twin"
)

var boundaries = map[string]boundary{
	"the decisions and the data know no adapter": {
		why:           "failover, term, topology and reach are pure: they must be testable without a clock, a network or a database",
		applies:       code("internal/failover", "internal/term", "internal/topology", "internal/reach"),
		forbidden:     prefixes(pgx, awsSDK, "net/http", "database/sql", modulePath+"/internal/aws", modulePath+"/internal/warden", twin),
		throughOthers: true,
	},
	"the domain of payments knows no adapter": {
		why:       "payment is the domain; postgres, http and acquirer are packages below it",
		applies:   func(s source) bool { return !s.isTest() && s.folder() == "internal/payment" },
		forbidden: prefixes(pgx, awsSDK, "net/http", "database/sql"),
	},
	"one package talks to AWS": {
		why:       "internal/aws holds the adapters; the twin, which plays AWS, borrows the SDK's types",
		applies:   func(s source) bool { return !s.isTest() && !within(s.folder(), "internal/aws", "internal/twin") },
		forbidden: prefixes(awsSDK),
	},
	"nothing depends on the twin but what runs it": {
		why: "the warden and payd do not know whether the twin or AWS answers",
		applies: func(s source) bool {
			return !s.isTest() && !within(s.folder(), "internal/twin", "internal/drill", "internal/cli", "cmd/holdfast")
		},
		forbidden: prefixes(twin),
	},
	"payd stands alone": {
		why:           "payd knows the fence in its database and nothing else of the failover",
		applies:       code("internal/payment", "cmd/payd"),
		forbidden:     prefixes(modulePath+"/internal/failover", modulePath+"/internal/warden", modulePath+"/internal/aws", modulePath+"/internal/topology"),
		throughOthers: true,
	},
	"the failover does not lean on payd": {
		why:       "a team may run its own image instead of payd",
		applies:   code("internal/failover", "internal/term", "internal/warden", "internal/fence", "internal/aws", "internal/topology"),
		forbidden: prefixes(modulePath + "/internal/payment"),
	},
}

func TestImportBoundaries(t *testing.T) {
	all := sources(t)
	within := withinModule(all)
	for name, b := range boundaries {
		t.Run(name, func(t *testing.T) {
			for _, s := range all {
				if !b.applies(s) {
					continue
				}
				for _, imported := range s.imports() {
					if b.forbidden(imported) {
						t.Errorf("%s imports %s: %s", s.path, imported, b.why)
						continue
					}
					if b.throughOthers {
						if through := leadsTo(within, imported, b.forbidden); through != nil {
							t.Errorf("%s imports %s: %s", s.path, strings.Join(through, ", which imports "), b.why)
						}
					}
				}
			}
		})
	}
}

// A rule about a folder that does not exist would hold for ever.
func TestBoundariesBindSomething(t *testing.T) {
	for name, b := range boundaries {
		if !slices.ContainsFunc(sources(t), b.applies) {
			t.Errorf("the rule that %s binds no file", name)
		}
	}
}

// withinModule maps each package of the module to what its code imports.
func withinModule(all []source) map[string][]string {
	imports := map[string]map[string]bool{}
	for _, s := range all {
		if s.isTest() {
			continue
		}
		from := modulePath + "/" + s.folder()
		if imports[from] == nil {
			imports[from] = map[string]bool{}
		}
		for _, to := range s.imports() {
			imports[from][to] = true
		}
	}
	lists := make(map[string][]string, len(imports))
	for from, set := range imports {
		lists[from] = slices.Sorted(maps.Keys(set))
	}
	return lists
}

// leadsTo is the chain of imports from a package of the module to a forbidden one, nil if there is none.
func leadsTo(imports map[string][]string, from string, forbidden func(string) bool) []string {
	seen := map[string]bool{}
	var follow func(string) []string
	follow = func(pkg string) []string {
		if seen[pkg] {
			return nil
		}
		seen[pkg] = true
		for _, next := range imports[pkg] {
			if forbidden(next) {
				return []string{pkg, next}
			}
			if chain := follow(next); chain != nil {
				return append([]string{pkg}, chain...)
			}
		}
		return nil
	}
	return follow(from)
}

func TestChainsAreFollowed(t *testing.T) {
	imports := map[string][]string{"a": {"fmt", "b"}, "b": {"a", "c"}, "c": {"net/http"}}
	if got := leadsTo(imports, "a", prefixes("net/http")); !slices.Equal(got, []string{"a", "b", "c", "net/http"}) {
		t.Errorf("chain is %v", got)
	}
	if got := leadsTo(imports, "a", prefixes("database/sql")); got != nil {
		t.Errorf("chain is %v, want none", got)
	}
}
