package balancer

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"holdfast/internal/topology"
)

// actions lists every action of a listener.
func actions(l topology.Listener) []topology.Action {
	list := []topology.Action{l.Default}
	for _, r := range l.Rules {
		list = append(list, r.Action)
	}
	return list
}

// checkActions refuses actions that can't be carried out.
func checkActions(l topology.Listener, groups map[string]*group) error {
	for _, a := range actions(l) {
		switch a.Type {
		case "forward":
			for _, w := range weights(a) {
				if groups[w.TargetGroupARN] == nil {
					return fmt.Errorf("listener %s forwards to the unknown target group %q", l.ARN, w.TargetGroupARN)
				}
			}
		case "redirect", "fixed-response":
			if a.StatusCode < 200 || a.StatusCode > 599 {
				return fmt.Errorf("listener %s: %s with status code %d", l.ARN, a.Type, a.StatusCode)
			}
		default:
			return fmt.Errorf("listener %s: action %q is not one of forward, redirect, fixed-response", l.ARN, a.Type)
		}
	}
	return nil
}

// weights lists the target groups of a forward action, also of one that names its only one.
func weights(a topology.Action) []topology.WeightedTargetGroup {
	if len(a.TargetGroups) > 0 {
		return a.TargetGroups
	}
	return []topology.WeightedTargetGroup{{TargetGroupARN: a.TargetGroupARN, Weight: 1}}
}

// share picks a target group by weight; n is any number, evenly distributed. Without any weight there is none.
func share(groups []topology.WeightedTargetGroup, n uint64) (targetGroupARN string, ok bool) {
	total := 0
	for _, g := range groups {
		total += g.Weight
	}
	if total <= 0 {
		return "", false
	}
	left := int(n % uint64(total))
	for _, g := range groups {
		if left < g.Weight {
			return g.TargetGroupARN, true
		}
		left -= g.Weight
	}
	return "", false
}

// route finds the action for a request: the first rule by priority whose conditions all hold, else the default.
func route(l topology.Listener, r *http.Request) topology.Action {
	for _, rule := range l.Rules {
		if matchesAny(rule.PathPatterns, r.URL.EscapedPath()) && matchesAny(lower(rule.HostHeaders), strings.ToLower(hostOnly(r.Host))) {
			return rule.Action
		}
	}
	return l.Default
}

// matchesAny reports whether a pattern matches; an empty list is no condition.
func matchesAny(patterns []string, text string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return glob(p, text) })
}

// glob matches * (any number of characters) and ? (exactly one), as ELB does: over slashes too. It runs in the product
// of both lengths at worst.
func glob(pattern, text string) bool {
	p, t := 0, 0
	star, resume := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			resume++
			p, t = star+1, resume
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func lower(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.ToLower(s)
	}
	return out
}

func hostOnly(hostPort string) string {
	if host, _, err := net.SplitHostPort(hostPort); err == nil {
		return host
	}
	return hostPort
}

// sameName compares DNS names.
func sameName(a, b string) bool {
	return canonicalName(a) == canonicalName(b)
}

func canonicalName(name string) string {
	return strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(name), "."), "dualstack.")
}
