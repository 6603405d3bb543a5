package preflight

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/internal/operator"
	"holdfast/internal/term"
	"holdfast/internal/warden"
)

func (p *preflight) checkRecord(context.Context) []Finding {
	s := subject("record " + p.cfg.Suffix)
	r := p.status.Record
	if r == nil {
		return []Finding{s.want(false, "the record", cmp.Or(p.status.RecordError, "none"), "one, readable",
			"create it with 'holdfast init', or see why the term table does not answer")}
	}
	findings := []Finding{
		s.want(r.State == term.Held && r.ServedTerm == r.Term, "state", fmt.Sprintf("term %d %s by %s, served term %d", r.Term, r.State, r.Holder, r.ServedTerm),
			"held, and its term served", "wait for the hand-over to end, or see 'holdfast status' for what it waits for"),
		s.want(p.status.LeaseRunning, "lease", map[bool]string{true: "renewed", false: "not renewed while watched"}[p.status.LeaseRunning],
			"renewed", "start the wardens of site "+r.Holder),
		s.prefer(r.Lease() == p.cfg.Lease() && r.Margin() == p.cfg.Margin(), "lease and margin", fmt.Sprintf("%v and %v", r.Lease(), r.Margin()),
			fmt.Sprintf("%v and %v, as the Terraform says", p.cfg.Lease(), p.cfg.Margin()), "the record decides; change the Terraform's settings to it, or the record's"),
		s.prefer(r.TakeoverBudget > 0, "budget of hand-overs for health", r.TakeoverBudget, "above 0",
			"without it a hand-over for health waits for 'holdfast approve'; takeovers from a lost region do not"),
		s.prefer(len(r.TailOf) == 0, "lost tail", map[bool]string{true: "none is unsaved", false: fmt.Sprintf("the end of terms %v has not been exported", r.TailOf)}[len(r.TailOf) == 0],
			"none is unsaved", "let the returned site export it, or read it from the service's snapshot and run 'holdfast tail'"),
	}
	if w := r.Wanted; w != nil {
		findings = append(findings, s.want(false, "request", fmt.Sprintf("site %s is wanted by %s since %s", w.Site, w.By, w.At.Format(time.RFC3339)),
			"none", "wait until the wardens have followed it or turned it down"))
	}
	return findings
}

func (p *preflight) checkTable(ctx context.Context) []Finding {
	var findings []Finding
	for _, region := range p.cfg.TermRegions {
		s := subject("table " + p.cfg.TermTable + " in " + region)
		t, err := p.src.Account.Table(ctx, region, p.cfg.TermTable)
		if err != nil {
			findings = append(findings, s.unknown("the table", err, "described", remedyAsk))
			continue
		}
		findings = append(findings,
			s.want(t.Status == "ACTIVE", "status", t.Status, "ACTIVE", "wait for the table's update to end"),
			s.want(t.Consistency == "STRONG", "consistency", cmp.Or(t.Consistency, "not set"), "STRONG",
				"without multi-Region strong consistency two sites can hold one term: create the table again as the Terraform has it"))
		for _, want := range []struct {
			what, region string
			have         map[string]string
		}{{"witness", p.cfg.WitnessRegion, t.Witnesses}, {"replica", p.cfg.TermRegions[0], t.Replicas}, {"replica", p.cfg.TermRegions[len(p.cfg.TermRegions)-1], t.Replicas}} {
			status := cmp.Or(want.have[want.region], "none")
			findings = append(findings, s.want(status == "ACTIVE", want.what+" in "+want.region, status, "ACTIVE",
				"without three regions the loss of one stops every write: see the table in the DynamoDB console"))
		}
	}
	return findings
}

