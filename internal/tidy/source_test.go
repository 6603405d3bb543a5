package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// root is the top of the repository, as seen from a test.
const root = "../.."

// modulePath is the module's name in go.mod.
const modulePath = "holdfast"

// source is one Go file.
type source struct {
	// path is relative to the root, with slashes.
	path string
	file *ast.File
	set  *token.FileSet
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// folder is the package's path within the module.
func (s source) folder() string { return path.Dir(s.path) }

func (s source) imports() []string {
	all := make([]string, len(s.file.Imports))
	for i, spec := range s.file.Imports {
		all[i] = strings.Trim(spec.Path.Value, `"`)
	}
	return all
}

// tracked lists the repository's files. Without git, as in an unpacked archive, it is what lies in the folders.
var tracked = sync.OnceValues(func() ([]string, error) {
	out, err := exec.Command("git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err == nil && len(out) > 0 {
		return slices.DeleteFunc(strings.Split(strings.TrimSpace(string(out)), "\n"), func(name string) bool {
			_, err := os.Stat(filepath.Join(root, name)) // deleted and not yet committed
			return err != nil
		}), nil
	}
	var all []string
	err = filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		rel, err := filepath.Rel(root, name)
		all = append(all, filepath.ToSlash(rel))
		return err
	})
	return all, err
})

var parsed = sync.OnceValues(func() ([]source, error) {
	files, err := tracked()
	if err != nil {
		return nil, err
	}
	var all []source
	for _, name := range files {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, filepath.Join(root, name), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		all = append(all, source{path: name, file: f, set: set})
	}
	return all, nil
})

// sources are all Go files of the repository.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found only %d Go files below %s: the rules would hold for nothing", len(all), root)
	}
	return all
}

func within(folder string, tops ...string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return folder == top || strings.HasPrefix(folder, top+"/") })
}
