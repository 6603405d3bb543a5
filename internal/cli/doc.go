// Package cli is holdfast's command line: it reads flags, calls the packages that do the work, prints what they
// report, and chooses the exit code (see [ExitCode]).
package cli
