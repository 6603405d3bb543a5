package api

import (
	"net/http"
	"regexp"
	"strings"
	"time"
)

// scope is what a SigV4 credential says: who signed, and for which service in which region.
type scope struct {
	accessKey, date, region, service string
}

var (
	signatureForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	dateForm      = regexp.MustCompile(`^[0-9]{8}$`)
	nameForm      = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
)

// errors of authentication; JSON services add "Exception" to some of them.
var errMissingToken = &Error{
	Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token", Status: http.StatusForbidden,
}

func incomplete(message string) error {
	return &Error{Code: "IncompleteSignature", Message: message, Status: http.StatusBadRequest}
}

// parseScope reads the credential scope of a request. The signature must be there and look like one.
func parseScope(h http.Header) (scope, error) {
	authorization := h.Get("Authorization")
	if authorization == "" {
		return scope{}, errMissingToken
	}
	fields, ok := strings.CutPrefix(authorization, "AWS4-HMAC-SHA256 ")
	if !ok {
		return scope{}, incomplete("Unsupported algorithm in the Authorization header: want AWS4-HMAC-SHA256")
	}
	parameters := map[string]string{}
	for _, f := range strings.Split(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		parameters[name] = value
	}
	for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if parameters[name] == "" {
			return scope{}, incomplete("Authorization header requires '" + name + "' parameter.")
		}
	}
	parts := strings.Split(parameters["Credential"], "/")
	if len(parts) != 5 || parts[0] == "" || parts[4] != "aws4_request" || !dateForm.MatchString(parts[1]) ||
		!nameForm.MatchString(parts[2]) || !nameForm.MatchString(parts[3]) {
		return scope{}, incomplete("Credential must have exactly 5 slash-delimited elements, e.g. " +
			"keyid/date/region/service/term")
	}
	s := scope{accessKey: parts[0], date: parts[1], region: parts[2], service: parts[3]}
	if !signatureForm.MatchString(parameters["Signature"]) {
		return s, incomplete("Signature is not 64 hexadecimal digits")
	}
	stamp := h.Get("X-Amz-Date")
	if _, err := time.Parse("20060102T150405Z", stamp); err != nil {
		return s, incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if !strings.HasPrefix(stamp, s.date) {
		return s, &Error{
			Code: "SignatureDoesNotMatch", Status: http.StatusForbidden,
			Message: "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP",
		}
	}
	return s, checkKey(s, h)
}

// checkKey refuses every credential but the twin's own: what carries another one may have been meant for a real
// account, and must not look like a success here.
func checkKey(s scope, h http.Header) error {
	if s.accessKey == AccessKeyID && h.Get("X-Amz-Security-Token") == "" {
		return nil
	}
	return &Error{
		Code: "InvalidClientTokenId", Status: http.StatusForbidden,
		Message: "The security token included in the request is invalid. (This is the twin: it accepts only the access key " +
			AccessKeyID + " without a session token, so that nothing meant for a real account ends up here.)",
	}
}
