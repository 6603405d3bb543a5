// Package network is the ground that the twin stands on: addresses in 127.0.0.0/8 for everything that has an address
// on AWS, the regions' being up or lost, and the links between regions with their delay, loss and partitions.
//
// A fabric reserves the block 127.B.0.0/16. Addresses 127.B.0.x are outside every region (clients, DNS, the acquirer),
// 127.B.1.x belong to the first region of [Options], 127.B.2.x to the second and so on. A guard listener on 127.B.0.1
// keeps the block for one twin, so that two twins run side by side.
//
// What crosses a link crosses it late: [Fabric.Proxy] relays TCP and delivers every byte one one-way delay after it
// arrived, [Fabric.Traverse] takes one round trip for a request that is answered in process. Delays are real and are
// never divided by the twin's speed, because light does not hurry for a rehearsal.
//
// What loopback cannot imitate: the kernel completes the TCP handshake before a relay sees the connection, so a
// connection that a real network would leave hanging is established here and then stays silent, and one that a
// real host would refuse is established and then reset. An address without any listener refuses at once, while a
// lost host's would answer nothing.
package network

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Outside is the region name of everything that is in no region: clients, DNS, the acquirer.
const Outside = ""

// ErrBlockInUse: another twin, or another program on the guard's port, holds the block that was asked for.
var ErrBlockInUse = errors.New("the address block is in use")

const (
	// guardPort is below Linux's ephemeral range, so that no outgoing connection takes it by accident.
	guardPort = 20127
	// Blocks stay clear of 127.0.x.x (localhost, Debian's 127.0.1.1) and of the broadcast-looking end.
	firstBlock, lastBlock = 10, 250
	// hostsPerRegion is the last usable octet of 127.B.r.x.
	hostsPerRegion = 254
	maxRegions     = 200
	guardName      = "guard"
)

// Options says what a fabric is made of.
type Options struct {
	// Regions lists the regions: the two sites' first, then the witness.
	Regions []string
	// Block is the second octet of all addresses, 10 to 250; 0 chooses a free one.
	Block int
	// Seed decides which segments a lossy link loses; 0 is a seed like any other.
	Seed uint64
}

// LinkState is what a link between two regions is like right now, in both directions.
type LinkState struct {
	// OneWayDelay is how long a byte travels.
	OneWayDelay time.Duration
	// Partitioned stalls everything on the link, without resetting it. Healing lets it continue.
	Partitioned bool
	// Loss is the probability, 0 to below 1, that a segment is lost. TCP sends it again, so a loss shows as extra delay
	// (200 ms or four one-way delays, whichever is longer, per loss), and what follows waits behind it. 1 or more acts as
	// a partition.
	Loss float64
}

// Traffic counts what was sent over a link since the fabric was made, each segment and message once.
type Traffic struct {
	// Carried is what could go; Delayed of it went late, because a segment was lost.
	Carried, Delayed uint64
	// Held is what found the link partitioned.
	Held uint64
}

// Name is one allocated address.
type Name struct {
	Region  string     `json:"region"`
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
}

type nameKey struct{ region, name string }

type pair struct{ a, b string }

func pairOf(a, b string) pair {
	if a > b {
		a, b = b, a
	}
	return pair{a, b}
}

// Fabric is the network of one twin. Its methods are safe for concurrent use.
type Fabric struct {
	block int
	guard net.Listener

	mu       sync.Mutex
	regions  []string
	down     map[string]bool
	frozen   map[string]bool
	links    map[pair]LinkState
	traffic  map[pair]Traffic
	names    map[nameKey]netip.Addr
	taken    map[netip.Addr]bool
	nextHost map[string]int
	proxies  map[*Proxy]struct{}
	// changed is closed and replaced whenever a region or a link changes.
	changed chan struct{}
	random  *rand.Rand
	closed  bool

	// anyFrozen spares the lock while no region is frozen, which is nearly always.
	anyFrozen atomic.Bool
	// anyCut does the same for regions that are cut off from the outside.
	anyCut atomic.Bool
}

// New reserves a block of addresses. The error wraps [ErrBlockInUse] if the block, or every block, is taken.
func New(opts Options) (*Fabric, error) {
	if len(opts.Regions) > maxRegions {
		return nil, fmt.Errorf("network: %d regions, at most %d fit into one block", len(opts.Regions), maxRegions)
	}
	for i, r := range opts.Regions {
		if r == Outside || slices.Contains(opts.Regions[:i], r) {
			return nil, fmt.Errorf("network: region %q is empty or listed twice", r)
		}
	}
	guard, block, err := reserve(opts.Block)
	if err != nil {
		return nil, err
	}
	f := &Fabric{
		block: block, guard: guard, regions: slices.Clone(opts.Regions), down: map[string]bool{}, frozen: map[string]bool{}, links: map[pair]LinkState{}, traffic: map[pair]Traffic{},
		names: map[nameKey]netip.Addr{}, taken: map[netip.Addr]bool{}, nextHost: map[string]int{},
		proxies: map[*Proxy]struct{}{}, changed: make(chan struct{}), random: rand.New(rand.NewPCG(opts.Seed, 0x6e6574)),
	}
	f.Allocate(Outside, guardName) // the first address outside is the guard's own
	for i, a := range f.regions {
		for _, b := range f.regions[:i] {
			f.links[pairOf(a, b)] = LinkState{OneWayDelay: defaultDelay(a, b)}
		}
	}
	return f, nil
}

