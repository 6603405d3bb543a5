package preflight

import "holdfast/internal/operator"

// WardenActions are the IAM actions that a site's wardens are checked for.
func WardenActions(cfg operator.Config, environment map[string]string) map[string]bool {
	p := &preflight{cfg: cfg}
	actions := map[string]bool{}
	for _, c := range p.wardenCalls(cfg.Sites[0], cfg.Sites[1], environment) {
		actions[c.Action] = true
	}
	return actions
}
