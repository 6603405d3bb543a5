package termtable

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// condition is a parsed condition: it says whether an item meets it. A missing item has no attributes.
type condition func(i item) bool

// operand is a value in a condition: a document path, a literal, or size(path).
type operand struct {
	path    path
	literal types.AttributeValue
	size    bool
}

// parseCondition reads a ConditionExpression or FilterExpression.
func parseCondition(kind, source string, s *substitutions) (condition, error) {
	c, _, err := parseConditionPaths(kind, source, s)
	return c, err
}

// parseConditionPaths reads a condition and says which paths it mentions.
func parseConditionPaths(kind, source string, s *substitutions) (condition, []path, error) {
	p, err := newParser(kind, source, s)
	if err != nil {
		return nil, nil, err
	}
	c, err := p.or()
	if err != nil {
		return nil, nil, err
	}
	return c, p.paths, p.end()
}

func (p *parser) or() (condition, error) {
	left, err := p.and()
	for err == nil && p.peek().isKeyword("OR") {
		p.next()
		if err = p.countOperator(); err != nil {
			break
		}
		var right condition
		right, err = p.and()
		a := left
		left = func(i item) bool { return a(i) || right(i) }
	}
	return left, err
}

func (p *parser) and() (condition, error) {
	left, err := p.not()
	for err == nil && p.peek().isKeyword("AND") {
		p.next()
		if err = p.countOperator(); err != nil {
			break
		}
		var right condition
		right, err = p.not()
		a := left
		left = func(i item) bool { return a(i) && right(i) }
	}
	return left, err
}

func (p *parser) not() (condition, error) {
	if !p.peek().isKeyword("NOT") {
		return p.primary()
	}
	p.next()
	if err := p.countOperator(); err != nil {
		return nil, err
	}
	inner, err := p.not()
	return func(i item) bool { return !inner(i) }, err
}

// primary reads a condition in parentheses, a function or a comparison.
func (p *parser) primary() (condition, error) {
	if p.peek().isSymbol("(") {
		if err := p.countOperator(); err != nil { // bounds the depth of the recursion
			return nil, err
		}
		p.next()
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		return inner, p.symbol(")")
	}
	if t := p.peek(); t.kind == tokenWord && p.tokens[p.at+1].isSymbol("(") && t.text != "size" {
		return p.function()
	}
	return p.comparison()
}

func (p *parser) function() (condition, error) {
	name := p.next().text
	if err := p.countOperator(); err != nil {
		return nil, err
	}
	arity, known := map[string]int{
		"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2,
	}[name]
	if !known {
		if name == "if_not_exists" || name == "list_append" {
			return nil, p.invalid("The function is not allowed in a condition expression; function: %s", name)
		}
		return nil, p.invalid("Invalid function name; function: %s", name)
	}
	arguments, err := p.arguments()
	if err != nil {
		return nil, err
	}
	if len(arguments) != arity {
		return nil, p.invalid("Incorrect number of operands for operator or function; "+
			"operator or function: %s, number of operands: %d", name, len(arguments))
	}
	if name != "begins_with" && name != "contains" && arguments[0].path == nil {
		return nil, p.invalid("Operator or function requires a document path; operator or function: %s", name)
	}
	switch name {
	case "attribute_exists":
		return exists(arguments[0].path), nil
	case "attribute_not_exists":
		there := exists(arguments[0].path)
		return func(i item) bool { return !there(i) }, nil
	case "attribute_type":
		return p.attributeType(arguments)
	case "begins_with":
		return p.beginsWith(arguments)
	default:
		return contains(arguments), nil
	}
}

func exists(at path) condition {
	return func(i item) bool {
		_, ok := at.get(i)
		return ok
	}
}

func (p *parser) arguments() ([]operand, error) {
	if err := p.symbol("("); err != nil {
		return nil, err
	}
	var out []operand
	for {
		o, err := p.operand()
		if err != nil {
			return nil, err
		}
		out = append(out, o)
		if !p.peek().isSymbol(",") {
			return out, p.symbol(")")
		}
		p.next()
	}
}

