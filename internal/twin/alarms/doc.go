// Package alarms is the twin's CloudWatch: a memory of metrics, and the evaluation of the topology's alarms on them.
package alarms
