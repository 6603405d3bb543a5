// Package twin builds a deployment's two regions on one Linux machine, from its topology: PostgreSQL clusters that
// really replicate, tasks that are real processes, load balancers that really balance, DNS that really answers and
// fails over, and an endpoint that speaks the AWS API. The wardens, the operator's commands and the stock aws command
// run against it unchanged.
//
// The sub-packages are the parts; this package only puts them together and gives names to what can happen to them:
// [Twin.LoseRegion], [Twin.ReturnRegion]. Everything that is started here is stopped by [Twin.Down], and by the reaper
// (package task) if this process is killed.
package twin
