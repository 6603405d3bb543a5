package twin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"holdfast/internal/failover"
	"holdfast/internal/term"
	"holdfast/internal/twin/api"
	"holdfast/internal/twin/network"
)

// Ambush is a fault that strikes inside a step of a site's wardens: the call that is the step is held, the fault happens,
// and only then the call goes on, or its answer. A step that writes the term record or moves the global writer is a call of
// the AWS API; to export a tail is many statements in both databases, and what is held is its connection to the other site's;
// the others are statements in the site's database.
type Ambush struct {
	Site string
	Step failover.Step
	// After: the call takes effect, and then the fault happens. Otherwise it happens first; if it kills the callers, the call
	// is lost with them.
	After bool
	Fault Fault
}

// String is the ambush in words, as in "inside acquire of dr, before its effect".
func (a Ambush) String() string {
	return fmt.Sprintf("inside %s of %s, %s its effect", a.Step, a.Site, map[bool]string{false: "before", true: "after"}[a.After])
}

// Struck says that an ambush has struck.
type Struck struct {
	At time.Time
	// Err is why it failed, if it did. The call went on as if there had been no ambush.
	Err error
}

// The steps that can be ambushed; an export of a tail only before its effect, because no single call has that.
var (
	callSteps = []failover.Step{
		failover.Acquire, failover.Promote, failover.Serve, failover.MoveWriter, failover.Grant, failover.TakeBack, failover.Release, failover.ExportTail,
	}
	databaseSteps = []failover.Step{failover.Seal, failover.Drain, failover.RecordTerm}
)

// Limits of an ambush.
const (
	strikeLimit = 10 * time.Second
	// stillness is how long after a strike calls of the dead may still be under way; no new warden is there as soon.
	stillness = 100 * time.Millisecond
)

// traps are the ambushes that have not struck, and what they tell steps by.
type traps struct {
	mu  sync.Mutex
	set []*trap
	// record is the newest term record that was written.
	record term.Record
}

// trap is one ambush.
type trap struct {
	Ambush
	region string
	struck chan Struck
	inject func(context.Context, Fault) (Fault, error)

	// turn is taken during the strike: calls of the same step wait for it. It guards the rest.
	turn   chan struct{}
	sprung bool
	over   bool
}

// take waits for the turn; the returned function gives it on.
func (tr *trap) take() (give func()) {
	tr.turn <- struct{}{}
	return func() { <-tr.turn }
}

// Ambush lies in wait for the next time that a site's wardens make a step. What became of it is sent once; the returned
// function ends the waiting, after a strike that is under way, and closes the channel.
func (t *Twin) Ambush(ctx context.Context, a Ambush) (struck <-chan Struck, end func(), err error) {
	s, err := t.site(a.Site)
	if err != nil {
		return nil, nil, fmt.Errorf("ambush: %w", err)
	}
	tr := &trap{Ambush: a, region: s.Region, struck: make(chan Struck, 1), turn: make(chan struct{}, 1), inject: t.Inject}
	stop := func() {}
	switch {
	case slices.Contains(databaseSteps, a.Step) && a.Fault.Name != WardenCrash:
		return nil, nil, fmt.Errorf("ambush %s: a statement in a database can only lose its warden, to %s", a, WardenCrash)
	case slices.Contains(databaseSteps, a.Step):
		if stop, err = t.ambushDatabase(ctx, tr); err != nil {
			return nil, nil, fmt.Errorf("ambush %s: %w", a, err)
		}
	case a.Step == failover.ExportTail && a.After:
		return nil, nil, fmt.Errorf("ambush %s: no single call exports a tail, so only its start can be held", a)
	case !slices.Contains(callSteps, a.Step):
		return nil, nil, fmt.Errorf("ambush %s: the step can't be held: it is none of %v and %v", a, callSteps, databaseSteps)
	default:
		t.traps.mu.Lock()
		t.traps.set = append(t.traps.set, tr)
		t.traps.mu.Unlock()
	}
	return tr.struck, sync.OnceFunc(func() {
		stop()
		t.disarm(tr)
		defer tr.take()()
		tr.over = true
		close(tr.struck)
	}), nil
}

func (t *Twin) disarm(tr *trap) {
	t.traps.mu.Lock()
	defer t.traps.mu.Unlock()
	t.traps.set = slices.DeleteFunc(t.traps.set, func(other *trap) bool { return other == tr })
}

