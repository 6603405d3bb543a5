package ecs

import (
	"fmt"
	"os/exec"
	"strings"

	"holdfast/internal/topology"
)

// withoutTag cuts the tag or digest off an image's name.
func withoutTag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	return image
}

// program finds what stands for a container's image, with its arguments.
func (o *Options) program(service string, c topology.Container) (Image, error) {
	image, ok := o.Images[c.Image]
	if !ok {
		image, ok = o.Images[withoutTag(c.Image)]
	}
	if !ok {
		for name, candidate := range o.Images {
			if withoutTag(name) == withoutTag(c.Image) {
				image, ok = candidate, true
			}
		}
	}
	if !ok {
		return Image{}, fmt.Errorf("service %s, container %s: %w %q: name one with --image %s=PATH", service, c.Name, ErrNoImage, c.Image, withoutTag(c.Image))
	}
	if _, err := exec.LookPath(image.Path); err != nil {
		return Image{}, fmt.Errorf("service %s: the program for the image %q can't be run: %w; name another one with --image %s=PATH",
			service, c.Image, err, withoutTag(c.Image))
	}
	return image, nil
}

// arguments joins what a container's definition and the image say: a command replaces the image's arguments. An entry
// point names a program inside the image, which the local program stands for, so only its arguments are kept.
func (i Image) arguments(c topology.Container) []string {
	var args []string
	if len(c.EntryPoint) > 1 {
		args = append(args, c.EntryPoint[1:]...)
	}
	if len(c.Command) > 0 {
		return append(args, c.Command...)
	}
	if len(c.EntryPoint) > 0 {
		return args
	}
	return append(args, i.Args...)
}

// checkImages refuses a task definition that can't be run here.
func (o *Options) checkImages(service string, td topology.TaskDefinition) error {
	for _, c := range td.Containers {
		if _, err := o.program(service, c); err != nil {
			return err
		}
	}
	return nil
}
