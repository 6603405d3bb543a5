package termtable

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
func list(v ...types.AttributeValue) types.AttributeValue {
	return &types.AttributeValueMemberL{Value: v}
}

func mapOf(m map[string]types.AttributeValue) types.AttributeValue {
	return &types.AttributeValueMemberM{Value: m}
}

// sample is the item that the conditions below are tested on.
func sample() item {
	return item{
		"id": str("prod"), "version": num("7"), "holder": str("primary"), "ratio": num("0.3"),
		"flag": &types.AttributeValueMemberBOOL{Value: true}, "nothing": &types.AttributeValueMemberNULL{Value: true},
		"tags":   &types.AttributeValueMemberSS{Value: []string{"a", "b"}},
		"bytes":  &types.AttributeValueMemberB{Value: []byte("abc")},
		"wanted": mapOf(map[string]types.AttributeValue{"site": str("dr"), "tries": list(num("1"), num("2"))}),
	}
}

var sampleNames = map[string]string{"#state": "state", "#w": "wanted"}

var sampleValues = map[string]types.AttributeValue{
	":seven": num("7.0"), ":eight": num("8"), ":ten": num("10"), ":two": num("2"), ":primary": str("primary"),
	":prefix": str("pri"), ":S": str("S"), ":third": num("0.30"), ":dr": str("dr"), ":a": str("a"),
	":ba": &types.AttributeValueMemberSS{Value: []string{"b", "a"}}, ":b": &types.AttributeValueMemberB{Value: []byte("ab")},
	":null": &types.AttributeValueMemberNULL{Value: true}, ":true": &types.AttributeValueMemberBOOL{Value: true},
}

