// Package payd is the payment service as a process: its configuration from the environment, its parts wired together,
// its start and its graceful end. Flags, signals and exit codes are cmd/payd's.
package payd