func reserve(block int) (net.Listener, int, error) {
	if block != 0 {
		if block < firstBlock || block > lastBlock {
			return nil, 0, fmt.Errorf("address block %d: must be between %d and %d", block, firstBlock, lastBlock)
		}
		guard, err := listenGuard(block)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, 0, fmt.Errorf("address block 127.%d.0.0/16: %w by another twin (or a program listens on port %d): "+
				"choose another block, or none", block, ErrBlockInUse, guardPort)
		}
		return guard, block, err
	}
	count := lastBlock - firstBlock + 1
	start := rand.IntN(count)
	var last error
	for i := range count {
		candidate := firstBlock + (start+i)%count
		guard, err := listenGuard(candidate)
		if err == nil {
			return guard, candidate, nil
		}
		last = err
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, 0, err
		}
	}
	return nil, 0, fmt.Errorf("no free address block 127.%d to 127.%d: %w: %w", firstBlock, lastBlock, ErrBlockInUse, last)
}

func listenGuard(block int) (net.Listener, error) {
	address := fmt.Sprintf("127.%d.0.1:%d", block, guardPort)
	guard, err := net.Listen("tcp4", address)
	if err != nil {
		return nil, fmt.Errorf("reserve address block 127.%d.0.0/16 by listening on %s: %w", block, address, err)
	}
	return guard, nil
}

// defaultDelay is the usual one-way delay between two regions: half of the round trips that are published for AWS's
// backbone, and the 35 ms between coasts for pairs that are not listed.
func defaultDelay(a, b string) time.Duration {
	switch pairOf(a, b) {
	case pairOf("us-east-1", "us-east-2"):
		return 6 * time.Millisecond
	case pairOf("us-east-2", "us-west-2"):
		return 25 * time.Millisecond
	}
	return 35 * time.Millisecond
}

// Close ends every proxy and gives the block back.
func (f *Fabric) Close() {
	f.mu.Lock()
	f.closed = true
	proxies := make([]*Proxy, 0, len(f.proxies))
	for p := range f.proxies {
		proxies = append(proxies, p)
	}
	f.mu.Unlock()
	for _, p := range proxies {
		p.Close()
	}
	_ = f.guard.Close()
}

// Block is the second octet of all addresses.
func (f *Fabric) Block() int { return f.block }

// Regions lists the regions in the order of [Options].
func (f *Fabric) Regions() []string { return slices.Clone(f.regions) }

// Port maps a port of the deployment to one that needs no root: 80 is 8080, 443 is 8443, any other p below 1024 is
// p + 8000 (53 is 8053), the rest stay as they are.
func (f *Fabric) Port(p int) int { return Port(p) }

// Port is [Fabric.Port].
func Port(p int) int {
	switch {
	case p == 80:
		return 8080
	case p == 443:
		return 8443
	case p < 1024:
		return p + 8000
	}
	return p
}

// Allocate returns the address of a name in a region, the same one for the same name until it is released. A region
// that the fabric does not know, or one with no address left, gives the zero Addr, on which nothing can listen.
func (f *Fabric) Allocate(region, name string) netip.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := nameKey{region, name}
	if a, ok := f.names[key]; ok {
		return a
	}
	octet := 0
	if region != Outside {
		octet = slices.Index(f.regions, region) + 1
		if octet == 0 {
			return netip.Addr{}
		}
	}
	// Addresses are handed out in a circle, so that a released one rests as long as possible: a new task must not get
	// the requests that were meant for its predecessor.
	for i := range hostsPerRegion {
		host := (f.nextHost[region]+i)%hostsPerRegion + 1
		a := netip.AddrFrom4([4]byte{127, byte(f.block), byte(octet), byte(host)})
		if f.taken[a] {
			continue
		}
		f.taken[a], f.names[key], f.nextHost[region] = true, a, host
		return a
	}
	return netip.Addr{}
}

// Release gives a name's address back.
func (f *Fabric) Release(region, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := nameKey{region, name}
	if a, ok := f.names[key]; ok {
		delete(f.names, key)
		delete(f.taken, a)
	}
}

// Names lists the allocated addresses, sorted by address.
func (f *Fabric) Names() []Name {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Name, 0, len(f.names))
	for key, a := range f.names {
		list = append(list, Name{key.region, key.name, a})
	}
	slices.SortFunc(list, func(x, y Name) int { return x.Address.Compare(y.Address) })
	return list
}

// RegionOf says which region an address belongs to; false if it is not of this fabric's block.
func (f *Fabric) RegionOf(a netip.Addr) (string, bool) {
	if !a.Is4() {
		return "", false
	}
	octets := a.As4()
	if octets[0] != 127 || int(octets[1]) != f.block || int(octets[2]) > len(f.regions) {
		return "", false
	}
	if octets[2] == 0 {
		return Outside, true
	}
	return f.regions[octets[2]-1], true
}

// HostPort joins an address and an already mapped port.
func HostPort(a netip.Addr, port int) string {
	return net.JoinHostPort(a.String(), strconv.Itoa(port))
}
