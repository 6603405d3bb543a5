package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/operator"
)

// Options say what to look at.
type Options struct {
	// Only names the checks to run, Skip those to leave out; both empty runs all.
	Only, Skip []string
	// MaxLag is how far the standby's database may be behind; 0 means DefaultMaxLag.
	MaxLag time.Duration
}

// DefaultMaxLag is the threshold of the deployment's own alarm on replication lag.
const DefaultMaxLag = 30 * time.Second

// preflight is one run's knowledge, which all checks share.
type preflight struct {
	cfg    operator.Config
	src    Sources
	opt    Options
	status operator.Status
	// active and standby are the sites' roles by the record; without a record, those of the first day.
	active, standby operator.Site
}

// CheckNames lists the checks, for help and completion.
func CheckNames() []string {
	var names []string
	for _, c := range (&preflight{}).checks() {
		names = append(names, c.Name)
	}
	return names
}

// Look runs the checks on a deployment. An error means a wrong option; everything else is in the report.
func Look(ctx context.Context, cfg operator.Config, src Sources, opt Options) (Report, error) {
	if opt.MaxLag == 0 {
		opt.MaxLag = DefaultMaxLag
	}
	p := &preflight{cfg: cfg, src: src, opt: opt}
	checks, skipped, err := p.choose()
	if err != nil {
		return Report{}, err
	}
	p.status = src.Deployment.Status(ctx)
	p.active, p.standby = cfg.Sites[0], cfg.Sites[1]
	report := Report{Deployment: cfg.Suffix, At: time.Now().UTC(), Skipped: skipped}
	if r := p.status.Record; r != nil {
		if r.Holder == p.standby.Name {
			p.active, p.standby = p.standby, p.active
		}
		report.Active, report.Standby = p.active.Name, p.standby.Name
	}
	report.Checks = Run(ctx, checks)
	report.Passed = passed(report.Checks)
	return report, nil
}

func (p *preflight) choose() (checks []Check, skipped []Skipped, err error) {
	known := CheckNames()
	for _, name := range slices.Concat(p.opt.Only, p.opt.Skip) {
		if !slices.Contains(known, name) {
			return nil, nil, fmt.Errorf("%w: there is no check %q, only %s", operator.ErrUsage, name, strings.Join(known, ", "))
		}
	}
	for _, c := range p.checks() {
		switch {
		case slices.Contains(p.opt.Skip, c.Name):
			skipped = append(skipped, Skipped{c.Name, "left out by --skip"})
		case len(p.opt.Only) > 0 && !slices.Contains(p.opt.Only, c.Name):
			skipped = append(skipped, Skipped{c.Name, "left out by --only"})
		case c.Name == "terraform" && p.src.Terraform == nil:
			skipped = append(skipped, Skipped{c.Name, "needs the configuration: pass --terraform DIR"})
		default:
			checks = append(checks, c)
		}
	}
	if len(checks) == 0 {
		return nil, nil, fmt.Errorf("%w: no check is left to run", operator.ErrUsage)
	}
	return checks, skipped, nil
}

// checks are all checks, in the order of the report.
func (p *preflight) checks() []Check {
	return []Check{
		{Name: "record", Run: p.checkRecord, Protects: "without a served record and a running lease nobody is active, and nobody can take over"},
		{Name: "term-table", Run: p.checkTable, Protects: "the term must survive the loss of any one region, and be one for all"},
		{Name: "wardens", Timeout: time.Minute, Run: p.checkWardens, Protects: "the standby's wardens are who takes over"},
		{Name: "replication", Run: p.checkReplication, Protects: "what has not replicated is lost with the region"},
		{Name: "instances", Run: p.checkInstances, Protects: "a secondary without a running instance has nothing to promote"},
		{Name: "parameters", Run: p.checkParameters, Protects: "parameter groups do not follow the writer's role"},
		{Name: "backups", Run: p.checkBackups, Protects: "the snapshot of the lost tail expires with the old cluster's retention"},
		{Name: "database", Run: p.checkDatabase, Protects: "the standby must be able to log in with its own secret, and the write fence must be there"},
		{Name: "images", Run: p.checkImages, Protects: "new tasks in the standby region pull their images there"},
		{Name: "capacity", Run: p.checkCapacity, Protects: "the standby must run the application, and may grow to what the active site runs"},
		{Name: "canary", Timeout: 4 * time.Minute, Run: p.checkCanary, Protects: "a new task starts in the standby region: image, secrets, network, capacity"},
		{Name: "quotas", Run: p.checkQuotas, Protects: "a quota that is reached stops the standby from growing"},
		{Name: "alarms", Run: p.checkAlarms, Protects: "somebody has to hear of it"},
		{Name: "subscriptions", Run: p.checkSubscriptions, Protects: "an alarm without a confirmed subscription reaches nobody"},
		{Name: "dns", Run: p.checkDNS, Protects: "clients follow the records, the records follow the health check, and that must ask the wardens"},
		{Name: "keep-alive", Run: p.checkKeepAlive, Protects: "a connection that outlives the DNS change stays with the old site"},
		{Name: "permissions", Timeout: time.Minute, Run: p.checkPermissions, Protects: "a warden that may not promote its database is a spectator; one that may touch the other site's is a danger"},
		{Name: "clocks", Timeout: time.Minute, Run: p.checkClocks, Protects: "the lease assumes that clocks run within 1 % of each other"},
		{Name: "terraform", Timeout: 10 * time.Minute, Run: p.checkTerraform, Protects: "what was changed by hand is not there after the next apply"},
	}
}

// sites are both sites, the active one first.
func (p *preflight) sites() []operator.Site { return []operator.Site{p.active, p.standby} }

func of(s operator.Site) subject { return subject("site " + s.Name) }
