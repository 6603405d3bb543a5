package preflight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/internal/aws"
	"holdfast/internal/fence"
	"holdfast/internal/operator"
)

type container = aws.Container

// Reasons why a database could not be looked at.
var (
	// ErrSecret: the site's secret can't be read.
	ErrSecret = errors.New("the secret can't be read")
	// ErrPassword: the database refuses the secret's password.
	ErrPassword = errors.New("the database refuses the password of the secret")
	// ErrUnreachable: no connection comes about from here.
	ErrUnreachable = errors.New("the database can't be reached from here")
)

func (p *preflight) checkReplication(ctx context.Context) []Finding {
	var findings []Finding
	for _, site := range p.sites() { // each region has its own opinion, and the standby's is the one that counts in a failover
		s := subject("global database, as " + site.Region + " sees it")
		g, err := p.src.Databases(site.Region).GlobalCluster(ctx, p.cfg.GlobalCluster)
		if err != nil {
			findings = append(findings, s.unknown("the global database", err, "described", remedyAsk))
			continue
		}
		findings = append(findings,
			s.want(g.Status == "available" && !g.Moving, "status", g.Status, "available", "wait for the operation that is under way"),
			s.want(g.Writer() == p.active.DBClusterARN, "writer", g.Writer(), p.active.DBClusterARN,
				"the site that holds the term must have the writer: see 'holdfast status'"))
		for _, m := range g.Members {
			if m.ClusterARN == p.standby.DBClusterARN {
				findings = append(findings, s.want(m.Synchronized, "secondary "+p.standby.DBClusterIdentifier,
					map[bool]string{true: "connected", false: "not synchronized"}[m.Synchronized], "connected", "wait for its resynchronization, or add the region again"))
			}
		}
		findings = append(findings, s.want(g.HasMember(p.standby.DBClusterARN) && g.HasMember(p.active.DBClusterARN), "members",
			len(g.Members), "the clusters of both sites", "add the missing cluster to the global database; see the Terraform plan before"))
	}
	return append(findings, p.lag())
}

func (p *preflight) lag() Finding {
	wanted := fmt.Sprintf("at most %v", p.opt.MaxLag)
	remedy := "see the load and the replication slots of the writer, and the link; a takeover is refused above the wardens' limit"
	for _, site := range p.status.Sites {
		if site.Name != p.standby.Name {
			continue
		}
		if site.LagMS == nil {
			return of(p.standby).unknown("replication lag", errors.New("its wardens report none"), wanted, remedy)
		}
		lag := milliseconds(*site.LagMS)
		return of(p.standby).want(lag <= p.opt.MaxLag, "replication lag", lag, wanted, remedy)
	}
	return of(p.standby).unknown("replication lag", errors.New("the status has no such site"), wanted, remedy)
}

// clusters describes both sites' clusters, the active one's first. The findings say which could not be.
func (p *preflight) clusters(ctx context.Context) (found []aws.DBCluster, failed []Finding) {
	for _, site := range p.sites() {
		c, err := p.src.Databases(site.Region).Cluster(ctx, site.DBClusterIdentifier)
		if err != nil {
			failed = append(failed, of(site).unknown("database cluster", err, "described", remedyAsk))
			continue
		}
		found = append(found, c)
	}
	return found, failed
}

func (p *preflight) checkInstances(ctx context.Context) []Finding {
	clusters, findings := p.clusters(ctx)
	for _, c := range clusters {
		s := subject("cluster " + c.Identifier)
		findings = append(findings,
			s.want(c.Status == "available", "status", c.Status, "available", "start it, or wait for its maintenance: a stopped cluster can't be promoted"),
			s.want(len(c.Instances) > 0, "instances", len(c.Instances), "at least one", "the cluster is headless: add an instance, which takes minutes that a failover does not have"))
		if len(c.Instances) == 1 {
			findings = append(findings, s.prefer(false, "instances", 1, "two, in different zones", "add a second instance: one zone's loss is the site's loss"))
		}
		for _, i := range c.Instances {
			findings = append(findings, subject("instance "+i.Identifier).want(i.Status == "available", "status", i.Status, "available", "start or repair it"))
		}
	}
	if len(clusters) == 2 {
		a, b := clusters[0], clusters[1]
		s := subject("both clusters")
		findings = append(findings,
			s.want(a.Engine == b.Engine && a.EngineVersion == b.EngineVersion, "engine", fmt.Sprintf("%s %s and %s %s", a.Engine, a.EngineVersion, b.Engine, b.EngineVersion),
				"the same version", "finish the upgrade: a switchover needs equal versions, a failover equal major versions"),
			s.prefer(slices.Equal(classes(a), classes(b)), "instance classes", fmt.Sprintf("%v and %v", classes(a), classes(b)), "the same",
				"a smaller standby carries less: give it the same classes, or test that it carries the load"))
	}
	return findings
}

