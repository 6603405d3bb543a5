package dns

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"holdfast/internal/topology"
)

const (
	// aliasTTL is the fixed TTL of an alias to a load balancer.
	aliasTTL = 60 * time.Second
	// The TTLs of Route 53's own NS and SOA records, and the rest of its SOA record.
	nsTTL       = 172800 * time.Second
	soaTTL      = 900 * time.Second
	soaRefresh  = 7200 * time.Second
	soaRetry    = 900 * time.Second
	soaExpire   = 1209600 * time.Second
	soaMinimum  = 86400 * time.Second
	hostmaster  = "awsdns-hostmaster.amazon.com."
	firstServer = "ns-1.awsdns-00.com."
)

var nameServers = []string{firstServer, "ns-513.awsdns-00.net.", "ns-1025.awsdns-00.org.", "ns-1537.awsdns-00.co.uk."}

type setKey struct {
	name  string
	rtype uint16
}

// set is all records of one name and type.
type set struct {
	plain []dns.RR
	// aliases are records without a value of their own.
	aliases  []topology.Record
	failover *failover
}

// zone is one hosted zone. It is not changed after New, except for the choice inside its failovers.
type zone struct {
	apex string
	sets map[setKey]*set
	// names has every name that exists, also those that only have names below them.
	names map[string]bool
}

// failover is one pair of failover records.
type failover struct {
	name               string
	primary, secondary *choice
	// active is the set identifier of the last review; the server's lock guards it.
	active string
}

// choice is one failover record with what it is answered with.
type choice struct {
	record topology.Record
	plain  []dns.RR
}

// load reads zones and records.
func (s *Server) load(t topology.Topology) error {
	byID := map[string]*zone{}
	for _, z := range t.Zones {
		if z.Private {
			continue
		}
		zn := &zone{apex: dns.CanonicalName(z.Name), sets: map[setKey]*set{}, names: map[string]bool{}}
		zn.add(zn.apex)
		byID[z.ID] = zn
		s.zones = append(s.zones, zn)
	}
	// The longest apex first, so that a zone wins over the one above it.
	slices.SortStableFunc(s.zones, func(a, b *zone) int { return cmp.Compare(dns.CountLabel(b.apex), dns.CountLabel(a.apex)) })
	private := map[string]bool{}
	for _, z := range t.Zones {
		private[z.ID] = z.Private
	}
	for _, r := range t.Records {
		if private[r.ZoneID] {
			continue
		}
		zn := byID[r.ZoneID]
		if zn == nil {
			return fmt.Errorf("record %s %s: its zone %q is not in the topology", r.Name, r.Type, r.ZoneID)
		}
		if err := s.loadRecord(zn, r); err != nil {
			return fmt.Errorf("record %s %s: %w", r.Name, r.Type, err)
		}
	}
	for _, zn := range s.zones {
		s.ownRecords(zn)
	}
	for _, f := range s.failovers {
		if f.primary == nil {
			return fmt.Errorf("record %s: failover without a PRIMARY record", f.name)
		}
	}
	return nil
}

func (s *Server) loadRecord(zn *zone, r topology.Record) error {
	name := dns.CanonicalName(r.Name)
	if !dns.IsSubDomain(zn.apex, name) {
		return fmt.Errorf("it is outside its zone %s", zn.apex)
	}
	rtype, ok := dns.StringToType[strings.ToUpper(r.Type)]
	if !ok {
		return fmt.Errorf("unknown type")
	}
	if r.HealthCheckID != "" && s.checks[r.HealthCheckID] == nil {
		return fmt.Errorf("its health check %q is not in the topology", r.HealthCheckID)
	}
	plain, err := s.parseValues(name, r)
	if err != nil {
		return err
	}
	key := setKey{name, rtype}
	st := zn.sets[key]
	if st == nil {
		st = &set{}
		zn.sets[key] = st
		zn.add(name)
	}
	if r.Failover == "" {
		st.plain = append(st.plain, plain...)
		if r.AliasName != "" {
			st.aliases = append(st.aliases, r)
		}
		return nil
	}
	return s.loadFailover(st, r, plain)
}

