package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/aws"
	"holdfast/internal/operator"
)

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (p *preflight) checkImages(ctx context.Context) []Finding {
	var findings []Finding
	digests := map[string]map[string]string{} // service's role -> region -> digest
	for _, site := range p.sites() {
		for role, service := range map[string]string{"application": site.AppService, "warden": site.WardenService} {
			services := p.src.Services(site.Region)
			svc, err := services.Service(ctx, site.ECSClusterName, service)
			if err != nil {
				findings = append(findings, of(site).unknown("image of the "+role, err, "known", remedyAsk))
				continue
			}
			td, err := services.TaskDefinition(ctx, svc.TaskDefinitionARN)
			if err != nil {
				findings = append(findings, of(site).unknown("image of the "+role, err, "known", remedyAsk))
				continue
			}
			for _, c := range td.Containers {
				f, digest := p.image(ctx, site, c.Image)
				findings = append(findings, f)
				if digest != "" {
					key := role + " container " + c.Name
					if digests[key] == nil {
						digests[key] = map[string]string{}
					}
					digests[key][site.Name] = digest
				}
			}
		}
	}
	for key, bySite := range digests {
		a, b := bySite[p.active.Name], bySite[p.standby.Name]
		if a != "" && b != "" {
			findings = append(findings, subject(key).want(a == b, "digest in both regions", shortened(a)+" and "+shortened(b), "the same",
				"push the active site's image to the standby's registry: the tags name different images"))
		}
	}
	return findings
}

func shortened(digest string) string { return digest[:min(len(digest), 19)] }

// image asks the registry that a task of the site would pull from.
func (p *preflight) image(ctx context.Context, site operator.Site, name string) (f Finding, digest string) {
	s := subject("image " + name)
	i, ok := aws.ParseRegistryImage(name)
	if !ok {
		return s.prefer(false, "registry", "not Amazon ECR, not asked", "ECR in "+site.Region,
			"keep a copy in the region's own registry: a pull from elsewhere needs that registry on the worst day; meanwhile the canary shows that a pull works"), ""
	}
	digest, err := p.src.Account.ImageDigest(ctx, i)
	switch {
	case errors.Is(err, aws.ErrNoImage):
		return s.want(false, "in the registry of "+i.Region, "missing", "there",
			"push it again: ECR replicates only what is pushed after the replication rule exists"), ""
	case err != nil:
		return s.unknown("in the registry of "+i.Region, err, "there", remedyAsk), ""
	case i.Region != site.Region:
		return s.want(false, "registry", i.Region, "that of "+site.Region+" itself", "pull from the site's own region: the other one may be lost"), ""
	}
	return s.want(true, "in the registry of "+i.Region, shortened(digest), "there", ""), digest
}

func (p *preflight) checkCapacity(ctx context.Context) []Finding {
	var findings []Finding
	running := map[string]int{}
	for _, site := range p.sites() {
		svc, err := p.src.Services(site.Region).Service(ctx, site.ECSClusterName, site.AppService)
		if err != nil {
			findings = append(findings, of(site).unknown("application tasks", err, "running", remedyAsk))
			continue
		}
		running[site.Name] = svc.Running
		findings = append(findings, of(site).want(svc.Status == "ACTIVE" && svc.Running > 0 && svc.Running >= svc.Desired, "application tasks",
			fmt.Sprintf("%d of %d run, service %s", svc.Running, svc.Desired, svc.Status), "at least one, all that are desired",
			"see the events of service "+site.AppService+"; the standby needs at least one task, which shows that it can start"))
		targets, err := p.src.Balancers(site.Region).TargetHealth(ctx, site.AppTargetGroupARN)
		if err != nil {
			findings = append(findings, of(site).unknown("healthy targets", err, "at least one", remedyAsk))
			continue
		}
		findings = append(findings, of(site).want(aws.Healthy(targets) > 0, "healthy targets", aws.Healthy(targets), "at least one",
			"see the tasks' logs and the target group's health check"))
	}
	_, maximum, err := p.src.Services(p.standby.Region).Bounds(ctx, p.standby.ECSClusterName, p.standby.AppService)
	if err != nil {
		return append(findings, of(p.standby).unknown("autoscaling", err, "room for the active site's tasks", remedyAsk))
	}
	enough := fmt.Sprintf("at least %d, what %s runs", running[p.active.Name], p.active.Name)
	if maximum == 0 {
		have := running[p.standby.Name]
		return append(findings, of(p.standby).want(have >= running[p.active.Name], "tasks without autoscaling", have, enough,
			"give service "+p.standby.AppService+" a scalable target, whose floor the wardens raise before a move, or run there all the time what the active site runs"))
	}
	return append(findings, of(p.standby).want(maximum >= running[p.active.Name], "autoscaling maximum", maximum, enough,
		"raise max_tasks of the site in the Terraform"))
}

// Limits of the canary.
const (
	// canaryStarts is how long a task may take to run: pulling an image on Fargate takes a minute or two.
	canaryStarts = 3 * time.Minute
	// canaryStays is how long it must run then: a program that can't read its settings ends within it.
	canaryStays = 5 * time.Second
	canaryPoll  = 500 * time.Millisecond
	// canaryName is what the task is started by, to be found if preflight is killed between start and stop.
	canaryName = "holdfast-preflight"
)