// aroundCall is given every call of the AWS API.
func (t *Twin) aroundCall(_ context.Context, a api.Arrival, call func() (any, error)) (any, error) {
	next, isRecord := recordIn(a.Input)
	tr := t.trapFor(a.CallerRegion, func(tr *trap) bool { return stepOf(tr.Site, tr.region, a.Input, t.traps.record, next) == tr.Step })
	var out any
	var err error
	if tr != nil {
		out, err = t.caught(tr, call)
	} else {
		out, err = call()
	}
	if isRecord && (err == nil || tr != nil && errors.Is(err, api.ErrLost) && tr.After) {
		t.traps.mu.Lock()
		if next.Version > t.traps.record.Version {
			t.traps.record = next
		}
		t.traps.mu.Unlock()
	}
	return out, err
}

// recordIn is the term record that a call writes.
func recordIn(input any) (r term.Record, ok bool) {
	in, isPut := input.(*dynamodb.PutItemInput)
	if !isPut {
		return r, false
	}
	if id, isText := in.Item["id"].(*types.AttributeValueMemberS); !isText || strings.Contains(id.Value, "/beacon/") {
		return r, false
	}
	return r, attributevalue.UnmarshalMap(in.Item, &r) == nil && r.Version > 0
}

// exportPath is a warden's way to the other site's database. Wardens use it for one thing, to compare their site's old volume
// with what has survived there.
type exportPath struct {
	network.Filter
	twin   *Twin
	region string
}

// Open lets a connection wait for an ambush of the export that it begins.
func (p exportPath) Open(ctx context.Context, address netip.Addr) error {
	if err := p.Filter.Open(ctx, address); err != nil {
		return err
	}
	tr := p.twin.trapFor(p.region, func(tr *trap) bool { return tr.Step == failover.ExportTail })
	if tr == nil {
		return nil
	}
	_, err := p.twin.caught(tr, func() (any, error) { return nil, nil })
	return err
}

// trapFor finds the ambush that a call from a region falls into.
func (t *Twin) trapFor(region string, is func(*trap) bool) *trap {
	t.traps.mu.Lock()
	defer t.traps.mu.Unlock()
	for _, tr := range t.traps.set {
		if tr.region == region && is(tr) {
			return tr
		}
	}
	return nil
}

// stepOf says which step a call from a site's region is, "" if none; a write of the record by what it changes.
func stepOf(site, region string, input any, before, next term.Record) failover.Step {
	switch in := input.(type) {
	case *rds.FailoverGlobalClusterInput:
		return failover.Promote
	case *rds.SwitchoverGlobalClusterInput:
		if strings.HasPrefix(sdk.ToString(in.TargetDbClusterIdentifier), "arn:aws:rds:"+region+":") {
			return failover.Promote
		}
		return failover.MoveWriter
	}
	switch {
	case next.Version == 0 || next.Version != before.Version+1 || next.Holder != site:
		return "" // no record, or one that another has overtaken already
	case next.Term > before.Term && before.Holder == site:
		return failover.TakeBack
	case next.Term > before.Term:
		return failover.Acquire
	case next.ServedTerm > before.ServedTerm:
		return failover.Serve
	case next.State == term.Granted && before.State != term.Granted:
		return failover.Grant
	case next.State == term.Releasing && before.State != term.Releasing:
		return failover.Release
	}
	return ""
}

// caught makes a call that has fallen into an ambush, or loses it. A call that takes no effect, as when a renewal came
// first, is not the step yet: the wardens will make it again.
func (t *Twin) caught(tr *trap, call func() (any, error)) (any, error) {
	defer tr.take()()
	kills := tr.Fault.Name == WardenCrash
	switch {
	case tr.sprung && kills: // its caller died while it waited here
		return nil, api.ErrLost
	case tr.sprung || tr.over:
		return call()
	}
	if !tr.After {
		if t.spring(tr, nil) == nil && kills {
			return nil, api.ErrLost
		}
		return call()
	}
	out, err := call()
	if err != nil {
		return out, err
	}
	if t.spring(tr, nil) == nil && kills {
		return nil, api.ErrLost
	}
	return out, nil
}

// spring makes the fault happen, and then does what has to come right afterwards, if anything. The caller has the trap's turn.
func (t *Twin) spring(tr *trap, then func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), strikeLimit)
	defer cancel()
	_, err := tr.inject(ctx, tr.Fault)
	if then != nil {
		err = errors.Join(err, then(ctx))
	}
	fate := ""
	switch {
	case err != nil:
		fate = ", failed: " + err.Error()
	case tr.Fault.Name == WardenCrash:
		fate = map[bool]string{false: ": the call is lost", true: ": its answer is lost"}[tr.After]
		<-time.After(stillness)
	}
	t.tell(tr.Site, "strike", "%s %s%s", tr.Fault, tr.Ambush, fate)
	t.disarm(tr)
	tr.sprung = err == nil
	tr.over = true
	tr.struck <- Struck{At: time.Now(), Err: err}
	return err
}
