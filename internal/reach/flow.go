package reach

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/topology"
)

// Flow is a connection that the deployment needs, and whether its network lets it through.
type Flow struct {
	From, To Endpoint
	Port     int
	// Why says what needs it.
	Why string
	Verdict
}

// Flows lists the connections that a topology itself says it needs: clients and health checkers to the listeners, the
// balancers to the tasks behind them, and the tasks to every database, balancer and URL in their environment and to
// the AWS services that start them. Tasks are looked at in each subnet that they may run in.
func Flows(t topology.Topology) []Flow {
	n := New(t)
	var flows []Flow
	add := func(from, to Endpoint, port int, why string) {
		flows = append(flows, Flow{From: from, To: to, Port: port, Why: why, Verdict: n.Connect(from, to, "tcp", port)})
	}
	client := Client(t)
	for _, l := range t.Listeners {
		if lb, ok := balancerOf(t, l.LoadBalancerARN); ok && !lb.Internal {
			add(client, LoadBalancer(t, lb), l.Port, "listener")
		}
	}
	for _, s := range t.Services {
		for place, subnet := range s.SubnetIDs {
			task := Task(t, s, subnet, place)
			for _, need := range needs(t, s) {
				add(task, need.to, need.port, need.why)
			}
			for _, tg := range s.TargetGroups {
				for _, lb := range balancersOf(t, tg.TargetGroupARN) {
					add(LoadBalancer(t, lb), task, tg.ContainerPort, "target group")
				}
			}
		}
	}
	return flows
}

type need struct {
	to   Endpoint
	port int
	why  string
}

const httpsPort = 443

// needs lists what a service's tasks connect to, as far as their task definition says it.
func needs(t topology.Topology, s topology.Service) []need {
	var list []need
	for _, td := range t.TaskDefinitions {
		if td.ARN != s.TaskDefinitionARN {
			continue
		}
		for _, c := range td.Containers {
			for _, service := range StartServices(c) {
				list = append(list, need{Service(s.Region, service), httpsPort, "start of the task"})
			}
			for _, name := range slices.Sorted(maps.Keys(c.Environment)) {
				list = append(list, named(t, name, c.Environment[name])...)
			}
		}
	}
	return list
}

// StartServices are the AWS services that a task has to reach before its container runs: for its secrets, its log, and
// its image if that is in ECR.
func StartServices(c topology.Container) []string {
	var services []string
	if strings.Contains(c.Image, ".dkr.ecr.") {
		services = append(services, "ecr.api", "ecr.dkr", "s3")
	}
	if len(c.Secrets) > 0 {
		services = append(services, "secretsmanager")
	}
	if c.LogGroup != "" {
		services = append(services, "logs")
	}
	return services
}

// named finds what a variable's value names: a database's endpoint, or a URL, which may be a balancer's.
func named(t topology.Topology, variable, value string) []need {
	var list []need
	for _, c := range t.DBClusters {
		if c.Endpoint == "" || !strings.Contains(value, c.Endpoint) && !strings.Contains(value, c.ReaderEndpoint) {
			continue
		}
		for _, in := range t.DBInstances {
			if in.ClusterIdentifier == c.Identifier && in.Region == c.Region {
				list = append(list, need{Database(t, c, in), c.Port, variable})
			}
		}
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return list
	}
	port := URLPort(u)
	for _, lb := range t.LoadBalancers {
		if strings.EqualFold(lb.DNSName, u.Hostname()) {
			return append(list, need{LoadBalancer(t, lb), port, variable})
		}
	}
	return append(list, need{Host(u.Hostname(), clientAddress), port, variable})
}

// URLPort is the port that a URL of HTTP leads to.
func URLPort(u *url.URL) int {
	fallback := "80"
	if u.Scheme == "https" {
		fallback = "443"
	}
	port, err := strconv.Atoi(cmp.Or(u.Port(), fallback))
	if err != nil {
		return 0
	}
	return port
}

func balancerOf(t topology.Topology, arn string) (topology.LoadBalancer, bool) {
	for _, lb := range t.LoadBalancers {
		if lb.ARN == arn {
			return lb, true
		}
	}
	return topology.LoadBalancer{}, false
}

// balancersOf lists the balancers whose listeners forward to a target group.
func balancersOf(t topology.Topology, targetGroup string) []topology.LoadBalancer {
	var list []topology.LoadBalancer
	for _, l := range t.Listeners {
		actions := []topology.Action{l.Default}
		for _, r := range l.Rules {
			actions = append(actions, r.Action)
		}
		for _, a := range actions {
			lb, ok := balancerOf(t, l.LoadBalancerARN)
			known := slices.ContainsFunc(list, func(other topology.LoadBalancer) bool { return other.ARN == lb.ARN })
			if ok && !known && forwards(a, targetGroup) {
				list = append(list, lb)
			}
		}
	}
	return list
}

func forwards(a topology.Action, targetGroup string) bool {
	return a.TargetGroupARN == targetGroup || slices.ContainsFunc(a.TargetGroups, func(w topology.WeightedTargetGroup) bool {
		return w.TargetGroupARN == targetGroup
	})
}

// String is one line for a person.
func (f Flow) String() string {
	text := fmt.Sprintf("%s to %s, tcp %d (%s): ", f.From.Name, f.To.Name, f.Port, f.Why)
	if f.OK {
		return text + "open via " + f.Via
	}
	return text + f.Reason
}
