// Package api answers the AWS API for the twin's regions, so that the warden, the command line and the stock aws
// command run against it unchanged.
//
// One HTTP handler per caller's region speaks all protocols (see the sub-package wire). The service and the region of
// a request come from its SigV4 credential scope, as AWS_ENDPOINT_URL clients send it. The signature is not verified,
// but it must be there and well-formed, and it must have been made with the twin's dummy access key: a request that
// carries anything else may have been meant for a real account and is refused.
//
// A request travels over the twin's network to the region that it names and back. A region that is lost does not
// answer: the request hangs until the client gives up or the limit is reached, and then the connection is closed. The
// control plane of Route 53 lives in us-east-1, whatever region its clients sign for.
//
// Each service is a set of plain functions from the SDK's input struct to the SDK's output struct, registered in a
// table with its protocols and the names of its required members. What is not served is answered with AWS's own error
// for an unknown action, never with an empty success.
//
// The package holds no state of the system: that is in the backends, small interfaces declared here.
package api
