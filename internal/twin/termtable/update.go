package termtable

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// change is one action of an update expression. Its value is worked out from the item as it was before the update.
type change struct {
	// section is SET, REMOVE, ADD or DELETE.
	section string
	path    path
	value   expression
}

// expression works out a value from an item.
type expression func(i item) (types.AttributeValue, error)

// parseUpdate reads an UpdateExpression.
func parseUpdate(source string, s *substitutions) ([]change, error) {
	p, err := newParser("UpdateExpression", source, s)
	if err != nil {
		return nil, err
	}
	var changes []change
	seen := map[string]bool{}
	for p.peek().kind != tokenEnd {
		section := strings.ToUpper(p.peek().text)
		if p.peek().kind != tokenWord || !slices.Contains([]string{"SET", "REMOVE", "ADD", "DELETE"}, section) {
			return nil, p.unexpected()
		}
		if seen[section] {
			return nil, p.invalid("The %q section can only be used once in an update expression;", section)
		}
		seen[section] = true
		p.next()
		for {
			c, err := p.change(section)
			if err != nil {
				return nil, err
			}
			changes = append(changes, c)
			if !p.peek().isSymbol(",") {
				break
			}
			p.next()
		}
	}
	return changes, p.checkOverlaps(changes)
}

func (p *parser) change(section string) (change, error) {
	if err := p.countOperator(); err != nil {
		return change{}, err
	}
	at, err := p.path()
	if err != nil {
		return change{}, err
	}
	c := change{section: section, path: at}
	switch section {
	case "SET":
		if err := p.symbol("="); err != nil {
			return change{}, err
		}
		c.value, err = p.sum()
	case "ADD", "DELETE":
		var v types.AttributeValue
		if v, err = p.value(); err == nil {
			c.value, err = literal(v), p.checkAddend(section, v)
		}
	}
	return c, err
}

func literal(v types.AttributeValue) expression {
	return func(item) (types.AttributeValue, error) { return v, nil }
}

func (p *parser) checkAddend(section string, v types.AttributeValue) error {
	isSet := members(v) != nil
	if isSet || section == "ADD" && typeOf(v) == "N" {
		return nil
	}
	return p.invalid("Incorrect operand type for operator or function; operator: %s, operand type: %s, "+
		"typeSet: ALLOWED_FOR_%s_OPERAND",
		section, longType(v), section)
}

// longType is the name that update errors use.
func longType(v types.AttributeValue) string {
	switch typeOf(v) {
	case "S":
		return "STRING"
	case "N":
		return "NUMBER"
	case "B":
		return "BINARY"
	case "BOOL":
		return "BOOLEAN"
	case "L":
		return "LIST"
	case "M":
		return "MAP"
	}
	return typeOf(v)
}

// checkOverlaps refuses two changes of which one is inside the other.
func (p *parser) checkOverlaps(changes []change) error {
	for i, a := range changes {
		for _, b := range changes[i+1:] {
			n := min(len(a.path), len(b.path))
			if slices.Equal(a.path[:n], b.path[:n]) {
				return p.invalid("Two document paths overlap with each other; must remove or rewrite one of these paths; "+
					"path one: %s, path two: %s", a.path, b.path)
			}
		}
	}
	return nil
}

// sum reads an operand, or two with + or - between them.
func (p *parser) sum() (expression, error) {
	left, err := p.updateOperand()
	if err != nil {
		return nil, err
	}
	minus := p.peek().isSymbol("-")
	if !minus && !p.peek().isSymbol("+") {
		return left, nil
	}
	p.next()
	right, err := p.updateOperand()
	if err != nil {
		return nil, err
	}
	return func(i item) (types.AttributeValue, error) {
		a, err := left(i)
		if err != nil {
			return nil, err
		}
		b, err := right(i)
		if err != nil {
			return nil, err
		}
		return addNumbers(a, b, minus)
	}, nil
}

func addNumbers(a, b types.AttributeValue, minus bool) (types.AttributeValue, error) {
	x, okA := a.(*types.AttributeValueMemberN)
	y, okB := b.(*types.AttributeValueMemberN)
	if !okA || !okB {
		return nil, validation("An operand in the update expression has an incorrect data type")
	}
	m, err := parseDecimal(x.Value)
	if err != nil {
		return nil, err
	}
	n, err := parseDecimal(y.Value)
	if err != nil {
		return nil, err
	}
	if minus {
		n = n.negated()
	}
	total, err := m.add(n)
	if err != nil {
		return nil, err
	}
	return &types.AttributeValueMemberN{Value: total.String()}, nil
}

// updateOperand reads a path, a :value, if_not_exists(path, operand), list_append(a, b) or an operand in parentheses.
func (p *parser) updateOperand() (expression, error) {
	t := p.peek()
	switch {
	case t.kind == tokenValue:
		v, err := p.value()
		return literal(v), err
	case t.isSymbol("("):
		if err := p.countOperator(); err != nil {
			return nil, err
		}
		p.next()
		inner, err := p.sum()
		if err != nil {
			return nil, err
		}
		return inner, p.symbol(")")
	case t.kind == tokenWord && p.tokens[p.at+1].isSymbol("("):
		return p.updateFunction()
	}
	at, err := p.path()
	return func(i item) (types.AttributeValue, error) {
		v, ok := at.get(i)
		if !ok {
			return nil, validation("The provided expression refers to an attribute that does not exist in the item")
		}
		return clone(v), nil
	}, err
}

