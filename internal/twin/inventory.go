package twin

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

// The kinds of parts in an [Inventory].
const (
	KindEndpoint   = "aws endpoint"
	KindDNS        = "dns"
	KindBalancer   = "load balancer"
	KindTask       = "task"
	KindDatabase   = "database"
	KindWriterName = "writer endpoint"
	KindReaderName = "reader endpoint"
	KindSupervisor = "supervisor"
)

// Inventory is what runs in a twin right now, and where.
type Inventory struct {
	At    time.Time `json:"at"`
	Parts []Part    `json:"parts"`
	// Total is the usage of all processes of the twin over Sampled, its own included.
	Total   Usage         `json:"total"`
	Sampled time.Duration `json:"sampled_ns"`
}

// Part is one thing that runs, or an address that answers.
type Part struct {
	// Site and Region are empty for what is in no region.
	Site   string `json:"site,omitempty"`
	Region string `json:"region,omitempty"`
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	// Address is host:port, empty for what listens nowhere.
	Address string `json:"address,omitempty"`
	// State is in AWS's words where AWS has some.
	State string `json:"state"`
	PID   int    `json:"pid,omitempty"`
	// Usage is nil for what has no process of its own: it runs in the supervisor.
	Usage *Usage `json:"usage,omitempty"`
}

// Inventory looks at everything, and measures the processes for as long as sample, which may be 0.
func (t *Twin) Inventory(ctx context.Context, sample time.Duration) (Inventory, error) {
	root := os.Getpid()
	before, err := processTree(root)
	if err != nil {
		return Inventory{}, err
	}
	began := time.Now()
	timer := time.NewTimer(sample)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return Inventory{}, fmt.Errorf("measure the twin's processes: %w", ctx.Err())
	case <-timer.C:
	}
	after, err := processTree(root)
	if err != nil {
		return Inventory{}, err
	}
	inventory := Inventory{At: time.Now().UTC(), Sampled: time.Since(began), Parts: t.parts()}
	owners := map[int]bool{}
	for _, p := range inventory.Parts {
		if p.PID != 0 {
			owners[p.PID] = true
		}
	}
	usage := usageByOwner(before, after, inventory.Sampled, root, owners)
	for i, p := range inventory.Parts {
		if u, ok := usage[p.PID]; ok && p.PID != 0 {
			inventory.Parts[i].Usage = &u
		}
	}
	for _, u := range usage {
		inventory.Total.add(u)
	}
	return inventory, nil
}

func (t *Twin) parts() []Part {
	parts := []Part{
		{Kind: KindSupervisor, Name: "holdfast", State: "running", PID: os.Getpid()},
		{Kind: KindEndpoint, Name: "for callers outside the regions", Address: t.apiAddress(network.Outside), State: "answers"},
		{Kind: KindDNS, Name: t.topo.DNSName, Address: t.names.Addr(), State: "answers"},
	}
	for _, site := range t.topo.Sites {
		state := "answers"
		if !t.fabric.Up(site.Region) {
			state = "lost"
		}
		at := Part{Site: site.Name, Region: site.Region, State: state}
		parts = append(parts, at.of(KindEndpoint, "for callers in "+site.Region, t.apiAddress(site.Region)))
		for _, lb := range t.topo.LoadBalancers {
			if lb.Region == site.Region {
				address := t.hostPort(t.balancers.Address(lb.ARN), t.AppPort())
				parts = append(parts, at.of(KindBalancer, lb.Name, address))
			}
		}
		parts = append(parts, t.databaseParts(at)...)
		parts = append(parts, t.taskParts(at)...)
	}
	return parts
}

func (p Part) of(kind, name, address string) Part {
	p.Kind, p.Name, p.Address = kind, name, address
	return p
}

func (t *Twin) hostPort(host netip.Addr, port int) string {
	return net.JoinHostPort(host.String(), strconv.Itoa(port))
}

// databaseParts are a site's endpoints, as callers outside the regions reach them, and its instances.
func (t *Twin) databaseParts(at Part) []Part {
	var parts []Part
	for _, c := range t.aurora.Clusters(at.Region) {
		for _, e := range [][2]string{{KindWriterName, c.Endpoint}, {KindReaderName, c.ReaderEndpoint}} {
			host, port, ok := t.aurora.EndpointAddress(e[1])
			if !ok {
				continue
			}
			p := at.of(e[0], c.Identifier, net.JoinHostPort(host, strconv.Itoa(port)))
			if e[0] == KindWriterName && c.ReplicationSourceARN != "" && at.State == "answers" {
				p.State = "refuses: a secondary cluster" // as on AWS
			}
			parts = append(parts, p)
		}
	}
	for _, in := range t.aurora.Instances(at.Region) {
		p := at.of(KindDatabase, in.Identifier, net.JoinHostPort(in.Address, strconv.Itoa(in.Port)))
		p.State, p.PID = in.Status, in.Pid
		if in.IsWriter {
			p.State += ", writer"
		}
		parts = append(parts, p)
	}
	return parts
}

// taskParts are the containers of a site's tasks that have not stopped.
func (t *Twin) taskParts(at Part) []Part {
	ports := map[string]int{} // task definition and container
	for _, td := range t.scheduler.TaskDefinitions(at.Region) {
		for _, c := range td.Containers {
			ports[td.ARN+" "+c.Name] = firstPort(c)
		}
	}
	var parts []Part
	for _, cluster := range t.scheduler.Clusters(at.Region) {
		tasks, err := t.scheduler.Tasks(at.Region, cluster.Name, "")
		if err != nil { // clusters do not go away
			continue
		}
		for _, task := range tasks {
			if task.LastStatus == "STOPPED" {
				continue
			}
			for _, c := range task.Containers {
				p := at.of(KindTask, task.ServiceName+" "+task.ID, "")
				if port := ports[task.TaskDefinitionARN+" "+c.Name]; port > 0 {
					p.Address = t.hostPort(task.Address, t.fabric.Port(port))
				}
				p.State, p.PID = task.LastStatus, c.Pid
				parts = append(parts, p)
			}
		}
	}
	return parts
}

func firstPort(c topology.Container) int {
	if len(c.Ports) == 0 {
		return 0
	}
	return c.Ports[0]
}
