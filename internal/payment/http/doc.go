// Package http is payd's HTTP API: JSON in and out, errors as application/problem+json (RFC 9457), each with a type
// below /problems that can be fetched and says what to do.
package http
