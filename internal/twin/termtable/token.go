package termtable

import (
	_ "embed"
	"strings"
)

// maxExpressionBytes is DynamoDB's limit for the length of an expression.
const maxExpressionBytes = 4096

//go:embed reserved.txt
var reservedWords string

// reserved holds the words, in capitals, that an expression cannot use as attribute names.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
var reserved = func() map[string]bool {
	words := map[string]bool{}
	for _, w := range strings.Fields(reservedWords) {
		words[w] = true
	}
	return words
}()

type tokenKind int

const (
	tokenEnd    tokenKind = iota
	tokenWord             // a name, keyword or function
	tokenName             // #x
	tokenValue            // :x
	tokenNumber           // the index in [0]
	tokenSymbol           // an operator or punctuation
)

type token struct {
	kind tokenKind
	text string
	// start and end are offsets in the expression.
	start, end int
}

func (t token) isSymbol(s string) bool  { return t.kind == tokenSymbol && t.text == s }
func (t token) isKeyword(k string) bool { return t.kind == tokenWord && strings.EqualFold(t.text, k) }

// symbols lists the operators, longer ones before their prefixes.
var symbols = []string{"<>", "<=", ">=", "<", ">", "=", "(", ")", "[", "]", ",", ".", "+", "-"}

// tokenize splits an expression; the last token is always tokenEnd.
func tokenize(kind, s string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(s); {
		c := s[i]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			i++
			continue
		}
		t, ok := nextToken(s, i)
		if !ok {
			return nil, syntaxError(kind, s, token{text: s[i : i+1], start: i, end: i + 1}, tokens)
		}
		tokens = append(tokens, t)
		i = t.end
	}
	return append(tokens, token{kind: tokenEnd, text: "<EOF>", start: len(s), end: len(s)}), nil
}

func nextToken(s string, i int) (token, bool) {
	span := func(from int, accept func(byte) bool) int {
		for from < len(s) && accept(s[from]) {
			from++
		}
		return from
	}
	c := s[i]
	switch {
	case isLetter(c):
		end := span(i, isWordByte)
		return token{tokenWord, s[i:end], i, end}, true
	case isDigit(c):
		end := span(i, isDigit)
		return token{tokenNumber, s[i:end], i, end}, true
	case c == '#' || c == ':':
		end := span(i+1, isWordByte)
		kind := tokenName
		if c == ':' {
			kind = tokenValue
		}
		return token{kind, s[i:end], i, end}, end > i+1
	}
	for _, symbol := range symbols {
		if strings.HasPrefix(s[i:], symbol) {
			return token{tokenSymbol, symbol, i, i + len(symbol)}, true
		}
	}
	return token{}, false
}

func isLetter(c byte) bool   { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool    { return c >= '0' && c <= '9' }
func isWordByte(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' }

// syntaxError says where an expression stops making sense, in AWS's words.
func syntaxError(kind, s string, at token, before []token) error {
	from := at.start
	if n := len(before); n > 0 {
		from = before[n-1].start
	}
	to := min(len(s), at.end+12)
	return validation("Invalid %s: Syntax error; token: %q, near: %q", kind, at.text, s[from:to])
}
