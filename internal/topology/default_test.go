package topology_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/topology"
)

func parsedDefault(t *testing.T) topology.Topology {
	t.Helper()
	d, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What the description of the system asks for, by the names and numbers that people rely on.
func TestDefaultDescribesTheSystem(t *testing.T) {
	d := parsedDefault(t)
	var sites []string
	for _, s := range d.Sites {
		sites = append(sites, strings.Join([]string{s.Name, s.Region, s.DBClusterIdentifier, s.AppService}, " "))
	}
	want := []string{
		"primary us-east-1 aurora-primary-" + d.Suffix + " payment-service-primary-" + d.Suffix,
		"dr us-west-2 aurora-dr-" + d.Suffix + " payment-service-dr-" + d.Suffix,
	}
	if !slices.Equal(sites, want) {
		t.Errorf("sites are %q, want %q", sites, want)
	}
	if d.DNSName != "app.payment-dr-"+d.Suffix+".example.com" {
		t.Errorf("DNS name is %q", d.DNSName)
	}
	if len(d.GlobalClusters) != 1 || d.GlobalClusters[0].Identifier != "global-aurora-"+d.Suffix {
		t.Errorf("global clusters are %+v", d.GlobalClusters)
	}
	if d.Lease != 20*time.Second || d.Margin != 2500*time.Millisecond {
		t.Errorf("lease %v and margin %v, want 20s and 2.5s", d.Lease, d.Margin)
	}
	if d.TermTable.WitnessRegion != "us-east-2" || !slices.Equal(d.TermTable.ReplicaRegions, []string{"us-east-1", "us-west-2"}) {
		t.Errorf("term table is %+v", d.TermTable)
	}
	for _, site := range []string{"primary", "dr"} {
		name := "/ecs/payment-app-" + site + "-" + d.Suffix
		if !slices.ContainsFunc(d.LogGroups, func(g topology.LogGroup) bool { return g.Name == name }) {
			t.Errorf("there is no log group %s", name)
		}
	}
}

func TestDefaultHasWhatASiteNeeds(t *testing.T) {
	d := parsedDefault(t)
	for i, s := range d.Sites {
		c := d.DBClusters[slices.IndexFunc(d.DBClusters, func(c topology.DBCluster) bool { return c.Identifier == s.DBClusterIdentifier })]
		if c.Region != s.Region || c.Secondary != (i == 1) || c.BackupRetentionDays != 7 || !c.StorageEncrypted || len(c.SubnetIDs) != 3 || c.Port != 5432 {
			t.Errorf("cluster of %s is %+v", s.Name, c)
		}
		instances := 0
		for _, inst := range d.DBInstances {
			if inst.ClusterIdentifier == s.DBClusterIdentifier {
				instances++
			}
		}
		if instances != 2 {
			t.Errorf("%s has %d database instances, want 2", s.Name, instances)
		}
		// The wardens are targets twice: for their own endpoints, and for what they forward while DNS drains.
		for service, groups := range map[string]int{s.AppService: 1, s.WardenService: 2} {
			j := slices.IndexFunc(d.Services, func(x topology.Service) bool { return x.Name == service })
			if j < 0 || d.Services[j].Region != s.Region || d.Services[j].DesiredCount < 2 || len(d.Services[j].TargetGroups) != groups {
				t.Errorf("service %s is missing or wrong", service)
			}
		}
		checkHealthRule(t, d, s)
	}
}

// checkHealthRule asks that the balancer sends /healthz to the warden and everything else to the application.
func checkHealthRule(t *testing.T, d topology.Topology, s topology.Site) {
	t.Helper()
	for _, l := range d.Listeners {
		if l.LoadBalancerARN != s.LoadBalancerARN || l.Default.Type != "forward" {
			continue
		}
		if l.Default.TargetGroupARN != s.AppTargetGroupARN {
			t.Errorf("%s: the default action leads to %s, want the application", s.Name, l.Default.TargetGroupARN)
		}
		if n := slices.IndexFunc(l.Default.TargetGroups, func(g topology.WeightedTargetGroup) bool { return g.Weight == 0 }); n < 0 || len(l.Default.TargetGroups) != 2 {
			t.Errorf("%s: the default action divides requests as %+v, want one group beside the application, of weight 0", s.Name, l.Default.TargetGroups)
		}
		if !slices.ContainsFunc(l.Rules, func(r topology.ListenerRule) bool {
			return slices.Contains(r.PathPatterns, "/healthz") && r.Action.TargetGroupARN == s.WardenTargetGroupARN
		}) {
			t.Errorf("%s: no rule sends /healthz to the warden: %+v", s.Name, l.Rules)
		}
		return
	}
	t.Errorf("%s has no listener that forwards", s.Name)
}

func TestDefaultIsRedacted(t *testing.T) {
	if state := string(topology.DefaultState()); strings.Contains(state, "rendered-and-then-redacted") {
		t.Error("the password of the rendering run stands in the embedded state")
	}
}

func TestParsingTwiceGivesTheSame(t *testing.T) {
	if a, b := parsedDefault(t), parsedDefault(t); !reflect.DeepEqual(a, b) {
		t.Error("two parses of one state differ")
	}
}

// What a person is told: the alarm on a region in trouble, and what the databases report about a failover.
func TestDefaultTellsPeople(t *testing.T) {
	d := parsedDefault(t)
	for _, s := range d.Sites {
		topic := d.Topics[slices.IndexFunc(d.Topics, func(x topology.Topic) bool { return x.Region == s.Region })].ARN
		i := slices.IndexFunc(d.CompositeAlarms, func(c topology.CompositeAlarm) bool { return c.Name == "region-impaired-"+s.Name+"-"+d.Suffix })
		if i < 0 || d.CompositeAlarms[i].Region != s.Region || !slices.Contains(d.CompositeAlarms[i].AlarmActions, topic) ||
			!strings.Contains(d.CompositeAlarms[i].Rule, `ALARM("ecs-healthy-hosts-`+s.Name+`-`+d.Suffix+`")`) {
			t.Errorf("composite alarms are %+v", d.CompositeAlarms)
		}
		j := slices.IndexFunc(d.EventSubscriptions, func(e topology.EventSubscription) bool { return e.Region == s.Region })
		if j < 0 || d.EventSubscriptions[j].TopicARN != topic || !slices.Equal(d.EventSubscriptions[j].SourceIDs, []string{s.DBClusterIdentifier}) ||
			!slices.Contains(d.EventSubscriptions[j].Categories, "global-failover") {
			t.Errorf("event subscriptions are %+v", d.EventSubscriptions)
		}
	}
	none := "no-site-serves-" + d.Suffix
	i := slices.IndexFunc(d.CompositeAlarms, func(c topology.CompositeAlarm) bool { return c.Name == none })
	if i < 0 || d.CompositeAlarms[i].Region != "us-east-1" || len(d.CompositeAlarms[i].AlarmActions) != 1 {
		t.Errorf("composite alarms are %+v, want %s among them", d.CompositeAlarms, none)
	}
}
