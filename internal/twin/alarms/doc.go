// Package alarms is the twin's CloudWatch and SNS: a memory of metrics ([Metrics]), the evaluation of the topology's
// alarms on them ([Evaluator]), and the delivery of what the alarms have to say ([Topics]).
//
// An alarm looks at its last evaluation periods and at two more before them, as CloudWatch does: if enough of those
// periods have data, missing ones do not count at all; only if too few have data is the alarm's treatment of missing
// data used. See [Evaluate] for the rules, which follow
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
//
// An alarm is evaluated every minute on the window that ends then, also if its period is longer, and every ten seconds if its
// period is shorter than a minute. Composite alarms ([parseRule]) follow the states of the alarms that they name. A
// notification is sent once per change of state; an action of Auto Scaling is invoked for every minute in the state.
//
// A speed above 1 divides the periods, so that an alarm of "2 periods of 1 minute" looks at 2 periods of 6 seconds at
// speed 10; and it divides the threshold of an alarm on a replication lag, which is a configured time too. What is
// reported (timestamps, values) is what was measured.
//
// Metrics and alarms live in a region and stop with it: nothing is evaluated or delivered while the region is lost.
package alarms