// looseSubstitutions are the sample's, without the check that all are used.
func looseSubstitutions(t testing.TB) *substitutions {
	t.Helper()
	expression := "x"
	s, err := newSubstitutions(sampleNames, sampleValues, &expression)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConditions(t *testing.T) {
	tests := []struct {
		expression string
		want       bool
	}{
		{"version = :seven", true},
		{"version <> :seven", false},
		{"version < :ten", true}, // as numbers; as text "7" > "10"
		{"version >= :eight", false},
		{"version <= :seven AND version >= :seven", true},
		{"version > :ten OR holder = :primary", true},
		{"NOT version = :seven", false},
		{"not version = :eight and holder = :primary", true},
		{"version = :eight OR version = :seven AND holder = :dr", false}, // AND binds tighter
		{"(version = :eight OR version = :seven) AND holder = :primary", true},
		{"NOT (version = :eight OR holder = :dr)", true},
		{"attribute_exists(version)", true},
		{"attribute_exists(#state)", false},
		{"attribute_not_exists(#state)", true},
		{"attribute_exists(wanted.site)", true},
		{"attribute_exists(#w.tries[1])", true},
		{"attribute_exists(#w.tries[2])", false},
		{"attribute_exists(holder.site)", false},
		{"attribute_exists(wanted[0])", false},
		{"wanted.tries[1] = :two", true},
		{"attribute_type(holder, :S)", true},
		{"attribute_type(version, :S)", false},
		{"begins_with(holder, :prefix)", true},
		{"begins_with(holder, :dr)", false},
		{"begins_with(bytes, :b)", true},
		{"begins_with(version, :prefix)", false},
		{"contains(holder, :prefix)", true},
		{"contains(tags, :a)", true},
		{"contains(tags, :dr)", false},
		{"contains(wanted.tries, :two)", true},
		{"size(holder) = :seven", true},
		{"size(tags) = :two", true},
		{"size(wanted.tries) <= :two", true},
		{"size(version) = :seven", false}, // a number has no size
		{"version BETWEEN :two AND :ten", true},
		{"version BETWEEN :eight AND :ten", false},
		{"version BETWEEN :two AND :ten AND holder = :primary", true},
		{"holder IN (:dr, :primary)", true},
		{"holder IN (:dr)", false},
		{"ratio = :third", true},
		{"tags = :ba", true}, // sets have no order
		{"#state = :dr", false},
		{"#state <> :dr", true}, // what is missing is not equal to anything
		{"#state < :dr", false},
		{"holder < :ten", false}, // different types have no order
		{"nothing = :null AND flag = :true", true},
		{"wanted.site = :dr", true},
	}
	for _, tt := range tests {
		c, err := parseCondition("ConditionExpression", tt.expression, looseSubstitutions(t))
		if err != nil {
			t.Errorf("%s: %v", tt.expression, err)
			continue
		}
		if got := c(sample()); got != tt.want {
			t.Errorf("%s = %v, want %v", tt.expression, got, tt.want)
		}
	}
}

func TestMissingItemHasNoAttributes(t *testing.T) {
	for expression, want := range map[string]bool{
		"attribute_not_exists(id)": true, "attribute_exists(id)": false, "version = :seven": false,
		"version <> :seven": true, "NOT version = :seven": true,
	} {
		c, err := parseCondition("ConditionExpression", expression, looseSubstitutions(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := c(nil); got != want {
			t.Errorf("%s on a missing item = %v, want %v", expression, got, want)
		}
	}
}

func TestConditionErrorsAreAWSs(t *testing.T) {
	tests := []struct{ expression, want string }{
		{"", "The expression can not be empty;"},
		{"version =", `Syntax error; token: "<EOF>", near: "="`},
		{"version == :seven", `Syntax error; token: "=", near: "== :seven"`},
		{"version = :seven AND", `Syntax error; token: "<EOF>", near: "AND"`},
		{"version ! :seven", `Syntax error; token: "!"`},
		{"(version = :seven", `Syntax error; token: "<EOF>"`},
		{"version = :nine", "An expression attribute value used in expression is not defined; attribute value: :nine"},
		{"#x = :seven", "An expression attribute name used in the document path is not defined; attribute name: #x"},
		{"state = :dr", "Attribute name is a reserved keyword; reserved keyword: state"},
		{"wanted.at = :dr", "Attribute name is a reserved keyword; reserved keyword: at"},
		{"attribute_exist(version)", "Invalid function name; function: attribute_exist"},
		{"attribute_exists(version, holder)", "operator or function: attribute_exists, number of operands: 2"},
		{"attribute_exists(:dr)", "Operator or function requires a document path; operator or function: attribute_exists"},
		{"attribute_type(holder, :dr)", "Invalid attribute type name found; type: dr, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}"},
		{"begins_with(holder, :ten)", "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N"},
		{"version < :true", "Incorrect operand type for operator or function; operator: <, operand type: BOOL"},
		{"size(:ten) = :ten", "operator or function: size, operand type: N"},
		{"version BETWEEN :ten AND :two", "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; " +
			"lower bound operand: AttributeValue: {N:10}, upper bound operand: AttributeValue: {N:2}"},
		{"version = version", "The first operand must be distinct from the remaining operands for this operator or function; " +
			"operator: =, first operand: [version]"},
		{"if_not_exists(version, :two) = :two", "The function is not allowed"},
		{"wanted.tries[x] = :two", `Syntax error; token: "x"`},
		{"wanted.tries[99999999999999999999] = :two", "List index is not within the allowable range"},
		{strings.Repeat("(", 301) + "version = :two", "too many operators"},
		{"version = :two" + strings.Repeat(" AND version = :two", 200), "too many operators"},
		{strings.Repeat("x", 5000), "Expression size has exceeded the maximum allowed size; expression size: 5000"},
	}
	for _, tt := range tests {
		_, err := parseCondition("ConditionExpression", tt.expression, looseSubstitutions(t))
		var e *Error
		if !errors.As(err, &e) || e.Code != "ValidationException" ||
			!strings.HasPrefix(e.Message, "Invalid ConditionExpression: ") || !strings.Contains(e.Message, tt.want) {
			t.Errorf("%.60s: got %v, want a ValidationException with %q", tt.expression, err, tt.want)
		}
	}
}

func TestSubstitutionsMustBeUsed(t *testing.T) {
	expression := "version = :seven"
	_, err := parse(map[string]string{"#state": "state"}, map[string]types.AttributeValue{":seven": num("7")},
		"ConditionExpression", &expression, nil, nil)
	if want := "Value provided in ExpressionAttributeNames unused in expressions: keys: {#state}"; message(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = parse(nil, map[string]types.AttributeValue{":seven": num("7"), ":x": num("1")},
		"ConditionExpression", &expression, nil, nil)
	if want := "Value provided in ExpressionAttributeValues unused in expressions: keys: {:x}"; message(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = parse(nil, map[string]types.AttributeValue{":seven": num("seven")}, "ConditionExpression", &expression, nil, nil)
	if err == nil || !strings.Contains(message(err), "The parameter cannot be converted to a numeric value: seven") {
		t.Errorf("got %v, want a refused number", err)
	}
	_, err = parse(nil, map[string]types.AttributeValue{":seven": num("7")}, "ConditionExpression", nil, nil, nil)
	if err == nil || !strings.Contains(message(err), "can only be specified when using expressions") {
		t.Errorf("got %v, want a refusal of values without an expression", err)
	}
}

func TestUpdates(t *testing.T) {
	tests := []struct {
		expression string
		path       path
		want       types.AttributeValue // nil: must not exist
	}{
		{"SET version = version + :two", path{{name: "version"}}, num("9")},
		{"SET version = :two - version", path{{name: "version"}}, num("-5")},
		{"SET ratio = ratio + :third", path{{name: "ratio"}}, num("0.6")},
		{"set #state = :a", path{{name: "state"}}, str("a")},
		{"SET version = if_not_exists(version, :two)", path{{name: "version"}}, num("7")},
		{"SET fresh = if_not_exists(fresh, :two) + :two", path{{name: "fresh"}}, num("4")},
		{"SET wanted.site = :a", path{{name: "wanted"}, {name: "site"}}, str("a")},
		{"SET wanted.tries[0] = :ten", path{{name: "wanted"}, {name: "tries"}, {list: true}}, num("10")},
		{"SET wanted.tries[9] = :ten", path{{name: "wanted"}, {name: "tries"}, {list: true, index: 2}}, num("10")},
		{
			"SET wanted.tries = list_append(wanted.tries, wanted.tries)",
			path{{name: "wanted"}, {name: "tries"}, {list: true, index: 3}},
			num("2"),
		},
		{"REMOVE wanted", path{{name: "wanted"}}, nil},
		{"REMOVE wanted.tries[0]", path{{name: "wanted"}, {name: "tries"}, {list: true}}, num("2")},
		{"REMOVE wanted.tries[0], wanted.tries[1]", path{{name: "wanted"}, {name: "tries"}}, list()},
		{"ADD version :ten", path{{name: "version"}}, num("17")},
		{"ADD fresh :ten", path{{name: "fresh"}}, num("10")},
		{"ADD tags :ba", path{{name: "tags"}}, &types.AttributeValueMemberSS{Value: []string{"a", "b"}}},
		{"DELETE tags :ba", path{{name: "tags"}}, nil},
		// Every action sees the item as it was.
		{"SET holder = wanted.site REMOVE wanted", path{{name: "holder"}}, str("dr")},
		{"SET version = :ten, fresh = version", path{{name: "fresh"}}, num("7")},
	}
	for _, tt := range tests {
		changes, err := parseUpdate(tt.expression, looseSubstitutions(t))
		if err != nil {
			t.Errorf("%s: %v", tt.expression, err)
			continue
		}
		old := sample()
		updated, err := applyChanges(old, changes)
		if err != nil {
			t.Errorf("%s: %v", tt.expression, err)
			continue
		}
		got, ok := tt.path.get(updated)
		if ok != (tt.want != nil) || ok && !equal(got, tt.want) {
			t.Errorf("%s: %s = %#v, want %#v", tt.expression, tt.path, got, tt.want)
		}
		if !equal(mapOf(old), mapOf(sample())) {
			t.Errorf("%s changed the old item", tt.expression)
		}
	}
}

func TestUpdateErrorsAreAWSs(t *testing.T) {
	tests := []struct{ expression, want string }{
		{"SET version = :ten SET holder = :dr", `The "SET" section can only be used once in an update expression;`},
		{"SET version = :ten, version = :two", "Two document paths overlap with each other; must remove or rewrite one of these paths; " +
			"path one: [version], path two: [version]"},
		{"SET wanted = :ten, wanted.site = :dr", "path one: [wanted], path two: [wanted, site]"},
		{"CHANGE version = :ten", `Syntax error; token: "CHANGE"`},
		{"SET version :ten", `Syntax error; token: ":ten"`},
		{"SET state = :dr", "Attribute name is a reserved keyword; reserved keyword: state"},
		{"ADD holder :dr", "Incorrect operand type for operator or function; operator: ADD, operand type: STRING"},
		{"SET fresh = absent", "The provided expression refers to an attribute that does not exist in the item"},
		{"SET fresh = holder + :two", "An operand in the update expression has an incorrect data type"},
		{"ADD holder :two", "An operand in the update expression has an incorrect data type"},
		{"SET absent.site = :dr", "The document path provided in the update expression is invalid for update"},
		{"SET holder.site = :dr", "The document path provided in the update expression is invalid for update"},
	}
	for _, tt := range tests {
		changes, err := parseUpdate(tt.expression, looseSubstitutions(t))
		if err == nil {
			_, err = applyChanges(sample(), changes)
		}
		if err == nil || !strings.Contains(message(err), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.expression, err, tt.want)
		}
	}
}

func TestProjection(t *testing.T) {
	paths, err := parseProjection("version, wanted.tries[1], absent, #w.site", looseSubstitutions(t))
	if err != nil {
		t.Fatal(err)
	}
	want := item{"version": num("7"), "wanted": mapOf(map[string]types.AttributeValue{
		"site": str("dr"), "tries": list(num("2")),
	})}
	if got := project(sample(), paths); !equal(mapOf(got), mapOf(want)) {
		t.Errorf("projection = %v, want %v", got, want)
	}
	if _, err := parseProjection("wanted, wanted.site", looseSubstitutions(t)); err == nil {
		t.Error("overlapping paths were accepted")
	}
}

func FuzzExpressions(f *testing.F) {
	for _, seed := range []string{
		"version = :seven AND NOT (attribute_exists(#w.tries[1]) OR size(tags) > :two)",
		"SET version = version + :two, wanted.tries[0] = if_not_exists(a.b[3], :a) REMOVE tags ADD fresh :ten DELETE x :ba",
		"id, wanted.tries[0], #state", "version BETWEEN :two AND :ten", "holder IN (:a, :dr)", "((((", "[0]", "a..b", "# :",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := looseSubstitutions(t)
		check := func(err error) {
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Code != "ValidationException" || e.Message == "") {
				t.Errorf("%q: %v is not a ValidationException", text, err)
			}
		}
		if c, err := parseCondition("ConditionExpression", text, s); err != nil {
			check(err)
		} else {
			c(sample())
			c(nil)
		}
		if changes, err := parseUpdate(text, s); err != nil {
			check(err)
		} else {
			_, err := applyChanges(sample(), changes)
			check(err)
		}
		if paths, err := parseProjection(text, s); err != nil {
			check(err)
		} else {
			project(sample(), paths)
		}
		_, err := parseKeyCondition(text, s)
		check(err)
	})
}
