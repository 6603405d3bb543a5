// Package ecs is the twin's ECS on Fargate: it runs the services of the topology as processes of this machine, an image
// being the local program that stands for it.
//
// One loop per region compares every service with what runs and starts or stops tasks; [decide] is that comparison, a pure
// function. A goroutine per task carries it from PENDING to STOPPED: it starts the containers' processes, registers the task
// as a target, and at the end deregisters it, waits until it has drained, sends SIGTERM and after the stop timeout SIGKILL.
//
// What ECS does and the twin does too: tasks that end are replaced, with growing pauses if they keep failing; tasks that
// the load balancer finds unhealthy after the grace period are replaced, by starting the replacement first if the
// maximum percent leaves room; a new task definition or a forced deployment rolls within the minimum healthy and the maximum
// percent; the circuit breaker gives a deployment up after max(3, half the desired count) failures in a row and rolls back.
// The topology's own deployment counts as completed from the start: the twin brings up a system that is deployed already.
//
// What it does not do: container health checks (the topology has none), capacity, placement, and Fargate's start-up time
// of many seconds.
package ecs
