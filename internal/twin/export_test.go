package twin

import (
	"net"
	"net/url"
	"strconv"
)

// DatabaseDSNs connects to every database instance of a site directly, past every endpoint and relay.
func (t *Twin) DatabaseDSNs(site string) []string {
	s, err := t.site(site)
	if err != nil {
		return nil
	}
	u, err := url.Parse(t.DatabaseDSN(site))
	if err != nil {
		return nil
	}
	var list []string
	for _, in := range t.aurora.Instances(s.Region) {
		u.Host = net.JoinHostPort(in.Address, strconv.Itoa(in.Port))
		list = append(list, u.String())
	}
	return list
}

// FreezeDatabases makes the servers of a site's databases hang (SIGSTOP), or go on.
func (t *Twin) FreezeDatabases(site string, frozen bool) error {
	s, err := t.site(site)
	if err != nil {
		return err
	}
	if frozen {
		return t.aurora.FreezeRegion(s.Region)
	}
	return t.aurora.ThawRegion(s.Region)
}
