package topology

import (
	"errors"
	"slices"
	"strings"
)

// ARN is an Amazon Resource Name in its parts.
type ARN struct {
	Partition, Service, Region, AccountID, Resource string
}

// ErrNotARN: a string is not of the form arn:partition:service:region:account:resource.
var ErrNotARN = errors.New("not of the form arn:partition:service:region:account:resource")

// ParseARN splits an ARN. Region and AccountID may be empty, as they are for global services.
func ParseARN(s string) (ARN, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] == "" || parts[2] == "" || parts[5] == "" {
		return ARN{}, ErrNotARN
	}
	return ARN{parts[1], parts[2], parts[3], parts[4], parts[5]}, nil
}

// String is the ARN as AWS writes it.
func (a ARN) String() string {
	return strings.Join([]string{"arn", a.Partition, a.Service, a.Region, a.AccountID, a.Resource}, ":")
}

// regions are the regions that AWS has opened, of all partitions. A new region is added here.
var regions = []string{
	"af-south-1",
	"ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
	"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
	"ca-central-1", "ca-west-1",
	"cn-north-1", "cn-northwest-1",
	"eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
	"il-central-1",
	"me-central-1", "me-south-1",
	"mx-central-1",
	"sa-east-1",
	"us-east-1", "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-west-1", "us-west-2",
}

// KnownRegion reports whether AWS has a region of this name.
func KnownRegion(name string) bool { return slices.Contains(regions, name) }

const (
	arnRemedy    = "give the state of a real deployment, or render a mocked one again with 'make topology'"
	regionRemedy = "use a region that AWS has, such as us-east-1"
)

// home returns the resource's ARN and the region in it.
func (o object) home(field string) (arn, region string) {
	arn = o.text(field)
	if arn == "" {
		return "", ""
	}
	parts, err := ParseARN(arn)
	switch {
	case err != nil:
		o.problem(field, "is not an ARN", arnRemedy)
	case !KnownRegion(parts.Region):
		o.problem(field, `names an unknown region "`+parts.Region+`"`, regionRemedy)
	default:
		region = parts.Region
	}
	return arn, region
}

// knownRegion is a field that names a region.
func (o object) knownRegion(field string) string {
	region := o.text(field)
	if region != "" && !KnownRegion(region) {
		o.problem(field, "is an unknown region", regionRemedy)
		return ""
	}
	return region
}
