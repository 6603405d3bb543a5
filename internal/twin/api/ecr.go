package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"holdfast/internal/twin/api/wire"
)

// Images finds the local programs that stand for container images; *ecs.Scheduler is one.
type Images interface {
	// Program returns the path of the program that a task of this image would run; the error says why there is none.
	Program(image string) (path string, err error)
}

func (e *Endpoint) ecrService() *service {
	s := &service{
		id: "ecr", protocols: []protocol{json11}, target: "AmazonEC2ContainerRegistry_V20150921",
		style:   wire.Style{LowerCamel: true},
		missing: mustNotBeNull("InvalidParameterException"), invalid: invalidWith("InvalidParameterException"),
	}
	if e.options.Images == nil {
		return s
	}
	s.operations = operations(op("DescribeImages", e.describeImages, "RepositoryName"))
	return s
}

// registry is the name of the account's registry in a region.
func (e *Endpoint) registry(region string) string {
	return e.options.Topology.AccountID + ".dkr.ecr." + region + ".amazonaws.com"
}

// repositoryOf cuts an image's name in this region's registry into repository and the rest; ok is false for the image of
// another registry.
func (e *Endpoint) repositoryOf(region, image string) (repository, tag, digest string, ok bool) {
	rest, ok := strings.CutPrefix(image, e.registry(region)+"/")
	if !ok {
		return "", "", "", false
	}
	rest, digest, _ = strings.Cut(rest, "@")
	repository, tag, _ = strings.Cut(rest, ":")
	return repository, tag, digest, true
}

// describeImages shows the images that the region's task definitions name in the region's own registry and that this
// machine has a program for: giving a program is the twin's push.
func (e *Endpoint) describeImages(
	_ context.Context, r request, in *ecr.DescribeImagesInput,
) (*ecr.DescribeImagesOutput, error) {
	if id := aws.ToString(in.RegistryId); id != "" && id != e.options.Topology.AccountID {
		return nil, fail("RepositoryNotFoundException", "The repository with name '%s' does not exist in the registry with id '%s'",
			*in.RepositoryName, id)
	}
	found, exists, err := e.imagesOf(r.region, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fail("RepositoryNotFoundException", "The repository with name '%s' does not exist in the registry with id '%s'",
			*in.RepositoryName, e.options.Topology.AccountID)
	}
	if len(in.ImageIds) == 0 {
		return &ecr.DescribeImagesOutput{ImageDetails: found}, nil
	}
	out := &ecr.DescribeImagesOutput{ImageDetails: []types.ImageDetail{}}
	for _, id := range in.ImageIds {
		i := slices.IndexFunc(found, func(d types.ImageDetail) bool {
			return (id.ImageDigest == nil || *id.ImageDigest == *d.ImageDigest) &&
				(id.ImageTag == nil || slices.Contains(d.ImageTags, *id.ImageTag))
		})
		if i < 0 {
			return nil, fail("ImageNotFoundException", "The image with imageId {imageDigest:'%s', imageTag:'%s'} does not exist "+
				"within the repository with name '%s' in the registry with id '%s'", aws.ToString(id.ImageDigest),
				aws.ToString(id.ImageTag), *in.RepositoryName, e.options.Topology.AccountID)
		}
		out.ImageDetails = append(out.ImageDetails, found[i])
	}
	return out, nil
}

// imagesOf lists a repository's images; exists is false if no task definition of the region names it.
func (e *Endpoint) imagesOf(region, repository string) (images []types.ImageDetail, exists bool, err error) {
	images = []types.ImageDetail{}
	for _, td := range e.options.Containers.TaskDefinitions(region) {
		for _, c := range td.Containers {
			name, tag, digest, ok := e.repositoryOf(region, c.Image)
			if !ok || name != repository {
				continue
			}
			exists = true
			path, err := e.options.Images.Program(c.Image)
			if err != nil {
				continue // never pushed
			}
			size, sum, err := checksum(path)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, true, err
			}
			if digest == "" { // the program is the image: its digest is that of the program
				digest = sum
			}
			image := types.ImageDetail{
				RegistryId: aws.String(e.options.Topology.AccountID), RepositoryName: aws.String(name), ImageDigest: aws.String(digest),
				ImageSizeInBytes: aws.Int64(size), ImagePushedAt: aws.Time(e.created), ImageStatus: types.ImageStatusActive,
			}
			if tag != "" {
				image.ImageTags = []string{tag}
			}
			images = append(images, image)
		}
	}
	return images, exists, nil
}

func checksum(path string) (size int64, digest string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	sum := sha256.New()
	if size, err = io.Copy(sum, f); err != nil {
		return 0, "", err
	}
	return size, "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}
