package cost

import (
	"fmt"
	"slices"
)

// Assumption is one quantity that a state can't tell: what a month of use looks like.
type Assumption struct {
	// Name is the flag's name without the dashes.
	Name string
	// Default is a decimal.
	Default string
	Unit    string
	// About says what it means and what it drives.
	About string
}

// Assumptions are the documented defaults: a small payment system at ten payments a second, about 26 million a month.
// Site-wise ones hold for each site; "active" ones for the active site alone.
func Assumptions() []Assumption {
	return []Assumption{
		{"storage-gb", "100", "GB", "size of the database, held in each site"},
		{"backup-gb", "0", "GB", "backup storage beyond the database's size, for each site (up to its size it is free)"},
		{"io-millions", "100", "million", "storage I/O requests in the active site; not charged with I/O-Optimized storage"},
		{"replicated-write-io-millions", "50", "million", "write I/O replicated to each secondary cluster"},
		{"transfer-gb", "50", "GB", "data sent from the active site's region to the other one"},
		{"internet-gb", "50", "GB", "data sent to clients from the active site's region"},
		{"nat-gb", "20", "GB", "data through the NAT gateways of each site"},
		{"endpoint-gb", "20", "GB", "data through the interface endpoints of each site"},
		{"lcu-active", "1", "LCU", "mean load balancer capacity units in the active site"},
		{"lcu-standby", "0.1", "LCU", "mean load balancer capacity units in the standby site"},
		{"requests-millions", "30", "million", "requests that the firewall of the active site inspects"},
		{"log-gb", "10", "GB", "logs taken in, for each log group"},
		{"log-stored-gb", "10", "GB", "logs kept, for each log group"},
		{"term-writes-millions", "1", "million", "writes to the term table, each charged in every replica"},
		{"term-reads-millions", "30", "million", "reads of the term table"},
		{"term-storage-gb", "0.001", "GB", "size of the term table, in each replica"},
		{"image-gb", "1", "GB", "container images kept in each region that ECR replicates to or from"},
		{"efs-gb", "1", "GB", "exports kept on each file system"},
		{"acu", "2", "ACU", "mean capacity units of each Serverless v2 instance"},
		{"dr-tasks", "0", "tasks", "payment tasks left in the standby site by the strategy that reduces them: 0 or 1"},
	}
}

// Usage holds a quantity per assumption.
type Usage map[string]Amount

// DefaultUsage is the defaults of [Assumptions].
func DefaultUsage() Usage {
	u := Usage{}
	for _, a := range Assumptions() {
		v, err := ParseAmount(a.Default)
		if err != nil {
			panic("the default of " + a.Name + ": " + err.Error())
		}
		u[a.Name] = v
	}
	return u
}

// check refuses a usage that lacks an assumption, or has one that nobody knows or that can't be.
func (u Usage) check() error {
	names := []string{}
	for _, a := range Assumptions() {
		names = append(names, a.Name)
		if v, has := u[a.Name]; !has || v.Sign() < 0 {
			return fmt.Errorf("the assumption %q is missing or below 0", a.Name)
		}
	}
	for name := range u {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no assumption is called %q", name)
		}
	}
	if v := u["dr-tasks"]; v.Cmp(whole(0)) != 0 && v.Cmp(whole(1)) != 0 {
		return fmt.Errorf("dr-tasks %s: want 0 or 1", v.Exact())
	}
	return nil
}
