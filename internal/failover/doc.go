// Package failover decides. From one [Observation] it derives one [Decision], without clocks, networks or memory.
package failover