func (p *preflight) checkCanary(ctx context.Context) []Finding {
	const what, wanted = "a new task of the application", "runs, and goes on running"
	s, site := of(p.standby), p.standby
	services := p.src.Services(site.Region)
	task, err := services.RunLike(ctx, site.ECSClusterName, site.AppService, canaryName)
	if err != nil {
		return []Finding{s.want(false, what, err, wanted, "see the reason: quota, capacity, network, roles; it would be the same in a failover")}
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), defaultTimeout)
		defer cancel()
		_ = services.StopTask(stop, site.ECSClusterName, task.ARN, "canary of holdfast preflight") // it may have ended by itself
	}()
	began, since := time.Now(), time.Time{}
	tick := time.NewTicker(canaryPoll)
	defer tick.Stop()
	for {
		t, err := services.Task(ctx, site.ECSClusterName, task.ARN)
		switch {
		case err != nil && ctx.Err() == nil:
			return []Finding{s.unknown(what, err, wanted, remedyAsk)}
		case err == nil && (t.LastStatus == "STOPPED" || t.DesiredStatus == "STOPPED"):
			return []Finding{s.want(false, what, "ended: "+cmp.Or(t.StoppedReason, "no reason was given"), wanted,
				"see the logs of "+site.AppService+" in "+site.Region+"; a task that starts in a failover would end the same way")}
		case err == nil && t.LastStatus == "RUNNING" && since.IsZero():
			since = time.Now()
		case err == nil && !since.IsZero() && time.Since(since) >= canaryStays:
			return []Finding{s.want(true, what, fmt.Sprintf("ran after %.1f s", since.Sub(began).Seconds()), wanted, "")}
		}
		if since.IsZero() && time.Since(began) > canaryStarts || ctx.Err() != nil {
			return []Finding{s.want(false, what, fmt.Sprintf("%s after %.0f s", cmp.Or(t.LastStatus, task.LastStatus), time.Since(began).Seconds()), wanted,
				"see why it does not start: the image's size, the network's way to the registry, Fargate's capacity in the region")}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// The quotas that a failover leans on: https://docs.aws.amazon.com/general/latest/gr/ecs-service.html,
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html.
const (
	fargateCode, fargateName   = "L-3032A538", "Fargate On-Demand vCPU resource count"
	snapshotCode, snapshotName = "L-9B510759", "Manual DB cluster snapshots"
)

func (p *preflight) checkQuotas(ctx context.Context) []Finding {
	return []Finding{p.vCPUs(ctx), p.snapshots(ctx)}
}

// quota asks for a quota and makes sure that it is the one that is meant.
func (p *preflight) quota(ctx context.Context, service, code, name string) (float64, error) {
	q, err := p.src.Account.Quota(ctx, p.standby.Region, service, code)
	if err == nil && q.Name != name {
		err = fmt.Errorf("quota %s is called %q, want %q", code, q.Name, name)
	}
	return q.Value, err
}

// vCPUs: the standby must be able to run what the active site runs, beside its own wardens.
func (p *preflight) vCPUs(ctx context.Context) Finding {
	s, wanted := subject("quota "+fargateName+" in "+p.standby.Region), "what the active site runs and the standby's own wardens, not counting others in the account"
	needed, err := p.neededCPU(ctx)
	if err != nil {
		return s.unknown("vCPUs", err, wanted, remedyAsk)
	}
	value, err := p.quota(ctx, "fargate", fargateCode, fargateName)
	if err != nil {
		return s.unknown("vCPUs", err, wanted, remedyAsk)
	}
	return s.want(value >= needed, "vCPUs", value, fmt.Sprintf("at least %g: %s", needed, wanted), "ask for more with Service Quotas; it can take days")
}

func (p *preflight) neededCPU(ctx context.Context) (float64, error) {
	units := 0
	for _, part := range []struct {
		site           operator.Site // whose number of tasks
		service        string
		size           operator.Site // whose task definition
		sizeDefinition string
	}{{p.active, p.active.AppService, p.standby, p.standby.AppService}, {p.standby, p.standby.WardenService, p.standby, p.standby.WardenService}} {
		count, err := p.src.Services(part.site.Region).Service(ctx, part.site.ECSClusterName, part.service)
		if err != nil {
			return 0, err
		}
		sized, err := p.src.Services(part.size.Region).Service(ctx, part.size.ECSClusterName, part.sizeDefinition)
		if err != nil {
			return 0, err
		}
		td, err := p.src.Services(part.size.Region).TaskDefinition(ctx, sized.TaskDefinitionARN)
		if err != nil {
			return 0, err
		}
		units += max(count.Running, count.Desired) * td.CPUUnits
	}
	return float64(units) / 1024, nil
}

// snapshots: the service's snapshot of an old writer goes with its retention, so who keeps the lost tail copies it.
func (p *preflight) snapshots(ctx context.Context) Finding {
	s, wanted := subject("quota "+snapshotName+" in "+p.standby.Region), "room for one more"
	count, err := p.src.Databases(p.standby.Region).ManualSnapshots(ctx)
	if err != nil {
		return s.unknown("snapshots", err, wanted, remedyAsk)
	}
	value, err := p.quota(ctx, "rds", snapshotCode, snapshotName)
	if err != nil {
		return s.unknown("snapshots", err, wanted, remedyAsk)
	}
	return s.want(float64(count) < value, "snapshots", fmt.Sprintf("%d of %g", count, value), wanted, "delete old snapshots, or ask for more with Service Quotas")
}