func (p *parser) updateFunction() (expression, error) {
	name := p.next().text
	if name != "if_not_exists" && name != "list_append" {
		return nil, p.invalid("Invalid function name; function: %s", name)
	}
	if err := p.countOperator(); err != nil {
		return nil, err
	}
	p.next() // the parenthesis
	var at path
	var first expression
	var err error
	if name == "if_not_exists" {
		if p.peek().kind == tokenValue {
			return nil, p.invalid("Operator or function requires a document path; operator or function: if_not_exists")
		}
		at, err = p.path()
	} else {
		first, err = p.updateOperand()
	}
	if err != nil {
		return nil, err
	}
	if err := p.symbol(","); err != nil {
		return nil, err
	}
	second, err := p.updateOperand()
	if err != nil {
		return nil, err
	}
	if err := p.symbol(")"); err != nil {
		return nil, err
	}
	if name == "list_append" {
		return appendLists(first, second), nil
	}
	return func(i item) (types.AttributeValue, error) {
		if v, ok := at.get(i); ok {
			return clone(v), nil
		}
		return second(i)
	}, nil
}

func appendLists(first, second expression) expression {
	return func(i item) (types.AttributeValue, error) {
		var joined []types.AttributeValue
		for _, e := range []expression{first, second} {
			v, err := e(i)
			if err != nil {
				return nil, err
			}
			list, ok := v.(*types.AttributeValueMemberL)
			if !ok {
				return nil, validation("An operand in the update expression has an incorrect data type")
			}
			joined = append(joined, list.Value...)
		}
		return &types.AttributeValueMemberL{Value: joined}, nil
	}
}

// applyChanges returns the item after an update; the item given is not changed.
func applyChanges(old item, changes []change) (item, error) {
	values := make([]types.AttributeValue, len(changes))
	for n, c := range changes {
		if c.value == nil {
			continue
		}
		v, err := c.value(old)
		if err != nil {
			return nil, err
		}
		values[n] = v
	}
	updated := item(cloneMap(old))
	order := make([]int, len(changes))
	for n := range order {
		order[n] = n
	}
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(changes[a].rank(), changes[b].rank()) })
	for _, n := range order {
		if err := changes[n].apply(updated, values[n]); err != nil {
			return nil, err
		}
	}
	return updated, nil
}

// rank orders the changes of one update. Elements are removed from lists after everything else, the deepest and the
// rearmost first, because indexes name places in the old lists.
func (c change) rank() []int {
	last := c.path[len(c.path)-1]
	if c.section != "REMOVE" || !last.list {
		return []int{0}
	}
	return []int{1, -len(c.path), -last.index}
}

func (c change) apply(i item, v types.AttributeValue) error {
	switch c.section {
	case "REMOVE":
		return replaceAt(i, c.path, nil)
	case "SET":
		return replaceAt(i, c.path, v)
	}
	old, ok := c.path.get(i)
	if !ok {
		if c.section == "DELETE" {
			return nil
		}
		return replaceAt(i, c.path, v)
	}
	if c.section == "ADD" && typeOf(v) == "N" && typeOf(old) == "N" {
		total, err := addNumbers(old, v, false)
		if err != nil {
			return err
		}
		return replaceAt(i, c.path, total)
	}
	if typeOf(old) != typeOf(v) {
		return validation("An operand in the update expression has an incorrect data type")
	}
	var result []string
	for _, m := range members(old) {
		if c.section == "ADD" || !slices.Contains(members(v), m) {
			result = append(result, m)
		}
	}
	if c.section == "ADD" {
		for _, m := range members(v) {
			if !slices.Contains(result, m) {
				result = append(result, m)
			}
		}
	}
	if len(result) == 0 { // an empty set does not exist
		return replaceAt(i, c.path, nil)
	}
	return replaceAt(i, c.path, setOf(v, result))
}

// replaceAt puts a value at a path, or removes what is there if v is nil. The item must be the caller's own copy.
func replaceAt(i item, at path, v types.AttributeValue) error {
	last := at[len(at)-1]
	if len(at) == 1 {
		if v == nil {
			delete(i, last.name)
		} else {
			i[last.name] = v
		}
		return nil
	}
	parent, ok := at[:len(at)-1].get(i)
	if !ok {
		return validation("The document path provided in the update expression is invalid for update")
	}
	switch parent := parent.(type) {
	case *types.AttributeValueMemberM:
		if last.list {
			break
		}
		if v == nil {
			delete(parent.Value, last.name)
		} else {
			parent.Value[last.name] = v
		}
		return nil
	case *types.AttributeValueMemberL:
		if !last.list {
			break
		}
		switch {
		case v == nil && last.index < len(parent.Value):
			parent.Value = slices.Delete(parent.Value, last.index, last.index+1)
		case v != nil && last.index < len(parent.Value):
			parent.Value[last.index] = v
		case v != nil: // beyond the end appends
			parent.Value = append(parent.Value, v)
		}
		return nil
	}
	return validation("The document path provided in the update expression is invalid for update")
}
