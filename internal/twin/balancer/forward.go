package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

const (
	// connectTimeout is ALB's bound on the connection to a target, and is not scaled: a TCP handshake takes what it takes.
	connectTimeout = 10 * time.Second
	// responseHeaderLimit is more than ALB's 32 KiB, so that it never is the twin that fails first.
	responseHeaderLimit = 64 << 10
	idlePerTarget       = 64
)

func (l *loadBalancer) newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            l.owner.dialer(l.address),
		ResponseHeaderTimeout:  l.idle,
		IdleConnTimeout:        l.idle,
		MaxIdleConnsPerHost:    idlePerTarget,
		MaxResponseHeaderBytes: responseHeaderLimit,
		DisableCompression:     true,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, // an ALB does not validate its targets' certificates
	}
}

// handler answers the requests of one listener.
func (l *loadBalancer) handler(listener topology.Listener) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.enter() {
			panic(http.ErrAbortHandler)
		}
		defer l.leave()
		l.counters.requests.Add(1)
		if accepted, ok := r.Context().Value(acceptedKey{}).(time.Time); ok && time.Since(accepted) > l.keepAlive {
			w.Header().Set("Connection", "close")
		}
		switch a := route(l.current(listener), r); a.Type {
		case "redirect":
			l.redirect(w, r, listener, a)
		case "fixed-response":
			w.Header().Set("Server", "awselb/2.0")
			if a.ContentType != "" {
				w.Header().Set("Content-Type", a.ContentType)
			}
			w.WriteHeader(a.StatusCode)
			_, _ = io.WriteString(w, a.Body)
		default:
			arn, ok := share(weights(a), rand.Uint64())
			if !ok {
				l.fail(w, http.StatusServiceUnavailable)
				return
			}
			l.forward(w, r, listener, l.owner.groups[arn])
		}
	})
}

func (l *loadBalancer) redirect(w http.ResponseWriter, r *http.Request, listener topology.Listener, a topology.Action) {
	protocol := strings.ToLower(a.RedirectProtocol)
	if protocol == "" || protocol == "#{protocol}" {
		protocol = strings.ToLower(listener.Protocol)
	}
	port, err := strconv.Atoi(a.RedirectPort)
	if err != nil { // empty or #{port}
		port = listener.Port
	}
	location := *r.URL
	location.Scheme = protocol
	location.Host = net.JoinHostPort(hostOnly(r.Host), strconv.Itoa(l.owner.opts.Fabric.Port(port)))
	w.Header().Set("Server", "awselb/2.0")
	w.Header().Set("Location", location.String())
	w.WriteHeader(a.StatusCode)
}

