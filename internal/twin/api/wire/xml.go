package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// timeFormat is ISO 8601 as the XML protocols write it.
const timeFormat = "2006-01-02T15:04:05.000Z"

// EncodeXML writes the members of an SDK struct as XML elements, without an element around them.
func (s Style) EncodeXML(b *bytes.Buffer, v any) {
	s.xmlMembers(b, reflect.Indirect(reflect.ValueOf(v)))
}

func (s Style) xmlMembers(b *bytes.Buffer, v reflect.Value) {
	if !v.IsValid() {
		return
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		if !field(f) {
			continue
		}
		value := v.FieldByIndex(f.Index)
		if f.Type.Kind() == reflect.String && value.Len() == 0 { // an enumeration without a value
			continue
		}
		if f.Anonymous {
			continue // its fields are visible themselves
		}
		s.xmlValue(b, s.xmlName(f.Name), s.elementIf(v.Type(), f), value)
	}
}

func (s Style) xmlName(name string) string {
	if s.LowerCamelXML {
		return strings.ToLower(name[:1]) + name[1:]
	}
	return name
}

func (s Style) elementIf(owner reflect.Type, f reflect.StructField) string {
	if f.Type.Kind() != reflect.Slice || f.Type == bytesType {
		return ""
	}
	return s.element(owner, f)
}

// xmlValue writes one element; element names the elements inside, if the value is a list.
func (s Style) xmlValue(b *bytes.Buffer, name, element string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			s.xmlValue(b, name, element, v.Elem())
		}
	case reflect.Struct:
		if v.Type() == timeType {
			Element(b, name, v.Interface().(time.Time).UTC().Format(timeFormat))
			return
		}
		open(b, name)
		s.xmlMembers(b, v)
		closeTag(b, name)
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		if v.Type() == bytesType {
			Element(b, name, base64.StdEncoding.EncodeToString(v.Bytes()))
			return
		}
		open(b, name)
		for i := range v.Len() {
			s.xmlValue(b, element, "", v.Index(i))
		}
		closeTag(b, name)
	case reflect.Map:
		s.xmlMap(b, name, v)
	case reflect.String:
		Element(b, name, v.String())
	case reflect.Bool:
		Element(b, name, strconv.FormatBool(v.Bool()))
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		Element(b, name, strconv.FormatInt(v.Int(), 10))
	case reflect.Float32, reflect.Float64:
		Element(b, name, strconv.FormatFloat(v.Float(), 'g', -1, 64))
	}
}

func (s Style) xmlMap(b *bytes.Buffer, name string, v reflect.Value) {
	if v.IsNil() {
		return
	}
	entries := map[string]reflect.Value{}
	for _, k := range v.MapKeys() {
		entries[k.String()] = v.MapIndex(k)
	}
	open(b, name)
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		open(b, "entry")
		Element(b, "key", key)
		s.xmlValue(b, "value", "member", entries[key])
		closeTag(b, "entry")
	}
	closeTag(b, name)
}

// Element writes <name>text</name>.
func Element(b *bytes.Buffer, name, text string) {
	open(b, name)
	_ = xml.EscapeText(b, []byte(text)) // a buffer does not fail
	closeTag(b, name)
}

func open(b *bytes.Buffer, name string) {
	b.WriteByte('<')
	b.WriteString(name)
	b.WriteByte('>')
}

func closeTag(b *bytes.Buffer, name string) {
	b.WriteString("</")
	b.WriteString(name)
	b.WriteByte('>')
}