func classes(c aws.DBCluster) []string {
	var all []string
	for _, i := range c.Instances {
		all = append(all, i.Class)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (p *preflight) checkParameters(ctx context.Context) []Finding {
	clusters, findings := p.clusters(ctx)
	var settings []map[string]string
	for i, site := range p.sites() {
		if len(clusters) != 2 {
			return findings
		}
		c := clusters[i]
		for _, instance := range c.Instances {
			findings = append(findings, subject("instance "+instance.Identifier).want(instance.ParametersInSync, "parameters",
				map[bool]string{true: "in force", false: "changed, not in force"}[instance.ParametersInSync], "in force", "reboot the instance in a maintenance window"))
		}
		values, err := p.src.Databases(site.Region).Parameters(ctx, c.ParameterGroup)
		if err != nil {
			findings = append(findings, of(site).unknown("parameter group "+c.ParameterGroup, err, "described", remedyAsk))
			continue
		}
		settings = append(settings, values)
	}
	if len(settings) == 2 {
		different := differences(settings[0], settings[1])
		current := fmt.Sprintf("%d settings, the same", len(settings[0]))
		if len(different) > 0 {
			current = strings.Join(different, "; ")
		}
		findings = append(findings, subject("both parameter groups").want(len(different) == 0, "settings", current, "the same",
			"set the parameters alike in both regions: they do not follow the writer"))
	}
	return findings
}

// differences words how two maps differ.
func differences(a, b map[string]string) []string {
	names := maps.Clone(a)
	maps.Copy(names, b)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		va, inA := a[name]
		vb, inB := b[name]
		if va != vb || inA != inB {
			out = append(out, fmt.Sprintf("%s is %q and %q", name, va, vb))
		}
	}
	return out
}

// minimumRetentionDays is a long weekend and the days to find out what the lost tail needs.
const minimumRetentionDays = 7

func (p *preflight) checkBackups(ctx context.Context) []Finding {
	clusters, findings := p.clusters(ctx)
	for _, c := range clusters {
		findings = append(findings, subject("cluster "+c.Identifier).want(c.BackupRetentionDays >= minimumRetentionDays, "backup retention",
			fmt.Sprintf("%d days", c.BackupRetentionDays), fmt.Sprintf("at least %d days", minimumRetentionDays),
			"raise backup_retention_days: the snapshot of an old writer, with the lost tail in it, is deleted after as many days"))
	}
	return findings
}

func (p *preflight) checkDatabase(ctx context.Context) []Finding {
	var findings []Finding
	var versions []string
	for _, site := range p.sites() {
		view, err := p.src.SQL.Look(ctx, site)
		if err != nil {
			findings = append(findings, databaseError(site, err))
			continue
		}
		versions = append(versions, view.ServerVersion)
		findings = append(findings, of(site).want(true, "login with the site's own secret", "works", "works", ""))
		findings = append(findings, p.judgeDatabase(site, view)...)
	}
	if len(versions) == 2 {
		findings = append(findings, subject("both databases").want(versions[0] == versions[1], "server version", strings.Join(versions, " and "), "the same",
			"finish the upgrade in both regions"))
	}
	return findings
}

func databaseError(site operator.Site, err error) Finding {
	const what, wanted = "login with the site's own secret", "works"
	switch {
	case errors.Is(err, ErrSecret):
		return of(site).want(false, what, err, wanted, "see that the secret is replicated to "+site.Region+" and that its key and policy let the tasks read it")
	case errors.Is(err, ErrPassword):
		return of(site).want(false, what, err, wanted, "set the secret "+site.DBSecretARN+" and the role's password to the same value; replicas are read-only, change the source")
	}
	return of(site).unknown(what, err, wanted, "run preflight where the database can be reached, as from a task in the VPC, or leave out: --skip database,clocks")
}

func (p *preflight) judgeDatabase(site operator.Site, v DatabaseView) []Finding {
	s := of(site)
	findings := []Finding{
		s.want(v.State.InRecovery == (site.Name == p.standby.Name), "role of the database", role(v.State.InRecovery), role(site.Name == p.standby.Name),
			"see 'holdfast status': term and writer disagree"),
		s.want(v.State.Installed, "write fence", map[bool]string{true: "installed", false: "not installed"}[v.State.Installed], "installed",
			"run 'holdfast fence install --tables …' on the active site's writer"),
		s.want(v.State.MaxPreparedTransactions == 0, "max_prepared_transactions", v.State.MaxPreparedTransactions, "0",
			"set it to 0 and reboot: COMMIT PREPARED goes past the fence"),
	}
	if site.Name == p.active.Name { // the standby has a copy of the same row
		findings = append(findings, pin(s, v.State))
	}
	if v.State.Installed {
		findings = append(findings, s.want(v.ProtectedTables > 0, "tables behind the fence", v.ProtectedTables, "at least one",
			"run 'holdfast fence install --tables …' with the application's tables"))
	}
	return findings
}

// pin: under a pin the other site stands still until it is over, whatever happens (P18).
func pin(s subject, state fence.State) Finding {
	const what, wanted = "pin", "none in force"
	newest := state.Pin
	until := newest.PinnedAt.Add(newest.For)
	if !newest.Open() || !state.DatabaseTime.Before(until) {
		return s.want(true, what, wanted, wanted, "")
	}
	return s.want(false, what, fmt.Sprintf("site %s until %s, by %s", newest.Site, until.UTC().Format(time.RFC3339), newest.By), wanted,
		"end it with 'holdfast unpin' once the term store answers: until then the other site does not take over")
}

func role(standby bool) string {
	if standby {
		return "standby"
	}
	return "writer"
}
