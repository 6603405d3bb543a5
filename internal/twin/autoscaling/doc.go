// Package autoscaling is the twin's Application Auto Scaling for ECS services: scalable targets and target tracking on
// what the tasks really take.
//
// A target-tracking policy makes two alarms for itself, as on AWS ([Scaler.Alarms]): the metric above the target for three
// minutes, and below nine tenths of it for fifteen. CloudWatch invokes the policy ([Scaler.Act]) for every minute that one
// of them lasts. A scale-out sets the desired count in proportion to the metric; while its cool-down lasts, another one
// counts from where the first began, so that only a larger one is added. Scale-ins wait for the cool-down of the one
// before, and a scale-out in between ends it. Both stay within the target's bounds.
// https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
//
// A change of the bounds takes effect at once. A count that somebody set below the bounds stays until a scale-out or such a
// change, because no alarm fires while no task runs.
package autoscaling
