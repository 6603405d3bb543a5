// Package render turns a Terraform configuration into a state without AWS: it runs "terraform test" with mock
// providers and rewrites what that prints into the one form that package topology reads.
//
// A configuration can be rendered if it has the file [TestFile] with one run of command apply, whose mock providers
// take their defaults from one folder each below tests/mocks, and if the ARNs in each of these folders name one
// region: a state does not say where a resource lives unless its ARN does.
//
// What cannot be rendered is refused, and the error names addresses: a resource that the provider will not accept with
// made-up values, one that must tell its region and does not, an override that had no effect. What renders may still be
// no deployment that can be rehearsed; package topology says so, also by address.
//
// Two runs are needed. Mock providers know defaults per type only, so two target groups would share an ARN, and
// everything else is random. The first run tells which resources there are and in which regions; from that come one
// override per address with ids and ARNs that depend on the address alone. The second run uses them, so that every
// reference leads to one resource and nowhere else. Random strings that are left are replaced by ones that depend on
// where they stand, and secrets are blanked. The result is the same for the same configuration, every time.
package render

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// TestFile is the test whose state is rendered, relative to the configuration.
const TestFile = "tests/render.tftest.hcl"

// Options say what to render and with what.
type Options struct {
	// Terraform is the command to run; empty means terraform on PATH. It must be version 1.11 or later.
	Terraform string
	// PluginDir is a filesystem mirror with the provider hashicorp/aws; empty leaves the choice to Terraform's own
	// configuration, which is the registry unless somebody says otherwise.
	PluginDir string
	// Dir is the root module. It is copied and never written to.
	Dir string
	// VarFiles are passed as -var-file, relative to Dir unless absolute; of two that set the same variable the later one
	// wins, and both win over terraform.tfvars and *.auto.tfvars in Dir, which Terraform reads by itself. Without any,
	// tests/*.auto.tfvars count too; with them they do not, so that a deployment is never mixed with the values of a test.
	VarFiles []string
	// Previous is an earlier result, or nil. With it one run is enough; if the resources are not the same ones any
	// more, the error is [ErrOtherResources]. It has no influence on the result.
	Previous []byte
	// Progress, if not nil, is told in a few words what goes on; rendering takes from ten seconds to minutes.
	Progress func(string)
}

// Render returns the state of the configuration as JSON, in the form of "terraform show -json". It needs neither
// credentials nor, with a PluginDir, a network.
func Render(ctx context.Context, o Options) ([]byte, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if _, err := os.Stat(filepath.Join(o.Dir, TestFile)); err != nil {
		return nil, fmt.Errorf("render %s: %w: without AWS a configuration needs this file, see the project's infra folder", o.Dir, err)
	}
	if strings.ContainsRune(o.Terraform, filepath.Separator) {
		command, err := filepath.Abs(o.Terraform) // it is run in another folder
		if err != nil {
			return nil, fmt.Errorf("render %s: %w", o.Dir, err)
		}
		o.Terraform = command
	}
	work, err := os.MkdirTemp("", "holdfast-render-")
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", o.Dir, err)
	}
	defer os.RemoveAll(work)
	state, err := renderIn(ctx, o, work)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", o.Dir, err)
	}
	return state, nil
}

func renderIn(ctx context.Context, o Options, work string) ([]byte, error) {
	if err := copyConfiguration(o.Dir, work, len(o.VarFiles) > 0); err != nil {
		return nil, err
	}
	if err := extendMocks(filepath.Join(work, "tests", "mocks")); err != nil {
		return nil, err
	}
	tf := terraform{command: o.Terraform, dir: work, pluginDir: o.PluginDir, varFiles: absolute(o.Dir, o.VarFiles)}
	o.Progress("terraform init")
	if err := tf.init(ctx); err != nil {
		return nil, err
	}
	if o.Previous != nil {
		before, err := unmarshalState(o.Previous)
		if err != nil {
			return nil, fmt.Errorf("the earlier result: %w", err)
		}
		o.Progress("terraform test, with the ids of the earlier result")
		return second(ctx, tf, before)
	}
	o.Progress("terraform test, to learn which resources there are")
	first, err := tf.test(ctx)
	if err != nil {
		return nil, err
	}
	o.Progress("terraform test, with an id for each of them")
	return second(ctx, tf, first)
}

// ErrOtherResources: the configuration's resources are not those of the earlier result.
var ErrOtherResources = errors.New("the configuration has other resources than the earlier result")

// second runs with overrides made from the resources of an earlier run, and finishes the state.
func second(ctx context.Context, tf terraform, first *state) ([]byte, error) {
	wanted, err := overrides(first)
	if err != nil {
		return nil, err
	}
	if err := tf.override(wanted); err != nil {
		return nil, err
	}
	result, err := tf.test(ctx)
	if err != nil {
		return nil, err
	}
	if !sameResources(first, result) {
		return nil, ErrOtherResources
	}
	if err := verify(result, wanted); err != nil {
		return nil, err
	}
	redact(result)
	settle(result, first, wanted)
	return result.marshal()
}

func absolute(dir string, files []string) []string {
	all := make([]string, len(files))
	for i, f := range files {
		if !filepath.IsAbs(f) {
			f = filepath.Join(dir, f)
		}
		if abs, err := filepath.Abs(f); err == nil {
			f = abs
		}
		all[i] = f
	}
	return all
}
