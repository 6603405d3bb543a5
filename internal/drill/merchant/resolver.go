package merchant

import (
	"context"
	"errors"
	"fmt"
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
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	address, ttl, err := Resolve(limited, r.server, r.name)
	if err != nil {
		return "", err
	}
	r.address, r.expires = address, asked.Add(ttl)
	return address, nil
}

// Resolve asks a DNS server ("host:port", UDP) once for the first address of a name.
func Resolve(ctx context.Context, server, name string) (address string, ttl time.Duration, err error) {
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), dns.TypeA)
	client := dns.Client{Net: "udp"}
	answer, _, err := client.ExchangeContext(ctx, question, server)
	if err != nil {
		return "", 0, fmt.Errorf("resolve %s at %s: %w", name, server, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return "", 0, fmt.Errorf("resolve %s at %s: %s", name, server, dns.RcodeToString[answer.Rcode])
	}
	for _, record := range answer.Answer {
		if a, ok := record.(*dns.A); ok && len(a.A) > 0 {
			return a.A.String(), time.Duration(a.Hdr.Ttl) * time.Second, nil
		}
	}
	return "", 0, fmt.Errorf("resolve %s at %s: %w", name, server, errNoAddress)
}
