package tidy

import (
	"go/ast"
	"strings"
	"testing"
)

// maximumFunctionLines is more than a screen; most functions should have far less.
const maximumFunctionLines = 90

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() && strings.HasSuffix(s.file.Name.Name, "_test") {
			continue
		}
		documented[s.folder()] = documented[s.folder()] || !s.isTest() && strings.TrimSpace(s.file.Doc.Text()) != ""
	}
	for folder, has := range documented {
		if !has {
			t.Errorf("%s: the package has no doc comment", folder)
		}
	}
}

func TestFunctionsFitAScreen(t *testing.T) {
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			f, is := decl.(*ast.FuncDecl)
			if !is || f.Body == nil {
				continue
			}
			lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1
			if lines > maximumFunctionLines {
				t.Errorf("%s: %s has %d lines, more than %d: split it by what it does", s.path, f.Name.Name, lines, maximumFunctionLines)
			}
		}
	}
}

// A test that sleeps is slow when it could be quick and fails when the machine is slow.
func TestTestsDoNotSleep(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isTest() {
			continue
		}
		clock := localName(s, "time")
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, is := n.(*ast.CallExpr); is && isCall(call, clock, "Sleep") && !inBubble(s) {
				t.Errorf("%s: time.Sleep: poll until a deadline, wait for a signal, or use testing/synctest", s.set.Position(call.Pos()))
			}
			return true
		})
	}
}

// inBubble reports whether a test file uses testing/synctest, where sleeping takes no time.
func inBubble(s source) bool { return localName(s, "testing/synctest") != "" }

// localName is what a file calls an imported package, empty if it does not import it.
func localName(s source, importPath string) string {
	for _, spec := range s.file.Imports {
		if strings.Trim(spec.Path.Value, `"`) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return importPath[strings.LastIndexByte(importPath, '/')+1:]
	}
	return ""
}

func isCall(call *ast.CallExpr, pkg, function string) bool {
	selector, is := call.Fun.(*ast.SelectorExpr)
	if !is || pkg == "" || selector.Sel.Name != function {
		return false
	}
	name, is := selector.X.(*ast.Ident)
	return is && name.Name == pkg
}
