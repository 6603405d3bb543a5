package alarms

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/topology"
)

// maxRule is CloudWatch's limit of a composite alarm's rule, in bytes; maxDepth bounds its nesting.
const (
	maxRule  = 10240
	maxDepth = 100
)

// rule is a composite alarm's expression. state gives the state of an alarm by name.
type rule func(state func(name string) string) bool

// parseRule reads a composite alarm's expression: ALARM("name"), OK(…), INSUFFICIENT_DATA(…), TRUE, FALSE, AND, OR, NOT
// and parentheses; NOT binds strongest, then AND. children are the alarms that it names, by name.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
func parseRule(text string) (r rule, children []string, err error) {
	if len(text) > maxRule {
		return nil, nil, fmt.Errorf("the rule has %d bytes, more than %d", len(text), maxRule)
	}
	p := &ruleParser{rest: text}
	if r, err = p.or(0); err != nil {
		return nil, nil, err
	}
	if p.skip(); p.rest != "" {
		return nil, nil, fmt.Errorf("the rule goes on with %q after its end", p.rest)
	}
	slices.Sort(p.children)
	return r, slices.Compact(p.children), nil
}

type ruleParser struct {
	rest     string
	children []string
}

func (p *ruleParser) skip() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// take takes a token if it is next. A word ends where no letter follows.
func (p *ruleParser) take(token string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.rest, token)
	if !ok || token[0] >= 'A' && rest != "" && (rest[0] >= 'A' && rest[0] <= 'Z' || rest[0] == '_') {
		return false
	}
	p.rest = rest
	return true
}

func (p *ruleParser) or(depth int) (rule, error) {
	left, err := p.and(depth)
	for err == nil && p.take("OR") {
		var right rule
		if right, err = p.and(depth); err != nil {
			break
		}
		l := left
		left = func(state func(string) string) bool { return l(state) || right(state) }
	}
	return left, err
}

func (p *ruleParser) and(depth int) (rule, error) {
	left, err := p.operand(depth)
	for err == nil && p.take("AND") {
		var right rule
		if right, err = p.operand(depth); err != nil {
			break
		}
		l := left
		left = func(state func(string) string) bool { return l(state) && right(state) }
	}
	return left, err
}

func (p *ruleParser) operand(depth int) (rule, error) {
	switch {
	case depth > maxDepth:
		return nil, fmt.Errorf("the rule is nested deeper than %d", maxDepth)
	case p.take("NOT"):
		inner, err := p.operand(depth + 1)
		return func(state func(string) string) bool { return !inner(state) }, err
	case p.take("("):
		inner, err := p.or(depth + 1)
		if err == nil && !p.take(")") {
			err = fmt.Errorf("the rule lacks a ) before %q", p.rest)
		}
		return inner, err
	case p.take("TRUE"):
		return func(func(string) string) bool { return true }, nil
	case p.take("FALSE"):
		return func(func(string) string) bool { return false }, nil
	}
	for _, state := range []string{Alarm, OK, InsufficientData} {
		if p.take(state) {
			name, err := p.argument()
			return func(of func(string) string) bool { return of(name) == state }, err
		}
	}
	return nil, fmt.Errorf("the rule has no expression at %q", p.rest)
}

// argument is ("name"), ('name') or (name); an ARN names the alarm too.
func (p *ruleParser) argument() (string, error) {
	if !p.take("(") {
		return "", fmt.Errorf("the rule lacks a ( before %q", p.rest)
	}
	p.skip()
	end := ")"
	if p.rest != "" && (p.rest[0] == '"' || p.rest[0] == '\'') {
		end, p.rest = p.rest[:1], p.rest[1:]
	}
	name, rest, ok := strings.Cut(p.rest, end)
	if !ok {
		return "", fmt.Errorf("the rule lacks a %s after %q", end, name)
	}
	p.rest = rest
	if end != ")" && !p.take(")") {
		return "", fmt.Errorf("the rule lacks a ) before %q", p.rest)
	}
	name = strings.TrimSpace(name)
	if _, after, isARN := strings.Cut(name, ":alarm:"); isARN && strings.HasPrefix(name, "arn:") {
		name = after
	}
	if name == "" {
		return "", fmt.Errorf("the rule names an empty alarm before %q", p.rest)
	}
	p.children = append(p.children, name)
	return name, nil
}

// composite is one composite alarm. The evaluator's lock guards the state.
type composite struct {
	alarm    topology.CompositeAlarm
	rule     rule
	children []string
	state    State
}

// newComposite reads the rule and checks that every alarm it names is there: a metric alarm, or a composite one that was
// made before.
func (e *Evaluator) newComposite(a topology.CompositeAlarm) (*composite, error) {
	r, children, err := parseRule(a.Rule)
	if err != nil {
		return nil, err
	}
	for _, child := range children {
		if _, ok := e.State(a.Region, child); !ok {
			return nil, fmt.Errorf("the rule names the alarm %q, which is not in the region", child)
		}
	}
	return &composite{alarm: a, rule: r, children: children}, nil
}

// named is what notifications say of a composite alarm.
func (c *composite) named() topology.Alarm {
	return topology.Alarm{
		Region: c.alarm.Region, Name: c.alarm.Name, ARN: c.alarm.ARN, AlarmActions: c.alarm.AlarmActions, OKActions: c.alarm.OKActions,
	}
}

// judgeComposites brings the composite alarms up to date, in their order, so that one may stand on those before it. The
// caller holds the judging lock.
func (e *Evaluator) judgeComposites(ctx context.Context, now time.Time) {
	for _, c := range e.composites {
		if !e.options.Up(c.alarm.Region) {
			continue
		}
		from, _ := e.State(c.alarm.Region, c.alarm.Name)
		to := alarmIf(c.rule(func(name string) string {
			s, _ := e.State(c.alarm.Region, name)
			return s.Value
		}))
		if to == from.Value {
			continue
		}
		reason, data := e.compositeReason(c, to)
		e.move(ctx, &c.state, Notification{
			Alarm: c.named(), Rule: c.alarm.Rule, Account: e.options.Topology.AccountID, From: from.Value, To: to, Reason: reason, At: now,
		}, data)
	}
}

// compositeReason names the child whose change came last, and lists those in ALARM.
func (e *Evaluator) compositeReason(c *composite, to string) (reason, data string) {
	triggering := []map[string]any{}
	var last State
	var name string
	for _, child := range c.children {
		s, _ := e.State(c.alarm.Region, child)
		if name == "" || s.Transitioned.After(last.Transitioned) {
			last, name = s, child
		}
		if s.Value == Alarm {
			triggering = append(triggering, map[string]any{
				"arn":   e.alarmARN(c.alarm.Region, child),
				"state": map[string]string{"value": s.Value, "timestamp": s.Transitioned.UTC().Format("2006-01-02T15:04:05.000+0000")},
			})
		}
	}
	reason = "The rule is constantly " + map[bool]string{true: "true", false: "false"}[to == Alarm] + "."
	if name != "" {
		reason = fmt.Sprintf("%s transitioned to %s at %s", e.alarmARN(c.alarm.Region, name), last.Value,
			last.Transitioned.UTC().Format("Monday 02 January, 2006 15:04:05 UTC"))
	}
	return reason, marshal(map[string]any{"triggeringAlarms": triggering})
}

func (e *Evaluator) alarmARN(region, name string) string {
	return fmt.Sprintf("arn:aws:cloudwatch:%s:%s:alarm:%s", region, e.options.Topology.AccountID, name)
}
