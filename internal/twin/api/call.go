package api

import (
	"errors"
	"sync"
	"time"
)

// Call is one line of the access log.
type Call struct {
	At time.Time `json:"at"`
	// CallerRegion is where the request came from, empty for the world outside.
	CallerRegion string `json:"caller_region"`
	// Service is the SDK's name for the service ("rds", "route53", ...); Region is the region that the request was sent
	// to, us-east-1 for Route 53.
	Service   string `json:"service"`
	Region    string `json:"region"`
	Operation string `json:"operation"`
	// Status is the HTTP status, 0 if the client got no answer.
	Status int `json:"status"`
	// Code is AWS's error code, empty after a success.
	Code     string        `json:"code,omitempty"`
	Duration time.Duration `json:"duration_ns"`
	// RequestID is the id in the answer.
	RequestID string `json:"request_id"`
}

// ErrLost: a call was lost before its effect, or its answer afterwards.
var ErrLost = errors.New("the call is lost, or its answer")

// Arrival is a call that was understood, where it is about to take effect.
type Arrival struct {
	// CallerRegion, Service, Region and Operation are a [Call]'s.
	CallerRegion, Service, Region, Operation string
	// Input is a pointer to the SDK's input of the operation.
	Input any
}

// callLog keeps the newest calls in a ring.
type callLog struct {
	hook func(Call)

	mu   sync.Mutex
	ring []Call
	next int
}

func newCallLog(size int, hook func(Call)) *callLog {
	return &callLog{hook: hook, ring: make([]Call, 0, size)}
}

func (l *callLog) add(c Call) {
	l.mu.Lock()
	if len(l.ring) < cap(l.ring) {
		l.ring = append(l.ring, c)
	} else {
		l.ring[l.next] = c
		l.next = (l.next + 1) % len(l.ring)
	}
	l.mu.Unlock()
	if l.hook != nil {
		l.hook(c)
	}
}

func (l *callLog) list() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(append([]Call{}, l.ring[l.next:]...), l.ring[:l.next]...)
}