func (s *Server) loadFailover(st *set, r topology.Record, plain []dns.RR) error {
	if st.failover == nil {
		st.failover = &failover{name: strings.TrimSuffix(dns.CanonicalName(r.Name), ".")}
		s.failovers = append(s.failovers, st.failover)
	}
	c := &choice{record: r, plain: plain}
	switch {
	case r.Failover == "PRIMARY" && st.failover.primary == nil:
		st.failover.primary = c
	case r.Failover == "SECONDARY" && st.failover.secondary == nil:
		st.failover.secondary = c
	default:
		return fmt.Errorf("a second or unknown failover record %q", r.Failover)
	}
	return nil
}

func (s *Server) parseValues(name string, r topology.Record) ([]dns.RR, error) {
	var list []dns.RR
	for _, value := range r.Values {
		line := fmt.Sprintf("%s %d IN %s %s", name, s.seconds(r.TTL), strings.ToUpper(r.Type), value)
		rr, err := dns.NewRR(line)
		if err != nil || rr == nil {
			return nil, fmt.Errorf("the value %q can't be read: %w", value, err)
		}
		list = append(list, rr)
	}
	if len(list) == 0 && r.AliasName == "" {
		return nil, fmt.Errorf("it has neither a value nor an alias target")
	}
	return list, nil
}

// ownRecords adds the NS and SOA records that Route 53 makes for every zone, unless the topology has them.
func (s *Server) ownRecords(zn *zone) {
	if key := (setKey{zn.apex, dns.TypeNS}); zn.sets[key] == nil {
		st := &set{}
		for _, server := range nameServers {
			st.plain = append(st.plain, &dns.NS{Hdr: s.header(zn.apex, dns.TypeNS, nsTTL), Ns: server})
		}
		zn.sets[key] = st
	}
	if key := (setKey{zn.apex, dns.TypeSOA}); zn.sets[key] == nil {
		zn.sets[key] = &set{plain: []dns.RR{&dns.SOA{
			Hdr: s.header(zn.apex, dns.TypeSOA, soaTTL), Ns: firstServer, Mbox: hostmaster, Serial: 1, Refresh: s.seconds(soaRefresh),
			Retry: s.seconds(soaRetry), Expire: s.seconds(soaExpire), Minttl: s.seconds(soaMinimum),
		}}}
	}
}

func (s *Server) header(name string, rtype uint16, ttl time.Duration) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rtype, Class: dns.ClassINET, Ttl: s.seconds(ttl)}
}

// add notes that a name and all names between it and the apex exist.
func (z *zone) add(name string) {
	for {
		z.names[name] = true
		if name == z.apex || !dns.IsSubDomain(z.apex, name) {
			return
		}
		next, end := dns.NextLabel(name, 0)
		if end {
			return
		}
		name = name[next:]
	}
}

// source is the name whose records answer for a name: itself, or the wildcard of its closest existing ancestor
// (RFC 4592). False if the name does not exist.
func (z *zone) source(name string) (string, bool) {
	if z.names[name] {
		return name, true
	}
	for ancestor := name; ancestor != z.apex; {
		next, end := dns.NextLabel(ancestor, 0)
		if end {
			return "", false
		}
		ancestor = ancestor[next:]
		if z.names[ancestor] {
			wildcard := "*." + ancestor
			return wildcard, z.names[wildcard]
		}
	}
	return "", false
}

// delegation finds the NS records that hand a name to another server's zone, below this one's apex.
func (z *zone) delegation(name string) []dns.RR {
	for name != z.apex {
		if st := z.sets[setKey{name, dns.TypeNS}]; st != nil {
			return st.plain
		}
		next, end := dns.NextLabel(name, 0)
		if end {
			return nil
		}
		name = name[next:]
	}
	return nil
}
