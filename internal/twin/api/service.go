package api

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"holdfast/internal/twin/api/wire"
)

// protocol is one of AWS's wire protocols.
type protocol int

const (
	query protocol = iota
	json10
	json11
	restXML
	rpcCBOR
)

// service is one AWS service as the endpoint serves it.
type service struct {
	// id is the SDK's name of the service.
	id        string
	protocols []protocol
	// target is the service's name in X-Amz-Target and in the paths of rpc-v2-cbor.
	target string
	// namespace and version belong to the XML protocols.
	namespace, version string
	style              wire.Style
	// global services live in us-east-1, whatever region their clients sign for.
	global bool
	// checksums: answers carry X-Amz-Crc32.
	checksums bool
	// queryErrors: answers in other protocols carry the error's code of the query protocol in x-amzn-query-error.
	queryErrors bool
	// ec2: answers have the form of EC2's dialect of the query protocol.
	ec2 bool
	// missing and invalid make the service's errors for a missing member and for a member that breaks a constraint.
	missing func(member string) error
	invalid func(message string) error
	// errorNamespace is written before an error's name in JSON.
	errorNamespace func(code string) string
	operations     map[string]operation
	routes         []route
}

// operation is one action of a service.
type operation struct {
	name     string
	newInput func() any
	call     func(ctx context.Context, r request, in any) (any, error)
	// required lists the members, as Go field names, that must be there.
	required []string
}

// request is what a function knows about its caller.
type request struct {
	// region is where the request was sent to.
	region string
}

// op registers a function under an action's name.
func op[In, Out any](
	name string, f func(context.Context, request, *In) (*Out, error), required ...string,
) operation {
	return operation{
		name:     name,
		newInput: func() any { return new(In) },
		call: func(ctx context.Context, r request, in any) (any, error) {
			out, err := f(ctx, r, in.(*In))
			if err != nil { // a typed nil must not become an answer
				return nil, err
			}
			return out, nil
		},
		required: required,
	}
}

func operations(list ...operation) map[string]operation {
	m := make(map[string]operation, len(list))
	for _, o := range list {
		m[o.name] = o
	}
	return m
}

// check refuses an input that lacks a required member or names an unknown enumeration value.
func (s *service) check(o operation, in any) error {
	v := reflect.ValueOf(in).Elem()
	for _, name := range o.required {
		f := v.FieldByName(name)
		if f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0 {
			return s.missing(name)
		}
	}
	return s.checkEnumerations(v)
}

// checkEnumerations looks for strings of a type that lists its Values.
func (s *service) checkEnumerations(v reflect.Value) error {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		if !f.IsExported() {
			continue
		}
		value := v.FieldByIndex(f.Index)
		switch {
		case value.Kind() == reflect.String && value.Len() > 0:
			if known := valuesOf(value); known != nil && !slices.Contains(known, value.String()) {
				return s.invalid("1 validation error detected: Value '" + value.String() + "' at '" + lowerFirst(f.Name) +
					"' failed to satisfy constraint: Member must satisfy enum value set: [" + strings.Join(known, ", ") + "]")
			}
		case value.Kind() == reflect.Slice:
			for i := range value.Len() {
				if err := s.checkEnumerations(value.Index(i)); err != nil {
					return err
				}
			}
		default:
			if err := s.checkEnumerations(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// valuesOf lists the known values of an enumeration, nil for a plain string.
func valuesOf(v reflect.Value) []string {
	method := v.MethodByName("Values")
	if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
		return nil
	}
	list := method.Call(nil)[0]
	out := make([]string, list.Len())
	for i := range out {
		out[i] = list.Index(i).String()
	}
	return out
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// mustNotBeNull makes the error that most services give for a missing member.
func mustNotBeNull(code string) func(string) error {
	return func(member string) error {
		return fail(code, "1 validation error detected: Value null at '%s' failed to satisfy constraint: "+
			"Member must not be null", lowerFirst(member))
	}
}

// mustContain makes the error of the older query services.
func mustContain(member string) error {
	return fail("MissingParameter", "The request must contain the parameter %s", member)
}

// invalidWith makes a service's error for a broken constraint.
func invalidWith(code string) func(string) error {
	return func(message string) error { return fail(code, "%s", message) }
}

// register builds the table of services from the backends that are there.
func (e *Endpoint) register() {
	e.services = map[string]*service{}
	for scopeName, s := range map[string]*service{
		"sts": e.stsService(), "ec2": e.ec2Service(), "sns": e.snsService(), "elasticloadbalancing": e.elbService(),
		"route53": e.route53Service(), "dynamodb": e.dynamodbService(), "rds": e.rdsService(), "ecs": e.ecsService(),
		"application-autoscaling": e.autoscalingService(), "monitoring": e.cloudwatchService(),
		"secretsmanager": e.secretsService(), "logs": e.logsService(),
		"iam": e.iamService(), "ecr": e.ecrService(), "servicequotas": e.quotasService(),
	} {
		e.services[scopeName] = s
	}
}
