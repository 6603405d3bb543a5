package render

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	mockedType = regexp.MustCompile(`(?m)^\s*mock_resource\s+"([a-z0-9_]+)"`)
	arnRegion  = regexp.MustCompile(`\barn:aws[a-z-]*:[a-z0-9-]+:([a-z]{2,}(?:-[a-z]+)+-[0-9]):`)
)

// extendMocks gives every mock provider an ARN in its own region for each type that has a shape. The ARNs that the
// folder already has, which the provider's validation asks for, say which region that is.
func extendMocks(mocks string) error {
	folders, err := os.ReadDir(mocks)
	if err != nil {
		return fmt.Errorf("read the mock providers' defaults: %w", err)
	}
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		dir := filepath.Join(mocks, folder.Name())
		text, err := readMocks(dir)
		if err != nil {
			return err
		}
		region, err := onlyRegion(text)
		if err != nil {
			return fmt.Errorf("tests/mocks/%s: %w", folder.Name(), err)
		}
		if err := os.WriteFile(filepath.Join(dir, "rendered.tfmock.hcl"), []byte(moreMocks(text, region)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func readMocks(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.tfmock.hcl"))
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		all.Write(data)
	}
	return all.String(), nil
}

func onlyRegion(text string) (string, error) {
	var regions []string
	for _, m := range arnRegion.FindAllStringSubmatch(text, -1) {
		regions = append(regions, m[1])
	}
	slices.Sort(regions)
	regions = slices.Compact(regions)
	if len(regions) != 1 {
		return "", fmt.Errorf("the ARNs of a mock provider must name one region, and here they name %v", regions)
	}
	return regions[0], nil
}

func moreMocks(text, region string) string {
	taken := map[string]bool{}
	for _, m := range mockedType.FindAllStringSubmatch(text, -1) {
		taken[m[1]] = true
	}
	var b strings.Builder
	for _, typ := range sortedKeys(shapes) {
		s := shapes[typ]
		if taken[typ] || s.arn == "" || s.global {
			continue
		}
		fmt.Fprintf(&b, "mock_resource %q {\n  defaults = {\n    arn = %q\n  }\n}\n", typ,
			fmt.Sprintf("arn:aws:%s:%s:123456789012:mock", s.service, region))
	}
	return b.String()
}
