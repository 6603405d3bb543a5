package aws

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// ErrNoImage: the registry does not have the image.
var ErrNoImage = errors.New("the registry does not have the image")

// imageAPI lists the ECR calls that [Session.ImageDigest] makes.
type imageAPI interface {
	DescribeImages(context.Context, *ecr.DescribeImagesInput, ...func(*ecr.Options)) (*ecr.DescribeImagesOutput, error)
}

// RegistryImage is the parts of an image's name in ECR.
type RegistryImage struct {
	Account, Region, Repository string
	// Tag or Digest is empty; both are if the name has neither, which means the tag latest.
	Tag, Digest string
}

var registryImage = regexp.MustCompile(
	`^([0-9]{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)(?::([^@]+))?(?:@(sha256:[0-9a-f]{64}))?$`)

// ParseRegistryImage cuts an image's name; ok is false for an image that is not in ECR.
func ParseRegistryImage(image string) (i RegistryImage, ok bool) {
	m := registryImage.FindStringSubmatch(image)
	if m == nil {
		return RegistryImage{}, false
	}
	i = RegistryImage{Account: m[1], Region: m[2], Repository: m[3], Tag: m[4], Digest: m[5]}
	if i.Tag == "" && i.Digest == "" {
		i.Tag = "latest"
	}
	return i, true
}

// ImageDigest asks the image's own region for its digest. It returns ErrNoImage if repository or image are not there.
func (s *Session) ImageDigest(ctx context.Context, i RegistryImage) (string, error) {
	api := imageAPI(ecr.NewFromConfig(s.cfg, func(o *ecr.Options) {
		o.Region = i.Region
		o.Retryer = few()
	}))
	id := types.ImageIdentifier{ImageTag: sdk.String(i.Tag)}
	if i.Digest != "" {
		id = types.ImageIdentifier{ImageDigest: sdk.String(i.Digest)}
	}
	out, err := api.DescribeImages(ctx, &ecr.DescribeImagesInput{
		RegistryId: sdk.String(i.Account), RepositoryName: sdk.String(i.Repository), ImageIds: []types.ImageIdentifier{id},
	})
	var noImage *types.ImageNotFoundException
	var noRepository *types.RepositoryNotFoundException
	switch {
	case errors.As(err, &noImage), errors.As(err, &noRepository):
		return "", fmt.Errorf("describe image %s in %s: %w: %w", i.Repository, i.Region, ErrNoImage, err)
	case err != nil:
		return "", fmt.Errorf("describe image %s in %s: %w", i.Repository, i.Region, err)
	case len(out.ImageDetails) != 1:
		return "", fmt.Errorf("describe image %s in %s: %w", i.Repository, i.Region, ErrNoImage)
	}
	return sdk.ToString(out.ImageDetails[0].ImageDigest), nil
}
