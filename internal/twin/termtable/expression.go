package termtable

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// maxOperators is DynamoDB's limit for operators and functions in one expression.
const maxOperators = 300

// maxListIndex is the largest index that a document path may name; DynamoDB's item size allows no more.
const maxListIndex = 1 << 20

// substitutions are a request's ExpressionAttributeNames and -Values, and which of them were used.
type substitutions struct {
	names      map[string]string
	values     map[string]types.AttributeValue
	usedNames  map[string]bool
	usedValues map[string]bool
}

// newSubstitutions checks the two maps of a request that has the expressions.
func newSubstitutions(
	names map[string]string, values map[string]types.AttributeValue, expressions ...*string,
) (*substitutions, error) {
	used := slices.ContainsFunc(expressions, func(e *string) bool { return e != nil })
	switch {
	case names != nil && !used:
		return nil, validation("ExpressionAttributeNames can only be specified when using expressions")
	case values != nil && !used:
		return nil, validation("ExpressionAttributeValues can only be specified when using expressions")
	case names != nil && len(names) == 0:
		return nil, validation("ExpressionAttributeNames must not be empty")
	case values != nil && len(values) == 0:
		return nil, validation("ExpressionAttributeValues must not be empty")
	}
	s := &substitutions{
		names: names, values: map[string]types.AttributeValue{},
		usedNames: map[string]bool{}, usedValues: map[string]bool{},
	}
	for _, key := range sortedKeys(names) {
		if !validPlaceholder(key, '#') {
			return nil, validation("ExpressionAttributeNames contains invalid key: Syntax error; key: %q", key)
		}
	}
	for _, key := range sortedKeys(values) {
		if !validPlaceholder(key, ':') {
			return nil, validation("ExpressionAttributeValues contains invalid key: Syntax error; key: %q", key)
		}
		v, err := normalize(values[key], 0)
		if err != nil {
			return nil, validation("ExpressionAttributeValues contains invalid value: %s for key %s", message(err), key)
		}
		s.values[key] = v
	}
	return s, nil
}

func message(err error) string {
	if e, ok := err.(*Error); ok {
		return e.Message
	}
	return err.Error()
}