func (p *parser) attributeType(arguments []operand) (condition, error) {
	want, ok := arguments[1].literal.(*types.AttributeValueMemberS)
	if !ok {
		return nil, p.wrongType("operator or function: attribute_type", arguments[1])
	}
	if !slices.Contains([]string{"B", "NULL", "SS", "BOOL", "L", "BS", "N", "NS", "S", "M"}, want.Value) {
		return nil, p.invalid("Invalid attribute type name found; type: %s, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
			want.Value)
	}
	return func(i item) bool {
		v, ok := arguments[0].eval(i)
		return ok && typeOf(v) == want.Value
	}, nil
}

func (p *parser) wrongType(operator string, o operand) error {
	return p.invalid("Incorrect operand type for operator or function; %s, operand type: %s", operator, o.kind())
}

func (p *parser) beginsWith(arguments []operand) (condition, error) {
	for _, a := range arguments {
		if k := a.kind(); k != "" && k != "S" && k != "B" {
			return nil, p.wrongType("operator or function: begins_with", a)
		}
	}
	return func(i item) bool {
		v, ok1 := arguments[0].eval(i)
		prefix, ok2 := arguments[1].eval(i)
		if !ok1 || !ok2 {
			return false
		}
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			prefix, ok := prefix.(*types.AttributeValueMemberS)
			return ok && strings.HasPrefix(v.Value, prefix.Value)
		case *types.AttributeValueMemberB:
			prefix, ok := prefix.(*types.AttributeValueMemberB)
			return ok && bytes.HasPrefix(v.Value, prefix.Value)
		}
		return false
	}, nil
}

func contains(arguments []operand) condition {
	return func(i item) bool {
		v, ok1 := arguments[0].eval(i)
		part, ok2 := arguments[1].eval(i)
		if !ok1 || !ok2 {
			return false
		}
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			part, ok := part.(*types.AttributeValueMemberS)
			return ok && strings.Contains(v.Value, part.Value)
		case *types.AttributeValueMemberB:
			part, ok := part.(*types.AttributeValueMemberB)
			return ok && bytes.Contains(v.Value, part.Value)
		case *types.AttributeValueMemberL:
			return slices.ContainsFunc(v.Value, func(e types.AttributeValue) bool { return equal(e, part) })
		case *types.AttributeValueMemberSS, *types.AttributeValueMemberNS, *types.AttributeValueMemberBS:
			return typeOf(v) == typeOf(part)+"S" && slices.Contains(members(v), scalarText(part))
		}
		return false
	}
}

// scalarText is a scalar as a set's member is written.
func scalarText(v types.AttributeValue) string {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return v.Value
	case *types.AttributeValueMemberB:
		return string(v.Value)
	}
	return ""
}

// comparison reads "a = b", "a BETWEEN b AND c" or "a IN (b, c)".
func (p *parser) comparison() (condition, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	if err := p.countOperator(); err != nil {
		return nil, err
	}
	t := p.peek()
	switch {
	case t.isKeyword("BETWEEN"):
		p.next()
		return p.between(left)
	case t.isKeyword("IN"):
		p.next()
		return p.in(left)
	case t.kind != tokenSymbol || !slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, t.text):
		return nil, p.unexpected()
	}
	operator := p.next().text
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	if left.path != nil && !left.size && !right.size && slices.Equal(left.path, right.path) {
		return nil, p.invalid("The first operand must be distinct from the remaining operands for this operator or "+
			"function; operator: %s, first operand: %s", operator, left.path)
	}
	if operator != "=" && operator != "<>" {
		for _, o := range []operand{left, right} {
			if err := p.ordered("operator: "+operator, o); err != nil {
				return nil, err
			}
		}
	}
	return func(i item) bool { return holds(operator, left, right, i) }, nil
}

// ordered refuses literals that have no order.
func (p *parser) ordered(operator string, o operand) error {
	if k := o.kind(); k != "" && k != "S" && k != "N" && k != "B" {
		return p.wrongType(operator, o)
	}
	return nil
}

// holds compares; what is missing is unequal to everything, and what has no order is neither less nor greater.
func holds(operator string, left, right operand, i item) bool {
	a, okA := left.eval(i)
	b, okB := right.eval(i)
	switch operator {
	case "=":
		return okA && okB && equal(a, b)
	case "<>":
		return !okA || !okB || !equal(a, b)
	}
	if !okA || !okB {
		return false
	}
	order, ok := compare(a, b)
	if !ok {
		return false
	}
	switch operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	default:
		return order >= 0
	}
}

