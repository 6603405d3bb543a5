package metrics

import (
	"strings"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/alarms"
	"holdfast/internal/twin/ecs"
)

const containers = "AWS/ECS"

// cpuUnits is one processor in a task definition's units.
const cpuUnits = 1024

// measureServices publishes what the running tasks of each service take, relative to what they have booked.
func (c *Collector) measureServices(region string, s span, sink Sink) {
	if c.options.Containers == nil {
		return
	}
	sizes := map[string]topology.TaskDefinition{}
	for _, td := range c.options.Containers.TaskDefinitions(region) {
		sizes[td.ARN] = td
	}
	running := map[string]bool{}
	for _, cluster := range c.options.Topology.ECSClusters {
		if cluster.Region != region {
			continue
		}
		tasks, err := c.options.Containers.Tasks(region, cluster.Name, "")
		if err != nil {
			continue
		}
		cpu, memory := map[string][]float64{}, map[string][]float64{}
		for _, t := range tasks {
			if t.LastStatus != "RUNNING" || t.ServiceName == "" {
				continue
			}
			running[t.ID] = true
			percent, ok := c.taskCPU(t, s, sizes[t.TaskDefinitionARN].CPUUnits)
			if ok {
				cpu[t.ServiceName] = append(cpu[t.ServiceName], percent)
			}
			if limit := float64(sizes[t.TaskDefinitionARN].MemoryMiB) * (1 << 20); limit > 0 {
				memory[t.ServiceName] = append(memory[t.ServiceName], min(100, 100*c.taskMemory(t)/limit))
			}
		}
		putByService(sink, region, cluster.Name, "CPUUtilization", cpu, s.at)
		putByService(sink, region, cluster.Name, "MemoryUtilization", memory, s.at)
	}
	c.forgetTasks(region, running)
}

// taskCPU is the processor time of a task since it was last seen, in percent of its size, at most 100 as on Fargate, where
// a task gets no more.
func (c *Collector) taskCPU(t ecs.Task, s span, units int) (percent float64, ok bool) {
	before, seen := c.tasks[t.Region+" "+t.ID]
	c.tasks[t.Region+" "+t.ID] = t.CPUTime
	length := s.length
	if !seen {
		length = min(length, c.options.Now().Sub(t.StartedAt))
	}
	if length <= 0 || units == 0 {
		return 0, false
	}
	used := max(0, t.CPUTime-before)
	return min(100, 100*used.Seconds()/length.Seconds()*cpuUnits/float64(units)), true
}

// taskMemory is the memory that a task's processes have, in bytes.
func (c *Collector) taskMemory(t ecs.Task) (total float64) {
	for _, container := range t.Containers {
		if container.Pid == 0 || container.ExitCode != nil {
			continue
		}
		if usage, err := c.options.Usage(container.Pid); err == nil {
			total += float64(usage.Resident)
		}
	}
	return total
}

// forgetTasks drops what was seen of a region's tasks that do not run any more.
func (c *Collector) forgetTasks(region string, running map[string]bool) {
	for key := range c.tasks {
		if id, mine := strings.CutPrefix(key, region+" "); mine && !running[id] {
			delete(c.tasks, key)
		}
	}
}

func putByService(sink Sink, region, cluster, name string, values map[string][]float64, at time.Time) {
	var all []float64
	for service, list := range values {
		all = append(all, list...)
		sink.Put(region, containers, stamped(at, alarms.Set(name, list, "Percent", map[string]string{
			"ClusterName": cluster, "ServiceName": service,
		}))...)
	}
	if len(all) > 0 {
		sink.Put(region, containers, stamped(at, alarms.Set(name, all, "Percent", map[string]string{"ClusterName": cluster}))...)
	}
}
