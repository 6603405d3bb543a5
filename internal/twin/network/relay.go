package network

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// bufferLimit is what may be under way in one direction. At 35 ms it carries about 120 MB/s.
	bufferLimit = 4 << 20
	segmentSize = 32 << 10
	// segmentCost is what a segment counts besides its bytes, so that a flood of tiny ones is bounded too.
	segmentCost = 128
)

// relay is one proxied connection; cancel resets it.
type relay struct{ cancel context.CancelFunc }

// segment is what was read at once, with the moment of its arrival at the other end. A segment with an err is the end
// of the direction: io.EOF passes on as FIN, everything else as RST.
type segment struct {
	data   []byte
	arrive time.Time
	err    error
}

func (s segment) cost() int { return len(s.data) + segmentCost }

// pipeline holds the bytes under way in one direction.
type pipeline struct {
	mu       sync.Mutex
	changed  sync.Cond
	segments []segment
	size     int
	last     time.Time
	closed   bool
	// ended says that the end of the direction was delivered.
	ended bool
}

func newPipeline() *pipeline {
	q := &pipeline{}
	q.changed.L = &q.mu
	return q
}

// push adds a segment that travels for delay, and waits while the buffer is full. It reports false once closed. Nothing
// overtakes: a segment never arrives before the one sent before it.
func (q *pipeline) push(s segment, delay time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for s.err == nil && q.size > 0 && q.size+s.cost() > bufferLimit && !q.closed {
		q.changed.Wait()
	}
	if q.closed {
		return false
	}
	s.arrive = time.Now().Add(delay)
	if s.arrive.Before(q.last) {
		s.arrive = q.last
	}
	q.last = s.arrive
	q.size += s.cost()
	q.segments = append(q.segments, s)
	q.changed.Broadcast()
	return true
}

// peek waits for the next segment and leaves it in the buffer, where it counts until it is delivered.
func (q *pipeline) peek() (segment, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.segments) == 0 && !q.closed {
		q.changed.Wait()
	}
	if q.closed {
		return segment{}, false
	}
	return q.segments[0], true
}

func (q *pipeline) pop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.segments) == 0 {
		return
	}
	q.size -= q.segments[0].cost()
	q.segments[0] = segment{}
	q.segments = q.segments[1:]
	q.changed.Broadcast()
}

func (q *pipeline) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
}

func (q *pipeline) hasEnded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ended
}

func (q *pipeline) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Broadcast()
}

// hop is the way of one direction of a connection; target is the end that was connected to, in both directions.
type hop struct {
	from, to string
	target   netip.Addr
}

// relay copies both directions until both have ended, or until ctx is cancelled, which resets both ends.
func (p *Proxy) relay(ctx context.Context, cancel context.CancelFunc, client, target *net.TCPConn) {
	forth, back := newPipeline(), newPipeline()
	stop := context.AfterFunc(ctx, func() {
		forth.close()
		back.close()
		reset(client)
		reset(target)
	})
	from, to := p.config.FromRegion, p.config.ToRegion
	var readers, writers sync.WaitGroup
	readers.Go(func() { p.read(client, forth, from, to) })
	readers.Go(func() { p.read(target, back, to, from) })
	remote := hostOf(target.RemoteAddr().String())
	writers.Go(func() { p.write(ctx, cancel, target, forth, back, hop{from, to, remote}) })
	writers.Go(func() { p.write(ctx, cancel, client, back, forth, hop{to, from, remote}) })
	writers.Wait()
	// Both directions were delivered to their end: what a reader still reads has nowhere to go.
	if stop() {
		forth.close()
		back.close()
		_ = client.Close()
		_ = target.Close()
	}
	readers.Wait()
}

// read puts what arrives from src under way.
func (p *Proxy) read(src *net.TCPConn, q *pipeline, from, to string) {
	buffer := make([]byte, segmentSize)
	for {
		n, err := src.Read(buffer)
		goes, _, delay, _ := p.fabric.path(from, to)
		p.fabric.sent(from, to, goes, delay)
		if n > 0 && !q.push(segment{data: append([]byte(nil), buffer[:n]...)}, delay) {
			return
		}
		if err != nil {
			q.push(segment{err: err}, delay)
			return
		}
	}
}

// write delivers to dst what has arrived, in time, until the end of the direction.
func (p *Proxy) write(ctx context.Context, cancel context.CancelFunc, dst *net.TCPConn, q, reverse *pipeline, hop hop) {
	failed := false
	for {
		s, ok := q.peek()
		if !ok || !p.arrived(ctx, s.arrive, hop.target, hop.from, hop.to) {
			return
		}
		switch {
		case s.err == nil && !failed:
			if _, err := dst.Write(s.data); err != nil {
				// The receiver is gone. Its reset travels back behind what it had sent before; until it arrives the
				// sender goes on sending.
				failed = true
				_, _, delay, _ := p.fabric.path(hop.to, hop.from)
				if !reverse.hasEnded() {
					reverse.push(segment{err: err}, delay)
				} else if wait(ctx, delay) == nil {
					cancel()
					return
				}
			}
		case errors.Is(s.err, io.EOF):
			_ = dst.CloseWrite()
			q.end()
			return
		case s.err != nil:
			cancel()
			return
		}
		q.pop()
	}
}

// arrived waits until a segment has arrived: its time has come and the link carries it. After a partition everything
// that was held travels again, one delay from the healing.
func (p *Proxy) arrived(ctx context.Context, at time.Time, target netip.Addr, from, to string) bool {
	for {
		if wait(ctx, time.Until(at)) != nil {
			return false
		}
		stalled := false
		for {
			ok, _, delay, changed := p.fabric.path(from, to)
			var rules <-chan struct{}
			if ok && p.config.Filter != nil {
				ok, rules = p.config.Filter.Carries(target)
			}
			if ok {
				if !stalled {
					return true
				}
				at = time.Now().Add(delay)
				break
			}
			stalled = true
			select {
			case <-changed:
			case <-rules:
			case <-ctx.Done():
				return false
			}
		}
	}
}
