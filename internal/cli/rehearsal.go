package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"holdfast/internal/drill"
	"holdfast/internal/operator"
	"holdfast/internal/term"
	"holdfast/internal/topology"
	"holdfast/internal/topology/render"
	"holdfast/internal/twin"
	"holdfast/internal/twin/ecs"
)

// maxStateBytes bounds a state file; the largest real ones have a few megabytes.
const maxStateBytes = 256 << 20

// The address blocks that a twin may use: 127.B.0.0/16.
const minBlock, maxBlock = 10, 250

// rehearsalFlags say which deployment to build on this machine, and how.
type rehearsalFlags struct {
	state        string
	terraform    string
	varFiles     []string
	images       []string
	speed        float64
	addressBlock int
}

func (f *rehearsalFlags) register(flags *pflag.FlagSet, speed float64) {
	flags.StringVar(&f.state, "state", "", "`file` written by 'terraform show -json' (default: the project's own Terraform)")
	flags.StringVar(&f.terraform, "terraform", "", "`folder` of a Terraform root module to render without AWS, instead of --state")
	flags.StringArrayVar(&f.varFiles, "var-file", nil, "`file` of variables for --terraform (repeatable)")
	flags.StringArrayVar(&f.images, "image", nil, "`NAME=PATH`: the program that stands for a container image (repeatable)")
	flags.Float64Var(&f.speed, "speed", speed, "divide every configured time by `N`")
	flags.IntVar(&f.addressBlock, "address-block", 0, fmt.Sprintf("`B`, %d to %d: use the addresses 127.B.0.0/16 (default: a free one)", minBlock, maxBlock))
}

// rehearsal is what the flags come to.
type rehearsal struct {
	topology topology.Topology
	images   map[string]string
}

// open checks the flags and reads or renders the state; progress is told what takes long.
func (f *rehearsalFlags) open(ctx context.Context, progress io.Writer) (rehearsal, error) {
	if f.addressBlock != 0 && (f.addressBlock < minBlock || f.addressBlock > maxBlock) {
		return rehearsal{}, usagef("--address-block %d: want a number from %d to %d, or none to have a free one chosen",
			f.addressBlock, minBlock, maxBlock)
	}
	topo, err := f.topology(ctx, progress)
	if err != nil {
		return rehearsal{}, err
	}
	if err := checkSpeed(topo, f.speed); err != nil {
		return rehearsal{}, err
	}
	images, err := f.programs(topo)
	if err != nil {
		return rehearsal{}, err
	}
	return rehearsal{topology: topo, images: images}, nil
}

func (f *rehearsalFlags) topology(ctx context.Context, progress io.Writer) (topology.Topology, error) {
	switch {
	case f.state != "" && f.terraform != "":
		return topology.Topology{}, usagef("--state %s and --terraform %s: pass one of them", f.state, f.terraform)
	case f.terraform == "" && len(f.varFiles) > 0:
		return topology.Topology{}, usagef("--var-file %s: it belongs to --terraform DIR", f.varFiles[0])
	case f.terraform != "":
		return f.render(ctx, progress)
	case f.state == "":
		return topology.Default()
	}
	file, err := os.Open(f.state)
	if err != nil {
		return topology.Topology{}, usagef("--state %s: %w; write one with: terraform show -json > %s", f.state, errors.Unwrap(err), f.state)
	}
	defer file.Close()
	state, err := io.ReadAll(io.LimitReader(file, maxStateBytes+1))
	if err != nil {
		return topology.Topology{}, usagef("--state %s: %w", f.state, err)
	}
	if len(state) > maxStateBytes {
		return topology.Topology{}, usagef("--state %s: the file has more than %d MiB, which is no state of one deployment",
			f.state, maxStateBytes>>20)
	}
	topo, err := topology.Parse(state)
	if err != nil {
		return topology.Topology{}, usagef("--state %s: %w", f.state, err)
	}
	return topo, nil
}

// source is the flag that says where a deployment of the user's own comes from, empty for the project's.
func (f *rehearsalFlags) source() string {
	switch {
	case f.state != "":
		return "--state " + f.state
	case f.terraform != "":
		return "--terraform " + f.terraform
	}
	return ""
}

// render makes the state of a configuration with mock providers, without AWS.
func (f *rehearsalFlags) render(ctx context.Context, progress io.Writer) (topology.Topology, error) {
	command := cmp.Or(os.Getenv("HOLDFAST_TERRAFORM"), "terraform")
	if _, err := exec.LookPath(command); err != nil {
		return topology.Topology{}, fmt.Errorf("%w: --terraform %s: %w: install Terraform 1.11 or later, or set HOLDFAST_TERRAFORM to it",
			operator.ErrEnvironment, f.terraform, err)
	}
	options := render.Options{
		Terraform: command, PluginDir: os.Getenv("HOLDFAST_TF_PLUGIN_DIR"), Dir: f.terraform,
		Progress: func(what string) { fmt.Fprintln(progress, what+" …") },
	}
	for _, file := range f.varFiles {
		path, err := filepath.Abs(file) // as Terraform's own -var-file: relative to where one stands
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return topology.Topology{}, usagef("--var-file %s: %w", file, err)
		}
		options.VarFiles = append(options.VarFiles, path)
	}
	state, err := render.Render(ctx, options)
	if err == nil {
		var topo topology.Topology
		if topo, err = topology.Parse(state); err == nil {
			return topo, nil
		}
	}
	if ctx.Err() != nil {
		return topology.Topology{}, ctx.Err()
	}
	return topology.Topology{}, usagef("--terraform %s: %w", f.terraform, err)
}