// forward sends a request to one target, once.
func (l *loadBalancer) forward(w http.ResponseWriter, r *http.Request, listener topology.Listener, g *group) {
	if r.ContentLength > bodyLimit {
		l.fail(w, http.StatusRequestEntityTooLarge)
		return
	}
	t := g.pick()
	if t == nil {
		l.fail(w, http.StatusServiceUnavailable)
		return
	}
	defer g.release(t)
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	started := time.Now()
	proxy := &httputil.ReverseProxy{
		Transport:     l.transportFor(r),
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme = strings.ToLower(g.config.Protocol)
			pr.Out.URL.Host = network.HostPort(t.ip, t.port)
			pr.Out.Host = pr.In.Host
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery // an ALB passes on what it cannot parse
			pr.Out.Header["X-Forwarded-For"] = pr.In.Header["X-Forwarded-For"]
			pr.SetXForwarded()
			pr.Out.Header.Del("X-Forwarded-Host") // an ALB does not send it
			pr.Out.Header.Set("X-Forwarded-Port", strconv.Itoa(listener.Port))
			if pr.Out.Header.Get("X-Amzn-Trace-Id") == "" {
				pr.Out.Header.Set("X-Amzn-Trace-Id", traceID())
			}
			if pr.Out.Body != nil || lacksBody(r.Method) {
				pr.Out.Body = l.requestBody(w, pr.Out.Body)
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			g.count(resp.StatusCode, time.Since(started))
			// An upgraded connection needs a body that can be written to, so it is left as it is.
			if resp.StatusCode != http.StatusSwitchingProtocols {
				resp.Body = newIdleBody(resp.Body, l.idle, cancel)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			l.targetError(w, r, g, err)
		},
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
}

// targetError answers for a target that did not: 504 if it took too long, else 502.
func (l *loadBalancer) targetError(w http.ResponseWriter, r *http.Request, g *group, err error) {
	var tooLarge *http.MaxBytesError
	var netErr net.Error
	switch {
	case errors.As(err, &tooLarge):
		l.fail(w, http.StatusRequestEntityTooLarge)
	case r.Context().Err() != nil:
		l.counters.elb4xx.Add(1) // the client went away: 460, which nobody reads
	case errors.As(err, &netErr) && netErr.Timeout():
		g.count(0, 0)
		l.fail(w, http.StatusGatewayTimeout)
	default:
		g.count(0, 0)
		l.owner.logger.Debug("target broke off", "target_group", g.config.Name, "error", err)
		l.fail(w, http.StatusBadGateway)
	}
}

// fail answers for the load balancer itself, as an ALB words it.
func (l *loadBalancer) fail(w http.ResponseWriter, status int) {
	text := http.StatusText(status)
	if status == http.StatusServiceUnavailable {
		text = "Service Temporarily Unavailable"
	}
	if status == http.StatusGatewayTimeout {
		text = "Gateway Time-out"
	}
	if status >= 500 {
		l.counters.elb5xx.Add(1)
	} else {
		l.counters.elb4xx.Add(1)
	}
	w.Header().Set("Server", "awselb/2.0")
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%d %s</h1></center>\r\n</body>\r\n</html>\r\n",
		status, text, status, text)
}

func traceID() string {
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	return fmt.Sprintf("Root=1-%08x-%s", time.Now().Unix(), id[:24])
}

// lacksBody lists the methods for which http.Transport looks into a body of unknown length before it announces one.
func lacksBody(method string) bool {
	return slices.Contains([]string{"", "GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND", "SEARCH"}, method)
}

// transportFor keeps http.Transport from sending a request twice on its own, which it does when a reused connection
// fails and the request is a GET or carries an Idempotency-Key, and its body is empty or can be rewound. A body of
// requestBody is neither; a POST without a body gets a fresh connection instead.
func (l *loadBalancer) transportFor(r *http.Request) *http.Transport {
	if r.ContentLength == 0 && !lacksBody(r.Method) {
		return l.fresh
	}
	return l.pooled
}

// requestBody bounds a request's body in size and in the silence between two reads. It is never nil and can't be
// rewound.
func (l *loadBalancer) requestBody(w http.ResponseWriter, body io.ReadCloser) io.ReadCloser {
	if body == nil {
		body = http.NoBody
	}
	return &requestBody{ReadCloser: http.MaxBytesReader(w, body, bodyLimit), control: http.NewResponseController(w), idle: l.idle}
}

type requestBody struct {
	io.ReadCloser
	control *http.ResponseController
	idle    time.Duration
}

func (b *requestBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.idle))
	n, err := b.ReadCloser.Read(p)
	// Without a deadline the server waits for the client's next request or its end, which is what it shall do now.
	_ = b.control.SetReadDeadline(time.Time{})
	return n, err
}

// errIdle: the target began an answer and went silent.
var errIdle = errors.New("the target went silent in the middle of its answer")

// idleBody cancels a request whose target is silent for too long in the middle of its answer.
type idleBody struct {
	io.ReadCloser
	timer *time.Timer
	idle  time.Duration
}

func newIdleBody(body io.ReadCloser, idle time.Duration, cancel context.CancelCauseFunc) *idleBody {
	return &idleBody{ReadCloser: body, idle: idle, timer: time.AfterFunc(idle, func() { cancel(errIdle) })}
}

func (b *idleBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.timer.Reset(b.idle)
	return n, err
}

func (b *idleBody) Close() error {
	b.timer.Stop()
	return b.ReadCloser.Close()
}
