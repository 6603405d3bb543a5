// Package ecs is the twin's ECS on Fargate: it runs the services of the topology as processes of this machine, an image
// being the local program that stands for it.
//
// A service's tasks are started, registered as targets, restarted with back-off, drained, stopped and replaced in rolling
// deployments with the limits, the circuit breaker and the words of ECS.
package ecs
