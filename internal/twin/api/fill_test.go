package api

import (
	"fmt"
	"reflect"
	"time"

	dynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

var attributeValue = reflect.TypeFor[dynamodb.AttributeValue]()

// filler fills SDK structs with values that are all different, so that a member that ends up under another name, or
// nowhere, is seen.
type filler struct{ n int }

func (f *filler) next() int { f.n++; return f.n }

func (f *filler) fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		f.fill(p.Elem(), depth)
		v.Set(p)
	case reflect.Interface:
		f.union(v, depth)
	case reflect.Struct:
		f.fields(v, depth)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(fmt.Sprintf("bytes %d", f.next())))
			return
		}
		if e := v.Type().Elem(); e.Kind() == reflect.Interface && e != attributeValue {
			return // unions that no served operation carries
		}
		n := 2
		if depth > 6 {
			n = 0
		}
		list := reflect.MakeSlice(v.Type(), n, n)
		for i := range n {
			f.fill(list.Index(i), depth+1)
		}
		if n > 0 {
			v.Set(list)
		}
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		for range 2 {
			e := reflect.New(v.Type().Elem()).Elem()
			f.fill(e, depth+1)
			m.SetMapIndex(reflect.ValueOf(fmt.Sprintf("key-%d", f.next())).Convert(v.Type().Key()), e)
		}
		v.Set(m)
	case reflect.String:
		if known := valuesOf(v); len(known) > 0 {
			v.SetString(known[f.next()%len(known)])
			return
		}
		v.SetString(fmt.Sprintf("text-%d", f.next()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.next()))
	case reflect.Float64, reflect.Float32:
		v.SetFloat(float64(f.next()) + 0.5)
	}
}

func (f *filler) fields(v reflect.Value, depth int) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.UnixMilli(1760000000000 + int64(f.next())*1007).UTC()))
		return
	}
	if depth > 10 {
		return
	}
	for _, field := range reflect.VisibleFields(v.Type()) {
		if field.IsExported() && field.Name != "ResultMetadata" {
			f.fill(v.FieldByIndex(field.Index), depth+1)
		}
	}
}

// union makes an attribute value, each time of another type; other interfaces (streams, documents) stay empty.
func (f *filler) union(v reflect.Value, depth int) {
	if v.Type() != attributeValue {
		return
	}
	members := []dynamodb.AttributeValue{
		&dynamodb.AttributeValueMemberS{}, &dynamodb.AttributeValueMemberN{}, &dynamodb.AttributeValueMemberB{},
		&dynamodb.AttributeValueMemberBOOL{}, &dynamodb.AttributeValueMemberNULL{}, &dynamodb.AttributeValueMemberSS{},
		&dynamodb.AttributeValueMemberNS{}, &dynamodb.AttributeValueMemberBS{}, &dynamodb.AttributeValueMemberL{},
		&dynamodb.AttributeValueMemberM{},
	}
	n := f.next() % len(members)
	if depth > 6 {
		n %= 5
	}
	member := reflect.ValueOf(members[n])
	f.fill(member.Elem().FieldByName("Value"), depth+1)
	v.Set(member)
}
