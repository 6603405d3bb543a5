package api

import (
	"bytes"
	"cmp"
	"hash/crc32"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/twin/api/wire"
)

// message is a request on its way through its protocol.
type message struct {
	protocol protocol
	http     *http.Request
	body     []byte
	form     url.Values // of the query protocol
}

// protocolOf guesses the protocol from what every request of it carries.
func protocolOf(r *http.Request, signedFor string) protocol {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor":
		return rpcCBOR
	case media == "application/x-amz-json-1.0":
		return json10
	case media == "application/x-amz-json-1.1":
		return json11
	case signedFor == "route53" || strings.HasPrefix(r.URL.Path, "/2013-04-01/"):
		return restXML
	}
	return query
}

// operation finds which action a request asks for, and decodes its input.
func (m *message) operation(s *service) (operation, any, error) {
	if !slices.Contains(s.protocols, m.protocol) {
		return operation{}, nil, m.unknown(s, "")
	}
	var name string
	switch m.protocol {
	case json10, json11:
		prefix, action, _ := strings.Cut(m.http.Header.Get("X-Amz-Target"), ".")
		if prefix == s.target {
			name = action
		}
	case rpcCBOR:
		if action, ok := strings.CutPrefix(m.http.URL.Path, "/service/"+s.target+"/operation/"); ok {
			name = action
		}
	case query:
		if err := m.parseForm(); err != nil {
			return operation{}, nil, err
		}
		name = m.form.Get("Action")
		if name == "" {
			return operation{}, nil, fail("MissingAction", "Could not find parameter Action in the request")
		}
	case restXML:
		return s.route(m.http)
	}
	o, ok := s.operations[name]
	if !ok {
		return operation{name: shortName(name)}, nil, m.unknown(s, name)
	}
	in := o.newInput()
	if err := m.decode(s, in); err != nil {
		return o, nil, m.malformed(s, err)
	}
	return o, in, nil
}

// shortName bounds what a client can write into the access log.
func shortName(name string) string { return name[:min(len(name), 64)] }

func (m *message) parseForm() error {
	form, err := url.ParseQuery(string(m.body))
	if err != nil {
		return fail("MalformedQueryString", "Keys may not contain %s", err.Error())
	}
	for name, values := range m.http.URL.Query() {
		if form[name] == nil {
			form[name] = values
		}
	}
	m.form = form
	return nil
}

func (m *message) decode(s *service, in any) error {
	switch m.protocol {
	case json10, json11:
		return s.style.DecodeJSON(m.body, in)
	case rpcCBOR:
		return s.style.DecodeCBOR(m.body, in)
	default:
		return s.style.DecodeQuery(m.form, in)
	}
}

func (m *message) malformed(s *service, err error) error {
	text := err.Error()
	if m.protocol == query {
		return fail("MalformedInput", "%s", upperFirst(text))
	}
	if s.id == "dynamodb" && strings.Contains(text, "Supplied AttributeValue") {
		return s.invalid(text)
	}
	return fail("SerializationException", "%s", upperFirst(text))
}

func (m *message) unknown(s *service, action string) error {
	switch m.protocol {
	case query:
		return fail("InvalidAction", "Could not find operation %s for version %s", shortName(action), s.version)
	case rpcCBOR:
		return gone("UnknownOperationException", "")
	case restXML:
		return gone("UnknownOperationException", "Unknown operation")
	}
	return fail("UnknownOperationException", "")
}

// unserved is the answer to a request for a service that the twin does not have, in the protocol that its clients
// understand as far as the request shows it.
func (m *message) unserved(name string) error {
	if m.protocol == query && m.parseForm() == nil && m.form.Get("Action") != "" {
		return m.unknown(&service{version: shortName(m.form.Get("Version"))}, m.form.Get("Action"))
	}
	switch m.protocol {
	case query: // without an action it is one of the REST protocols, which most of AWS's other services speak in JSON
		m.protocol = json11
		if name == "s3" {
			m.protocol = restXML
		}
	case restXML, json10, json11, rpcCBOR:
	}
	return gone("UnknownOperationException", "The twin does not serve %s.", shortName(name))
}

// reply is an answer that has not been sent yet.
type reply struct {
	status int
	header http.Header
	body   []byte
	code   string
}

