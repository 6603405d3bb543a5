package render

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// files writes a tree: name to content, or to "-> target" for a link.
func files(t *testing.T, dir string, tree map[string]string) {
	t.Helper()
	for name, content := range tree {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		target, link := strings.CutPrefix(content, "-> ")
		err := error(nil)
		if link {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// listed is every regular file below a folder with its content, as in "a/b=text".
func listed(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			t.Errorf("%s is no regular file", path)
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all = append(all, rel+"="+string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestCopyHoldsWhatLinksLeadTo(t *testing.T) {
	outside := t.TempDir()
	files(t, outside, map[string]string{"module/main.tf": "module", "module/deep/x.tf": "-> ../main.tf"})
	from := filepath.Join(t.TempDir(), "infra")
	files(t, from, map[string]string{
		"main.tf": "root", "terraform.tfstate": "no", ".terraform/providers": "no", "prod.auto.tfvars": "prod",
		"tests/twin.tfvars": "twin", "tests/twin.auto.tfvars": "-> twin.tfvars", "tests/inputs/variables.tf": "-> ../../main.tf",
		"modules/shared": "-> " + filepath.Join(outside, "module"),
	})
	shared := []string{
		"main.tf=root", "modules/shared/deep/x.tf=module", "modules/shared/main.tf=module", "prod.auto.tfvars=prod",
		"tests/inputs/variables.tf=root", "tests/twin.tfvars=twin",
	}
	for _, varFiles := range []bool{false, true} {
		to := t.TempDir()
		if err := copyConfiguration(from, to, varFiles); err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(shared)
		if !varFiles { // the values for tests are no part of somebody's deployment
			want = append(want, "tests/twin.auto.tfvars=twin")
		}
		slices.Sort(want)
		if got := listed(t, to); !slices.Equal(got, want) {
			t.Errorf("with variable files %v:\n%s\nwant\n%s", varFiles, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestLinksThatCannotBeFollowedAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		tree map[string]string
		says string
	}{
		"a circle": {map[string]string{"main.tf": "", "modules/again": "-> .."}, "more than 8 links to folders"},
		"nowhere":  {map[string]string{"modules/lost": "-> ../gone"}, "lost"},
	} {
		from := t.TempDir()
		files(t, from, c.tree)
		if err := copyConfiguration(from, t.TempDir(), false); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
		}
	}
}

// What Terraform refuses must reach the reader with its address.
func TestFaultsNameTheirAddress(t *testing.T) {
	const out = `{"type":"version","terraform":"1.11.4"}
{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"careful","detail":"","address":"aws_vpc.this"}}
{"type":"diagnostic","diagnostic":{"severity":"error","summary":"invalid ARN","detail":"got\n  \"x\"","address":"module.a.aws_lb.this[0]"}}
`
	state, faults, err := readTestOutput(strings.NewReader(out))
	if want := []string{`module.a.aws_lb.this[0] invalid ARN: got "x"`}; err != nil || state != nil || !slices.Equal(faults, want) {
		t.Errorf("state %v, error %v, faults %q, want %q", state, err, faults, want)
	}
	s, err := unmarshalState([]byte(`{"values":{"root_module":{"resources":[{"address":"aws_lb.nowhere","mode":"managed","type":"aws_lb","values":{"name":"n","arn":"x"}}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := overrides(s); err == nil || !strings.Contains(err.Error(), "aws_lb.nowhere has no region") {
		t.Errorf("a resource without a region: %v", err)
	}
}
