package topology

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	tfjson "github.com/hashicorp/terraform-json"
)

// outputName is the root output that says which resources make a site.
const outputName = "holdfast"

var accountPattern = regexp.MustCompile(`^[0-9]{12}$`)

// readOutputs reads the root outputs, and from the one named holdfast the deployment's facts and its sites.
func (p *parser) readOutputs(outputs map[string]*tfjson.StateOutput) {
	p.t.Outputs = map[string]any{}
	for name, out := range outputs {
		if out != nil && !out.Sensitive {
			p.t.Outputs[name] = out.Value
		}
	}
	out := outputs[outputName]
	if out == nil {
		p.report(Problem{Address: "output." + outputName, Fault: "is missing", Remedy: "add the root output that the project's infra/outputs.tf defines: it says which resources make a site"})
		return
	}
	fields, is := out.Value.(map[string]any)
	if !is {
		p.report(Problem{Address: "output." + outputName, Value: literal(out.Value), Fault: "is not an object", Remedy: "write it as the project's infra/outputs.tf does"})
		return
	}
	o := object{address: "output." + outputName, fields: fields, report: p.report}
	p.t.Suffix, p.t.DNSName, p.t.AccountID = o.text("suffix"), canonicalName(o.text("dns_name")), o.text("account_id")
	if p.t.AccountID != "" && !accountPattern.MatchString(p.t.AccountID) {
		o.problem("account_id", "is not twelve digits", "correct it in the Terraform")
	}
	p.t.Lease, p.t.Margin = o.duration("lease_seconds"), o.duration("margin_seconds")
	if p.t.Lease < 2*p.t.Margin {
		o.problem("lease_seconds", "is less than twice margin_seconds", "give the lease more time than its safety margin")
	}
	p.want(kindGlobalCluster, o.text("global_cluster"), o, "global_cluster")
	p.checkDNSName(o)
	p.readSites(o)
	p.checkTerm(o)
}

// duration is a number of seconds, with fractions, above zero.
func (o object) duration(field string) time.Duration {
	seconds, ok := o.number(field)
	if ok && (seconds <= 0 || seconds > 86400) {
		o.problem(field, "is not between 0 and 86400 seconds", "correct it in the Terraform")
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

func (p *parser) checkDNSName(o object) {
	if p.t.DNSName == "" {
		return
	}
	var failover []string
	for _, rec := range p.t.Records {
		if rec.Name == p.t.DNSName && rec.Failover != "" {
			failover = append(failover, rec.Failover)
		}
	}
	slices.Sort(failover)
	if !slices.Equal(slices.Compact(failover), []string{"PRIMARY", "SECONDARY"}) {
		o.problem("dns_name", "has no pair of aws_route53_record with failover_routing_policy PRIMARY and SECONDARY", "create both records for this name")
	}
}

func (p *parser) readSites(o object) {
	sites := o.blocks("sites")
	if len(sites) != 2 {
		o.problem("sites", fmt.Sprintf("has %d sites where exactly two are understood", len(sites)), "list the active site first and the standby second")
		return
	}
	for i, b := range sites {
		s := Site{
			Name: b.text("name"), Region: b.knownRegion("region"),
			DBClusterIdentifier: b.text("db_cluster_identifier"), ECSClusterName: b.text("ecs_cluster_name"),
			AppService: b.text("app_service"), WardenService: b.text("warden_service"),
			LoadBalancerARN: b.text("load_balancer_arn"), AppTargetGroupARN: b.text("app_target_group_arn"), WardenTargetGroupARN: b.text("warden_target_group_arn"),
		}
		p.checkSite(s, b, o.optional("global_cluster"), i > 0)
		p.t.Sites = append(p.t.Sites, s)
	}
	if p.t.Sites[0].Name == p.t.Sites[1].Name {
		sites[1].problem("name", "is the name of both sites", "give each its own")
	}
	if p.t.Sites[0].Region == p.t.Sites[1].Region {
		sites[1].problem("region", "is the region of both sites", "put them in two regions")
	}
}

// checkSite asks that the site's parts exist, in its region, and settles which cluster is the secondary.
func (p *parser) checkSite(s Site, o object, global string, standby bool) {
	p.wantIn(kindDBCluster, s.Region, s.DBClusterIdentifier, o, "db_cluster_identifier")
	for field, service := range map[string]string{"app_service": s.AppService, "warden_service": s.WardenService} {
		if service != "" {
			p.wantIn(kindService, s.Region, s.ECSClusterName+"/"+service, o, field)
		}
	}
	p.want(kindLoadBalancer, s.LoadBalancerARN, o, "load_balancer_arn")
	p.want(kindTargetGroup, s.AppTargetGroupARN, o, "app_target_group_arn")
	p.want(kindTargetGroup, s.WardenTargetGroupARN, o, "warden_target_group_arn")
	for field, arn := range map[string]string{"load_balancer_arn": s.LoadBalancerARN, "app_target_group_arn": s.AppTargetGroupARN, "warden_target_group_arn": s.WardenTargetGroupARN} {
		if parts, err := ParseARN(arn); err == nil && parts.Region != s.Region {
			o.problem(field, "is not in the site's region "+s.Region, "correct the output")
		}
	}
	if !slices.ContainsFunc(p.t.Listeners, func(l Listener) bool { return l.LoadBalancerARN == s.LoadBalancerARN }) {
		o.problem("load_balancer_arn", "has no aws_lb_listener", "create one")
	}
	for i := range p.t.DBClusters {
		c := &p.t.DBClusters[i]
		if c.Region != s.Region || c.Identifier != s.DBClusterIdentifier {
			continue
		}
		c.Secondary = standby
		if standby {
			// A secondary is a physical copy: its database and its user are the writer's, whatever its own attributes say.
			c.DatabaseName, c.MasterUsername = o.text("db_name"), o.text("db_user")
		}
		if c.GlobalClusterIdentifier == "" && slices.Contains(p.members[global], c.ARN) {
			c.GlobalClusterIdentifier = global
		}
		if c.GlobalClusterIdentifier == "" || c.GlobalClusterIdentifier != global {
			o.problem("db_cluster_identifier", "is no member of the global cluster", "set global_cluster_identifier of the aws_rds_cluster to the output's global_cluster")
		}
		if !slices.ContainsFunc(p.t.DBInstances, func(i DBInstance) bool { return i.Region == c.Region && i.ClusterIdentifier == c.Identifier }) {
			o.problem("db_cluster_identifier", "has no aws_rds_cluster_instance", "create a writer and a reader")
		}
	}
}

// checkTerm asks that the output and the stack say the same about the term table.
func (p *parser) checkTerm(o object) {
	t := p.t.TermTable
	if t.Name == "" {
		return
	}
	if name := o.text("term_table"); name != "" && name != t.Name {
		o.problem("term_table", "is not the table "+t.Name+" of the stack", "correct the output")
	}
	if w := o.knownRegion("witness_region"); w != "" && w != t.WitnessRegion {
		o.problem("witness_region", "is not the stack's "+t.WitnessRegion, "correct the output")
	}
	regions := make([]string, 0, 2)
	for _, s := range p.t.Sites {
		regions = append(regions, s.Region)
	}
	slices.Sort(regions)
	if len(regions) == 2 && !slices.Equal(regions, t.ReplicaRegions) {
		o.problem("term_regions", fmt.Sprintf("and the stack's replicas %v are not the sites' regions %v", t.ReplicaRegions, regions), "put one replica in each site's region")
	}
}