// success writes an output in the request's protocol.
func (m *message) success(s *service, o operation, id string, out any) (reply, error) {
	r := reply{status: http.StatusOK, header: http.Header{}}
	switch m.protocol {
	case json10, json11:
		body, err := s.style.EncodeJSON(out)
		if err != nil {
			return r, err
		}
		r.body = body
	case rpcCBOR:
		r.body = s.style.EncodeCBOR(out)
	default:
		var b bytes.Buffer
		b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<" + o.name + `Response xmlns="` + s.namespace + `">`)
		switch {
		case s.ec2:
			wire.Element(&b, "requestId", id)
			s.style.EncodeXML(&b, out)
		case m.protocol == query:
			b.WriteString("<" + o.name + "Result>")
			s.style.EncodeXML(&b, out)
			b.WriteString("</" + o.name + "Result><ResponseMetadata>")
			wire.Element(&b, "RequestId", id)
			b.WriteString("</ResponseMetadata>")
		default:
			s.style.EncodeXML(&b, out)
		}
		b.WriteString("</" + o.name + "Response>")
		r.body = b.Bytes()
	}
	m.finish(s, &r, id)
	return r, nil
}

// failure writes an error in the request's protocol; s is nil if the service is not known.
func (m *message) failure(s *service, id string, e *Error) reply {
	r := reply{status: e.Status, header: http.Header{}, code: e.Code}
	if r.status == 0 {
		r.status = http.StatusBadRequest
	}
	if s == nil {
		s = &service{}
	}
	shape := cmp.Or(e.Shape, authShapes[e.Code], e.Code)
	switch m.protocol {
	case json10, json11, rpcCBOR:
		r.header.Set("X-Amzn-Errortype", shape) // what clients of REST services in JSON read first
		tree := map[string]any{"message": e.Message}
		for name, v := range e.Fields {
			tree[name] = s.style.Tree(v)
		}
		tree["__type"] = shape
		if s.errorNamespace != nil {
			tree["__type"] = s.errorNamespace(shape)
		}
		if m.protocol == rpcCBOR {
			r.body = wire.MarshalCBOR(tree)
		} else {
			r.body, _ = wire.MarshalTree(tree) // trees of errors hold no numbers that JSON lacks
		}
		if s.queryErrors {
			r.header.Set("X-Amzn-Query-Error", e.Code+";"+sender(r.status))
		}
	default:
		r.body = xmlError(s, id, e, r.status)
	}
	m.finish(s, &r, id)
	return r
}

// authShapes are the names that errors of authentication have in JSON and CBOR.
var authShapes = map[string]string{
	"MissingAuthenticationToken": "MissingAuthenticationTokenException",
	"IncompleteSignature":        "IncompleteSignatureException",
	"SignatureDoesNotMatch":      "InvalidSignatureException",
	"InvalidClientTokenId":       "UnrecognizedClientException",
}

func sender(status int) string {
	if status >= 500 {
		return "Receiver"
	}
	return "Sender"
}

func xmlError(s *service, id string, e *Error, status int) []byte {
	var b bytes.Buffer
	if s.ec2 {
		b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<Response><Errors><Error>")
		wire.Element(&b, "Code", e.Code)
		wire.Element(&b, "Message", e.Message)
		b.WriteString("</Error></Errors>")
		wire.Element(&b, "RequestID", id)
		b.WriteString("</Response>")
		return b.Bytes()
	}
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<ErrorResponse xmlns=\"" + s.namespace + `"><Error>`)
	wire.Element(&b, "Type", sender(status))
	wire.Element(&b, "Code", e.Code)
	wire.Element(&b, "Message", e.Message)
	b.WriteString("</Error>")
	wire.Element(&b, "RequestId", id)
	b.WriteString("</ErrorResponse>")
	return b.Bytes()
}

// finish sets the headers of the protocol.
func (m *message) finish(s *service, r *reply, id string) {
	contentType := map[protocol]string{
		query: "text/xml", restXML: "text/xml", json10: "application/x-amz-json-1.0", json11: "application/x-amz-json-1.1",
		rpcCBOR: "application/cbor",
	}[m.protocol]
	r.header.Set("Content-Type", contentType)
	r.header.Set("X-Amzn-Requestid", id)
	r.header.Set("Content-Length", strconv.Itoa(len(r.body)))
	if m.protocol == rpcCBOR {
		r.header.Set("Smithy-Protocol", "rpc-v2-cbor")
	}
	if s.checksums {
		r.header.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(r.body)), 10))
	}
}
