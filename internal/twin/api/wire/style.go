package wire

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	dynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Style says how a service writes the names of members and list elements.
type Style struct {
	// LowerCamel: in JSON, members begin with a small letter.
	LowerCamel bool
	// LowerCamelXML: the same in the answers of the query protocol, as EC2 writes them.
	LowerCamelXML bool
	// ListElement is the XML name of every list's elements; empty means the name of their type.
	ListElement string
	// Elements overrides it by "Type.Field", for lists whose elements have a name of their own.
	Elements map[string]string
}

// Error is a request that cannot be decoded.
type Error struct {
	// Path is the member that is wrong, Reason what is wrong with it.
	Path, Reason string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Reason + " at " + e.Path
}

func wrong(path, format string, a ...any) error {
	return &Error{Path: path, Reason: fmt.Sprintf(format, a...)}
}

// maxDepth bounds the nesting of a request in every protocol.
const maxDepth = 64

var (
	timeType  = reflect.TypeFor[time.Time]()
	bytesType = reflect.TypeFor[[]byte]()
)

// unions lists the SDK's union types: for each interface its members by name.
var unions = map[reflect.Type]map[string]reflect.Type{
	reflect.TypeFor[dynamodb.AttributeValue](): {
		"S": reflect.TypeFor[dynamodb.AttributeValueMemberS](), "N": reflect.TypeFor[dynamodb.AttributeValueMemberN](),
		"B": reflect.TypeFor[dynamodb.AttributeValueMemberB](), "SS": reflect.TypeFor[dynamodb.AttributeValueMemberSS](),
		"NS": reflect.TypeFor[dynamodb.AttributeValueMemberNS](), "BS": reflect.TypeFor[dynamodb.AttributeValueMemberBS](),
		"M": reflect.TypeFor[dynamodb.AttributeValueMemberM](), "L": reflect.TypeFor[dynamodb.AttributeValueMemberL](),
		"NULL": reflect.TypeFor[dynamodb.AttributeValueMemberNULL](), "BOOL": reflect.TypeFor[dynamodb.AttributeValueMemberBOOL](),
	},
}

// field reports whether a struct field is a member of the model.
func field(f reflect.StructField) bool {
	return f.IsExported() && f.Name != "ResultMetadata"
}

// member is a field's name on the wire.
func (s Style) member(name string) string {
	if s.LowerCamel {
		return strings.ToLower(name[:1]) + name[1:]
	}
	return name
}

// element is the XML name of the elements of a list.
func (s Style) element(owner reflect.Type, f reflect.StructField) string {
	if name, ok := s.Elements[owner.Name()+"."+f.Name]; ok {
		return name
	}
	if s.ListElement != "" {
		return s.ListElement
	}
	e := f.Type.Elem()
	if e.Kind() == reflect.Struct && e != timeType {
		return e.Name()
	}
	return "member"
}