func validPlaceholder(key string, sigil byte) bool {
	if len(key) < 2 || key[0] != sigil {
		return false
	}
	for i := 1; i < len(key); i++ {
		if !isWordByte(key[i]) {
			return false
		}
	}
	return true
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// checkUsed refuses names and values that no expression mentions.
func (s *substitutions) checkUsed() error {
	var names, values []string
	for _, k := range sortedKeys(s.names) {
		if !s.usedNames[k] {
			names = append(names, k)
		}
	}
	for _, k := range sortedKeys(s.values) {
		if !s.usedValues[k] {
			values = append(values, k)
		}
	}
	switch {
	case len(names) > 0:
		return validation("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}",
			strings.Join(names, ", "))
	case len(values) > 0:
		return validation("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}",
			strings.Join(values, ", "))
	}
	return nil
}

// parser reads one expression. kind is its parameter's name, as error messages have it.
type parser struct {
	kind, source string
	tokens       []token
	at           int
	operators    int
	// paths are all document paths read so far.
	paths []path
	*substitutions
}

func newParser(kind, source string, s *substitutions) (*parser, error) {
	switch {
	case source == "" || strings.TrimSpace(source) == "":
		return nil, validation("Invalid %s: The expression can not be empty;", kind)
	case len(source) > maxExpressionBytes:
		return nil, validation("Invalid %s: Expression size has exceeded the maximum allowed size; expression size: %d",
			kind, len(source))
	}
	tokens, err := tokenize(kind, source)
	if err != nil {
		return nil, err
	}
	return &parser{kind: kind, source: source, tokens: tokens, substitutions: s}, nil
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokenEnd {
		p.at++
	}
	return t
}

// unexpected is the error for the token that comes next.
func (p *parser) unexpected() error {
	return syntaxError(p.kind, p.source, p.peek(), p.tokens[:p.at])
}

func (p *parser) invalid(format string, a ...any) error {
	return validation("Invalid "+p.kind+": "+format, a...)
}

func (p *parser) symbol(s string) error {
	if !p.peek().isSymbol(s) {
		return p.unexpected()
	}
	p.next()
	return nil
}

func (p *parser) end() error {
	if p.peek().kind != tokenEnd {
		return p.unexpected()
	}
	return nil
}

func (p *parser) countOperator() error {
	if p.operators++; p.operators > maxOperators {
		return p.invalid("The expression contains too many operators or functions; operator count: %d", p.operators)
	}
	return nil
}

// step is one element of a document path: an attribute name, or an index of a list.
type step struct {
	name  string
	index int
	list  bool
}

// path is a document path; its first step is always a name.
type path []step

// String writes a path as AWS's error messages do: [a, b, [0]].
func (p path) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		parts[i] = s.name
		if s.list {
			parts[i] = "[" + strconv.Itoa(s.index) + "]"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (p *parser) path() (path, error) {
	first, err := p.name()
	if err != nil {
		return nil, err
	}
	out := path{{name: first}}
	for {
		switch {
		case p.peek().isSymbol("."):
			p.next()
			name, err := p.name()
			if err != nil {
				return nil, err
			}
			out = append(out, step{name: name})
		case p.peek().isSymbol("["):
			index, err := p.index()
			if err != nil {
				return nil, err
			}
			out = append(out, step{index: index, list: true})
		default:
			if len(out) > maxNesting {
				return nil, p.invalid("The document path has too many nesting levels; nesting levels: %d", len(out))
			}
			p.paths = append(p.paths, out)
			return out, nil
		}
	}
}

func (p *parser) index() (int, error) {
	p.next()
	t := p.peek()
	if t.kind != tokenNumber {
		return 0, p.unexpected()
	}
	index, err := strconv.Atoi(t.text)
	if err != nil || index > maxListIndex {
		return 0, p.invalid("List index is not within the allowable range; index: [%s]", t.text)
	}
	p.next()
	return index, p.symbol("]")
}

// name reads an attribute name, written out or as a #placeholder.
func (p *parser) name() (string, error) {
	t := p.peek()
	switch t.kind {
	case tokenName:
		name, ok := p.names[t.text]
		if !ok {
			return "", p.invalid("An expression attribute name used in the document path is not defined; attribute name: %s",
				t.text)
		}
		p.usedNames[t.text] = true
		p.next()
		return name, nil
	case tokenWord:
		if reserved[strings.ToUpper(t.text)] {
			return "", p.invalid("Attribute name is a reserved keyword; reserved keyword: %s", t.text)
		}
		p.next()
		return t.text, nil
	}
	return "", p.unexpected()
}

// value reads a :placeholder.
func (p *parser) value() (types.AttributeValue, error) {
	t := p.peek()
	if t.kind != tokenValue {
		return nil, p.unexpected()
	}
	v, ok := p.values[t.text]
	if !ok {
		return nil, p.invalid("An expression attribute value used in expression is not defined; attribute value: %s", t.text)
	}
	p.usedValues[t.text] = true
	p.next()
	return v, nil
}

// get follows a path into an item.
func (p path) get(i item) (types.AttributeValue, bool) {
	v, ok := i[p[0].name]
	for _, s := range p[1:] {
		if !ok {
			return nil, false
		}
		switch parent := v.(type) {
		case *types.AttributeValueMemberM:
			v, ok = parent.Value[s.name]
			ok = ok && !s.list
		case *types.AttributeValueMemberL:
			if !s.list || s.index >= len(parent.Value) {
				return nil, false
			}
			v = parent.Value[s.index]
		default:
			return nil, false
		}
	}
	return v, ok
}
