package vpc

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"holdfast/internal/reach"
	"holdfast/internal/topology"
)

// VPC holds the networks of all regions. Its methods are safe for concurrent use.
type VPC struct {
	mu      sync.Mutex
	network reach.Network
	places  map[netip.Addr]reach.Endpoint
	// client is who calls from an address that nobody placed.
	client reach.Endpoint
	// changed is closed and replaced whenever a rule or a route changes.
	changed chan struct{}
}

// New makes the networks of a topology, which it copies.
func New(t topology.Topology) *VPC {
	n := reach.New(t)
	n.VPCs = slices.Clone(n.VPCs)
	for i := range n.VPCs {
		n.VPCs[i].Routes = slices.Clone(n.VPCs[i].Routes)
	}
	n.Groups = slices.Clone(n.Groups)
	for i := range n.Groups {
		g := &n.Groups[i]
		g.Ingress, g.Egress = identified(g.ID, true, g.Ingress), identified(g.ID, false, g.Egress)
	}
	return &VPC{network: n, places: map[netip.Addr]reach.Endpoint{}, client: reach.Client(t), changed: make(chan struct{})}
}

// Place says what stands at an address.
func (v *VPC) Place(address netip.Addr, e reach.Endpoint) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.places[address] = e
}

// Clear forgets what stood at an address.
func (v *VPC) Clear(address netip.Addr) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.places, address)
}

// At is what stands at an address; what nobody placed is a client on the internet, one of
// those whom the deployment means to serve.
func (v *VPC) At(address netip.Addr) reach.Endpoint {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e, ok := v.places[address]; ok {
		return e
	}
	return v.client
}

// Network is the network of this moment, and a channel that is closed when it changes.
func (v *VPC) Network() (reach.Network, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.network, v.changed
}

// DroppedError is a connection that the network dropped. It is a time-out, as the caller sees it.
type DroppedError struct {
	// Reason is the network's, for a person.
	Reason string
	cause  error
}

func (e *DroppedError) Error() string { return e.Reason }

// Unwrap is the end of the caller's time.
func (e *DroppedError) Unwrap() error { return e.cause }

// Timeout is true: see net.Error.
func (e *DroppedError) Timeout() bool { return true }

// Temporary belongs to net.Error.
func (e *DroppedError) Temporary() bool { return false }

// Admit returns when the network lets a TCP connection through, which usually is at once. Otherwise it waits, as a
// client does that sends its first packet again and again, and returns a [DroppedError] when ctx ends.
func (v *VPC) Admit(ctx context.Context, from, to reach.Endpoint, port int) error {
	for {
		network, changed := v.Network()
		verdict := network.Connect(from, to, "tcp", port)
		if verdict.OK {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return &DroppedError{verdict.Reason, ctx.Err()}
		}
	}
}

// AdmitTo is [VPC.Admit] between what stands at two addresses.
func (v *VPC) AdmitTo(ctx context.Context, from, to netip.Addr, port int) error {
	return v.Admit(ctx, v.At(from), v.At(to), port)
}

// Path is one caller's way to a port of an endpoint of the deployment, for a relay.
type Path struct {
	vpc  *VPC
	from reach.Endpoint
	to   reach.Endpoint
	port int
}

// Path is the way from an endpoint to another one.
func (v *VPC) Path(from, to reach.Endpoint, port int) Path { return Path{v, from, to, port} }

// PathTo is the way to whatever stands at the address that a connection is for.
func (v *VPC) PathTo(from reach.Endpoint, port int) Path { return Path{vpc: v, from: from, port: port} }

func (p Path) endpoint(address netip.Addr) reach.Endpoint {
	if p.to.Name == "" {
		return p.vpc.At(address)
	}
	return p.to
}

// Open returns when a connection to an address may be made, or a [DroppedError] when ctx ends.
func (p Path) Open(ctx context.Context, address netip.Addr) error {
	return p.vpc.Admit(ctx, p.from, p.endpoint(address), p.port)
}

// Carries says whether an open connection's packets find their way, and gives a channel that is closed when that may
// change.
func (p Path) Carries(address netip.Addr) (bool, <-chan struct{}) {
	network, changed := p.vpc.Network()
	return network.Carry(p.from, p.endpoint(address)).OK, changed
}

// change replaces the network by a copy that f has changed, unless f fails.
func (v *VPC) change(f func(n *reach.Network) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.network
	n.Groups = slices.Clone(n.Groups)
	n.VPCs = slices.Clone(n.VPCs)
	if err := f(&n); err != nil {
		return err
	}
	v.network = n
	close(v.changed)
	v.changed = make(chan struct{})
	return nil
}

// Error is a refusal with the code of the EC2 API.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorCode is AWS's code.
func (e *Error) ErrorCode() string { return e.Code }

// ErrorMessage is AWS's wording.
func (e *Error) ErrorMessage() string { return e.Message }

func refuse(code, format string, a ...any) error { return &Error{code, fmt.Sprintf(format, a...)} }
