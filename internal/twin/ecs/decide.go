package ecs

import (
	"slices"
	"time"
)

// member is what [decide] needs to know of one task that is not stopping.
type member struct {
	// primary says that the task belongs to the newest deployment.
	primary bool
	// healthy: it runs, and the load balancer finds it healthy. unhealthy: the load balancer found it unhealthy after the
	// grace period. A task that is starting is neither.
	healthy, unhealthy bool
	created            time.Time
}

// limits bound a service.
type limits struct {
	desired int
	// minimum is how many healthy tasks a deployment must leave, maximum how many tasks may run at once.
	minimum, maximum int
	// mayStart is false while the service pauses between failed starts, or when its deployment has failed.
	mayStart bool
}

// percent applies the deployment's percentages: the minimum is rounded up, the maximum down.
func percent(desired, minimumHealthy, maximum int) (low, high int) {
	if maximum == 0 {
		maximum = 200
	}
	return (desired*minimumHealthy + 99) / 100, desired * maximum / 100
}

// decide says how many tasks of the primary deployment to start, and which members to stop, by index.
func decide(members []member, l limits) (start int, stop []int) {
	primary := pick(members, func(m member) bool { return m.primary && !m.unhealthy })
	sick := pick(members, func(m member) bool { return m.primary && m.unhealthy })
	old := pick(members, func(m member) bool { return !m.primary })
	healthyPrimary := len(pick(members, func(m member) bool { return m.primary && m.healthy }))
	healthy := len(pick(members, func(m member) bool { return m.healthy }))

	// Fewer are wanted than before: those that serve least go first.
	if surplus := len(primary) - l.desired; surplus > 0 {
		slices.SortStableFunc(primary, func(a, b int) int { return dispensable(members[a], members[b]) })
		stop = append(stop, primary[:surplus]...)
	}
	need := 0
	if l.mayStart {
		need = max(0, l.desired-len(primary))
	}
	start = max(0, min(need, l.maximum-(len(members)-len(stop))))
	short := need - start

	// Old tasks go in exchange for healthy new ones, or to make room for new ones.
	retire := max(len(old)-max(0, l.desired-healthyPrimary), min(short, len(old)))
	slices.SortStableFunc(old, func(a, b int) int { return dispensable(members[a], members[b]) })
	spare := healthy - l.minimum
	for _, i := range old {
		if retire <= 0 || members[i].healthy && spare <= 0 {
			break
		}
		if members[i].healthy {
			spare--
		}
		stop = append(stop, i)
		retire--
		short--
	}

	// Unhealthy tasks go when their replacements serve, or when there is no room for a replacement.
	if healthyPrimary >= l.desired {
		return start, append(stop, sick...)
	}
	slices.SortStableFunc(sick, func(a, b int) int { return members[a].created.Compare(members[b].created) })
	return start, append(stop, sick[:max(0, min(short, len(sick)))]...)
}

func pick(members []member, want func(member) bool) []int {
	var list []int
	for i, m := range members {
		if want(m) {
			list = append(list, i)
		}
	}
	return list
}

// dispensable orders the members that serve least first: those that are not healthy, then the newest.
func dispensable(a, b member) int {
	if a.healthy != b.healthy {
		if b.healthy {
			return -1
		}
		return 1
	}
	return b.created.Compare(a.created)
}

// breakerThreshold is how many failures in a row fail a deployment: half the desired count, at least 3, at most 200.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
func breakerThreshold(desired int) int { return min(max((desired+1)/2, 3), 200) }

const (
	// firstPause is the pause before the third start in a row, which then doubles up to longestPause, ECS's own bound.
	firstPause   = time.Second
	longestPause = 27 * time.Minute
	// shortestPause is what no speed shortens, so that a program that can't run does not burn the machine.
	shortestPause = 200 * time.Millisecond
)

// pause is how long to wait after so many failed starts in a row; nothing after the first.
func pause(failures int, speed float64) time.Duration {
	if failures < 2 {
		return 0
	}
	p := longestPause
	if doublings := failures - 2; doublings < 11 {
		p = min(firstPause<<doublings, longestPause)
	}
	return max(time.Duration(float64(p)/speed), shortestPause)
}
