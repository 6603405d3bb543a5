package api

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	quotatypes "github.com/aws/aws-sdk-go-v2/service/servicequotas/types"

	"holdfast/internal/twin/ecs"
)

// RunTask notes what was started and shows it as a task that waits to start.
func (c *containers) RunTask(_ context.Context, region, cluster string, run ecs.Run) (ecs.Task, error) {
	return ecs.Task{
		ARN: "arn:aws:ecs:" + region + ":1:task/" + cluster + "/canary", ID: "canary", Region: region, TaskDefinitionARN: run.TaskDefinition,
		DeploymentID: run.StartedBy, LastStatus: "PENDING", DesiredStatus: "RUNNING",
	}, nil
}

// Program knows one image, by a file that the test wrote.
func (c *containers) Program(image string) (string, error) {
	if path, ok := c.programs[image]; ok {
		return path, nil
	}
	return "", errors.New("no program")
}

func TestIAM(t *testing.T) {
	b := newBackends(t)
	// Its control plane lives in us-east-1, whatever region the client signs for.
	client := iam.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), west))
	ctx := t.Context()
	const role = "holdfast-warden-dr-twin"
	got := must[*iam.GetRoleOutput](t)(client.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(role)}))
	if *got.Role.Arn != "arn:aws:iam::123456789012:role/"+role {
		t.Errorf("the role is %s", *got.Role.Arn)
	}
	_, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("nobody")})
	wantError(t, err, "NoSuchEntity", 404, "nobody")
	names := must[*iam.ListRolePoliciesOutput](t)(client.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: aws.String(role)}))
	if !slices.Equal(names.PolicyNames, []string{"warden"}) {
		t.Fatalf("policies %v", names.PolicyNames)
	}
	document := must[*iam.GetRolePolicyOutput](t)(client.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: aws.String(role), PolicyName: aws.String("warden")}))
	if !strings.Contains(*document.PolicyDocument, "rds%3AFailoverGlobalCluster") { // AWS encodes it for URLs
		t.Errorf("document %s", *document.PolicyDocument)
	}
	simulate := func(region string) iamtypes.EvaluationResult {
		out := must[*iam.SimulatePrincipalPolicyOutput](t)(client.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
			PolicySourceArn: got.Role.Arn, ActionNames: []string{"rds:FailoverGlobalCluster"},
			ResourceArns: []string{"arn:aws:rds:us-west-2:123456789012:cluster:aurora-dr-twin"},
			ContextEntries: []iamtypes.ContextEntry{{
				ContextKeyName: aws.String("aws:RequestedRegion"), ContextKeyType: iamtypes.ContextKeyTypeEnumString, ContextKeyValues: []string{region},
			}},
		}))
		if len(out.EvaluationResults) != 1 {
			t.Fatalf("%d results", len(out.EvaluationResults))
		}
		return out.EvaluationResults[0]
	}
	if r := simulate(west); r.EvalDecision != iamtypes.PolicyEvaluationDecisionTypeAllowed || len(r.MatchedStatements) != 1 {
		t.Errorf("in its own region: %+v", r)
	}
	if r := simulate(east); r.EvalDecision != iamtypes.PolicyEvaluationDecisionTypeImplicitDeny {
		t.Errorf("in the other region: %+v", r)
	}
	_, err = client.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: got.Role.Arn, ActionNames: []string{"rds:x"}, PolicyInputList: []string{"{}"},
	})
	wantError(t, err, "InvalidInput", 400, "PolicyInputList")
}

func TestECR(t *testing.T) {
	b := newBackends(t)
	const image = "123456789012.dkr.ecr.us-west-2.amazonaws.com/pay/payd:v7"
	path := filepath.Join(t.TempDir(), "payd")
	if err := os.WriteFile(path, []byte("the program"), 0o700); err != nil {
		t.Fatal(err)
	}
	definitions := b.ecs.topology.TaskDefinitions
	for i := range definitions {
		if td := &definitions[i]; td.Family == "payment-service-dr-twin" {
			td.Containers = slices.Clone(td.Containers)
			td.Containers[0].Image = image
		}
	}
	b.ecs.programs = map[string]string{image: path}
	url := serve(t, newEndpoint(t, b), "")
	client := ecr.NewFromConfig(sdkConfig(t, url, west))
	ask := func(repository string, ids ...ecrtypes.ImageIdentifier) (*ecr.DescribeImagesOutput, error) {
		return client.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String(repository), ImageIds: ids})
	}
	out := must[*ecr.DescribeImagesOutput](t)(ask("pay/payd", ecrtypes.ImageIdentifier{ImageTag: aws.String("v7")}))
	digest := out.ImageDetails[0].ImageDigest
	if len(out.ImageDetails) != 1 || len(*digest) != len("sha256:")+64 || *out.ImageDetails[0].ImageSizeInBytes != 11 {
		t.Errorf("image %+v", out.ImageDetails)
	}
	must[*ecr.DescribeImagesOutput](t)(ask("pay/payd", ecrtypes.ImageIdentifier{ImageDigest: digest}))
	_, err := ask("pay/payd", ecrtypes.ImageIdentifier{ImageTag: aws.String("v8")})
	wantError(t, err, "ImageNotFoundException", 400, "v8")
	_, err = ask("pay/other")
	wantError(t, err, "RepositoryNotFoundException", 400, "pay/other")
	_, err = ecr.NewFromConfig(sdkConfig(t, url, east)).DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("pay/payd")})
	wantError(t, err, "RepositoryNotFoundException", 400, "pay/payd") // it is in the other region's registry only
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = ask("pay/payd", ecrtypes.ImageIdentifier{ImageTag: aws.String("v7")})
	wantError(t, err, "ImageNotFoundException", 400, "v7")
}

