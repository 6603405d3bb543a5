// Package wire translates between the AWS protocols and the SDK's own request and response structs: query, JSON 1.0
// and 1.1, REST-XML and rpc-v2-cbor.
//
// The structs carry no tags, but their fields are named as the service's model names them, so that the names on the
// wire follow from a few rules per service (see [Style]) plus the names of XML list elements that differ from their
// type's. A test sends a filled struct of every operation through the SDK's own codec and compares.
package wire
