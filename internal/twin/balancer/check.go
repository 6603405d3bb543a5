package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checkBodyLimit is what a health check reads of an answer's body, to let the target write it.
const checkBodyLimit = 1 << 20

// matcher is a list of accepted status codes, as ranges.
type matcher [][2]int

// parseMatcher reads "200", "200,204" or "200-299".
func parseMatcher(text string) (matcher, error) {
	var m matcher
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.Atoi(low)
		to, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || from < 100 || to > 599 || from > to {
			return nil, fmt.Errorf("matcher %q: want status codes as in 200, 200,202 or 200-299", text)
		}
		m = append(m, [2]int{from, to})
	}
	return m, nil
}

func (m matcher) matches(status int) bool {
	for _, r := range m {
		if status >= r[0] && status <= r[1] {
			return true
		}
	}
	return false
}

// verdict is the result of one check: reason is empty if it passed.
type verdict struct{ reason, text string }

// check checks one target until ctx ends: the first time at once, then once per interval.
func (g *group) check(ctx context.Context, t *target) {
	client := g.checkClient()
	defer client.CloseIdleConnections()
	interval := time.NewTicker(max(g.owner.scaled(g.config.HealthCheck.Interval), time.Millisecond))
	defer interval.Stop()
	for {
		// The checker of a frozen region neither asks nor judges.
		if g.owner.opts.Fabric.AwaitThaw(ctx, g.config.Region) != nil {
			return
		}
		v := g.request(ctx, client, t)
		if g.owner.opts.Fabric.AwaitThaw(ctx, g.config.Region) != nil {
			return
		}
		g.judge(ctx, t, v)
		select {
		case <-interval.C:
		case <-ctx.Done():
			return
		}
	}
}

func (g *group) checkClient() *http.Client {
	timeout := g.owner.scaled(g.config.HealthCheck.Timeout)
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:         g.owner.dialer(g.checker()),
			DisableKeepAlives:   true,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // an ALB does not validate its targets' certificates
			TLSHandshakeTimeout: timeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checker is the address that the checks come from: that of the first load balancer that forwards to the group.
func (g *group) checker() netip.Addr {
	for _, l := range g.owner.balancers {
		if slices.Contains(l.targetGroups(), g.config.ARN) {
			return l.address
		}
	}
	return netip.Addr{}
}

// request makes one check.
func (g *group) request(ctx context.Context, client *http.Client, t *target) verdict {
	check := g.config.HealthCheck
	port := check.Port
	if port == "traffic-port" {
		port = strconv.Itoa(t.port)
	}
	url := strings.ToLower(check.Protocol) + "://" + net.JoinHostPort(t.ip.String(), port) + check.Path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return verdict{reasonFailed, textFailed}
	}
	req.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	resp, err := client.Do(req)
	if err != nil {
		var netErr net.Error
		if errors.As(err, &netErr) && netErr.Timeout() {
			return verdict{reasonTimeout, textTimeout}
		}
		return verdict{reasonFailed, textFailed}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, checkBodyLimit))
	if !g.accept.matches(resp.StatusCode) {
		return verdict{reasonMismatch, fmt.Sprintf("Health checks failed with these codes: [%d]", resp.StatusCode)}
	}
	return verdict{}
}

// judge takes one check into account. A new target is healthy with its first success; later changes need the thresholds.
func (g *group) judge(ctx context.Context, t *target, v verdict) {
	g.mu.Lock()
	var changes []TargetHealthChange
	defer func() {
		g.mu.Unlock()
		g.tell(changes)
	}()
	if ctx.Err() != nil || t.drained != nil {
		return
	}
	check := g.config.HealthCheck
	if v.reason == "" {
		t.passes, t.fails = t.passes+1, 0
		if t.view.State == StateInitial || t.passes >= check.HealthyThreshold {
			changes = g.set(t, StateHealthy, "", "")
		}
		return
	}
	t.passes, t.fails = 0, t.fails+1
	switch {
	case t.fails >= check.UnhealthyThreshold || t.view.State == StateUnhealthy:
		changes = g.set(t, StateUnhealthy, v.reason, v.text)
	case t.view.State == StateInitial:
		changes = g.set(t, StateInitial, reasonInitialChecking, textInitialChecking)
	}
}
