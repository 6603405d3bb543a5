package postgres

import (
	"context"
	"sync"
	"time"
)

// meterLimit bounds one question of a [Meter]; an instance that takes longer has no figures.
const meterLimit = time.Second

// Figures are what a server itself says about its work.
type Figures struct {
	// Commits are the commits in the cluster's database since the server's statistics began.
	Commits int64
	// ReplicaLag is how far a reader is behind its cluster's writer, to what the writer has written within half a
	// second; zero for an instance that follows nobody.
	ReplicaLag time.Duration
}

// Meter asks instances for their figures, over one connection each that it keeps. Close it.
type Meter struct {
	aurora *Aurora
	mu     sync.Mutex
	probes map[*instance]*probe
}

// NewMeter returns a meter; it connects when it is first asked.
func (a *Aurora) NewMeter() *Meter { return &Meter{aurora: a, probes: map[*instance]*probe{}} }

// Read asks the running instances of a Region, by identifier. Those that do not answer are left out.
func (m *Meter) Read(ctx context.Context, region string) map[string]Figures {
	m.mu.Lock()
	defer m.mu.Unlock()
	figures := map[string]Figures{}
	var out sync.Mutex
	var asking sync.WaitGroup
	for _, in := range m.aurora.runningIn(region) {
		p := m.probes[in]
		if p == nil {
			p = &probe{}
			m.probes[in] = p
		}
		asking.Go(func() {
			if f, err := m.ask(ctx, p, in); err == nil {
				out.Lock()
				figures[in.spec.Identifier] = f
				out.Unlock()
			}
		})
	}
	asking.Wait()
	return figures
}

func (m *Meter) ask(ctx context.Context, p *probe, in *instance) (Figures, error) {
	ctx, cancel := context.WithTimeout(ctx, meterLimit)
	defer cancel()
	const question = `select array[
		coalesce((select xact_commit from pg_stat_database where datname = $1), 0),
		case when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
			else coalesce((extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000)::bigint, 0) end]`
	var values []int64
	if err := p.query(ctx, m.aurora, in, question, &values, in.cluster.spec.DatabaseName); err != nil {
		return Figures{}, err
	}
	return Figures{Commits: values[0], ReplicaLag: time.Duration(values[1]) * time.Microsecond}, nil
}

// Close ends the connections.
func (m *Meter) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for in, p := range m.probes {
		p.close()
		delete(m.probes, in)
	}
}

// runningIn lists the instances of a Region whose servers answer.
func (a *Aurora) runningIn(region string) []*instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*instance
	for _, c := range a.clusters {
		for _, in := range c.instances {
			if c.spec.Region == region && c.region.up && !c.region.frozen && in.running() {
				list = append(list, in)
			}
		}
	}
	return list
}
