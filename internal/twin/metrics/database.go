package metrics

import (
	"context"
	"regexp"
	"strings"
	"time"

	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/postgres"
	"holdfast/internal/twin/task"
)

const databases = "AWS/RDS"

// instanceState is what was seen of an instance last.
type instanceState struct {
	pid     int
	cpu     time.Duration
	waits   map[int]time.Duration
	commits int64
	// counted says that commits is known.
	counted bool
}

// clientTitle is the title of a process that serves a client: an optional cluster name, user, database, address(port). The
// twin's own user and replication are not clients.
var clientTitle = regexp.MustCompile(`^postgres: (?:\S+: )?(\S+) \S+ [0-9a-f.:]+\(\d+\)`)

// processorsOf is how many processors an instance class has, by its size.
// https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Concepts.DBInstanceClass.Summary.html
func processorsOf(class string) float64 {
	size := class[strings.LastIndexByte(class, '.')+1:]
	sizes := map[string]float64{
		"medium": 2, "large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32, "12xlarge": 48, "16xlarge": 64,
		"24xlarge": 96, "32xlarge": 128, "48xlarge": 192,
	}
	if n, ok := sizes[size]; ok {
		return n
	}
	return 2
}

// demand is the processor time that a server's processes used since they were last looked at, and what they would have
// used on a machine of their own: they were ready and waited for one of this machine's processors.
func demand(before instanceState, usage task.ProcessUsage) time.Duration {
	d := max(0, usage.CPU-before.cpu)
	for pid, waited := range usage.Waits {
		d += max(0, waited-before.waits[pid])
	}
	return d
}

// readings collects values under several sets of dimensions, so that a cluster's datum holds those of all its instances.
type readings struct {
	order []string
	data  map[string]*reading
}

type reading struct {
	name, unit string
	dimensions map[string]string
	values     []float64
}

func (r *readings) add(name string, value float64, unit string, in postgres.Instance) {
	role := map[bool]string{true: "WRITER", false: "READER"}[in.IsWriter]
	for key, dimensions := range map[string]map[string]string{
		"instance " + in.Identifier:                 {"DBInstanceIdentifier": in.Identifier},
		"cluster " + in.ClusterIdentifier:           {"DBClusterIdentifier": in.ClusterIdentifier},
		"role " + role + " " + in.ClusterIdentifier: {"DBClusterIdentifier": in.ClusterIdentifier, "Role": role},
	} {
		key = name + " " + key
		if r.data[key] == nil {
			r.data[key] = &reading{name: name, unit: unit, dimensions: dimensions}
			r.order = append(r.order, key)
		}
		r.data[key].values = append(r.data[key].values, value)
	}
}

func (r *readings) put(sink Sink, region, namespace string, at time.Time) {
	for _, key := range r.order {
		d := r.data[key]
		sink.Put(region, namespace, stamped(at, alarms.Set(d.name, d.values, d.unit, d.dimensions))...)
	}
}

// measureInstances reads the servers' processes and asks them for their own figures. One that is down, or stands still,
// reports nothing.
func (c *Collector) measureInstances(ctx context.Context, region string, s span, sink Sink) {
	if c.options.Databases == nil {
		return
	}
	var figures map[string]postgres.Figures
	if c.options.Figures != nil {
		figures = c.options.Figures.Read(ctx, region)
	}
	out := readings{data: map[string]*reading{}}
	for _, in := range c.options.Databases.Instances(region) {
		if in.Pid == 0 || in.Status != postgres.StatusAvailable {
			delete(c.instances, in.Identifier)
			continue
		}
		usage, err := c.options.Usage(in.Pid)
		if err != nil || usage.Stopped {
			continue
		}
		before := c.instances[in.Identifier]
		now := instanceState{pid: in.Pid, cpu: usage.CPU, waits: usage.Waits}
		length := s.length
		if before.pid != in.Pid {
			before = instanceState{}
			length = min(length, usage.Up)
		}
		out.add("EngineUptime", usage.Up.Seconds(), "Seconds", in)
		out.add("DatabaseConnections", float64(connections(usage.Commands)), "Count", in)
		if length > 0 {
			percent := 100 * demand(before, usage).Seconds() / (length.Seconds() * processorsOf(in.Class))
			out.add("CPUUtilization", min(percent, 100), "Percent", in)
		}
		if f, ok := figures[in.Identifier]; ok {
			now.commits, now.counted = f.Commits, true
			if in.IsWriter && before.counted && length > 0 {
				out.add("CommitThroughput", float64(max(0, f.Commits-before.commits))/length.Seconds(), "Count/Second", in)
			}
			if !in.IsWriter {
				out.add("AuroraReplicaLag", float64(f.ReplicaLag)/float64(time.Millisecond), "Milliseconds", in)
			}
		}
		c.instances[in.Identifier] = now
	}
	out.put(sink, region, databases, s.at)
}

// connections counts the processes that serve a client.
func connections(titles []string) int {
	n := 0
	for _, title := range titles {
		m := clientTitle.FindStringSubmatch(title)
		if m != nil && m[1] != "rdsadmin" && m[1] != "walsender" && !strings.Contains(title, "walsender") {
			n++
		}
	}
	return n
}

// watchLag publishes how far a region's secondary cluster is behind.
func (c *Collector) watchLag(region string, now time.Time) {
	if c.options.Databases == nil {
		return
	}
	lag, ok := c.options.Databases.ReplicationLagMilliseconds(region)
	if !ok {
		return
	}
	for _, cluster := range c.options.Databases.Clusters(region) {
		if cluster.Role != postgres.RoleSecondary {
			continue
		}
		dimensions := map[string]string{"DBClusterIdentifier": cluster.Identifier}
		c.options.Sink.Put(region, databases, stamped(now,
			alarms.One("AuroraGlobalDBReplicationLag", lag, "Milliseconds", dimensions),
			alarms.One("AuroraGlobalDBRPOLag", lag, "Milliseconds", dimensions))...)
	}
}
