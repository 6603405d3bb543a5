package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"holdfast/internal/aws"
	"holdfast/internal/operator"
)

// arnPart is a field of an ARN (2 the service, 3 the region, 5 the resource), empty if there is none.
func arnPart(arn string, n int) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return ""
	}
	return parts[n]
}

// wardenCalls are the calls that a site's wardens make, each as it is sent. A test on the twin compares them with what
// wardens were seen to call.
func (p *preflight) wardenCalls(site, peer operator.Site, environment map[string]string) []aws.Call {
	here := map[string][]string{"aws:RequestedRegion": {site.Region}}
	var calls []aws.Call
	add := func(context map[string][]string, action string, resources ...string) {
		for _, r := range resources {
			calls = append(calls, aws.Call{Action: action, Resource: r, Context: context})
		}
	}
	for _, region := range p.cfg.TermRegions {
		for _, key := range []string{p.cfg.Suffix, p.cfg.Suffix + "/beacon/" + site.Name} {
			item := map[string][]string{"aws:RequestedRegion": {region}, "dynamodb:LeadingKeys": {key}}
			add(item, "dynamodb:GetItem", p.table(region))
			add(item, "dynamodb:PutItem", p.table(region))
		}
	}
	add(here, "rds:DescribeGlobalClusters", "*")
	add(here, "rds:FailoverGlobalCluster", p.global(), site.DBClusterARN)
	add(here, "rds:SwitchoverGlobalCluster", p.global(), site.DBClusterARN, peer.DBClusterARN)
	add(here, "elasticloadbalancing:DescribeTargetHealth", "*")
	if listener := environment["HOLDFAST_APP_LISTENER_ARN"]; listener != "" {
		add(here, "elasticloadbalancing:DescribeListeners", "*")
		add(here, "elasticloadbalancing:ModifyListener", listener)
	}
	add(here, "ecs:DescribeServices", p.service(site, site.AppService))
	add(here, "ecs:UpdateService", p.service(site, site.AppService))
	add(here, "application-autoscaling:DescribeScalableTargets", "*")
	scaling := map[string][]string{"aws:RequestedRegion": {site.Region}, "application-autoscaling:service-namespace": {"ecs"}}
	add(scaling, "application-autoscaling:RegisterScalableTarget", "arn:aws:application-autoscaling:"+site.Region+":"+p.cfg.AccountID+":scalable-target/any")
	return calls
}

// forbiddenCalls are calls that no warden may make, whatever happens to it: they would reach the other site, or take away
// what the protocol rests on.
func (p *preflight) forbiddenCalls(site, peer operator.Site) []aws.Call {
	there := map[string][]string{"aws:RequestedRegion": {peer.Region}}
	here := map[string][]string{"aws:RequestedRegion": {site.Region}}
	other := map[string][]string{"aws:RequestedRegion": {site.Region}, "dynamodb:LeadingKeys": {"another-deployment"}}
	return []aws.Call{
		{Action: "rds:FailoverGlobalCluster", Resource: peer.DBClusterARN, Context: there},
		{Action: "rds:ModifyDBCluster", Resource: peer.DBClusterARN, Context: there},
		{Action: "rds:DeleteDBCluster", Resource: peer.DBClusterARN, Context: there},
		{Action: "rds:DeleteDBCluster", Resource: site.DBClusterARN, Context: here},
		{Action: "rds:RemoveFromGlobalCluster", Resource: p.global(), Context: here},
		{Action: "ecs:UpdateService", Resource: p.service(peer, peer.AppService), Context: there},
		{Action: "dynamodb:DeleteItem", Resource: p.table(site.Region), Context: here},
		{Action: "dynamodb:DeleteTable", Resource: p.table(site.Region), Context: here},
		{Action: "dynamodb:PutItem", Resource: p.table(site.Region), Context: other},
	}
}

func (p *preflight) table(region string) string {
	return "arn:aws:dynamodb:" + region + ":" + p.cfg.AccountID + ":table/" + p.cfg.TermTable
}

func (p *preflight) global() string {
	return "arn:aws:rds::" + p.cfg.AccountID + ":global-cluster:" + p.cfg.GlobalCluster
}

func (p *preflight) service(site operator.Site, name string) string {
	return "arn:aws:ecs:" + site.Region + ":" + p.cfg.AccountID + ":service/" + site.ECSClusterName + "/" + name
}

