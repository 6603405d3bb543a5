// Package aws adapts the AWS services that the warden and the operator's commands use, one file per service, over
// aws-sdk-go-v2. Each adapter states in a small interface the calls that it makes, and nothing else of the SDK
// leaves the package. Endpoints, credentials and profiles come from the usual AWS variables, AWS_ENDPOINT_URL
// included: the callers do not know whether AWS or the twin answers.
//
// Time limits come from the caller's context. Writes to the term table and the calls that move the database's writer
// are sent once and never retried by the SDK: a retry would be sent after the moment for which the caller judged
// that it still holds its term (P4, P12).
package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
)

// readAttempts is how often a describing call is sent at most; the callers poll, so more would only hide the age of
// an answer.
const readAttempts = 2

// Session makes the adapters of one process: all of them share credentials and connections.
type Session struct {
	cfg sdk.Config
}

// Open reads the AWS configuration of the process (variables, shared files, the task's role). Nothing is sent.
func Open(ctx context.Context) (*Session, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w (check AWS_PROFILE, AWS_REGION and the shared files)", err)
	}
	return NewSession(cfg), nil
}

// NewSession makes a session from an SDK configuration.
func NewSession(cfg sdk.Config) *Session {
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = awshttp.NewBuildableClient()
	}
	cfg.HTTPClient = bodyInMemory{cfg.HTTPClient}
	return &Session{cfg: cfg}
}

// bodyInMemory gives net/http a request's body in one piece. The SDK closes the body as soon as the answer's header is
// there; net/http may take that for a request that was cut short, and close the connection while the rest of a long
// answer is still to be read.
type bodyInMemory struct{ sdk.HTTPClient }

func (c bodyInMemory) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		body, err := io.ReadAll(r.Body) // our own requests: a few kilobytes
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return c.HTTPClient.Do(r)
}

// Denied reports whether a service refused a call because the caller lacks the permission, under any of the codes that
// the services have for it. It will refuse the call again.
func Denied(err error) bool {
	var coded interface{ ErrorCode() string }
	if !errors.As(err, &coded) {
		return false
	}
	switch coded.ErrorCode() {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation":
		return true
	}
	return false
}

// once makes the SDK send a request a single time.
func once() sdk.Retryer { return sdk.NopRetryer{} }

// few lets the SDK send a describing request again, once.
func few() sdk.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = readAttempts })
}