func TestServiceQuotas(t *testing.T) {
	client := servicequotas.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, newBackends(t)), ""), west))
	out := must[*servicequotas.GetServiceQuotaOutput](t)(client.GetServiceQuota(t.Context(), &servicequotas.GetServiceQuotaInput{
		ServiceCode: aws.String("fargate"), QuotaCode: aws.String("L-3032A538"),
	}))
	if *out.Quota.Value != 6 || *out.Quota.QuotaName != "Fargate On-Demand vCPU resource count" {
		t.Errorf("quota %+v", out.Quota)
	}
	_, err := client.GetServiceQuota(t.Context(), &servicequotas.GetServiceQuotaInput{ServiceCode: aws.String("fargate"), QuotaCode: aws.String("L-0")})
	if typed := new(quotatypes.NoSuchResourceException); !errors.As(err, &typed) {
		t.Errorf("an unknown quota: %v", err)
	}
}

func TestAttributesAndParameters(t *testing.T) {
	b := newBackends(t)
	url := serve(t, newEndpoint(t, b), "")
	cfg := sdkConfig(t, url, east)
	attributes := must[*elb.DescribeLoadBalancerAttributesOutput](t)(elb.NewFromConfig(cfg).DescribeLoadBalancerAttributes(t.Context(),
		&elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: aws.String(b.topology.Sites[0].LoadBalancerARN)}))
	if a := attributes.Attributes[0]; *a.Key != "client_keep_alive.seconds" || *a.Value != "120" {
		t.Errorf("attributes %+v", attributes.Attributes)
	}
	group := b.topology.DBClusters[0].ParameterGroup
	parameters := must[*rds.DescribeDBClusterParametersOutput](t)(rds.NewFromConfig(cfg).DescribeDBClusterParameters(t.Context(),
		&rds.DescribeDBClusterParametersInput{DBClusterParameterGroupName: aws.String(group), Source: aws.String("user")}))
	if len(parameters.Parameters) != len(b.topology.DBClusters[0].Parameters) || len(parameters.Parameters) == 0 {
		t.Errorf("parameters %+v", parameters.Parameters)
	}
	_, err := rds.NewFromConfig(cfg).DescribeDBClusterParameters(t.Context(), &rds.DescribeDBClusterParametersInput{DBClusterParameterGroupName: aws.String("none")})
	wantError(t, err, "DBParameterGroupNotFound", 404, "none")
}

func TestRunTask(t *testing.T) {
	b := newBackends(t)
	client := awsecs.NewFromConfig(sdkConfig(t, serve(t, newEndpoint(t, b), ""), west))
	in := &awsecs.RunTaskInput{
		Cluster: aws.String("payment-cluster-dr-twin"), TaskDefinition: aws.String("payment-service-dr-twin:1"), StartedBy: aws.String("canary"),
		LaunchType: ecstypes.LaunchTypeFargate,
	}
	_, err := client.RunTask(t.Context(), in)
	wantError(t, err, "InvalidParameterException", 400, "Network Configuration")
	in.NetworkConfiguration = &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{Subnets: []string{"subnet-1"}}}
	out := must[*awsecs.RunTaskOutput](t)(client.RunTask(t.Context(), in))
	if len(out.Tasks) != 1 || *out.Tasks[0].StartedBy != "canary" || *out.Tasks[0].Group != "family:payment-service-dr-twin" {
		t.Errorf("tasks %+v", out.Tasks)
	}
	in.Overrides = &ecstypes.TaskOverride{Cpu: aws.String("1")}
	_, err = client.RunTask(t.Context(), in)
	wantError(t, err, "InvalidParameterException", 400, "Overrides")
}
