package merchant

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// resolver asks one DNS server for one name's IPv4 address and keeps the answer for exactly its TTL.
type resolver struct {
	server  string
	name    string
	timeout time.Duration

	mu      sync.Mutex
	address string
	expires time.Time
}

// errNoAddress: the server answered, but with no address.
var errNoAddress = errors.New("no address in the answer")

// lookup returns the address, from the cache while the TTL lasts. An expired answer is never used: a resolver that
// served stale data would hide how long clients of the failed site are lost.
func (r *resolver) lookup(ctx context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock() // concurrent payments of one merchant share one query, as in a real stub resolver
	if time.Now().Before(r.expires) {
		return r.address, nil
	}
	asked := time.Now()
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(r.name), dns.TypeA)
	client := dns.Client{Net: "udp", Timeout: r.timeout}
	answer, _, err := client.ExchangeContext(ctx, question, r.server)
	if err != nil {
		return "", fmt.Errorf("resolve %s at %s: %w", r.name, r.server, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return "", fmt.Errorf("resolve %s at %s: %s", r.name, r.server, dns.RcodeToString[answer.Rcode])
	}
	address, ttl := "", time.Duration(0)
	for _, record := range answer.Answer {
		if a, ok := record.(*dns.A); ok {
			address, ttl = a.A.String(), time.Duration(a.Hdr.Ttl)*time.Second
			break
		}
	}
	if net.ParseIP(address) == nil {
		return "", fmt.Errorf("resolve %s at %s: %w", r.name, r.server, errNoAddress)
	}
	r.address, r.expires = address, asked.Add(ttl)
	return address, nil
}