// checkSpeed refuses a speed at which the lease would be no longer than what the margin needs.
func checkSpeed(topo topology.Topology, speed float64) error {
	lease, margin := topo.Lease, topo.Margin
	if _, _, err := term.Scale(lease, margin, speed); err != nil {
		// lease/N ≥ 2((margin − p)/N + p) solved for N, with p the physical part of the margin.
		highest := float64(lease-2*(margin-term.PhysicalMargin)) / float64(2*term.PhysicalMargin)
		return usagef("--speed %v: want a number from 1 to %.3g (with a lease of %s and a margin of %s): "+
			"a faster lease would be shorter than twice its margin", speed, highest, lease, margin)
	}
	return nil
}

// programs finds a local program for every image of the topology's services: what --image says for the image or its
// name, this program for the wardens', and payd beside it for the project's own payment service.
func (f *rehearsalFlags) programs(topo topology.Topology) (map[string]string, error) {
	given, err := f.given()
	if err != nil {
		return nil, err
	}
	self, err := executable()
	if err != nil {
		return nil, err
	}
	programs := map[string]string{}
	used := map[string]bool{}
	for _, image := range imagesOf(topo) {
		name := imageName(image)
		for _, key := range []string{image, name} {
			if program, ok := given[key]; ok && programs[image] == "" {
				programs[image] = program
			}
			used[key] = true
		}
		if programs[image] != "" {
			continue
		}
		program := filepath.Join(filepath.Dir(self), "payd")
		switch {
		case name == "holdfast":
			program = self
		case name != "payd" && f.source() != "":
			return nil, usagef("%s: it runs the image %s, which has no program on this machine; pass --image %s=PATH",
				f.source(), image, name)
		}
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w: the program for the image %s is missing: %w; run 'make build', or pass --image %s=PATH",
				operator.ErrEnvironment, image, err, name)
		}
		programs[image] = program
	}
	for name := range given {
		if !used[name] {
			return nil, usagef("--image %s=…: no service of the deployment runs such an image; its images are %s",
				name, strings.Join(imagesOf(topo), ", "))
		}
	}
	return programs, nil
}

func (f *rehearsalFlags) given() (map[string]string, error) {
	given := map[string]string{}
	for _, text := range f.images {
		// An image may hold "=" nowhere, a path may.
		name, program, ok := strings.Cut(text, "=")
		if !ok || name == "" || program == "" {
			return nil, usagef("--image %s: want NAME=PATH, as in payd=bin/payd", text)
		}
		found, err := exec.LookPath(program)
		if err != nil {
			return nil, usagef("--image %s: %w; name an executable file", text, err)
		}
		if found, err = filepath.Abs(found); err != nil {
			return nil, usagef("--image %s: %w", text, err)
		}
		given[name] = found
	}
	return given, nil
}

// imagesOf lists the distinct images of the task definitions, in order.
func imagesOf(topo topology.Topology) []string {
	images := map[string]bool{}
	for _, definition := range topo.TaskDefinitions {
		for _, c := range definition.Containers {
			images[c.Image] = true
		}
	}
	return slices.Sorted(maps.Keys(images))
}

// imageName is the last part of an image's repository: "payd" for "registry.example/team/payd:1.2@sha256:…".
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := path.Base(image)
	name, _, _ = strings.Cut(name, ":")
	return name
}

// bringUp is the way from a drill to the twin.
func bringUp(logger *slog.Logger) drill.UpFunc {
	return func(ctx context.Context, o drill.UpOptions) (drill.Twin, error) {
		t, err := twin.Up(ctx, twinOptions(o, logger))
		if err != nil {
			if errors.Is(err, twin.ErrEnvironment) {
				return nil, fmt.Errorf("%w: %w", drill.ErrEnvironment, err)
			}
			return nil, err
		}
		return drillTwin{t}, nil
	}
}

func twinOptions(o drill.UpOptions, logger *slog.Logger) twin.Options {
	images := map[string]ecs.Image{}
	for name, program := range o.Images {
		images[name] = ecs.Image{Path: program}
	}
	options := twin.Options{
		Topology: *o.Topology, Speed: o.Speed, Block: o.AddressBlock, StateDir: o.StateDir, AcquirerURL: o.AcquirerURL,
		Images: images, Logger: logger,
	}
	if o.Progress != nil {
		options.Progress = func(e twin.Event) { o.Progress(drill.Event(e)) }
	}
	return options
}

// drillTwin gives the twin the drill's type of event.
type drillTwin struct{ *twin.Twin }

func (t drillTwin) SetProgress(receive func(drill.Event)) {
	if receive == nil {
		t.Twin.SetProgress(nil)
		return
	}
	t.Twin.SetProgress(func(e twin.Event) { receive(drill.Event(e)) })
}
