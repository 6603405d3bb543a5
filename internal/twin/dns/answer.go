package dns

import (
	"strings"
	"time"

	"github.com/miekg/dns"

	"holdfast/internal/topology"
)

// chaseLimit bounds CNAMEs and aliases that point at further names.
const chaseLimit = 8

// serve answers one query.
func (s *Server) serve(w dns.ResponseWriter, query *dns.Msg) {
	reply := s.reply(query)
	size := dns.MinMsgSize
	if opt := query.IsEdns0(); opt != nil {
		size = min(max(dns.MinMsgSize, int(opt.UDPSize())), udpLimit)
	}
	if w.LocalAddr().Network() == "tcp" {
		size = dns.MaxMsgSize
	}
	reply.Truncate(size)
	_ = w.WriteMsg(reply)
}

// reply builds the answer to one query.
func (s *Server) reply(query *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(query)
	m.Compress = true
	if opt := query.IsEdns0(); opt != nil {
		m.SetEdns0(udpLimit, opt.Do())
		if opt.Version() != 0 {
			m.Rcode = dns.RcodeBadVers
			return m
		}
	}
	switch {
	case query.Opcode != dns.OpcodeQuery:
		m.Rcode = dns.RcodeNotImplemented
		return m
	case len(query.Question) != 1:
		m.Rcode = dns.RcodeFormatError
		return m
	}
	q := query.Question[0]
	if q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		m.Rcode = dns.RcodeRefused
		return m
	}
	zn := s.zoneOf(q.Name)
	if zn == nil {
		s.replyForAWS(m, q)
		return m
	}
	m.Authoritative = true
	s.resolve(m, zn, q.Name, q.Qtype, 0)
	return m
}

// replyForAWS answers a name in one of AWS's own zones, as a resolver does, and refuses every other one.
func (s *Server) replyForAWS(m *dns.Msg, q dns.Question) {
	ip, ttl, ok := s.opts.ServiceAddress(strings.TrimSuffix(dns.CanonicalName(q.Name), "."))
	switch {
	case !ok:
		m.Rcode = dns.RcodeRefused
	case q.Qtype == dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{Hdr: s.header(q.Name, dns.TypeA, ttl), A: ip.AsSlice()})
	}
}

func (s *Server) zoneOf(name string) *zone {
	for _, zn := range s.zones {
		if dns.IsSubDomain(zn.apex, dns.CanonicalName(name)) {
			return zn
		}
	}
	return nil
}

// resolve adds what a name and type are answered with. The owner keeps the spelling it was asked with.
func (s *Server) resolve(m *dns.Msg, zn *zone, owner string, qtype uint16, depth int) {
	name := dns.CanonicalName(owner)
	if servers := zn.delegation(name); servers != nil {
		if depth == 0 {
			m.Authoritative = false
		}
		m.Ns = append(m.Ns, servers...)
		return
	}
	source, exists := zn.source(name)
	if !exists {
		m.Rcode = dns.RcodeNameError
		m.Ns = append(m.Ns, zn.soa()...)
		return
	}
	if qtype == dns.TypeANY { // RFC 8482
		m.Answer = append(m.Answer, &dns.HINFO{Hdr: s.header(owner, dns.TypeHINFO, aliasTTL), Cpu: "RFC8482"})
		return
	}
	answers := s.records(zn, source, qtype, depth)
	if len(answers) == 0 && qtype != dns.TypeCNAME {
		if cnames := s.records(zn, source, dns.TypeCNAME, depth); len(cnames) > 0 {
			m.Answer = append(m.Answer, rename(cnames, owner)...)
			s.chase(m, cnames[0].(*dns.CNAME).Target, qtype, depth)
			return
		}
	}
	if len(answers) == 0 { // the name exists, the type does not
		m.Ns = append(m.Ns, zn.soa()...)
		return
	}
	m.Answer = append(m.Answer, rename(answers, owner)...)
}

// chase follows a CNAME as long as it stays in zones of this server.
func (s *Server) chase(m *dns.Msg, target string, qtype uint16, depth int) {
	if zn := s.zoneOf(target); zn != nil && depth < chaseLimit {
		s.resolve(m, zn, target, qtype, depth+1)
	}
}

// records is what one name and type hold right now.
func (s *Server) records(zn *zone, name string, rtype uint16, depth int) []dns.RR {
	st := zn.sets[setKey{name, rtype}]
	if st == nil {
		return nil
	}
	list := append([]dns.RR(nil), st.plain...)
	for _, alias := range st.aliases {
		list = append(list, s.alias(alias, rtype, depth)...)
	}
	if st.failover != nil {
		c := s.choose(st.failover)
		list = append(list, c.plain...)
		if c.record.AliasName != "" {
			list = append(list, s.alias(c.record, rtype, depth)...)
		}
	}
	return list
}

// alias is what an alias record stands for: the address of a load balancer, or another record of this server.
func (s *Server) alias(r topology.Record, rtype uint16, depth int) []dns.RR {
	if ip, ok := s.opts.AliasAddress(r.AliasName); ok {
		if rtype != dns.TypeA || !ip.Is4() {
			return nil
		}
		return []dns.RR{&dns.A{Hdr: s.header(dns.CanonicalName(r.Name), dns.TypeA, aliasTTL), A: ip.AsSlice()}}
	}
	target := dns.CanonicalName(r.AliasName)
	zn := s.zoneOf(target)
	if zn == nil || depth >= chaseLimit {
		return nil
	}
	source, ok := zn.source(target)
	if !ok {
		return nil
	}
	return s.records(zn, source, rtype, depth+1)
}

func (z *zone) soa() []dns.RR {
	// A negative answer may be kept for the smaller of the record's TTL and its last field (RFC 2308).
	return z.sets[setKey{z.apex, dns.TypeSOA}].plain
}

// rename copies records to another owner.
func rename(list []dns.RR, owner string) []dns.RR {
	out := make([]dns.RR, len(list))
	for i, rr := range list {
		out[i] = dns.Copy(rr)
		out[i].Header().Name = owner
	}
	return out
}

// choose picks the record that a failover name is answered with.
func (s *Server) choose(f *failover) *choice {
	if f.secondary == nil || s.recordHealthy(f.primary.record) || !s.recordHealthy(f.secondary.record) {
		return f.primary
	}
	return f.secondary
}

// recordHealthy is true for a record that nothing checks.
func (s *Server) recordHealthy(r topology.Record) bool {
	if r.HealthCheckID != "" && !s.Healthy(r.HealthCheckID) {
		return false
	}
	return !r.EvaluateTargetHealth || r.AliasName == "" || s.opts.AliasHealthy(r.AliasName)
}

// Active is the set identifier that a name with failover records is answered with now.
func (s *Server) Active(name string) (setIdentifier string, ok bool) {
	want := strings.TrimSuffix(dns.CanonicalName(name), ".")
	for _, f := range s.failovers {
		if f.name == want {
			return s.choose(f).record.SetIdentifier, true
		}
	}
	return "", false
}

// review tells the hook which failover names have changed their answer since the last review. The caller holds the lock
// reviewing, or is alone.
func (s *Server) review(at time.Time) {
	for _, f := range s.failovers {
		now := s.choose(f).record.SetIdentifier
		s.mu.Lock()
		before, hook := f.active, s.onChange
		f.active = now
		s.mu.Unlock()
		if before == "" || before == now {
			continue
		}
		s.logger.Info("DNS failover", "name", f.name, "from", before, "to", now)
		if hook != nil {
			hook(f.name, before, now, at)
		}
	}
}