func (p *preflight) checkWardens(ctx context.Context) []Finding {
	var findings []Finding
	configs := map[string]warden.Config{}
	for _, site := range p.sites() {
		services := p.src.Services(site.Region)
		svc, err := services.Service(ctx, site.ECSClusterName, site.WardenService)
		if err != nil {
			findings = append(findings, of(site).unknown("wardens", err, "two or more", remedyAsk))
			continue
		}
		findings = append(findings, of(site).want(svc.Running >= 2 && svc.Running >= svc.Desired, "wardens",
			fmt.Sprintf("%d of %d run", svc.Running, svc.Desired), "two or more, all that are desired",
			"see the events of service "+site.WardenService+"; set its desired count to 2 at least"))
		td, err := services.TaskDefinition(ctx, svc.TaskDefinitionARN)
		if err != nil {
			findings = append(findings, of(site).unknown("wardens' settings", err, "readable", remedyAsk))
			continue
		}
		cfg, problems := wardenConfig(td.Containers)
		findings = append(findings, of(site).want(problems == nil, "wardens' settings", describe(problems, "complete"), "what a warden accepts at its start",
			"correct the task definition's environment in the Terraform"))
		if problems == nil {
			configs[site.Name] = cfg
		}
	}
	if len(configs) == len(p.cfg.Sites) {
		findings = append(findings, p.sameSettings(configs))
	}
	return append(findings, p.checkBeacons(ctx)...)
}

func describe(err error, good string) string {
	if err == nil {
		return good
	}
	return err.Error()
}

// sameSettings: after a move the other site's wardens decide, and they should decide alike.
func (p *preflight) sameSettings(configs map[string]warden.Config) Finding {
	a, b := configs[p.active.Name], configs[p.standby.Name]
	same := a.Settings == b.Settings && a.Deployment == b.Deployment && a.TermTable == b.TermTable && a.GlobalCluster == b.GlobalCluster &&
		slices.Equal(slices.Sorted(slices.Values(a.TermRegions)), slices.Sorted(slices.Values(b.TermRegions)))
	current := "the same"
	if !same {
		current = fmt.Sprintf("%s: %+v; %s: %+v", p.active.Name, a.Settings, p.standby.Name, b.Settings)
	}
	return subject("both sites").want(same, "wardens' settings", current, "the same",
		"give both sites the same mode, limits, table and global database in the Terraform, and deploy both")
}

// beaconWatch is how long the beacons are watched at least; a lease is longer in a real deployment.
const beaconWatch = 4 * time.Second

// checkBeacons watches the beacons move, which is how the wardens themselves judge freshness.
func (p *preflight) checkBeacons(ctx context.Context) []Finding {
	first, err := p.src.Deployment.Beacons(ctx)
	if err != nil {
		return []Finding{subject("beacons").unknown("beacons", err, "readable", remedyAsk)}
	}
	limit := beaconWatch
	if r := p.status.Record; r != nil {
		limit = max(limit, r.Lease())
	}
	watch, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	now := maps.Clone(first)
	moved := func(site string) bool { return now[site].Sequence > first[site].Sequence }
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !moved(p.active.Name) || !moved(p.standby.Name) {
		select {
		case <-tick.C:
			if again, err := p.src.Deployment.Beacons(watch); err == nil {
				now = again
			}
			continue
		case <-watch.Done():
		}
		break
	}
	var findings []Finding
	for _, site := range p.sites() {
		b, has := now[site.Name]
		current := "it moved"
		if !has {
			current = "none"
		} else if !moved(site.Name) {
			current = "it stood still for " + limit.String()
		}
		findings = append(findings, of(site).want(moved(site.Name), "beacon", current, "written again and again",
			"see the logs of service "+site.WardenService+": its wardens don't run, or can't reach the term table"))
		if has {
			findings = append(findings, of(site).want(b.ObservedWriter == p.active.Name, "writer, as its region sees it", cmp.Or(b.ObservedWriter, "not known"),
				p.active.Name, "see the global database in "+site.Region))
		}
		if has && site.Name == p.standby.Name {
			findings = append(findings, of(site).want(b.Ready, "ready to take over", cmp.Or(b.NotReadyBecause, "yes"), "yes", "clear what its wardens wait for"))
		}
	}
	return findings
}

// wardenConfig reads a task definition's environment with the code that a warden reads its own with. Secrets have some
// value there: what they are is another check's business.
func wardenConfig(containers []container) (warden.Config, error) {
	for _, c := range containers {
		if c.Environment["HOLDFAST_SITE"] == "" {
			continue
		}
		return warden.ConfigFromEnvironment(func(name string) string {
			if _, secret := c.Secrets[name]; secret {
				return strings.Repeat("x", 64)
			}
			return c.Environment[name]
		})
	}
	return warden.Config{}, fmt.Errorf("%w: no container of the wardens' task has HOLDFAST_SITE", operator.ErrUsage)
}