// startCalls are the calls that ECS makes with a task's execution role to start it.
func startCalls(td aws.TaskDefinition) []aws.Call {
	var calls []aws.Call
	for _, c := range td.Containers {
		for _, secret := range c.Secrets {
			if arnPart(secret, 2) != "secretsmanager" {
				continue
			}
			name := strings.Join(strings.SplitN(secret, ":", 8)[:7], ":") // without key, stage and version
			calls = append(calls, aws.Call{
				Action: "secretsmanager:GetSecretValue", Resource: name,
				Context: map[string][]string{"aws:RequestedRegion": {arnPart(secret, 3)}},
			})
		}
		if i, ok := aws.ParseRegistryImage(c.Image); ok {
			here := map[string][]string{"aws:RequestedRegion": {i.Region}}
			repository := "arn:aws:ecr:" + i.Region + ":" + i.Account + ":repository/" + i.Repository
			calls = append(calls, aws.Call{Action: "ecr:GetAuthorizationToken", Resource: "*", Context: here},
				aws.Call{Action: "ecr:BatchCheckLayerAvailability", Resource: repository, Context: here},
				aws.Call{Action: "ecr:BatchGetImage", Resource: repository, Context: here},
				aws.Call{Action: "ecr:GetDownloadUrlForLayer", Resource: repository, Context: here})
		}
		if c.LogGroup != "" { // a task that can't open its log stream is not started
			here := map[string][]string{"aws:RequestedRegion": {c.LogRegion}}
			stream := "arn:aws:logs:" + c.LogRegion + ":" + arnPart(td.ExecutionRoleARN, 4) + ":log-group:" + c.LogGroup + ":log-stream:any"
			calls = append(calls, aws.Call{Action: "logs:CreateLogStream", Resource: stream, Context: here},
				aws.Call{Action: "logs:PutLogEvents", Resource: stream, Context: here})
		}
	}
	return calls
}

func (p *preflight) checkPermissions(ctx context.Context) []Finding {
	found := make([][]Finding, 2)
	var wg sync.WaitGroup
	for i, site := range p.sites() {
		wg.Go(func() { found[i] = p.sitePermissions(ctx, site, p.sites()[1-i]) })
	}
	wg.Wait()
	return append(found[0], found[1]...)
}

func (p *preflight) sitePermissions(ctx context.Context, site, peer operator.Site) []Finding {
	var findings []Finding
	for _, service := range []string{site.AppService, site.WardenService} {
		td, err := p.taskDefinition(ctx, site, service)
		if err != nil {
			findings = append(findings, of(site).unknown("roles of "+service, err, "known", remedyAsk))
			continue
		}
		findings = append(findings, p.simulate(ctx, td.ExecutionRoleARN, "starting tasks of "+service, startCalls(td), true)...)
		if service != site.WardenService {
			continue
		}
		environment := map[string]string{}
		for _, c := range td.Containers {
			for name, value := range c.Environment {
				environment[name] = value
			}
		}
		findings = append(findings, p.simulate(ctx, td.TaskRoleARN, "what a warden must do", p.wardenCalls(site, peer, environment), true)...)
		findings = append(findings, p.simulate(ctx, td.TaskRoleARN, "what a warden must not do", p.forbiddenCalls(site, peer), false)...)
	}
	return findings
}

func (p *preflight) taskDefinition(ctx context.Context, site operator.Site, service string) (aws.TaskDefinition, error) {
	services := p.src.Services(site.Region)
	svc, err := services.Service(ctx, site.ECSClusterName, service)
	if err != nil {
		return aws.TaskDefinition{}, err
	}
	return services.TaskDefinition(ctx, svc.TaskDefinitionARN)
}

// simulate asks for every call, and sums up those that are as wanted.
func (p *preflight) simulate(ctx context.Context, role, what string, calls []aws.Call, wanted bool) []Finding {
	s := subject("role " + strings.TrimPrefix(arnPart(role, 5), "role/"))
	word := map[bool]string{true: "allowed", false: "denied"}
	if role == "" {
		return []Finding{subject(what).want(false, "role", "none", "a role", "give the task definition its role, as the Terraform has it")}
	}
	if len(calls) == 0 {
		return []Finding{s.unknown(what, errors.New("the task definition names no call to ask about"), "all "+word[wanted],
			"see that its containers have secrets, an image in ECR or a log group: what is not asked can't be shown")}
	}
	var findings []Finding
	good := 0
	for _, c := range calls {
		allowed, err := p.src.Permissions.Allowed(ctx, role, c)
		name := fmt.Sprintf("%s on %s", c.Action, c.Resource)
		switch {
		case err != nil:
			findings = append(findings, s.unknown(name, err, word[wanted], "see that the caller may call iam:SimulatePrincipalPolicy, and that the role exists"))
		case allowed != wanted:
			findings = append(findings, s.want(false, name, word[allowed], word[wanted], "correct the role's policy in the Terraform"))
		default:
			good++
			continue
		}
		if ctx.Err() != nil {
			break // the other answers would be the same
		}
	}
	if good > 0 {
		findings = append([]Finding{s.want(true, what, fmt.Sprintf("%d of %d calls %s", good, len(calls), word[wanted]), "all "+word[wanted], "")}, findings...)
	}
	return findings
}