func (p *parser) between(v operand) (condition, error) {
	low, err := p.operand()
	if err != nil {
		return nil, err
	}
	if !p.peek().isKeyword("AND") {
		return nil, p.unexpected()
	}
	p.next()
	high, err := p.operand()
	if err != nil {
		return nil, err
	}
	for _, o := range []operand{v, low, high} {
		if err := p.ordered("operator: BETWEEN", o); err != nil {
			return nil, err
		}
	}
	if low.literal != nil && high.literal != nil {
		if low.kind() != high.kind() {
			return nil, p.invalid("The BETWEEN operator requires same data type for lower and upper bounds; "+
				"lower bound operand: AttributeValue: {%s:%s}, upper bound operand: AttributeValue: {%s:%s}",
				low.kind(), scalarText(low.literal), high.kind(), scalarText(high.literal))
		}
		if order, _ := compare(low.literal, high.literal); order > 0 {
			return nil, p.invalid("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "+
				"lower bound operand: AttributeValue: {%s:%s}, upper bound operand: AttributeValue: {%s:%s}",
				low.kind(), scalarText(low.literal), high.kind(), scalarText(high.literal))
		}
	}
	return func(i item) bool { return holds(">=", v, low, i) && holds("<=", v, high, i) }, nil
}

func (p *parser) in(v operand) (condition, error) {
	candidates, err := p.arguments()
	if err != nil {
		return nil, err
	}
	if len(candidates) > 100 {
		return nil, p.invalid("The IN operator is provided with too many operands; number of operands: %d", len(candidates))
	}
	return func(i item) bool {
		return slices.ContainsFunc(candidates, func(c operand) bool { return holds("=", v, c, i) })
	}, nil
}

// operand reads a path, a :value or size(path).
func (p *parser) operand() (operand, error) {
	t := p.peek()
	if t.kind == tokenValue {
		v, err := p.value()
		return operand{literal: v}, err
	}
	if t.kind == tokenWord && p.tokens[p.at+1].isSymbol("(") {
		if t.text != "size" {
			return operand{}, p.invalid("The function is not allowed to be used this way in an expression; function: %s", t.text)
		}
		p.next()
		return p.sizeOf()
	}
	at, err := p.path()
	return operand{path: at}, err
}

func (p *parser) sizeOf() (operand, error) {
	if err := p.countOperator(); err != nil {
		return operand{}, err
	}
	if err := p.symbol("("); err != nil {
		return operand{}, err
	}
	inner, err := p.operand()
	if err != nil {
		return operand{}, err
	}
	if inner.size {
		return operand{}, p.invalid("The function is not allowed to be used this way in an expression; function: size")
	}
	if k := inner.kind(); k == "N" || k == "BOOL" || k == "NULL" {
		return operand{}, p.wrongType("operator or function: size", inner)
	}
	inner.size = true
	return inner, p.symbol(")")
}

// kind is the type of a literal, or of size(), and empty for a path, whose type is only known with an item.
func (o operand) kind() string {
	switch {
	case o.size && (o.path != nil || o.literal != nil):
		return "N"
	case o.literal != nil:
		return typeOf(o.literal)
	}
	return ""
}

func (o operand) eval(i item) (types.AttributeValue, bool) {
	v, ok := o.literal, o.literal != nil
	if o.path != nil {
		v, ok = o.path.get(i)
	}
	if !ok || !o.size {
		return v, ok
	}
	var n int
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		n = len(v.Value)
	case *types.AttributeValueMemberB:
		n = len(v.Value)
	case *types.AttributeValueMemberL:
		n = len(v.Value)
	case *types.AttributeValueMemberM:
		n = len(v.Value)
	case *types.AttributeValueMemberSS, *types.AttributeValueMemberNS, *types.AttributeValueMemberBS:
		n = len(members(v))
	default:
		return nil, false
	}
	return &types.AttributeValueMemberN{Value: strconv.Itoa(n)}, true
}
