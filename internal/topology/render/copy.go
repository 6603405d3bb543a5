package render

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxLinkDepth bounds how many links to folders may lie inside each other, so that one that leads to a folder above it
// is an error and not a full disk.
const maxLinkDepth = 8

// copyConfiguration copies a root module without what Terraform keeps beside it. Of links, what they lead to is copied:
// the copy is written to, and the original must not be. With varFiles the values for tests (tests/*.auto.tfvars) stay
// behind, since Terraform would take from them whatever the files do not set.
func copyConfiguration(from, to string, varFiles bool) error {
	keep := func(path string, d fs.DirEntry) bool {
		inTests := filepath.Base(filepath.Dir(path)) == "tests"
		return !strings.Contains(d.Name(), ".tfstate") && !(varFiles && inTests && strings.Contains(d.Name(), ".auto.tfvars"))
	}
	if err := copyTree(from, to, keep, maxLinkDepth); err != nil {
		return fmt.Errorf("copy the configuration: %w", err)
	}
	return nil
}

func copyTree(from, to string, keep func(string, fs.DirEntry) bool, links int) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir() && d.Name() == ".terraform":
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case !keep(path, d):
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			return copyLink(path, target, keep, links)
		case d.Type().IsRegular():
			return copyFile(path, target)
		}
		return nil // a socket or a device is no part of a configuration
	})
}

func copyLink(path, target string, keep func(string, fs.DirEntry) bool, links int) error {
	leadsTo, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("%s is a link: %w", path, err)
	}
	info, err := os.Stat(leadsTo)
	switch {
	case err != nil:
		return err
	case info.Mode().IsRegular():
		return copyFile(leadsTo, target)
	case !info.IsDir():
		return nil
	case links == 0:
		return fmt.Errorf("%s: more than %d links to folders inside each other", path, maxLinkDepth)
	}
	return copyTree(leadsTo, target, keep, links-1)
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}
